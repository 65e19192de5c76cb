//! A new text in the place of the configuration's file.
//!
//! Operators say "this is managed elsewhere" in several ways: a read-only
//! mount, a mode without write permission, the immutable flag, a mount over the
//! file itself. All of them are respected, also by root, who could pass some.

use crate::files::Beside;
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, StatxAttributes, StatxFlags, Uid, XattrFlags, fchmod, fchown, fgetxattr,
    flistxattr, fsetxattr, statx,
};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Puts `new` in the place of a file that holds `expected`, with the same
/// owner, permissions and attributes. A symbolic link stays one: the file it
/// leads to is replaced.
///
/// # Errors
/// The file changed meanwhile, or it cannot be edited; then nothing is changed.
pub fn replace(path: &Path, expected: &str, new: &str) -> Result<(), String> {
    Prepared::new(path, expected, new)?.take_place()
}

/// A new text that lies beside the file and can take its place: whoever changes
/// something else in between knows beforehand that the file can be edited.
#[derive(Debug)]
pub struct Prepared {
    path: PathBuf,
    target: PathBuf,
    expected: String,
    beside: Beside,
}

fn refused(path: &Path, cause: &str) -> String {
    format!(
        "{} cannot be edited ({cause}); edit it where it is managed and `gantry reload`, or use \
         --until-restart to change only the running agent",
        path.display()
    )
}

impl Prepared {
    /// # Errors
    /// As [`replace`].
    pub fn new(path: &Path, expected: &str, new: &str) -> Result<Self, String> {
        let refused = |cause: String| refused(path, &cause);
        let target = path.canonicalize().map_err(|error| refused(error.to_string()))?;
        let mut file = open(&target).map_err(refused)?;
        same(&mut file, expected, path)?;
        if is_mount(&file) {
            return Err(refused(MOUNT.to_owned()));
        }
        let beside = Beside::write(&target, new.as_bytes(), |beside| keep(&file, beside));
        let beside = beside.map_err(|error| refused(beside_cause(&target, &error)))?;
        Ok(Self { path: path.to_owned(), target, expected: expected.to_owned(), beside })
    }

    /// # Errors
    /// As [`replace`].
    pub fn take_place(self) -> Result<(), String> {
        let refused = |cause: String| refused(&self.path, &cause);
        // Time went by: what was renamed over it since must not be lost.
        let mut file = open(&self.target).map_err(refused)?;
        same(&mut file, &self.expected, &self.path)?;
        self.beside.take_place().map_err(|error| {
            let busy = error.kind() == io::ErrorKind::ResourceBusy;
            refused(if busy { MOUNT.to_owned() } else { error.to_string() })
        })
    }
}

const MOUNT: &str = "it is a mount of its own";

/// As where a single file is mounted into a container: nothing can be renamed over
/// it. Kernels before 5.8 do not tell, and refuse the rename.
fn is_mount(file: &File) -> bool {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::empty());
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// For writing as well, though only reading is done: the kernel says best
/// whether it may be written (permissions, lists of them, immutable, read-only).
fn open(target: &Path) -> Result<File, String> {
    // A FIFO without a reader would hold the agent.
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
    let at = |error: io::Error| match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::ROFS) => "its file system is read-only".to_owned(),
        Some(rustix::io::Errno::PERM) => "it is immutable".to_owned(),
        _ => error.to_string(),
    };
    let metadata = target.symlink_metadata().map_err(at)?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if metadata.mode() & 0o222 == 0 {
        return Err(format!("its mode {:04o} lets nobody write it", metadata.mode() & 0o7777));
    }
    if metadata.nlink() > 1 {
        return Err("it has more than one name, and the others would keep the old content".to_owned());
    }
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(target).map_err(at)
}

fn same(file: &mut File, expected: &str, path: &Path) -> Result<(), String> {
    let mut found = Vec::new();
    let bound = expected.len() as u64 + 1;
    file.take(bound).read_to_end(&mut found).map_err(|error| format!("{}: {error}", path.display()))?;
    if found == expected.as_bytes() {
        return Ok(());
    }
    Err(format!(
        "{} changed since the agent read it; nothing was edited; `gantry reload`, then try again",
        path.display()
    ))
}

fn beside_cause(target: &Path, error: &io::Error) -> String {
    let dir = target.parent().unwrap_or(Path::new("/")).display();
    format!("writing a new one into {dir}: {error}")
}

/// Owner, permissions and extended attributes (lists of permissions and labels
/// are among them) of the old file for the new one.
fn keep(old: &File, new: &File) -> io::Result<()> {
    let what = |what: String| {
        move |error: rustix::io::Errno| io::Error::other(format!("{what} cannot be kept: {error}"))
    };
    let (is, should) = (new.metadata()?, old.metadata()?);
    if (is.uid(), is.gid()) != (should.uid(), should.gid()) {
        let (user, group) = (should.uid(), should.gid());
        fchown(new, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
            .map_err(what(format!("its owner {user}:{group}")))?;
    }
    fchmod(new, Mode::from_raw_mode(should.mode() & 0o7777)).map_err(what("its mode".to_owned()))?;
    for (name, value) in attributes(old)? {
        // A label that the directory gave already need not, and often must not, be set.
        let mut given = vec![0; value.len() + 1];
        if fgetxattr(new, &name, &mut given[..]).is_ok_and(|size| given[..size] == value) {
            continue;
        }
        fsetxattr(new, &name, &value, XattrFlags::empty()).map_err(what(format!("its attribute {name}")))?;
    }
    Ok(())
}

/// The most that the kernel gives of either.
const MAX_ATTRIBUTE: usize = 64 << 10;

fn attributes(file: &File) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names = vec![0; MAX_ATTRIBUTE];
    let size = match flistxattr(file, &mut names[..]) {
        Ok(size) => size,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for name in names[..size].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        // Signatures of the old content.
        if name == "security.ima" || name == "security.evm" {
            continue;
        }
        let mut value = vec![0; MAX_ATTRIBUTE];
        let size = fgetxattr(file, &name, &mut value[..])?;
        value.truncate(size);
        found.push((name, value));
    }
    Ok(found)
}

#[cfg(test)]
#[path = "replace_tests.rs"]
mod tests;
