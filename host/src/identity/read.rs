//! Small files of processes, with bounds.

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// `/proc/PID/cgroup`: some 15 lines, each of a path of at most 4 KiB.
const MAX_CGROUP: usize = 64 << 10;

/// `/proc/PID/stat` is one line of 52 numbers and a name of 16 bytes.
const MAX_STAT: usize = 4 << 10;

/// What is read of an environment. `execve` takes up to 2 MiB and more; who
/// wants to be left alone says so in the first part of it.
const MAX_ENVIRON: usize = 128 << 10;

/// What is read of a command line. That of a gVisor sandbox, which must be read
/// to its end, has some thirty flags.
const MAX_CMDLINE: usize = 16 << 10;

/// A `/proc`, kept open.
#[derive(Debug)]
pub struct Proc {
    dir: OwnedFd,
    path: PathBuf,
}

impl Proc {
    /// # Errors
    /// Where the directory cannot be opened; the path is in it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let dir = openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| io::Error::new(errno.kind(), format!("{}: {errno}", path.display())))?;
        Ok(Self { dir, path: path.to_owned() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The pids of all processes.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir)? {
            pids.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(pids)
    }

    /// `/proc/PID/cgroup`, into `buffer`.
    ///
    /// # Errors
    /// [`Errno::SRCH`], [`Errno::NOENT`]: there is no such process; else it may
    /// be there, here as below.
    pub fn cgroup(&self, pid: u32, buffer: &mut Vec<u8>) -> rustix::io::Result<()> {
        self.read(pid, "cgroup", MAX_CGROUP, buffer)
    }

    /// When a process started, in clock ticks since boot: field 22 of
    /// `/proc/PID/stat` (proc_pid_stat(5)). A zombie is gone, unless it is the
    /// first thread of those that go on.
    pub fn start(&self, pid: u32, buffer: &mut Vec<u8>) -> rustix::io::Result<u64> {
        Ok(self.living(pid, buffer)?.start)
    }

    /// The same, and whether its first thread is over.
    pub fn living(&self, pid: u32, buffer: &mut Vec<u8>) -> rustix::io::Result<Living> {
        self.read(pid, "stat", MAX_STAT, buffer)?;
        let Stat { is_over, living } = Stat::parse(buffer).ok_or(Errno::INVAL)?;
        if is_over { Err(Errno::SRCH) } else { Ok(living) }
    }

    /// `/proc/PID/environ`, at most its first part.
    pub fn environ(&self, pid: u32, buffer: &mut Vec<u8>) -> rustix::io::Result<()> {
        self.read(pid, "environ", MAX_ENVIRON, buffer)
    }

    /// `/proc/PID/cmdline`, at most its first part.
    pub fn cmdline(&self, pid: u32, buffer: &mut Vec<u8>) -> rustix::io::Result<()> {
        self.read(pid, "cmdline", MAX_CMDLINE, buffer)
    }

    /// The inode number of a process's network namespace; of the machine's own
    /// with pid 1.
    pub fn network_namespace(&self, pid: u32) -> Option<u64> {
        let link = readlinkat(&self.dir, format!("{pid}/ns/net"), Vec::with_capacity(64)).ok()?;
        namespace(link.to_str().ok()?)
    }

    fn read(&self, pid: u32, name: &str, most: usize, buffer: &mut Vec<u8>) -> rustix::io::Result<()> {
        // What stands here is written into a buffer of the stack: this is the hot path of each start.
        let mut path = [0_u8; 32];
        let length = {
            use std::io::Write as _;
            let mut rest = &mut path[..];
            write!(rest, "{pid}/{name}").map_err(|_| Errno::NAMETOOLONG)?;
            32 - rest.len()
        };
        let path = &path[..length];
        let file = openat(&self.dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        buffer.clear();
        while buffer.len() < most {
            buffer.reserve(4096.min(most - buffer.len()));
            let room = buffer.capacity() - buffer.len();
            match rustix::io::read(&file, rustix::buffer::spare_capacity(buffer)) {
                // The kernel gives all it has, as far as there is room: less is
                // the end (seq_read_iter in fs/seq_file.c, environ_read in fs/proc/base.c).
                Ok(length) if length < room => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// Whether an error says that there is no such process.
pub fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::SRCH | Errno::NOENT)
}

/// A process that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Living {
    /// In clock ticks since boot.
    pub start: u64,
    /// Its first thread is over, and others go on: the kernel has told its end,
    /// and will not tell it again.
    pub leaderless: bool,
}

/// What counts of `/proc/PID/stat`.
struct Stat {
    is_over: bool,
    living: Living,
}

impl Stat {
    fn parse(line: &[u8]) -> Option<Self> {
        // The name may hold anything, also parentheses: fields begin behind the last one.
        let name_end = line.iter().rposition(|byte| *byte == b')')?;
        let mut fields = std::str::from_utf8(&line[name_end + 1..]).ok()?.split_ascii_whitespace();
        let is_zombie = matches!(fields.next()?, "Z" | "X");
        let threads: u64 = fields.nth(16)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        let living = Living { start, leaderless: is_zombie };
        Some(Self { is_over: is_zombie && threads <= 1, living })
    }
}

/// The inode number in `net:[4026531840]`.
pub fn namespace(link: &str) -> Option<u64> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let proc = Proc::open(Path::new("/proc")).expect("/proc");
        let (pid, mut buffer) = (std::process::id(), Vec::new());
        assert!(proc.pids().expect("pids").contains(&pid));
        proc.cgroup(pid, &mut buffer).expect("cgroup");
        assert!(buffer.iter().filter(|byte| **byte == b':').count() >= 2);
        assert!(proc.start(pid, &mut buffer).expect("start") > 0);
        assert!(proc.network_namespace(pid).expect("namespace") > 0);
        proc.environ(pid, &mut buffer).expect("environ");
        assert_eq!(proc.cgroup(u32::MAX, &mut buffer), Err(Errno::NOENT));
    }

    #[test]
    fn a_name_may_hold_anything() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("7")).expect("a directory");
        let proc = Proc::open(root.path()).expect("a proc");
        let start = |stat: &str| {
            std::fs::write(root.path().join("7/stat"), stat).expect("a file");
            proc.start(7, &mut Vec::new())
        };
        let stat = |state, threads| {
            format!("7 (a) b (c)) {state} 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {threads} 0 4242 1 2 3\n")
        };
        assert_eq!(start(&stat("S", 1)), Ok(4242));
        assert_eq!(start("7 (a S 1"), Err(Errno::INVAL));
        assert_eq!(start(&stat("Z", 1)), Err(Errno::SRCH), "it waits for its parent alone");
        assert_eq!(start(&stat("Z", 2)), Ok(4242), "its first thread is over, and others go on");
        let living = proc.living(7, &mut Vec::new());
        assert_eq!(living, Ok(Living { start: 4242, leaderless: true }));
    }
}
