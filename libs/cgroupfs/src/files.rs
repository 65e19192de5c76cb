//! Files of cgroups, kept open.
//!
//! To open, read and close a file of a cgroup takes some ten times as long as
//! to read one that is open. So descriptors are kept, up to a bound; when it is
//! reached, the one used longest ago is closed. A descriptor of a removed
//! cgroup answers `ENODEV`, also if another was made at the same path: it is
//! dropped then, and the next read opens anew.
//!
//! Whoever reads all of them in turn, and has more than the bound, would find
//! none open: each would have been closed just before its turn. So one that was
//! read in this or the last round ([`Files::begin`]) is not closed for a
//! newcomer; that is read without being kept. What is beyond the bound costs
//! as much as it did without this store, and nothing more.

use crate::layout::Layout;
use crate::lru::{Lru, Ticket};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::{Errno, pread};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The most that is read of one file, less one. `memory.stat` has some 2 KiB;
/// `io.stat` 100 bytes a device.
pub const MAX_FILE: usize = 64 << 10;

/// How many reads of a file that is missing are answered without a look. A
/// file may appear: in v2 with the controller that is enabled in the parent.
/// That is why this is known for each cgroup, and not for the whole machine.
const RETRY_MISSING: u8 = 64;

/// Why a file gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The cgroup was removed; one of the same path may be there. In v2 a
    /// controller that was disabled in the parent says so too, once.
    #[error("the cgroup is gone")]
    Gone,
    /// The cgroup is there, and does not have this file.
    #[error("the cgroup has no such file")]
    Missing,
    /// It has [`MAX_FILE`] bytes or more.
    #[error("the file has {MAX_FILE} bytes or more")]
    TooLarge,
    /// A system call failed.
    #[error("{call}: {errno}")]
    Unreadable {
        /// Which one.
        call: &'static str,
        /// Its error.
        errno: Errno,
    },
}

/// What happened since the store was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Files that were opened.
    pub opens: u64,
    /// Reads of a file that was open.
    pub hits: u64,
    /// Descriptors that were closed because of the bound.
    pub evictions: u64,
    /// Files that were opened and not kept, because of the bound.
    pub passed: u64,
}

/// What a caller keeps for each file of each cgroup that it reads again.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    ticket: Option<Ticket>,
    /// Reads that are still answered with [`Failure::Missing`].
    missing: u8,
}

/// Which file.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The index of the hierarchy in the layout.
    pub hierarchy: usize,
    /// The cgroup, below the hierarchy's directory.
    pub directory: &'a Path,
    /// The file's name.
    pub name: &'a str,
}

#[derive(Debug)]
struct Open {
    descriptor: OwnedFd,
    round: u64,
}

/// The store.
#[derive(Debug)]
pub struct Files {
    roots: Vec<Option<OwnedFd>>,
    open: Lru<Open>,
    bound: usize,
    round: u64,
    buffer: Box<[u8]>,
    path: Vec<u8>,
    has_openat2: bool,
    counters: Counters,
}

impl Files {
    /// A store that keeps at most `bound` descriptors, and one more for each
    /// hierarchy. At most half of `RLIMIT_NOFILE` is a good bound; with 0 every
    /// read opens and closes.
    pub fn new(layout: &Layout, bound: usize) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |at: &Path| openat(CWD, at, flags, Mode::empty()).ok();
        let roots = layout.hierarchies().iter().map(|one| open(one.directory.as_deref()?)).collect();
        Self {
            roots,
            open: Lru::new(),
            bound,
            round: 0,
            buffer: vec![0; MAX_FILE].into_boxed_slice(),
            path: Vec::new(),
            has_openat2: true,
            counters: Counters::default(),
        }
    }

    /// Begins a round: a collection, in which each file is read about once.
    /// Before the first one the store simply closes what was used longest ago.
    pub fn begin(&mut self) {
        self.round += 1;
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many descriptors are open, without those of the hierarchies.
    pub fn kept(&self) -> usize {
        self.open.len()
    }

    /// Closes a file that will not be read again.
    pub fn forget(&mut self, kept: &mut Kept) {
        if let Some(ticket) = kept.ticket.take() {
            self.open.remove(ticket);
        }
    }

    /// The text of a file, as it is now. Of a file of one record, as all are
    /// that hold figures, the kernel gives a consistent state.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn read(&mut self, kept: &mut Kept, at: At<'_>) -> Result<&[u8], Failure> {
        let length = match kept.ticket.and_then(|ticket| self.open.get(ticket)) {
            Some(open) => {
                open.round = self.round;
                self.counters.hits += 1;
                read(&open.descriptor, &mut self.buffer)
            }
            None if kept.missing > 0 => {
                kept.missing -= 1;
                return Err(Failure::Missing);
            }
            None => self.open_and_read(kept, at),
        };
        match length {
            Ok(length) => Ok(&self.buffer[..length]),
            Err(failure) => {
                self.forget(kept);
                if failure == Failure::Missing {
                    kept.missing = RETRY_MISSING;
                }
                Err(failure)
            }
        }
    }

    fn open_and_read(&mut self, kept: &mut Kept, at: At<'_>) -> Result<usize, Failure> {
        let descriptor = self.open(at)?;
        self.counters.opens += 1;
        let length = read(&descriptor, &mut self.buffer)?;
        kept.ticket = self.keep(descriptor);
        Ok(length)
    }

    fn keep(&mut self, descriptor: OwnedFd) -> Option<Ticket> {
        if self.open.len() >= self.bound {
            let in_use = |oldest: &Open| self.round > 0 && oldest.round + 1 >= self.round;
            if self.open.oldest().is_none_or(in_use) {
                self.counters.passed += 1;
                return None;
            }
            self.open.remove_oldest();
            self.counters.evictions += 1;
        }
        Some(self.open.insert(Open { descriptor, round: self.round }))
    }

    fn open(&mut self, at: At<'_>) -> Result<OwnedFd, Failure> {
        let root = self.roots.get(at.hierarchy).and_then(Option::as_ref).ok_or(Failure::Missing)?;
        self.path.clear();
        self.path.extend_from_slice(at.directory.as_os_str().as_bytes());
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(at.name.as_bytes());
        beneath(root, &self.path, &mut self.has_openat2).map_err(|(call, errno)| match errno {
            // Of the cgroup, or of the file alone?
            Errno::NOENT if is_there(root, at.directory) => Failure::Missing,
            Errno::NOENT | Errno::NODEV => Failure::Gone,
            // What the kernel's files of pressure say where it is switched off.
            Errno::OPNOTSUPP => Failure::Missing,
            errno => Failure::Unreadable { call, errno },
        })
    }
}

fn is_there(root: &OwnedFd, directory: &Path) -> bool {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    statat(root, directory, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Opens what lies below `root`, without following links.
fn beneath(root: &OwnedFd, path: &[u8], has_openat2: &mut bool) -> Result<OwnedFd, (&'static str, Errno)> {
    // A FIFO in a tree that is not the kernel's would hold the reader for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if *has_openat2 {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(root, path, flags, Mode::empty(), resolve) {
            // Linux before 5.6; seccomp filters that do not know the call say EPERM.
            Err(Errno::NOSYS | Errno::PERM) => *has_openat2 = false,
            other => return other.map_err(|errno| ("openat2", errno)),
        }
    }
    // Links in the middle are followed; a cgroup's directory can have none.
    if !crate::path::is_plain(Path::new(std::ffi::OsStr::from_bytes(path))) {
        return Err(("openat", Errno::XDEV));
    }
    openat(root, path, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| ("openat", errno))
}

fn read(descriptor: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Failure> {
    let mut length = 0;
    loop {
        let read = match pread(descriptor, &mut buffer[length..], length as u64) {
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            // ENOENT: of the descriptor of another file system's directory that is gone.
            Err(Errno::NODEV | Errno::NOENT) => return Err(Failure::Gone),
            Err(Errno::OPNOTSUPP) => return Err(Failure::Missing),
            Err(errno) => return Err(Failure::Unreadable { call: "pread", errno }),
        };
        length += read;
        if length == buffer.len() {
            return Err(Failure::TooLarge);
        }
        // The kernel gives a file of one record whole, if the buffer is large
        // enough, and ends it with a line feed: that saves the second call.
        if read == 0 || buffer[..length].ends_with(b"\n") {
            return Ok(length);
        }
    }
}

#[cfg(test)]
mod tests;
