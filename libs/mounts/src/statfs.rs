//! Asking file systems how full they are, on threads of the plugin's own: the
//! call does not come back while a network file system's server is away, and
//! nothing can make it.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, StatVfs};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How full a file system is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in all.
    pub size: u64,
    /// Bytes that are taken.
    pub used: u64,
    /// Bytes that are free, but for root alone.
    pub reserved: u64,
    /// Inodes in all; 0 where they are made as needed.
    pub inodes: u64,
    /// Inodes that are taken.
    pub inodes_used: u64,
}

impl From<StatVfs> for Usage {
    fn from(stat: StatVfs) -> Self {
        // Network and FUSE file systems answer with what their server says,
        // which need not make sense; none of it may overflow.
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Self {
            size: bytes(stat.f_blocks),
            used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
            reserved: bytes(stat.f_bfree.saturating_sub(stat.f_bavail)),
            inodes: stat.f_files,
            inodes_used: stat.f_files.saturating_sub(stat.f_ffree),
        }
    }
}

/// Asks one file system, by a path from the node's root. May never come back.
pub type Ask = dyn Fn(&Path) -> io::Result<Usage> + Send + Sync;

/// Asks the kernel, with paths taken beneath `root`.
pub fn beneath(root: PathBuf) -> Arc<Ask> {
    let asked = move |path: &Path| -> Result<StatVfs, Errno> {
        if root == Path::new("/") {
            return rustix::fs::statvfs(path);
        }
        let relative = path.strip_prefix("/").unwrap_or(path);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root_dir = rustix::fs::openat(CWD, &root, flags, Mode::empty())?;
        // A link on the way, seen from here, would lead out of the node's root.
        let here = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let file = rustix::fs::openat2(root_dir, here, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
        rustix::fs::fstatvfs(file)
    };
    Arc::new(move |path| Ok(asked(path)?.into()))
}

/// The answer of one file system.
#[derive(Debug)]
pub enum Answer {
    /// It answered in time.
    Known(Usage),
    /// It answered with an error.
    Failed(io::Error),
    /// It has not answered for so long.
    Stuck(Duration),
    /// It was not asked: all threads are stuck elsewhere.
    NotAsked,
    /// It was not asked before time was up: the machine is overloaded, or this process was
    /// stopped for a while. It says nothing of the file system.
    NoTime,
}

/// So many threads may be stuck at once; 8 MiB of address space and some 20 KiB
/// of memory each. More mounts that hang are not asked, and that is said.
pub const MAX_THREADS: usize = 16;

/// Where nothing was answered for so long, the thread is taken to be stuck and
/// another one is made: 16 of them within a fraction of the default time-out.
const PATIENCE: Duration = Duration::from_millis(5);

/// The threads, and what they are doing.
#[derive(Debug)]
pub struct Asker {
    shared: Arc<Shared>,
    handles: HashMap<u64, JoinHandle<()>>,
    next: u64,
}

struct Shared {
    ask: Arc<Ask>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<PathBuf>,
    /// What a thread is at, and since when.
    busy: HashMap<PathBuf, Instant>,
    answers: HashMap<PathBuf, io::Result<Usage>>,
    threads: usize,
    idle: usize,
    ended: Vec<u64>,
    stop: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Asker {
    /// Without a thread yet.
    pub fn new(ask: Arc<Ask>) -> Self {
        let shared = Shared { ask, state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), handles: HashMap::new(), next: 0 }
    }

    /// Asks all of `paths`, and gives their answers in the same order. Waits no
    /// longer than `timeout` for all of them together.
    pub fn ask<'a>(
        &mut self,
        paths: impl Iterator<Item = &'a Path> + Clone,
        timeout: Duration,
    ) -> Vec<Answer> {
        let begun = Instant::now();
        self.join_ended();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        state.answers.clear();
        state.queue.clear();
        for path in paths.clone() {
            if state.stuck_at(path).is_none() {
                state.queue.push_back(path.to_owned());
            }
        }
        let wanted = state.queue.len();
        shared.changed.notify_all();
        let mut progress = (wanted, Instant::now());
        // A stuck one that comes back meanwhile is an answer more than wanted.
        while state.answers.len() < wanted {
            if state.queue.len() != progress.0 {
                progress = (state.queue.len(), Instant::now());
            }
            let spent = begun.elapsed();
            if spent >= timeout {
                break;
            }
            let blocked = state.threads == 0 || progress.1.elapsed() >= PATIENCE;
            if blocked && !state.queue.is_empty() && state.idle == 0 && state.threads < MAX_THREADS {
                if self.add_thread(&mut state).is_err() {
                    break;
                }
                progress.1 = Instant::now();
            }
            let more_could_help = !state.queue.is_empty() && state.threads < MAX_THREADS;
            let wait = if more_could_help { PATIENCE.min(timeout - spent) } else { timeout - spent };
            state = shared.wait(state, wait);
        }
        // What nobody has begun with is not begun with when nobody waits for it.
        state.queue.clear();
        paths.map(|path| state.take(path)).collect()
    }

    fn add_thread(&mut self, state: &mut State) -> io::Result<()> {
        let (shared, id) = (Arc::clone(&self.shared), self.next);
        let thread = std::thread::Builder::new().name("statfs".to_owned()).spawn(move || shared.work(id))?;
        self.next += 1;
        self.handles.insert(id, thread);
        state.threads += 1;
        Ok(())
    }

    fn join_ended(&mut self) {
        let ended = std::mem::take(&mut self.shared.lock().ended);
        for handle in ended.iter().filter_map(|id| self.handles.remove(id)) {
            // A thread that panicked has said so in the log.
            let _ = handle.join();
        }
    }

    /// Ends the threads. Those that are stuck are left behind: they end when
    /// the kernel lets them. The others are joined. Their number is given.
    pub fn stop(&mut self, deadline: Duration) -> usize {
        let begun = Instant::now();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        state.stop = true;
        state.queue.clear();
        shared.changed.notify_all();
        // One that is busy for longer than any disk takes will not be waited for.
        let patience = deadline.min(Duration::from_millis(250));
        while state.threads > 0 {
            let spent = begun.elapsed();
            let only_stuck = state.threads == state.busy.len()
                && state.busy.values().all(|since| since.elapsed() >= patience);
            if only_stuck || spent >= deadline {
                break;
            }
            state = shared.wait(state, patience.max(PATIENCE).min(deadline - spent));
        }
        let left = state.threads;
        drop(state);
        self.join_ended();
        left
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stop = true;
        state.queue.clear();
        self.shared.changed.notify_all();
    }
}

impl State {
    /// Since when a thread is stuck at a path, or at one above it: what is
    /// mounted on a hung file system cannot be reached either.
    fn stuck_at(&self, path: &Path) -> Option<Instant> {
        let covers = |stuck: &Path| stuck == path || (stuck != Path::new("/") && path.starts_with(stuck));
        self.busy.iter().filter(|(stuck, _)| covers(stuck)).map(|(_, since)| *since).min()
    }

    fn take(&mut self, path: &Path) -> Answer {
        match self.answers.remove(path) {
            Some(Ok(usage)) => Answer::Known(usage),
            Some(Err(error)) => Answer::Failed(error),
            None => match self.stuck_at(path) {
                Some(since) => Answer::Stuck(since.elapsed()),
                None if self.busy.len() < MAX_THREADS => Answer::NoTime,
                None => Answer::NotAsked,
            },
        }
    }
}

impl Shared {
    /// The state is whole whenever the lock is free: no code of others runs under it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    fn work(&self, id: u64) {
        let mut state = self.lock();
        while !state.stop {
            if let Some(path) = state.queue.pop_front() {
                state.busy.insert(path.clone(), Instant::now());
                drop(state);
                let answer = (self.ask)(&path);
                state = self.lock();
                state.busy.remove(&path);
                state.answers.insert(path, answer);
                // Only the last answer, and those of the once stuck, end a wait.
                if state.queue.is_empty() {
                    self.changed.notify_all();
                }
            } else if state.idle > 0 {
                // One that waits is enough for the next collection.
                break;
            } else {
                state.idle += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
        state.threads -= 1;
        state.ended.push(id);
        self.changed.notify_all();
    }
}
