//! The cgroups below one, and the id of one.

use crate::Error;
use crate::path::is_plain;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// How much is listed.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most directories that are reported.
    pub directories: usize,
    /// The most levels below the first.
    pub depth: usize,
}

/// A cgroup that was found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Its path below the hierarchy's directory; empty for the root itself.
    pub path: &'a Path,
    /// The inode of its directory: the kernel's id of it (`kn->id` in
    /// fs/kernfs, what `bpf_get_current_cgroup_id` gives for v2).
    pub id: u64,
}

/// How complete a listing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listing {
    /// Directories that were reported.
    pub directories: usize,
    /// There are more than the bounds allow.
    pub truncated: bool,
    /// Directories that could not be opened or read for another reason than
    /// that they vanished.
    pub unreadable: usize,
}

/// The id of the cgroup whose directory this is.
///
/// # Errors
/// [`Error::Io`] with `ENOENT` if it is gone.
pub fn id(directory: &Path) -> Result<u64, Error> {
    // Links are followed: `cpu` may be one.
    let stat = statat(CWD, directory, rustix::fs::AtFlags::empty());
    stat.map(|stat| stat.st_ino).map_err(|source| Error::io(directory, source))
}

/// Reports the cgroup `from` (below `hierarchy`; empty for its root) and all
/// below it, parents before children, in no other order. What vanishes
/// meanwhile is left out; symbolic links are not followed.
///
/// # Errors
/// If `from` cannot be opened, or leads out of the hierarchy.
pub fn below(
    hierarchy: &Path,
    from: &Path,
    bounds: Bounds,
    mut report: impl FnMut(Found<'_>),
) -> Result<Listing, Error> {
    if !is_plain(from) {
        return Err(Error::io(from, Errno::INVAL));
    }
    let mut listing = Listing::default();
    let mut open: Vec<(PathBuf, usize)> = vec![(from.to_path_buf(), 0)];
    while let Some((path, depth)) = open.pop() {
        if listing.directories == bounds.directories {
            listing.truncated = true;
            break;
        }
        let room = bounds.directories - listing.directories - 1;
        match one(hierarchy, &path, |name| {
            // No more are kept than could be reported.
            let fits = depth < bounds.depth && open.len() < room;
            if fits {
                open.push((path.join(name), depth + 1));
            } else {
                listing.truncated = true;
            }
        }) {
            Ok((id, complete)) => {
                listing.unreadable += usize::from(!complete);
                listing.directories += 1;
                report(Found { path: &path, id });
            }
            Err(source) if depth == 0 => return Err(Error::io(hierarchy.join(path), source)),
            Err(Errno::NOENT | Errno::NODEV | Errno::NOTDIR) => {}
            Err(_) => listing.unreadable += 1,
        }
    }
    Ok(listing)
}

/// The id of one directory, and whether all of it could be read.
fn one(hierarchy: &Path, path: &Path, mut child: impl FnMut(&OsStr)) -> Result<(u64, bool), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(CWD, hierarchy.join(path), flags, Mode::empty())?;
    let id = fstat(&directory)?.st_ino;
    let mut complete = true;
    for entry in Dir::new(directory)? {
        let Ok(entry) = entry else {
            complete = false;
            break;
        };
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
            child(OsStr::from_bytes(name));
        }
    }
    Ok((id, complete))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    fn listed(root: &Path, from: &str, directories: usize, depth: usize) -> (Vec<String>, Listing) {
        let mut found = Vec::new();
        let listing = below(root, Path::new(from), Bounds { directories, depth }, |cgroup| {
            assert_eq!(cgroup.id, id(&root.join(cgroup.path)).expect("there"));
            found.push(cgroup.path.to_str().expect("a text").to_owned());
        });
        (found, listing.expect("listed"))
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for path in ["docker/a/init", "docker/b", "system.slice/x.service"] {
            fs::create_dir_all(dir.path().join(path)).expect("made");
        }
        fs::write(dir.path().join("docker/cgroup.procs"), "1\n").expect("written");
        std::os::unix::fs::symlink("/", dir.path().join("docker/link")).expect("linked");
        dir
    }

    #[test]
    fn directories_are_listed_and_nothing_else() {
        let dir = tree();
        let (found, listing) = listed(dir.path(), "docker", 100, 10);
        let names: BTreeSet<_> = found.iter().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["docker", "docker/a", "docker/a/init", "docker/b"]));
        assert_eq!(listing, Listing { directories: 4, truncated: false, unreadable: 0 });
        let (all, _) = listed(dir.path(), "", 100, 10);
        assert_eq!((all.len(), all[0].as_str()), (7, ""));
    }

    #[test]
    fn bounds_hold_and_are_told() {
        let dir = tree();
        for most in 1..7 {
            let (found, listing) = listed(dir.path(), "", most, 10);
            assert_eq!(found.len(), most);
            assert!(listing.truncated, "{most}");
        }
        assert!(!listed(dir.path(), "", 7, 10).1.truncated);
        let (found, listing) = listed(dir.path(), "", 100, 1);
        assert_eq!((found.len(), listing.truncated), (3, true));
    }

    #[test]
    fn what_is_not_there_is_an_error_with_its_path() {
        let dir = tree();
        let bounds = Bounds { directories: 9, depth: 9 };
        let fails =
            |from: &str| below(dir.path(), Path::new(from), bounds, |_| {}).expect_err("fails").to_string();
        assert!(fails("gone").contains("/gone:"));
        assert!(fails("docker/link").contains("docker/link"), "links are not followed");
        assert!(fails("../x").contains("../x"));
        assert!(fails("/etc").contains("/etc"));
        assert!(id(&dir.path().join("gone")).is_err());
    }
}
