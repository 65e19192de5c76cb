//! What lies in a process's memory, its environment and its command line, read
//! by another thread: the kernel takes the process's `mmap_lock` for it
//! (access_remote_vm in mm/memory.c), and whoever holds that may sleep for ever,
//! on a file system that hangs.

use super::super::read::Proc;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Such a read takes some 10 µs; a machine that has no processor for it in this
/// time has other worries.
const DEADLINE: Duration = Duration::from_millis(200);

/// The most threads that are left behind in reads that do not end. Then nothing
/// is read until one of them comes back.
const MAX_STUCK: usize = 8;

/// It calls `open` and `read`.
const STACK: usize = 64 << 10;

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    Environ,
    Cmdline,
}

struct Question {
    pid: u32,
    file: File,
    buffer: Vec<u8>,
}

type Answer = (Vec<u8>, bool);

#[derive(Debug)]
struct Helper {
    ask: SyncSender<Question>,
    answers: Receiver<Answer>,
    /// Nobody waits for it any more.
    is_left: Arc<AtomicBool>,
}

/// Who reads; the thread begins with the first question.
#[derive(Debug)]
pub struct Memory {
    proc: PathBuf,
    helper: Option<Helper>,
    /// Threads that were left behind and have not come back.
    stuck: Arc<AtomicUsize>,
}

impl Memory {
    pub fn of(proc: &Path) -> Self {
        Self { proc: proc.to_owned(), helper: None, stuck: Arc::default() }
    }

    /// Reads a file of a process, as far as there is room for it in a bounded
    /// buffer; whether it could be read, and in time.
    pub fn read(&mut self, pid: u32, file: File, buffer: &mut Vec<u8>) -> bool {
        let helper = match self.helper.take() {
            Some(helper) => helper,
            None => match self.start() {
                Ok(helper) => helper,
                Err(error) => {
                    tracing::warn!("identity: environments are not read: {error}");
                    return false;
                }
            },
        };
        let question = Question { pid, file, buffer: std::mem::take(buffer) };
        if helper.ask.send(question).is_err() {
            return false;
        }
        match helper.answers.recv_timeout(DEADLINE) {
            Ok((read, is_read)) => {
                *buffer = read;
                self.helper = Some(helper);
                is_read
            }
            Err(_) => {
                // Before it can see that nobody waits for it, as `helper` goes.
                self.stuck.fetch_add(1, Relaxed);
                helper.is_left.store(true, Relaxed);
                tracing::warn!(
                    "/proc/{pid}: its memory could not be read within {DEADLINE:?}; the process may hang in a \
                     file system, and its environment is not known"
                );
                false
            }
        }
    }

    fn start(&self) -> io::Result<Helper> {
        if self.stuck.load(Relaxed) >= MAX_STUCK {
            return Err(io::Error::other(format!("{MAX_STUCK} reads of processes' memory hang")));
        }
        let proc = Proc::open(&self.proc)?;
        let (ask, questions) = sync_channel::<Question>(1);
        let (tell, answers) = sync_channel::<Answer>(1);
        let is_left = Arc::new(AtomicBool::new(false));
        let (stuck, was_left) = (self.stuck.clone(), is_left.clone());
        let work = move || {
            while let Ok(Question { pid, file, mut buffer }) = questions.recv() {
                let read = match file {
                    File::Environ => proc.environ(pid, &mut buffer),
                    File::Cmdline => proc.cmdline(pid, &mut buffer),
                };
                if tell.send((buffer, read.is_ok())).is_err() {
                    break;
                }
            }
            if was_left.load(Relaxed) {
                stuck.fetch_sub(1, Relaxed);
            }
        };
        std::thread::Builder::new().name("identity-reads".to_owned()).stack_size(STACK).spawn(work)?;
        Ok(Helper { ask, answers, is_left })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::time::Instant;

    #[test]
    fn one_that_hangs_is_left_behind_and_counted_until_it_is_back() {
        let root = tempfile::tempdir().expect("a directory");
        let of = |pid: u32| root.path().join(pid.to_string()).join("environ");
        for pid in [1_u32, 2] {
            std::fs::create_dir(root.path().join(pid.to_string())).expect("a directory");
        }
        std::fs::write(of(1), "A=b\0").expect("a file");
        // Whoever opens a pipe that nobody writes to waits, as for a lock.
        mknodat(CWD, of(2), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
        let mut memory = Memory::of(root.path());
        let mut buffer = Vec::new();
        assert!(memory.read(1, File::Environ, &mut buffer));
        assert_eq!(buffer, b"A=b\0");
        assert!(!memory.read(1, File::Cmdline, &mut buffer), "there is none");
        for stuck in 1..=MAX_STUCK {
            assert!(!memory.read(2, File::Environ, &mut buffer));
            assert_eq!(memory.stuck.load(Relaxed), stuck);
            if stuck < MAX_STUCK {
                assert!(memory.read(1, File::Environ, &mut buffer), "another one reads on");
            }
        }
        assert!(!memory.read(1, File::Environ, &mut buffer), "there are too many");
        drop(std::fs::OpenOptions::new().write(true).open(of(2)).expect("they wait for it"));
        let until = Instant::now() + Duration::from_secs(60);
        while memory.stuck.load(Relaxed) > 0 {
            assert!(Instant::now() < until, "they come back");
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        assert!(memory.read(1, File::Environ, &mut buffer));
    }
}
