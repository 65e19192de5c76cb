//! What a process holds open: regular files, and sockets that it listens at.
//! Kept for some seconds, so that no two plugins walk `/proc/PID/fd`.

use super::read::Proc;
use super::state::same_start;
use gantry_plugin_api::identity::Process;
use procfs_core::net::TcpNetEntries;
use procfs_core::{ExplicitSystemInfo, FromBufReadSI};
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, readlinkat, statx};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most descriptors of one process that are looked at: 2 µs each. A
/// database has some thousand files open.
const MAX_DESCRIPTORS: usize = 8192;

/// The most bytes of one process's paths: a path may have 4 KiB, and most have 60.
const MAX_PATHS: usize = 1 << 20;

/// The most bytes that are kept of all; more are forgotten together. A process
/// with few files open takes some 200.
const MAX_KEPT: usize = 16 << 20;

/// How old an answer may be: several plugins ask at one collection.
const FRESH: Duration = Duration::from_secs(10);

/// The most that is read of one table of sockets: 400,000 lines of 150 bytes,
/// which the kernel writes in some 0.2 s. Of those only the ones that listen,
/// which are few, are held.
const MAX_TABLE: u64 = 64 << 20;

/// The most of them.
const MAX_LISTENING: usize = 8192;

/// Of a line of the table: the state of a socket that listens (`TCP_LISTEN` in
/// include/net/tcp_states.h), behind its number and its two addresses.
const LISTENS: &[u8] = b"0A";

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
    kept: Mutex<All>,
    /// Processes with more descriptors than are looked at.
    cut: AtomicU64,
    /// Tables of sockets that could not be read to their end.
    tables: AtomicU64,
}

#[derive(Debug, Default)]
struct All {
    by_process: HashMap<Process, Kept>,
    /// By network namespace: the table of one is read once for all of its processes.
    tables: HashMap<u64, Table>,
}

#[derive(Debug, Clone)]
struct Kept {
    at: Instant,
    open: Arc<Open>,
    listening: Option<Listening>,
}

/// Where a process listens, and when that was read.
#[derive(Debug, Clone)]
struct Listening {
    at: Instant,
    addresses: Arc<Vec<String>>,
}

/// The sockets of a network namespace that listen, by their inode numbers.
#[derive(Debug, Clone)]
struct Table {
    at: Instant,
    sockets: Arc<HashMap<u64, SocketAddr>>,
}

#[derive(Debug, Default)]
struct Open {
    files: Vec<String>,
    sockets: HashSet<u64>,
    /// That all of it takes.
    bytes: usize,
}

impl Kept {
    fn bytes(&self) -> usize {
        let listening = self.listening.as_ref().map_or(0, |known| {
            known.addresses.iter().map(|address| address.len() + size_of::<String>()).sum()
        });
        self.open.bytes + listening
    }
}

impl Table {
    fn bytes(&self) -> usize {
        // A map has room for more than it holds.
        self.sockets.len() * 2 * size_of::<(u64, SocketAddr)>()
    }
}

impl All {
    fn keep(&mut self, process: Process, kept: Kept) {
        self.make_room(kept.bytes());
        self.by_process.insert(process, kept);
    }

    fn keep_listening(&mut self, process: Process, listening: Listening) {
        if let Some(kept) = self.by_process.remove(&process) {
            self.keep(process, Kept { listening: Some(listening), ..kept });
        }
    }

    fn keep_table(&mut self, namespace: u64, table: Table) {
        self.make_room(table.bytes());
        self.tables.insert(namespace, table);
    }

    /// What is old is of no use: each insert drops it.
    fn make_room(&mut self, more: usize) {
        self.by_process.retain(|_, kept| kept.at.elapsed() < FRESH);
        self.tables.retain(|_, table| table.at.elapsed() < FRESH);
        if self.bytes() + more > MAX_KEPT {
            self.by_process.clear();
            self.tables.clear();
        }
    }

    fn bytes(&self) -> usize {
        let tables: usize = self.tables.values().map(Table::bytes).sum();
        self.by_process.values().map(Kept::bytes).sum::<usize>() + tables
    }
}

impl Files {
    pub fn new(proc: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            kept: Mutex::default(),
            cut: AtomicU64::new(0),
            tables: AtomicU64::new(0),
        }
    }

    /// What was not read, by reason.
    pub fn losses(&self) -> [(&'static str, u64); 2] {
        [("open_files", self.cut.load(Relaxed)), ("listening", self.tables.load(Relaxed))]
    }

    /// The regular files that a process holds open, as paths in its own root;
    /// `None` where there is no such process.
    pub fn open_files(&self, process: Process) -> Option<Vec<String>> {
        Some(self.of(process)?.open.files.clone())
    }

    /// Where it listens for TCP, as `ADDRESS:PORT`.
    pub fn listening(&self, process: Process) -> Option<Vec<String>> {
        let kept = self.of(process)?;
        if let Some(known) = kept.listening.filter(|known| known.at.elapsed() < FRESH) {
            return Some(known.addresses.to_vec());
        }
        let mut listening = Listening { at: Instant::now(), addresses: Arc::default() };
        if !kept.open.sockets.is_empty() {
            let table = self.table(process.pid);
            let own = kept.open.sockets.iter().filter_map(|socket| table.sockets.get(socket));
            let mut addresses: Vec<String> = own.map(SocketAddr::to_string).collect();
            addresses.sort_unstable();
            addresses.dedup();
            listening = Listening { at: table.at, addresses: Arc::new(addresses) };
        }
        self.lock().keep_listening(process, listening.clone());
        Some(listening.addresses.to_vec())
    }

    fn of(&self, process: Process) -> Option<Kept> {
        if let Some(kept) = self.lock().by_process.get(&process).filter(|kept| kept.at.elapsed() < FRESH) {
            return Some(kept.clone());
        }
        let start = Proc::open(&self.proc).ok()?.start(process.pid, &mut Vec::new()).ok()?;
        if process.start != 0 && !same_start(start, process.start) {
            return None;
        }
        let open = Arc::new(self.read(process.pid)?);
        let kept = Kept { at: Instant::now(), open, listening: None };
        self.lock().keep(process, kept.clone());
        Some(kept)
    }

    fn read(&self, pid: u32) -> Option<Open> {
        let directory = self.proc.join(pid.to_string()).join("fd");
        let mut open = Open::default();
        let mut paths = 0;
        for (count, entry) in std::fs::read_dir(&directory).ok()?.flatten().enumerate() {
            if count >= MAX_DESCRIPTORS || paths >= MAX_PATHS {
                self.cut.fetch_add(1, Relaxed);
                break;
            }
            let path = entry.path();
            let Ok(link) = readlinkat(CWD, &path, Vec::with_capacity(256)) else { continue };
            let Ok(link) = link.to_str() else { continue };
            if let Some(socket) = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                open.sockets.extend(socket.parse::<u64>());
            } else if link.starts_with('/') && is_regular(&path) {
                paths += link.len();
                open.files.push(link.to_owned());
            }
        }
        open.files.sort_unstable();
        open.files.dedup();
        open.bytes =
            paths + open.files.len() * size_of::<String>() + open.sockets.len() * size_of::<u64>() * 2;
        Some(open)
    }

    /// The sockets that listen in the network namespace of a process. Where
    /// that cannot be told the table is read for the process alone.
    fn table(&self, pid: u32) -> Table {
        let namespace = Proc::open(&self.proc).ok().and_then(|proc| proc.network_namespace(pid));
        let is_fresh = |table: &&Table| table.at.elapsed() < FRESH;
        if let Some(known) =
            namespace.and_then(|inode| self.lock().tables.get(&inode).filter(is_fresh).cloned())
        {
            return known;
        }
        let table = Table { at: Instant::now(), sockets: Arc::new(self.sockets(pid)) };
        if let Some(namespace) = namespace {
            self.lock().keep_table(namespace, table.clone());
        }
        table
    }

    fn sockets(&self, pid: u32) -> HashMap<u64, SocketAddr> {
        let mut found = HashMap::new();
        for table in ["tcp", "tcp6"] {
            let path = self.proc.join(pid.to_string()).join("net").join(table);
            let Ok(file) = File::open(path) else { continue };
            let (lines, is_whole) = listening(BufReader::new(file.take(MAX_TABLE)));
            let entries = TcpNetEntries::from_buf_read(lines.as_slice(), &SYSTEM);
            if !is_whole || entries.is_err() {
                self.tables.fetch_add(1, Relaxed);
            }
            let entries = entries.map_or_else(|_| Vec::new(), |TcpNetEntries(entries)| entries);
            found.extend(entries.into_iter().map(|entry| (entry.inode, entry.local_address)));
        }
        found
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, All> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first line of a table of sockets and those that listen; whether that is
/// all of them.
fn listening(mut table: impl BufRead) -> (Vec<u8>, bool) {
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    for count in 0_usize.. {
        line.clear();
        match table.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) if line.last() == Some(&b'\n') => {}
            // It ends within a line: there is more than is read.
            Ok(_) | Err(_) => return (lines, false),
        }
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        if count == 0 || fields.nth(3) == Some(LISTENS) {
            if lines.len() >= MAX_LISTENING * line.len() {
                return (lines, false);
            }
            lines.extend_from_slice(&line);
        }
    }
    (lines, true)
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
    fn a_table_of_any_length_is_read_as_far_as_it_goes() {
        let line = |number: u32, state: &str| {
            format!(
                "{number:4}: 0100007F:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 {number} 1\n"
            )
        };
        let mut table = "  sl  local_address rem_address   st\n".to_owned();
        (0..1000).for_each(|number| table += &line(number, if number % 100 == 0 { "0A" } else { "01" }));
        let count = |lines: &[u8]| lines.iter().filter(|byte| **byte == b'\n').count();
        let (lines, is_whole) = listening(table.as_bytes());
        assert_eq!((count(&lines), is_whole), (11, true));
        let (lines, is_whole) = listening(&table.as_bytes()[..table.len() / 2]);
        assert_eq!((count(&lines), is_whole), (6, false), "cut within a line");
        let many: String = (0..20_000).map(|number| line(number, "0A")).collect();
        let (lines, is_whole) = listening(many.as_bytes());
        assert!(!is_whole && count(&lines) >= MAX_LISTENING && lines.len() < 2 * MAX_LISTENING * 150);
    }

    #[test]
    fn answers_are_bounded_by_their_bytes() {
        let mut all = All::default();
        let kept = |bytes| Kept {
            at: Instant::now(),
            open: Arc::new(Open { bytes, ..Open::default() }),
            listening: None,
        };
        for pid in 0..1000 {
            all.keep(Process { pid, start: 1 }, kept(MAX_KEPT / 100));
            assert!(all.bytes() <= MAX_KEPT);
        }
        assert!(all.by_process.len() > 50);
        let address = "[2001:db8:1:2:3:4:5:6]:65535".to_owned();
        let many = Arc::new(vec![address; MAX_KEPT / 5000]);
        for pid in 0..1000 {
            let listening = Listening { at: Instant::now(), addresses: many.clone() };
            all.keep(Process { pid, start: 1 }, kept(100));
            all.keep_listening(Process { pid, start: 1 }, listening);
            assert!(all.bytes() <= MAX_KEPT, "addresses count too");
        }
        let any = SocketAddr::from(([127, 0, 0, 1], 80));
        let sockets: Arc<HashMap<u64, SocketAddr>> = Arc::new((0..8192).map(|inode| (inode, any)).collect());
        for namespace in 0..1000 {
            all.keep_table(namespace, Table { at: Instant::now(), sockets: sockets.clone() });
            assert!(all.bytes() <= MAX_KEPT, "tables count too");
        }
        assert!(all.tables.len() > 5);
    }

    #[test]
    fn a_namespace_s_table_is_read_once_for_all_of_its_processes() {
        let root = tempfile::tempdir().expect("a directory");
        let line = |number: u32, port: u32| {
            format!(
                "{number:4}: 0100007F:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {number} 1\n"
            )
        };
        let make = |pid: u32, namespace: u64, port: u32| {
            let directory = root.path().join(pid.to_string());
            for name in ["fd", "net", "ns"] {
                std::fs::create_dir_all(directory.join(name)).expect("a directory");
            }
            let stat = format!("{pid} (a) S 1 7 7 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 100 1\n");
            std::fs::write(directory.join("stat"), stat).expect("a file");
            std::fs::write(directory.join("net/tcp"), format!("head\n{}", line(pid, port))).expect("a file");
            let link = |to: String, name: &str| {
                std::os::unix::fs::symlink(to, directory.join(name)).expect("a link");
            };
            link(format!("net:[{namespace}]"), "ns/net");
            link(format!("socket:[{pid}]"), "fd/3");
        };
        // What each process's table says shows whose was read.
        make(10, 7, 80);
        make(11, 7, 81);
        make(12, 8, 82);
        let files = Files::new(root.path());
        let listening = |pid| files.listening(Process { pid, start: 100 }).expect("it is there");
        assert_eq!(listening(10), ["127.0.0.1:80"]);
        assert!(listening(11).is_empty(), "its own table was not read, and 10's has no socket of it");
        assert_eq!(listening(12), ["127.0.0.1:82"], "another namespace");
        assert_eq!(files.lock().tables.len(), 2);
    }

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
