//! The allocator of a plugin's library: the system's, counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts the live bytes of the library it is the global allocator of. C
/// libraries and mappings are not in it. One relaxed addition an allocation.
#[derive(Debug)]
pub struct CountedHeap {
    live: AtomicU64,
}

impl CountedHeap {
    pub const fn new() -> Self {
        Self { live: AtomicU64::new(0) }
    }
    /// Bytes that are allocated and not freed.
    pub fn live(&self) -> u64 {
        self.live.load(Relaxed)
    }
}

impl Default for CountedHeap {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged, which
// fulfils the contract; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for CountedHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the one that is passed on.
        let pointer = unsafe { System.alloc(layout) };
        if !pointer.is_null() {
            self.live.fetch_add(layout.size() as u64, Relaxed);
        }
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if !pointer.is_null() {
            self.live.fetch_add(layout.size() as u64, Relaxed);
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer came from `System` through this allocator.
        unsafe { System.dealloc(pointer, layout) };
        self.live.fetch_sub(layout.size() as u64, Relaxed);
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above.
        let moved = unsafe { System.realloc(pointer, layout, new_size) };
        if !moved.is_null() {
            // Wraps by design: added and taken away are both whole.
            self.live.fetch_add((new_size as u64).wrapping_sub(layout.size() as u64), Relaxed);
        }
        moved
    }
}
