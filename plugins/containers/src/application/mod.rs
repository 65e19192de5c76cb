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
    round: u64,
}

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
        if let Some(known) = self.processes.get_mut(&process) {
            known.round = self.round;
            return Some(*known);
        }
        *budget = budget.checked_sub(1)?;
        let (application, language) = self.look(process.pid);
        let known = Known { application, language, round: self.round };
        self.processes.insert(process, known);
        Some(known)
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
}
