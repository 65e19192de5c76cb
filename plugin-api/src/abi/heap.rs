//! The allocator of a plugin's library: the system's, counted; and whose
//! threads allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Threads that are remembered: of more, which the oldest of them are is not known.
pub const MAX_THREADS: usize = 256;

/// Counts the live bytes of the library it is the global allocator of. C
/// libraries and mappings are not in it. One relaxed addition an allocation.
///
/// Each thread is noted at its first allocation: the host asks whose threads
/// run in its process. One that never allocates is not known.
#[derive(Debug)]
pub struct CountedHeap {
    live: AtomicU64,
    /// How many threads were noted.
    noted: AtomicU64,
    threads: [AtomicU64; MAX_THREADS],
}

thread_local! {
    // Without a destructor, which would have to be registered with an allocation.
    static IS_NOTED: Cell<bool> = const { Cell::new(false) };
}

impl CountedHeap {
    pub const fn new() -> Self {
        Self {
            live: AtomicU64::new(0),
            noted: AtomicU64::new(0),
            threads: [const { AtomicU64::new(0) }; MAX_THREADS],
        }
    }
    /// Bytes that are allocated and not freed.
    pub fn live(&self) -> u64 {
        self.live.load(Relaxed)
    }

    /// The threads that allocated, the latest [`MAX_THREADS`] of them, also those
    /// that have ended: a running number in the upper half, so that a thread
    /// whose number was given again is told from the one before; the thread's
    /// number (gettid(2)) in the lower.
    pub fn threads(&self) -> Vec<u64> {
        // Copied first: the vector's own allocation may note this thread.
        let all = self.threads.each_ref().map(|thread| thread.load(Relaxed));
        all.into_iter().filter(|thread| *thread != 0).collect()
    }

    fn note_thread(&self) {
        let is_noted = IS_NOTED.try_with(|noted| noted.replace(true)).unwrap_or(true);
        if !is_noted {
            self.note(thread_number());
        }
    }

    #[cold]
    fn note(&self, thread: u32) {
        let number = self.noted.fetch_add(1, Relaxed) + 1;
        let place = (number as usize - 1) % MAX_THREADS;
        self.threads[place].store(number << 32 | u64::from(thread), Relaxed);
    }
}

/// The calling thread, as the kernel numbers it; 0 where that is not Linux.
fn thread_number() -> u32 {
    #[cfg(target_os = "linux")]
    // SAFETY: it takes nothing, changes nothing and cannot fail (gettid(2)).
    // The standard library has no such number, and a file of /proc would allocate.
    return unsafe { libc::gettid() }.unsigned_abs();
    #[cfg(not(target_os = "linux"))]
    0
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
        self.note_thread();
        if !pointer.is_null() {
            self.live.fetch_add(layout.size() as u64, Relaxed);
        }
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        self.note_thread();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_is_noted_once_and_the_latest_stay() {
        let heap = CountedHeap::new();
        // Whether this one was noted by another heap is not to matter here.
        IS_NOTED.set(false);
        heap.note_thread();
        heap.note_thread();
        assert_eq!(heap.threads(), [1 << 32 | u64::from(thread_number())]);
        for thread in 0..MAX_THREADS as u32 {
            heap.note(thread + 1);
        }
        let threads = heap.threads();
        assert_eq!(threads.len(), MAX_THREADS);
        assert!(threads.iter().all(|thread| thread >> 32 > 1), "the first one made room");
    }
}
