//! Descriptors that a process inherits.
//!
//! A crate of its own, so that the host needs no unsafe code.

/// Closes all descriptors above standard error: what whoever started this
/// process left open, and a library in it opened without `O_CLOEXEC`.
///
/// For the beginning of `main` alone, before anything is opened. Kernels before
/// 5.9 do not know the call; the descriptors stay open there.
pub fn close_inherited() {
    // SAFETY: the call takes three integers. Nothing in this process owns a
    // descriptor above 2 yet, so none is taken from its owner.
    #[allow(unsafe_code, reason = "a descriptor that nobody owns cannot be closed otherwise")]
    unsafe {
        libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32);
    }
}
