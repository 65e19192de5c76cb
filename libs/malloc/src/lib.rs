//! Settings of the C library's allocator, which host and plugins share.
//!
//! A crate of its own, so that the host needs no unsafe code.

/// From this size on memory is the allocation's own, and goes back to the
/// system with it: glibc's own default.
#[cfg(target_env = "gnu")]
const OWN_FROM: i32 = 128 << 10;

/// Lets large allocations go back to the system when they are freed. With the
/// first one that is freed glibc would take memory of this size from its heap
/// from then on (mallopt(3), `M_MMAP_THRESHOLD`), where what lies above it
/// keeps it: the text of each scrape, a library that was read. With 1,000
/// containers that is a seventh of the agent's memory.
///
/// Does nothing with other C libraries. For the beginning of `main`.
pub fn give_back_what_is_large() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two integers and locks what it changes (mallopt(3):
    // thread-safe but for its first call, which is before other threads here).
    // It returns 0 for a setting that it does not know, which changes nothing.
    #[allow(unsafe_code, reason = "there is no other way to this setting")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_FROM);
    }
}

/// Gives back what is free now. For the moment after much was allocated that
/// is needed no more.
///
/// Does nothing with other C libraries.
pub fn give_back_what_is_free() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes an integer and locks what it changes
    // (malloc_trim(3): thread-safe).
    #[allow(unsafe_code, reason = "there is no other way to do it")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has all threads allocate from one heap: glibc gives each thread one of its
/// own, of which some 130 KiB stay used however little the thread needs. For a
/// process of few threads that allocate little.
///
/// Does nothing with other C libraries. For the beginning of `main`.
pub fn keep_to_one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: as above.
    #[allow(unsafe_code, reason = "there is no other way to this setting")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of this process that lie in memory (`/proc/self/statm`, field 2).
    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").expect("/proc");
        text.split(' ').nth(1).expect("the field").parse().expect("a number")
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn memory_goes_back_though_something_lies_above() {
        give_back_what_is_large();
        let before = resident();
        // The second and all others are what glibc would keep.
        for _ in 0..4 {
            let large = vec![1_u8; 16 << 20];
            let above = vec![1_u8; 1024];
            drop(std::hint::black_box(large));
            assert!(resident() < before + (4 << 20) / 4096);
            drop(above);
        }
    }
}
