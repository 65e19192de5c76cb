//! The child as a process, from its start to its end.
//!
//! It has a thread here that starts it, takes what it prints and waits for its
//! end: a child is told of its parent's death by the end of the *thread* that
//! started it (prctl(2), `PR_SET_PDEATHSIG`), so that thread lives as long.

use super::lock;
use super::output::Stream;
use super::runner::OPTION;
use crate::notify;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// A child of which one socket has ended is about to end itself: the kernel
/// closes its files first. One that does not is killed.
const DYING: Duration = Duration::from_secs(1);

/// A process that was killed is gone when the system call that it is in has
/// ended; on a disk that hangs that may be never.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// Of its output so much is taken at once; then it has to wait for
/// [`BREATH`]: 6 MiB a second, a hundred times what the log takes.
const GULP: usize = 64 << 10;
const BREATH: Duration = Duration::from_millis(10);

/// Whom a child's end is told.
type Told = Box<dyn FnOnce() + Send>;

/// A child of this process.
pub struct Process {
    plugin: String,
    pid: u32,
    /// Signals by number could meet another process, after the child was
    /// waited for.
    handle: OwnedFd,
    /// Clones of the agent's ends: shut down, they end every wait for the child,
    /// also where some other process should hold the other ends.
    sockets: [UnixStream; 2],
    level: AtomicU32,
    fate: Mutex<Fate>,
    changed: Condvar,
    told: Mutex<Option<Told>>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("plugin", &self.plugin)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Fate {
    /// Why it was killed, where it was.
    why: Option<String>,
    /// How it ended, with its last words.
    ended: Option<String>,
    /// It got SIGKILL, and not from here.
    was_killed: bool,
    /// CPU time in all, from its end on.
    cpu: Option<Duration>,
}

/// A child, and the agent's ends of the sockets to it.
pub struct Spawned {
    pub process: Arc<Process>,
    pub calls: UnixStream,
    pub asks: UnixStream,
}

impl Process {
    /// Starts a child for a plugin that logs from a level on. It does nothing
    /// before it is told what.
    pub fn spawn(plugin: &str, level: u32) -> io::Result<Spawned> {
        let (calls, theirs) = UnixStream::pair()?;
        let (asks, their_asks) = UnixStream::pair()?;
        let sockets = [calls.try_clone()?, asks.try_clone()?];
        let (done, spawned) = mpsc::sync_channel(1);
        let name = plugin.to_owned();
        // 15 characters are what the kernel keeps of a thread's name.
        let thread = format!("i:{}", &plugin[..plugin.len().min(13)]);
        std::thread::Builder::new().name(thread).spawn(move || {
            let started = start(&name, theirs).and_then(|mut child| {
                let process = Self::of(&child, name, level, sockets);
                process.map(Arc::new).inspect_err(|_| end(&mut child)).map(|process| (child, process))
            });
            match started {
                Ok((child, process)) => {
                    // Whoever waits does so until this.
                    let _ = done.send(Ok(process.clone()));
                    process.keep(child);
                }
                Err(error) => drop(done.send(Err(error))),
            }
        })?;
        let process = spawned.recv().map_err(io::Error::other)??;
        // The second socket goes over the first one, so that no other child
        // that is started meanwhile can inherit it.
        super::wire::send_socket(&calls, &their_asks)
            .inspect_err(|error| process.kill(&format!("its second socket could not be sent: {error}")))?;
        Ok(Spawned { process, calls, asks })
    }

    fn of(child: &Child, plugin: String, level: u32, sockets: [UnixStream; 2]) -> io::Result<Self> {
        Ok(Self {
            plugin,
            pid: child.id(),
            handle: pidfd_open(Pid::from_child(child), PidfdFlags::empty())?,
            sockets,
            level: AtomicU32::new(level),
            fate: Mutex::default(),
            changed: Condvar::new(),
            told: Mutex::default(),
        })
    }

    /// Calls this when it is gone, however that came; at once where it is.
    pub fn when_gone(&self, told: impl FnOnce() + Send + 'static) {
        *lock(&self.told) = Some(Box::new(told));
        if lock(&self.fate).ended.is_some() {
            self.tell_gone();
        }
    }

    fn tell_gone(&self) {
        let told = lock(&self.told).take();
        if let Some(told) = told {
            told();
        }
    }

    pub fn set_log_level(&self, level: u32) {
        self.level.store(level, Relaxed);
    }

    /// Kills it. The first reason is the one that is told.
    pub fn kill(&self, why: &str) {
        {
            let mut fate = lock(&self.fate);
            if fate.ended.is_none() {
                fate.why.get_or_insert_with(|| why.to_owned());
            }
        }
        // It may have ended just now.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
        self.hang_up();
    }

    fn hang_up(&self) {
        for socket in &self.sockets {
            // One that has ended has no other end.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Nothing more came from it: how it ended, in words.
    pub fn how_it_ended(&self) -> String {
        if self.wait(DYING).is_none() {
            self.kill("it closed its connection to the agent");
        }
        let ended = self.wait(GONE_WITHIN);
        let why = lock(&self.fate).why.clone();
        match (why, ended) {
            (Some(why), _) => format!("its process was killed: {why}"),
            (None, Some(ended)) => format!("its process {ended}"),
            (None, None) => "its process does not end; is it waiting for a disk?".to_owned(),
        }
    }

    /// Whether somebody killed it, or the kernel did where memory is short: what it
    /// was at then is not to blame.
    pub fn was_killed(&self) -> bool {
        lock(&self.fate).was_killed
    }

    /// Ends it where nothing more is wanted of it, and waits until it is gone.
    pub fn end(&self) {
        self.kill("it is not wanted any more");
        self.wait(GONE_WITHIN);
    }

    fn wait(&self, at_most: Duration) -> Option<String> {
        let fate = self.changed.wait_timeout_while(lock(&self.fate), at_most, |fate| fate.ended.is_none());
        fate.unwrap_or_else(PoisonError::into_inner).0.ended.clone()
    }

    /// CPU time of all its threads so far.
    pub fn cpu(&self) -> Duration {
        let known = lock(&self.fate).cpu;
        known.or_else(|| cpu_of(self.pid)).unwrap_or_default()
    }

    /// Takes what it prints until it ends.
    fn keep(&self, mut child: Child) {
        let mut pipes = [
            Pipe::of(child.stdout.take().map(OwnedFd::from), Stream::output()),
            Pipe::of(child.stderr.take().map(OwnedFd::from), Stream::errors()),
        ];
        let mut breath = false;
        loop {
            let mut polled = vec![PollFd::new(&self.handle, PollFlags::IN)];
            if !breath {
                let open = pipes.iter().filter_map(|pipe| pipe.file.as_ref());
                polled.extend(open.map(|file| PollFd::new(file, PollFlags::IN)));
            }
            let timeout = breath.then(|| Timespec { tv_sec: 0, tv_nsec: BREATH.subsec_nanos().into() });
            // An interrupted wait is one more round.
            let _ = poll(&mut polled, timeout.as_ref());
            let over = !polled[0].revents().is_empty();
            let level = self.level.load(Relaxed);
            let taken: usize = pipes.iter_mut().map(|pipe| pipe.take(&self.plugin, level)).sum();
            if over {
                pipes.iter_mut().for_each(|pipe| pipe.stream.end(&self.plugin, level));
                return self.ended(&mut child, pipes[1].stream.last_words());
            }
            breath = taken >= GULP;
        }
    }

    fn ended(&self, child: &mut Child, last_words: Option<String>) {
        // Before it is waited for: then its number may be another's.
        let cpu = cpu_of(self.pid);
        let status = child.wait();
        let by_sigkill = status.as_ref().is_ok_and(|status| status.signal() == Some(Signal::KILL.as_raw()));
        let words = last_words.map(|words| format!("; its last words: {words}")).unwrap_or_default();
        let ended = match status {
            Ok(status) => format!("{}{words}", in_words(status)),
            Err(error) => format!("ended, and could not be waited for: {error}{words}"),
        };
        let mut fate = lock(&self.fate);
        (fate.ended, fate.cpu) = (Some(ended), Some(cpu.unwrap_or_default()));
        fate.was_killed = by_sigkill && fate.why.is_none();
        drop(fate);
        self.changed.notify_all();
        self.hang_up();
        self.tell_gone();
    }
}

fn start(plugin: &str, calls: UnixStream) -> io::Result<Child> {
    notify::withhold(&mut Command::new(own_binary()))
        // So that a listing of processes says what it is.
        .arg0("gantry")
        .arg(OPTION)
        .arg(plugin)
        .arg(std::process::id().to_string())
        .stdin(Stdio::from(OwnedFd::from(calls)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// By the file that this process was started from, whatever lies at its path now.
#[cfg(not(test))]
fn own_binary() -> std::path::PathBuf {
    "/proc/self/exe".into()
}

/// A unit test is another program, which lies in `deps/` beside the agent.
#[cfg(test)]
fn own_binary() -> std::path::PathBuf {
    let test = std::env::current_exe().expect("a test is a file");
    test.ancestors().nth(2).expect("it lies in a directory").join("gantry")
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// A pipe that the child prints into.
struct Pipe {
    file: Option<std::fs::File>,
    stream: Stream,
}

impl Pipe {
    fn of(pipe: Option<OwnedFd>, stream: Stream) -> Self {
        // Without that, a read could wait for a child that prints nothing.
        let file = pipe.filter(|pipe| fcntl_setfl(pipe, OFlags::NONBLOCK).is_ok()).map(std::fs::File::from);
        Self { file, stream }
    }

    /// Takes what is there, at most [`GULP`].
    fn take(&mut self, plugin: &str, level: u32) -> usize {
        let mut taken = 0;
        let mut buffer = [0; 4096];
        while let Some(file) = &mut self.file
            && taken < GULP
        {
            match file.read(&mut buffer) {
                Ok(0) => self.file = None,
                Ok(count) => {
                    taken += count;
                    self.stream.take(plugin, level, &buffer[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.file = None,
            }
        }
        taken
    }
}

/// `utime` and `stime` of all threads (proc_pid_stat(5), fields 14 and 15).
fn cpu_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()?.saturating_add(ticks()?);
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

fn in_words(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return match status.code() {
            Some(code) => format!("ended by itself with status {code}"),
            None => format!("ended with {status}"),
        };
    };
    format!("was ended by signal {signal} ({})", signal_in_words(signal))
}

/// `SIGSEGV, a segmentation fault` (signal(7)).
pub fn signal_in_words(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL, an illegal instruction",
        5 => "SIGTRAP",
        6 => "SIGABRT, its own abort",
        7 => "SIGBUS, a bus error",
        8 => "SIGFPE, an arithmetic error",
        9 => "SIGKILL, by the kernel where memory is short, or by somebody",
        11 => "SIGSEGV, a segmentation fault",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        31 => "SIGSYS, a system call that it may not make",
        _ => "a signal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn ends_are_told_in_words() {
        let words = |raw| in_words(ExitStatus::from_raw(raw));
        assert_eq!(words(11), "was ended by signal 11 (SIGSEGV, a segmentation fault)");
        assert_eq!(words(3 << 8), "ended by itself with status 3");
        assert!(words(40).contains("signal 40"));
    }

    #[test]
    fn an_end_is_told_when_it_comes() {
        let Spawned { process, .. } = Process::spawn("acme", 2).expect("the agent is built");
        let (tells, told) = mpsc::channel();
        let again = tells.clone();
        process.when_gone(move || tells.send("first").expect("it is awaited"));
        // By nobody who would know of it here.
        pidfd_send_signal(&process.handle, Signal::KILL).expect("it runs");
        assert_eq!(told.recv(), Ok("first"));
        assert!(process.how_it_ended().contains("signal 9"), "{}", process.how_it_ended());
        process.when_gone(move || again.send("later").expect("it is awaited"));
        assert_eq!(told.recv(), Ok("later"), "it is gone already");
        assert!(process.was_killed());
        let Spawned { process, .. } = Process::spawn("acme", 2).expect("the agent is built");
        process.kill("it did not come back in time");
        process.end();
        assert!(!process.was_killed(), "by the agent");
    }

    #[test]
    fn cpu_time_is_that_of_all_threads() {
        let end = Instant::now() + Duration::from_secs(20);
        while cpu_of(std::process::id()).is_none_or(|time| time.is_zero()) {
            assert!(Instant::now() < end, "no time was ever used");
        }
        assert_eq!(cpu_of(u32::MAX), None);
    }
}
