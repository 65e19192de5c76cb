//! What runs in a container, by the programs of its processes.
//!
//! # Layout
//! * [`names`]: programs and their application types.
//! * [`binary`]: what a program was built with.

pub mod binary;
pub mod names;

use gantry_plugin_api::identity::Process;
use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The most that is read of a command line: the names of Java's main classes
/// stand behind a class path of some KiB.
const MAX_COMMAND: u64 = 32 << 10;

/// Binaries that were looked into; more are forgotten together.
const MAX_BINARIES: usize = 4096;

/// What was found out, by process.
#[derive(Debug)]
pub struct Applications {
    proc: PathBuf,
    processes: HashMap<Process, Known>,
    /// By device, inode and time of change: many processes run one binary.
    binaries: HashMap<(u64, u64, i64), Option<&'static str>>,
    round: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    application: Option<&'static str>,
    language: Option<&'static str>,
    /// Device and inode of what it ran then; 0 where that could not be seen.
    program: (u64, u64),
    round: u64,
}

/// Of how many known processes it is looked at in one collection whether they
/// run another program now: who hears no process events is not told. Each
/// costs some 3 µs.
const CHECKED: usize = 64;

/// How many processes are looked at in one collection; the others are next
/// time. Each costs some 30 µs, and a new binary's sections some 100.
const MOST: usize = 256;

impl Applications {
    pub fn new(proc: &Path) -> Self {
        Self { proc: proc.to_owned(), processes: HashMap::new(), binaries: HashMap::new(), round: 0 }
    }

    /// Begins a collection, and forgets processes that were not asked for in
    /// the last one. How many may be looked at in this one.
    pub fn begin(&mut self) -> usize {
        let last = self.round;
        self.processes.retain(|_, known| known.round == last);
        self.round += 1;
        MOST
    }

    /// A process runs another program now, as an entry point does at its end.
    pub fn forget(&mut self, process: &Process) {
        self.processes.remove(process);
    }

    /// Any of them may.
    pub fn forget_all(&mut self) {
        self.processes.clear();
    }

    /// Whether it is this process's turn to be checked: each once in so many
    /// rounds as it takes to check [`CHECKED`] at a time.
    fn is_its_turn(&self, process: Process) -> bool {
        let turns = self.processes.len().div_ceil(CHECKED).max(1) as u64;
        u64::from(process.pid) % turns == self.round % turns
    }

    /// The types of these processes, each once, in the order of the alphabet.
    /// `budget` is what is left of [`Applications::begin`].
    pub fn of(&mut self, processes: &[Process], budget: &mut usize) -> Vec<&'static str> {
        let mut found = Vec::new();
        for process in processes {
            if let Some(known) = self.known(*process, budget) {
                found.extend([known.application, known.language].into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn known(&mut self, process: Process, budget: &mut usize) -> Option<Known> {
        let is_its_turn = self.is_its_turn(process);
        let program = is_its_turn.then(|| self.program(process.pid));
        if let Some(known) = self.processes.get_mut(&process)
            && program.is_none_or(|program| program == known.program)
        {
            known.round = self.round;
            return Some(*known);
        }
        *budget = budget.checked_sub(1)?;
        // Before it is looked at: what it runs in between is seen at its next turn.
        let program = program.unwrap_or_else(|| self.program(process.pid));
        let (application, language) = self.look(process.pid);
        let known = Known { application, language, program, round: self.round };
        self.processes.insert(process, known);
        Some(known)
    }

    /// Device and inode of what a process runs.
    fn program(&self, pid: u32) -> (u64, u64) {
        let seen = std::fs::metadata(self.proc.join(pid.to_string()).join("exe"));
        seen.map_or((0, 0), |seen| (seen.dev(), seen.ino()))
    }

    fn look(&mut self, pid: u32) -> (Option<&'static str>, Option<&'static str>) {
        let dir = self.proc.join(pid.to_string());
        let mut command = Vec::new();
        if let Ok(file) = File::open(dir.join("cmdline")) {
            let _ = file.take(MAX_COMMAND).read_to_end(&mut command);
        }
        let exe = readlinkat(CWD, dir.join("exe"), Vec::with_capacity(256)).ok();
        let exe = exe.as_ref().and_then(|path| path.to_str().ok()).unwrap_or_default();
        let application = names::of(&command, exe);
        (application, self.language(&dir))
    }

    /// What the process's program was built with. `/proc/PID/exe` opens the
    /// file that runs, whatever lies at its path now.
    fn language(&mut self, dir: &Path) -> Option<&'static str> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(openat(CWD, dir.join("exe"), flags, Mode::empty()).ok()?);
        let metadata = file.metadata().ok()?;
        let key = (metadata.dev(), metadata.ino(), metadata.mtime());
        if let Some(known) = self.binaries.get(&key) {
            return *known;
        }
        if self.binaries.len() >= MAX_BINARIES {
            self.binaries.clear();
        }
        let found = binary::language(file);
        self.binaries.insert(key, found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn this_test_is_written_in_rust_and_a_sleep_is_nothing() {
        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep");
        let mut all = Applications::new(Path::new("/proc"));
        let mut budget = all.begin();
        let of = |pid| Process { pid, start: 1 };
        assert_eq!(all.of(&[of(std::process::id())], &mut budget), ["rust"]);
        assert_eq!(all.of(&[of(child.id())], &mut budget), [""; 0]);
        assert_eq!(budget, MOST - 2);
        all.of(&[of(child.id())], &mut budget);
        assert_eq!(budget, MOST - 2, "known");
        all.begin();
        all.begin();
        assert!(all.processes.is_empty());
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    #[test]
    fn another_program_is_noticed_without_an_event() {
        let mut child = Command::new("sh")
            .args(["-c", "read line; exec sleep 1000"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut all = Applications::new(Path::new("/proc"));
        let process = Process { pid: child.id(), start: 1 };
        let mut budget = all.begin();
        all.of(&[process], &mut budget);
        let before = all.processes[&process].program;
        assert_ne!(before, (0, 0));
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), b"go\n").expect("it reads");
        while all.program(child.id()) == before {
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        let mut budget = all.begin();
        all.of(&[process], &mut budget);
        assert_eq!(budget, MOST - 1, "it was looked at again");
        assert_ne!(all.processes[&process].program, before);
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
