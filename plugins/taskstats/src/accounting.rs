//! `kernel.task_delayacct`: whether the kernel counts all delays (since Linux
//! 5.14; before it always does, but for the boot parameter `nodelayacct`).
//!
//! Where the configuration says so it is set, and put back by the last
//! generation. What it was is noted in the plugin's state directory before it is
//! set, with the name of the instance that has to put it back: each generation
//! writes its own name into the note when it starts, so that the one before it
//! leaves everything as it is when it stops. After a crash the note is what the
//! next start finds. A note of another boot is void. Without a state directory
//! nothing is set, since nothing could be noted.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the kernel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All delays.
    On,
    /// Those of a CPU alone; it can be set.
    Off,
    /// Those of a CPU alone, until the next boot without `nodelayacct`.
    Never,
}

/// Above this a file is none of ours.
const MOST: u64 = 4096;

/// The setting, and who has to put it back.
#[derive(Debug)]
pub struct Accounting {
    sysctl: PathBuf,
    cmdline: PathBuf,
    boot: String,
    note: Option<PathBuf>,
    name: String,
    /// Whom the note named before this one.
    before: Option<Note>,
    is_over: bool,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    boot: String,
    original: String,
    name: String,
}

impl Accounting {
    /// Over `/proc` and a state directory.
    pub fn new(proc: &Path, state: Option<PathBuf>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let boot = fs::read_to_string(proc.join("sys/kernel/random/boot_id")).unwrap_or_default();
        let pid = std::process::id();
        // Of a process that had this pid before there may be a note.
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let start = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).unwrap_or("0");
        Self {
            sysctl: proc.join("sys/kernel/task_delayacct"),
            cmdline: proc.join("cmdline"),
            boot: boot.trim().to_owned(),
            note: state.map(|state| state.join("task_delayacct")),
            name: format!("{pid}-{start}-{}", NEXT.fetch_add(1, Relaxed)),
            before: None,
            is_over: false,
        }
    }

    /// What the kernel counts now.
    pub fn state(&self) -> State {
        match fs::read_to_string(&self.sysctl) {
            Ok(text) if text.trim() == "0" => State::Off,
            Ok(_) => State::On,
            Err(_) => {
                let cmdline = fs::read_to_string(&self.cmdline).unwrap_or_default();
                let is_off = cmdline.split_whitespace().any(|word| word == "nodelayacct");
                if is_off { State::Never } else { State::On }
            }
        }
    }

    /// This instance will have to put back what the one before it set.
    pub fn take_over(&mut self) {
        if let Some(note) = self.read_note() {
            let own = Note { name: self.name.clone(), ..note.clone() };
            // Else the one before it puts back, and this one sets anew.
            if self.write_note(&own).is_ok() {
                self.before = Some(note);
            }
        }
    }

    /// Sets it, or puts it back where an earlier instance left it set.
    ///
    /// # Errors
    /// What does not work, with the remedy.
    pub fn set(&mut self, enable: bool) -> Result<(), String> {
        self.before = None;
        let note = self.read_note();
        if !enable {
            return note.map_or(Ok(()), |note| self.put_back(&note));
        }
        if self.state() != State::Off {
            return Ok(());
        }
        let original = note.map_or_else(|| "0".to_owned(), |note| note.original);
        self.write_note(&Note { boot: self.boot.clone(), original, name: self.name.clone() })?;
        fs::write(&self.sysctl, "1").map_err(|error| {
            format!("{}: {error}; the agent needs CAP_SYS_ADMIN, or set it yourself", self.sysctl.display())
        })
    }

    /// The instance ends: it puts back what it has to.
    ///
    /// # Errors
    /// What does not work.
    pub fn end(&mut self) -> Result<(), String> {
        self.is_over = true;
        match self.read_note() {
            Some(note) if note.name == self.name => self.put_back(&note),
            _ => Ok(()),
        }
    }

    fn put_back(&self, note: &Note) -> Result<(), String> {
        fs::write(&self.sysctl, &note.original)
            .map_err(|error| format!("{}: {error}; set it to {}", self.sysctl.display(), note.original))?;
        let Some(path) = &self.note else { return Ok(()) };
        fs::remove_file(path).map_err(|error| format!("{}: {error}; remove it", path.display()))
    }

    /// `None`: there is none of this boot.
    fn read_note(&self) -> Option<Note> {
        let path = self.note.as_ref()?;
        let is_small = fs::metadata(path).ok()?.len() <= MOST;
        let text = if is_small { fs::read_to_string(path).ok()? } else { String::new() };
        let note = Note::parse(&text).filter(|note| note.boot == self.boot);
        if note.is_none() {
            // Another boot's, or half a one.
            let _ = fs::remove_file(path);
        }
        note
    }

    fn write_note(&self, note: &Note) -> Result<(), String> {
        let Some(path) = &self.note else {
            return Err(
                "kernel.task_delayacct is not set: there is no state directory to note in what it was; give \
                        the agent one, or set it yourself"
                    .to_owned(),
            );
        };
        let beside = path.with_extension("new");
        let failed = |error: std::io::Error| format!("{}: {error}", beside.display());
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::write(&beside, note.text()).and_then(|()| fs::rename(&beside, path)).map_err(failed)
    }
}

impl Drop for Accounting {
    /// One that never ran gives back what it took over.
    fn drop(&mut self) {
        if let (false, Some(before)) = (self.is_over, self.before.take())
            && self.read_note().is_some_and(|note| note.name == self.name)
        {
            let _ = self.write_note(&before);
        }
    }
}

impl Note {
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.boot, self.original, self.name)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n').map(str::to_owned);
        let note = Self { boot: lines.next()?, original: lines.next()?, name: lines.next()? };
        (matches!(note.original.as_str(), "0" | "1") && !note.name.is_empty()).then_some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(value: &str) -> Self {
            let machine = Self(tempfile::tempdir().expect("a directory"));
            for dir in ["sys/kernel/random", "state"] {
                fs::create_dir_all(machine.0.path().join(dir)).expect("a directory");
            }
            machine.put("sys/kernel/task_delayacct", value);
            machine.put("sys/kernel/random/boot_id", "boot-1\n");
            machine
        }
        fn put(&self, path: &str, text: &str) {
            fs::write(self.0.path().join(path), text).expect("own file");
        }
        fn value(&self) -> String {
            let text = fs::read_to_string(self.0.path().join("sys/kernel/task_delayacct")).expect("own file");
            text.trim().to_owned()
        }
        fn notes(&self) -> usize {
            fs::read_dir(self.0.path().join("state")).expect("own directory").count()
        }
        fn start(&self) -> Accounting {
            Accounting::new(self.0.path(), Some(self.0.path().join("state")))
        }
    }

    #[test]
    fn it_is_set_when_asked_and_put_back_at_the_end() {
        let machine = Machine::new("0\n");
        let mut one = machine.start();
        one.take_over();
        assert_eq!((one.state(), machine.value().as_str()), (State::Off, "0"));
        one.set(false).expect("nothing");
        assert_eq!((machine.value().as_str(), machine.notes()), ("0", 0));
        one.set(true).expect("set");
        assert_eq!((one.state(), machine.value().as_str(), machine.notes()), (State::On, "1", 1));
        one.set(false).expect("put back");
        assert_eq!((machine.value().as_str(), machine.notes()), ("0", 0));
        one.set(true).expect("set");
        one.end().expect("put back");
        assert_eq!((machine.value().as_str(), machine.notes()), ("0", 0));
    }

    #[test]
    fn what_somebody_else_set_stays() {
        let machine = Machine::new("1\n");
        let mut one = machine.start();
        one.set(true).expect("it is on");
        assert_eq!(machine.notes(), 0);
        one.end().expect("nothing");
        assert_eq!(machine.value(), "1");
    }

    #[test]
    fn the_last_generation_puts_it_back() {
        let machine = Machine::new("0\n");
        let mut old = machine.start();
        old.set(true).expect("set");
        // One that fails before it runs.
        let mut failed = machine.start();
        failed.take_over();
        drop(failed);
        let mut new = machine.start();
        new.take_over();
        old.end().expect("nothing");
        assert_eq!(machine.value(), "1", "there was no moment without");
        new.set(true).expect("it is on");
        drop(old);
        new.end().expect("put back");
        assert_eq!((machine.value().as_str(), machine.notes()), ("0", 0));
        let mut old = machine.start();
        old.set(true).expect("set");
        let mut failed = machine.start();
        failed.take_over();
        drop(failed);
        old.end().expect("put back");
        assert_eq!(machine.value(), "0", "the other never ran");
    }

    #[test]
    fn after_a_crash_the_next_start_puts_it_back_or_goes_on() {
        for goes_on in [false, true] {
            let machine = Machine::new("0\n");
            let mut crashed = machine.start();
            crashed.set(true).expect("set");
            drop(crashed);
            assert_eq!((machine.value().as_str(), machine.notes()), ("1", 1));
            let mut next = machine.start();
            next.take_over();
            next.set(goes_on).expect("as it is told");
            assert_eq!(machine.value(), if goes_on { "1" } else { "0" });
            next.end().expect("put back");
            assert_eq!((machine.value().as_str(), machine.notes()), ("0", 0));
        }
    }

    #[test]
    fn a_note_of_another_boot_or_of_nobody_is_void() {
        for note in ["boot-0\n0\nx\n", "", "boot-1\n7\nx\n", &"x".repeat(5000)] {
            let machine = Machine::new("1\n");
            machine.put("state/task_delayacct", note);
            let mut one = machine.start();
            one.take_over();
            one.set(false).expect("nothing");
            one.end().expect("nothing");
            assert_eq!((machine.value().as_str(), machine.notes()), ("1", 0), "{note:?}");
        }
    }

    #[test]
    fn what_cannot_be_noted_is_not_set_and_old_kernels_have_no_such_file() {
        let machine = Machine::new("0\n");
        let mut one = Accounting::new(machine.0.path(), None);
        let error = one.set(true).expect_err("no state directory");
        assert!(error.contains("state directory"), "{error}");
        assert_eq!(machine.value(), "0");
        fs::remove_file(machine.0.path().join("sys/kernel/task_delayacct")).expect("own file");
        assert_eq!(one.state(), State::On);
        machine.put("cmdline", "quiet nodelayacct\n");
        assert_eq!(one.state(), State::Never);
        one.set(true).expect("nothing to do");
    }
}
