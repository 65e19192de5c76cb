//! What a process holds open: regular files, and sockets that it listens at.
//! Kept for some seconds, so that no two plugins walk `/proc/PID/fd`.

use super::read::Proc;
use super::state::same_start;
use gantry_plugin_api::identity::Process;
use procfs_core::net::{TcpNetEntries, TcpState};
use procfs_core::{ExplicitSystemInfo, FromBufReadSI};
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, readlinkat, statx};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most descriptors of one process that are looked at: 2 µs each. A
/// database has some thousand files open.
const MAX_DESCRIPTORS: usize = 8192;

/// The most processes that are kept; more are forgotten together.
const MAX_PROCESSES: usize = 1024;

/// How old an answer may be: several plugins ask at one collection.
const FRESH: Duration = Duration::from_secs(10);

/// The most that is read of one table of sockets: 100,000 lines of 150 bytes.
const MAX_TABLE: u64 = 16 << 20;

/// The byte order in which the kernel writes addresses is all that is asked of it here.
const SYSTEM: ExplicitSystemInfo = ExplicitSystemInfo {
    boot_time_secs: 0,
    ticks_per_second: 100,
    page_size: 4096,
    is_little_endian: cfg!(target_endian = "little"),
};

/// Answers, and how they are found.
#[derive(Debug)]
pub struct Files {
    proc: PathBuf,
    kept: Mutex<HashMap<Process, Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    at: Instant,
    open: Arc<Open>,
    listening: Option<Arc<Vec<String>>>,
}

#[derive(Debug, Default)]
struct Open {
    files: Vec<String>,
    sockets: HashSet<u64>,
}

impl Files {
    pub fn new(proc: &Path) -> Self {
        Self { proc: proc.to_owned(), kept: Mutex::default() }
    }

    /// The regular files that a process holds open, as paths in its own root;
    /// `None` where there is no such process.
    pub fn open_files(&self, process: Process) -> Option<Vec<String>> {
        Some(self.of(process)?.open.files.clone())
    }

    /// Where it listens for TCP, as `ADDRESS:PORT`.
    pub fn listening(&self, process: Process) -> Option<Vec<String>> {
        let kept = self.of(process)?;
        if let Some(known) = kept.listening {
            return Some(known.to_vec());
        }
        let addresses = if kept.open.sockets.is_empty() {
            Vec::new()
        } else {
            self.addresses(process.pid, &kept.open.sockets)
        };
        let addresses = Arc::new(addresses);
        if let Some(kept) = self.lock().get_mut(&process) {
            kept.listening = Some(addresses.clone());
        }
        Some(addresses.to_vec())
    }

    fn of(&self, process: Process) -> Option<Kept> {
        if let Some(kept) = self.lock().get(&process).filter(|kept| kept.at.elapsed() < FRESH) {
            return Some(kept.clone());
        }
        let start = Proc::open(&self.proc).ok()?.start(process.pid, &mut Vec::new())?;
        if process.start != 0 && !same_start(start, process.start) {
            return None;
        }
        let open = Arc::new(self.read(process.pid)?);
        let kept = Kept { at: Instant::now(), open, listening: None };
        let mut all = self.lock();
        if all.len() >= MAX_PROCESSES {
            all.retain(|_, kept| kept.at.elapsed() < FRESH);
        }
        if all.len() >= MAX_PROCESSES {
            all.clear();
        }
        all.insert(process, kept.clone());
        Some(kept)
    }

    fn read(&self, pid: u32) -> Option<Open> {
        let directory = self.proc.join(pid.to_string()).join("fd");
        let mut open = Open::default();
        for entry in std::fs::read_dir(&directory).ok()?.take(MAX_DESCRIPTORS).flatten() {
            let path = entry.path();
            let Ok(link) = readlinkat(CWD, &path, Vec::with_capacity(256)) else { continue };
            let Ok(link) = link.to_str() else { continue };
            if let Some(socket) = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                open.sockets.extend(socket.parse::<u64>());
            } else if link.starts_with('/') && is_regular(&path) {
                open.files.push(link.to_owned());
            }
        }
        open.files.sort_unstable();
        open.files.dedup();
        Some(open)
    }

    fn addresses(&self, pid: u32, sockets: &HashSet<u64>) -> Vec<String> {
        let mut found = Vec::new();
        for table in ["tcp", "tcp6"] {
            let path = self.proc.join(pid.to_string()).join("net").join(table);
            let Ok(file) = File::open(path) else { continue };
            let table = BufReader::new(file.take(MAX_TABLE));
            let Ok(TcpNetEntries(entries)) = TcpNetEntries::from_buf_read(table, &SYSTEM) else { continue };
            let listens = entries.into_iter().filter(|entry| entry.state == TcpState::Listen);
            let own = listens.filter(|entry| sockets.contains(&entry.inode));
            found.extend(own.map(|entry| entry.local_address.to_string()));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Process, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the kernel has in memory must do: a network file system that hangs is not asked.
fn is_regular(path: &Path) -> bool {
    let found = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE);
    found.is_ok_and(|found| FileType::from_raw_mode(u32::from(found.stx_mode)) == FileType::RegularFile)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn files_and_addresses_of_this_process() {
        let kept = tempfile::NamedTempFile::new().expect("a file");
        let four = TcpListener::bind("127.0.0.1:0").expect("bind");
        let six = TcpListener::bind("[::1]:0").expect("bind");
        let files = Files::new(Path::new("/proc"));
        let pid = std::process::id();
        let start =
            Proc::open(Path::new("/proc")).expect("/proc").start(pid, &mut Vec::new()).expect("start");
        let process = Process { pid, start };
        let open = files.open_files(process).expect("open files");
        assert!(open.contains(&kept.path().display().to_string()), "{open:?}");
        assert!(!open.iter().any(|path| path.starts_with("/dev/")), "{open:?}");
        let listening = files.listening(process).expect("addresses");
        for address in [four.local_addr(), six.local_addr()] {
            assert!(listening.contains(&address.expect("bound").to_string()), "{listening:?}");
        }
        assert_eq!(
            files.open_files(Process { pid, start: start + 1000 }),
            None,
            "another process of this pid"
        );
        assert_eq!(files.listening(Process { pid: u32::MAX, start: 1 }), None);
    }
}
