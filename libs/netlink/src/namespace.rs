//! Doing something in another namespace of the kernel.
//!
//! `setns` moves one thread, and a thread that was moved cannot always come
//! back. So each call has a thread of its own, which ends with it.

use crate::error::Error;
use rustix::fs::{Mode, OFlags, fstat, open, stat};
pub use rustix::thread::LinkNameSpaceType as Kind;
use rustix::thread::move_into_link_name_space;
use std::os::fd::AsFd;
use std::path::Path;

/// Runs `body` in the namespace whose file is at `path` (`/proc/1/ns/net`, or
/// one below `/run/netns`). Needs CAP_SYS_ADMIN in the user namespace that owns
/// it, unless it is the caller's own. What `body` opens stays in that namespace.
///
/// # Errors
/// Where the file cannot be opened or entered; those of `body`.
pub fn within<T: Send>(
    path: &Path,
    kind: Kind,
    body: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let failed =
        |source: rustix::io::Errno| Error::Namespace { path: path.to_owned(), source: source.into() };
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    if is_own(&file, kind) {
        return body();
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("namespace".to_owned())
            .spawn_scoped(scope, || {
                move_into_link_name_space(file.as_fd(), Some(kind)).map_err(failed)?;
                body()
            })
            .map_err(|source| Error::Call { call: "clone", source })?;
        thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    })
}

/// Whether this thread is in it already, as far as that can be told: a namespace
/// is its file's device and inode (namespaces(7)).
fn is_own(file: impl AsFd, kind: Kind) -> bool {
    let name = match kind {
        Kind::Network => "net",
        Kind::HostNameAndNISDomainName => "uts",
        _ => return false,
    };
    match (fstat(file), stat(format!("/proc/thread-self/ns/{name}"))) {
        (Ok(other), Ok(own)) => (other.st_dev, other.st_ino) == (own.st_dev, own.st_ino),
        _ => false,
    }
}
