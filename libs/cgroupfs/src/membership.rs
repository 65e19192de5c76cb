//! Which cgroups a process is in: `/proc/PID/cgroup` (cgroups(7);
//! `proc_cgroup_show` in kernel/cgroup/cgroup.c).
//!
//! Paths are as the kernel shows them to the reader: from the root of the
//! reader's own cgroup namespace ([`path`](crate::path) turns them absolute).
//! They are not escaped; the kernel refuses names with a line feed for this
//! file's sake, and all other bytes may occur.

use crate::Error;
use crate::read;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The most that is read of the file: 16 lines of a path of 4,096 bytes, the
/// most the kernel writes of one. Real ones have some 500 bytes.
pub const MAX_FILE: usize = 64 << 10;

/// The most lines that are looked at. The kernel has 14 controllers and v2;
/// named hierarchies are few.
pub const MAX_ENTRIES: usize = 64;

/// What the kernel appends to the path of a v2 cgroup that is removed while a
/// process, or a zombie, is still in it.
const DELETED: &[u8] = b" (deleted)";

/// One line: the process's cgroup in one hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The hierarchy's number, as in `/proc/cgroups`; 0 is v2.
    pub hierarchy: u32,
    /// `cpu,cpuacct`, `name=systemd`, `pids,name=x`; empty for v2.
    pub controllers: &'a str,
    /// The cgroup. Absolute, or `/../…` if it lies outside of the reader's
    /// cgroup namespace. Any bytes but a line feed.
    pub path: &'a Path,
    /// The cgroup is removed (v2 only; v1 shows `/` for a process that exits).
    /// A living one whose name ends in ` (deleted)` looks the same.
    pub deleted: bool,
}

impl Entry<'_> {
    /// Whether it is of cgroup v2.
    pub fn is_v2(&self) -> bool {
        self.hierarchy == 0 && self.controllers.is_empty()
    }

    /// Whether a controller, or `name=…`, is bound to this hierarchy.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|one| one == controller)
    }
}

/// A line that is not of the kernel's form, or one beyond [`MAX_ENTRIES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not `NUMBER:CONTROLLERS:/PATH`.
    #[error("a line that is not of the form NUMBER:CONTROLLERS:/PATH")]
    Line,
    /// The rest is not looked at.
    #[error("more than {MAX_ENTRIES} lines")]
    TooMany,
}

/// Reads `PROC/PID/cgroup` into `buffer`; [`entries`] takes it apart. `process`
/// is a number or `self`.
///
/// # Errors
/// [`Error::Io`] (`ENOENT` and `ESRCH`: the process is gone), [`Error::TooLarge`].
pub fn read(proc: &Path, process: &str, buffer: &mut Vec<u8>) -> Result<(), Error> {
    read::whole(&proc.join(process).join("cgroup"), MAX_FILE, buffer)
}

/// The lines of such a file. A line that cannot be understood is an error, and
/// the next is tried.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, Malformed>> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.take(MAX_ENTRIES + 1).enumerate().map(|(index, line)| match index {
        MAX_ENTRIES => Err(Malformed::TooMany),
        _ => entry(line).ok_or(Malformed::Line),
    })
}

fn entry(line: &[u8]) -> Option<Entry<'_>> {
    // Names of controllers and hierarchies have no colon, paths may.
    let mut fields = line.splitn(3, |byte| *byte == b':');
    let number = fields.next()?;
    // `parse` takes a sign, the kernel writes none.
    if !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let hierarchy = std::str::from_utf8(number).ok()?.parse().ok()?;
    let controllers = std::str::from_utf8(fields.next()?).ok()?;
    let path = fields.next()?;
    let is_v2 = hierarchy == 0;
    if is_v2 != controllers.is_empty() || !path.starts_with(b"/") {
        return None;
    }
    let kept = path.strip_suffix(DELETED).filter(|kept| is_v2 && !kept.is_empty());
    Some(Entry {
        hierarchy,
        controllers,
        path: Path::new(OsStr::from_bytes(kept.unwrap_or(path))),
        deleted: kept.is_some(),
    })
}

#[cfg(test)]
mod tests;
