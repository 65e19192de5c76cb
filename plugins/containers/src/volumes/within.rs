//! Asking a file system as a container's process sees it.

use gantry_mounts::statfs::Ask;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat, openat2, statx};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a mount of a process is named: `/PID/ID/where/the/process/sees/it`.
pub fn path(pid: u32, mount: u64, mount_point: &Path) -> PathBuf {
    let below = mount_point.strip_prefix("/").unwrap_or(mount_point);
    Path::new("/").join(pid.to_string()).join(mount.to_string()).join(below)
}

/// Asks by such paths: beneath the process's root (`/proc/PID/root`), whatever
/// links the container has put there (`RESOLVE_IN_ROOT`, openat2(2)). Nothing
/// is opened but the place, so no device, pipe or server is touched by that.
///
/// Another mount than the one that is meant may lie there, over a directory on
/// the way; its figures would be shown for all containers that share the file
/// system. So the kernel's number of it is compared, where the kernel tells
/// (statx(2), since Linux 5.8).
pub fn ask(proc: PathBuf) -> Arc<Ask> {
    Arc::new(move |path| {
        let mut parts = path.components();
        parts.next();
        let pid = parts.next().ok_or(io::ErrorKind::NotFound)?;
        let mount = parts.next().and_then(|id| id.as_os_str().to_str()?.parse::<u64>().ok());
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root: OwnedFd = openat(CWD, proc.join(pid).join("root"), flags, Mode::empty())?;
        let below = parts.as_path();
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(&root, below, flags, Mode::empty(), resolve)?;
        if mount_of(&file)?.is_some_and(|found| Some(found) != mount) {
            return Err(Errno::XDEV.into());
        }
        Ok(rustix::fs::fstatvfs(file)?.into())
    })
}

/// The mount that an open file lies on, where the kernel tells.
fn mount_of(file: &OwnedFd) -> io::Result<Option<u64>> {
    // The number is the kernel's own: no server need be asked for it.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    match statx(file, c"", flags, StatxFlags::MNT_ID) {
        Ok(found) if found.stx_mask & StatxFlags::MNT_ID.bits() != 0 => Ok(Some(found.stx_mnt_id)),
        Ok(_) | Err(Errno::NOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_mounts::Usage;
    use std::os::unix::fs::symlink;

    /// A `/proc` whose process 7 has this root; a file system that is not the
    /// one which the directory lies on is told by its size.
    fn ask_of(root: &Path, path: &str) -> io::Result<Usage> {
        let proc = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(proc.path().join("7")).expect("a directory");
        symlink(root, proc.path().join("7/root")).expect("a link");
        let there = std::fs::File::open(root).expect("it is there");
        let mount = mount_of(&there.into()).expect("a number").unwrap_or_default();
        ask(proc.path().to_owned())(&super::path(7, mount, Path::new(path)))
    }

    fn size(path: &Path) -> u64 {
        Usage::from(rustix::fs::statvfs(path).expect("it is there")).size
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path();
        std::fs::create_dir(dir.join("data")).expect("a directory");
        // /proc is a file system of size 0: whoever gets there shows that.
        let (here, outside) = (size(dir), size(Path::new("/proc")));
        assert_ne!(here, outside);
        for (link, to) in [
            ("absolute", "/data"),
            ("up", "../../../../../../data"),
            ("out", "/proc"),
            ("far", "../../../../../../../proc"),
        ] {
            symlink(to, dir.join(link)).expect("a link");
        }
        for path in ["/", "/data", "/absolute", "/up"] {
            assert_eq!(ask_of(dir, path).expect("within").size, here, "{path}");
        }
        for path in ["/out", "/far"] {
            let error = ask_of(dir, path).expect_err("there is no such thing within");
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{path}");
        }
        // Another mount over a directory on the way.
        let other = ask_of(Path::new("/"), "/proc").expect_err("another file system");
        assert_eq!(other.raw_os_error(), Some(Errno::XDEV.raw_os_error()), "since Linux 5.8");
        // A magic link has no path of its own.
        let within = Path::new("/");
        let magic = format!("/proc/{}/root", std::process::id());
        assert!(ask_of(within, &magic).is_err(), "{magic}");
    }

    #[test]
    fn a_maze_ends() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path();
        symlink("b", dir.join("a")).expect("a link");
        symlink("a", dir.join("b")).expect("a link");
        // The kernel follows 40 (path_resolution(7)).
        for number in 0..50 {
            symlink(format!("l{}", number + 1), dir.join(format!("l{number}"))).expect("a link");
        }
        std::fs::create_dir(dir.join("l50")).expect("a directory");
        for path in ["/a", "/b/c", "/l0"] {
            let error = ask_of(dir, path).expect_err("a maze");
            assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()), "{path}");
        }
        assert!(ask_of(dir, "/l20").is_ok());
        let mut deep = String::new();
        (0..3000).for_each(|_| deep.push_str("/x"));
        assert!(ask_of(dir, &deep).is_err(), "longer than a path may be");
    }
}
