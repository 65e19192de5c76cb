//! What a child of the agent does first with what it inherits.
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

/// Ignores the signals that tell a service or a program on a terminal to end.
/// They are often sent to a whole group of processes or cgroup; the agent then
/// ends its children in order.
pub fn leave_ending_to_the_agent() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: the call takes two integers, and no handler runs.
        #[allow(unsafe_code, reason = "there is no other way to ignore a signal")]
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}
