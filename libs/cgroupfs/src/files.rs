//! Files of cgroups, kept open.
//!
//! To open, read and close a file of a cgroup takes some ten times as long as
//! to read one that is open. So descriptors are kept, up to a bound; when it is
//! reached, the one used longest ago is closed. A descriptor of a removed
//! cgroup answers `ENODEV`, also if another was made at the same path, and so
//! does one of a controller that was taken from a cgroup that stays: it is
//! dropped then, and the file is opened anew at once. What that gives, or a file
//! that is opened in another directory than before, is told as [`Text::anew`].
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
use std::time::Instant;

/// The most that is read of one file, less one. `memory.stat` has some 2 KiB;
/// `io.stat` 100 bytes a device.
pub const MAX_FILE: usize = 64 << 10;

/// For how many seconds a file that is missing is not looked for. It may appear:
/// in v2 with the controller that is enabled in the parent. That is why this
/// is known for each cgroup, and not for the whole machine.
const RETRY_MISSING: u32 = 60;

/// Why a file gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The cgroup was removed, and there is none of its path.
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
    file: File,
    /// The generation of the directory in which it was read last: 0 for never.
    generation: u32,
}

/// Where a file is. Each container has a dozen, so it takes no more than a ticket.
#[derive(Debug, Clone, Copy)]
enum File {
    /// It is open, unless the bound closed it.
    Open(Ticket),
    /// The second until which it is taken to be missing; 0 where it is not.
    MissingUntil(u32),
}

impl Default for File {
    fn default() -> Self {
        Self::MissingUntil(0)
    }
}

/// Of a file whose cgroup or controller went: the next one is another.
const WENT: u32 = u32::MAX;

/// What a caller keeps for each cgroup in each hierarchy: which directory was
/// seen at its path.
/// Packed, as there are many, and the number alone would be aligned.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, packed(4))]
pub struct Directory {
    /// Its inode, which is the cgroup's id and never given again; 0: not seen yet.
    inode: u64,
    /// How many there were.
    generation: u32,
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

/// What a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// It is not the file that was read the last time: the cgroup, or its
    /// controller, was made anew, and its counters began at 0.
    pub anew: bool,
}

#[derive(Debug)]
struct Open {
    descriptor: OwnedFd,
    round: u32,
}

/// The store.
#[derive(Debug)]
pub struct Files {
    roots: Vec<Option<OwnedFd>>,
    open: Lru<Open>,
    bound: usize,
    round: u32,
    begun: Instant,
    /// When the round began, in seconds.
    now: u32,
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
            begun: Instant::now(),
            now: 0,
            buffer: vec![0; MAX_FILE].into_boxed_slice(),
            path: Vec::new(),
            has_openat2: true,
            counters: Counters::default(),
        }
    }

    /// Begins a round: a collection, in which each file is read about once.
    /// Before the first one the store simply closes what was used longest ago.
    pub fn begin(&mut self) {
        // At one each second it takes a century to come round.
        self.round = self.round.wrapping_add(1);
        self.now = u32::try_from(self.begun.elapsed().as_secs()).unwrap_or(u32::MAX - RETRY_MISSING);
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
        if let File::Open(ticket) = kept.file {
            self.open.remove(ticket);
            kept.file = File::default();
        }
    }

    /// The text of a file, as it is now. Of a file of one record, as all are
    /// that hold figures, the kernel gives a consistent state.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn read(
        &mut self,
        kept: &mut Kept,
        directory: &mut Directory,
        at: At<'_>,
    ) -> Result<Text<'_>, Failure> {
        match self.length(kept, directory, at) {
            Ok((length, anew)) => Ok(Text { bytes: &self.buffer[..length], anew }),
            Err(failure) => {
                self.forget(kept);
                match failure {
                    // From when it was looked for last.
                    Failure::Missing if matches!(kept.file, File::MissingUntil(0)) => {
                        kept.file = File::MissingUntil(self.now + RETRY_MISSING);
                    }
                    Failure::Missing => {}
                    Failure::Gone => kept.went(),
                    Failure::TooLarge | Failure::Unreadable { .. } => {}
                }
                Err(failure)
            }
        }
    }

    fn length(
        &mut self,
        kept: &mut Kept,
        directory: &mut Directory,
        at: At<'_>,
    ) -> Result<(usize, bool), Failure> {
        if let File::Open(ticket) = kept.file
            && let Some(open) = self.open.get(ticket)
        {
            open.round = self.round;
            self.counters.hits += 1;
            match read(&open.descriptor, &mut self.buffer) {
                Err(Failure::Gone) => {
                    self.forget(kept);
                    kept.went();
                }
                length => return Ok((length?, false)),
            }
        }
        if matches!(kept.file, File::MissingUntil(until) if self.now < until) {
            return Err(Failure::Missing);
        }
        kept.file = File::default();
        let descriptor = self.open(at)?;
        self.counters.opens += 1;
        let length = read(&descriptor, &mut self.buffer)?;
        // After the file: one that is of an earlier directory says so when it
        // is read again, and never the other way round.
        let generation = self.root(at).and_then(|root| directory.look(root, at.directory)).unwrap_or(WENT);
        let anew = kept.generation != 0 && (kept.generation != generation || generation == WENT);
        kept.generation = generation;
        kept.file = self.keep(descriptor).map_or(File::default(), File::Open);
        Ok((length, anew))
    }

    fn root(&self, at: At<'_>) -> Option<&OwnedFd> {
        self.roots.get(at.hierarchy).and_then(Option::as_ref)
    }

    fn keep(&mut self, descriptor: OwnedFd) -> Option<Ticket> {
        if self.open.len() >= self.bound {
            let in_use = |oldest: &Open| self.round > 0 && oldest.round.saturating_add(1) >= self.round;
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
            Errno::NOENT | Errno::NODEV if inode(root, at.directory).is_some() => Failure::Missing,
            Errno::NOENT | Errno::NODEV => Failure::Gone,
            // What the kernel's files of pressure say where it is switched off.
            Errno::OPNOTSUPP => Failure::Missing,
            errno => Failure::Unreadable { call, errno },
        })
    }
}

impl Kept {
    /// Whatever is read next is of another.
    fn went(&mut self) {
        if self.generation != 0 {
            self.generation = WENT;
        }
    }

    /// Goes on from what was read before by another descriptor of the same path.
    pub fn go_on_from(&mut self, before: &Self) {
        self.generation = before.generation;
    }
}

impl Directory {
    /// The generation of the one that is there now.
    fn look(&mut self, root: &OwnedFd, path: &Path) -> Option<u32> {
        let inode = inode(root, path)?;
        if self.inode != inode {
            // Never `WENT`: no path has so many.
            (self.inode, self.generation) = (inode, (self.generation + 1) % WENT);
        }
        Some(self.generation)
    }
}

fn inode(root: &OwnedFd, directory: &Path) -> Option<u64> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    statat(root, directory, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_ino)
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
