//! Looking at programs, on a thread of its own: what a process runs may lie on a
//! file system that hangs, and its command line behind a lock of whoever waits
//! for that one (`access_remote_vm` in mm/memory.c). Neither a collection nor
//! whoever holds a lock may wait there.
//!
//! A collection waits for the answers for a moment; what comes later counts in
//! the next one. Who is at the same process still by then hangs, and is left
//! behind.

use super::{binary, names};
use gantry_plugin_api::identity::Process;
use gantry_plugin_api::tracing;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, readlinkat, statx};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a collection waits: 256 new processes take some 30 ms.
const PATIENCE: Duration = Duration::from_millis(200);

/// The most threads that are left behind. Then nothing is looked at until one of
/// them comes back.
const MAX_STUCK: usize = 8;

/// Besides system calls it reads headers of ELF files.
const STACK: usize = 256 << 10;

/// The most that is read of a command line: the names of Java's main classes
/// stand behind a class path of some KiB.
const MAX_COMMAND: u64 = 32 << 10;

/// Binaries that were looked into; more are forgotten together.
const MAX_BINARIES: usize = 4096;

/// Device and inode of a program, and when it was changed; zeros where that
/// cannot be seen.
pub type Program = (u64, u64, i64);

/// What is to be found out.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    pub process: Process,
    /// Who asked, for who hears the answer.
    pub round: u32,
    /// What it ran the last time; only another program is looked at.
    pub known: Option<Program>,
}

/// What was found out.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub application: Option<&'static str>,
    pub language: Option<&'static str>,
    pub program: Program,
}

/// `None`: it runs what it ran.
pub type Answer = (Question, Option<Found>);

/// What came of a collection's questions, and of those before them.
#[derive(Debug, Default)]
pub struct Looked {
    pub answers: Vec<Answer>,
    /// Whoever looked at this one hangs.
    pub hung: Option<Question>,
    /// One that hung does no more.
    pub is_back: bool,
    /// Questions that nobody was there for.
    pub not_asked: u64,
}

#[derive(Debug)]
struct Batch {
    questions: Vec<Question>,
    /// In the order of the questions.
    answers: Mutex<Vec<Answer>>,
}

impl Batch {
    fn answered(&self) -> usize {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[derive(Debug)]
struct Helper {
    ask: SyncSender<Arc<Batch>>,
    done: Receiver<()>,
    /// Nobody waits for it any more.
    is_left: Arc<AtomicBool>,
}

/// A batch that was not done in time.
#[derive(Debug)]
struct Late {
    batch: Arc<Batch>,
    /// So many of its answers were taken.
    taken: usize,
}

/// Who looks; the thread begins with the first question.
#[derive(Debug)]
pub struct Looks {
    proc: PathBuf,
    helper: Option<Helper>,
    late: Option<Late>,
    /// Threads that were left behind, and how many of them came back.
    left: usize,
    returned: Arc<AtomicUsize>,
    seen_returned: usize,
}

impl Looks {
    pub fn new(proc: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            helper: None,
            late: None,
            left: 0,
            returned: Arc::default(),
            seen_returned: 0,
        }
    }

    /// Looks at programs; waits for a moment at most.
    pub fn look(&mut self, questions: Vec<Question>) -> Looked {
        let mut looked = Looked::default();
        let returned = self.returned.load(Relaxed);
        looked.is_back = std::mem::replace(&mut self.seen_returned, returned) != returned;
        if let Some(late) = self.late.take() {
            let at = late.batch.answered();
            if at == late.taken && at < late.batch.questions.len() {
                looked.hung = self.leave(&late);
            } else {
                self.wait(late, &mut looked);
            }
        }
        let is_hung = |question: &Question| {
            looked.hung.is_some_and(|hung| (hung.process, hung.round) == (question.process, question.round))
        };
        let questions: Vec<Question> = questions.into_iter().filter(|question| !is_hung(question)).collect();
        // What is asked for while somebody is at what was asked before is asked for again.
        if questions.is_empty() || self.late.is_some() {
            return looked;
        }
        let count = questions.len() as u64;
        let batch = Arc::new(Batch { questions, answers: Mutex::default() });
        if self.hand(&batch) {
            self.wait(Late { batch, taken: 0 }, &mut looked);
        } else {
            looked.not_asked = count;
        }
        looked
    }

    fn hand(&mut self, batch: &Arc<Batch>) -> bool {
        if self.helper.is_none() {
            match self.start() {
                Ok(helper) => self.helper = Some(helper),
                Err(error) => {
                    tracing::warn!("application types: programs are not looked at: {error}");
                    return false;
                }
            }
        }
        let handed = self.helper.as_ref().is_some_and(|helper| helper.ask.send(batch.clone()).is_ok());
        if !handed {
            self.helper = None;
        }
        handed
    }

    /// Takes what was answered, and waits for the rest.
    fn wait(&mut self, mut late: Late, looked: &mut Looked) {
        let Some(helper) = &self.helper else { return };
        let done = helper.done.recv_timeout(PATIENCE);
        let answers = late.batch.answers.lock().unwrap_or_else(PoisonError::into_inner);
        looked.answers.extend_from_slice(answers.get(late.taken..).unwrap_or_default());
        late.taken = answers.len();
        drop(answers);
        match done {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => self.late = Some(late),
            // It panicked at this one.
            Err(RecvTimeoutError::Disconnected) => {
                self.helper = None;
                looked.hung = late.batch.questions.get(late.taken).copied();
            }
        }
    }

    /// The process at which somebody hangs.
    fn leave(&mut self, late: &Late) -> Option<Question> {
        let helper = self.helper.take()?;
        self.left += 1;
        // Before it can see that nobody waits for it, as `helper` goes.
        helper.is_left.store(true, Relaxed);
        let question = late.batch.questions.get(late.taken).copied()?;
        tracing::warn!(
            "/proc/{}: its program or its command line could not be read; it may hang in a file system, and \
             its application type is not shown",
            question.process.pid
        );
        Some(question)
    }

    fn start(&self) -> io::Result<Helper> {
        if self.left.saturating_sub(self.returned.load(Relaxed)) >= MAX_STUCK {
            return Err(io::Error::other(format!("{MAX_STUCK} looks at programs hang")));
        }
        let (ask, batches) = sync_channel::<Arc<Batch>>(1);
        let (tell, done) = sync_channel::<()>(1);
        let is_left = Arc::new(AtomicBool::new(false));
        let (returned, was_left) = (self.returned.clone(), is_left.clone());
        let mut eyes = Eyes { proc: self.proc.clone(), binaries: HashMap::new() };
        let work = move || {
            while let Ok(batch) = batches.recv() {
                for question in &batch.questions {
                    let answer = eyes.answer(*question);
                    batch.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                    if was_left.load(Relaxed) {
                        break;
                    }
                }
                if tell.send(()).is_err() {
                    break;
                }
            }
            if was_left.load(Relaxed) {
                returned.fetch_add(1, Relaxed);
            }
        };
        std::thread::Builder::new().name("programs".to_owned()).stack_size(STACK).spawn(work)?;
        Ok(Helper { ask, done, is_left })
    }

    /// Ends the thread; how many are stuck and left behind.
    pub fn stop(&mut self, deadline: Duration) -> usize {
        let until = Instant::now() + deadline;
        let stuck = self.left.saturating_sub(self.returned.load(Relaxed));
        let Some(Helper { ask, done, .. }) = self.helper.take() else { return stuck };
        drop(ask);
        // What it was at first, and then its end, by which the other half goes.
        loop {
            match done.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return stuck,
                Err(RecvTimeoutError::Timeout) => return stuck + 1,
            }
        }
    }
}

/// What the thread has.
struct Eyes {
    proc: PathBuf,
    /// Many processes run one binary.
    binaries: HashMap<Program, Option<&'static str>>,
}

impl Eyes {
    fn answer(&mut self, question: Question) -> Answer {
        let dir = self.proc.join(question.process.pid.to_string());
        // Before it is looked at: what it runs in between is seen at its next turn.
        let program = program(&dir);
        if question.known == Some(program) {
            return (question, None);
        }
        let (application, language) = (application(&dir), self.language(&dir, program));
        (question, Some(Found { application, language, program }))
    }

    /// What the process's program was built with. `/proc/PID/exe` opens the
    /// file that runs, whatever lies at its path now.
    fn language(&mut self, dir: &Path, program: Program) -> Option<&'static str> {
        if let Some(known) = self.binaries.get(&program) {
            return *known;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(openat(CWD, dir.join("exe"), flags, Mode::empty()).ok()?);
        if self.binaries.len() >= MAX_BINARIES {
            self.binaries.clear();
        }
        let found = binary::language(file);
        if program != Program::default() {
            self.binaries.insert(program, found);
        }
        found
    }
}

/// What a process runs, as far as the kernel knows without asking a server.
pub fn program(dir: &Path) -> Program {
    let wanted = StatxFlags::INO | StatxFlags::MTIME;
    let seen = statx(CWD, dir.join("exe"), AtFlags::STATX_DONT_SYNC, wanted);
    seen.map_or_else(
        |_| Program::default(),
        |seen| {
            let device = rustix::fs::makedev(seen.stx_dev_major, seen.stx_dev_minor);
            (device, seen.stx_ino, seen.stx_mtime.tv_sec)
        },
    )
}

fn application(dir: &Path) -> Option<&'static str> {
    let mut command = Vec::new();
    if let Ok(file) = File::open(dir.join("cmdline")) {
        let _ = file.take(MAX_COMMAND).read_to_end(&mut command);
    }
    let exe = readlinkat(CWD, dir.join("exe"), Vec::with_capacity(256)).ok();
    let exe = exe.as_ref().and_then(|path| path.to_str().ok()).unwrap_or_default();
    names::of(&command, exe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FileType, mknodat};

    fn asked(pid: u32) -> Vec<Question> {
        vec![Question { process: Process { pid, start: 1 }, round: 1, known: None }]
    }

    #[test]
    fn one_that_hangs_is_left_behind_until_it_is_back() {
        let root = tempfile::tempdir().expect("a directory");
        let of = |pid: u32| root.path().join(pid.to_string()).join("cmdline");
        for pid in [1_u32, 2] {
            std::fs::create_dir(root.path().join(pid.to_string())).expect("a directory");
        }
        std::fs::write(of(1), "nginx\0").expect("a file");
        // Whoever opens a pipe that nobody writes to waits, as for a lock.
        mknodat(CWD, of(2), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
        let mut looks = Looks::new(root.path());
        let types = |looked: &Looked| -> Vec<Option<&str>> {
            looked.answers.iter().map(|(_, found)| found.expect("new").application).collect()
        };
        assert_eq!(types(&looks.look(asked(1))), [Some("nginx")]);
        for stuck in 1..=MAX_STUCK {
            let both = [asked(1), asked(2), asked(1)].concat();
            let looked = looks.look(both);
            assert_eq!(
                (types(&looked), looked.hung.is_some()),
                (vec![Some("nginx")], false),
                "it may be slow"
            );
            let looked = looks.look(asked(1));
            assert_eq!(looked.hung.map(|hung| hung.process.pid), Some(2));
            assert_eq!(looks.left, stuck);
            assert_eq!(looked.not_asked, u64::from(stuck == MAX_STUCK), "another one looks on");
        }
        assert_eq!(looks.look(asked(1)).not_asked, 1, "there are too many");
        assert_eq!(looks.stop(Duration::ZERO), MAX_STUCK);
        drop(std::fs::OpenOptions::new().write(true).open(of(2)).expect("they wait for it"));
        let until = Instant::now() + Duration::from_secs(60);
        while looks.returned.load(Relaxed) < MAX_STUCK {
            assert!(Instant::now() < until, "they come back");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let looked = looks.look(asked(1));
        assert_eq!((types(&looked), looked.is_back), (vec![Some("nginx")], true));
        assert_eq!(looks.stop(Duration::from_secs(60)), 0);
    }
}
