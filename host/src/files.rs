//! Files whose content changes as a whole: whoever reads the name gets the old
//! content or the new one, also after a crash.

use rustix::fs::{Mode, OFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A new content that lies, complete and synced, beside the file whose place
/// it will take. Dropped before, it leaves nothing behind.
#[derive(Debug)]
pub struct Beside {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

/// Tells the files of one process apart; names left behind by a crashed one
/// with the same number are passed over.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// So many left-behind names are passed over.
const ATTEMPTS: u32 = 100;

impl Beside {
    /// Writes beside `target`. `prepare` gives the file what it needs besides
    /// its content; until then nobody else can read it.
    pub fn write(
        target: &Path,
        content: &[u8],
        prepare: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut beside = Self::create(target)?;
        beside.file.write_all(content)?;
        prepare(&beside.file)?;
        beside.file.sync_all()?;
        Ok(beside)
    }

    /// Writes beside `target` for itself alone (mode 0600), for what need not
    /// survive a crash of the machine.
    pub fn write_unsynced(target: &Path, content: &[u8]) -> io::Result<Self> {
        let mut beside = Self::create(target)?;
        beside.file.write_all(content)?;
        Ok(beside)
    }

    /// As [`Self::take_place`], of the same.
    pub fn take_place_unsynced(self) -> io::Result<()> {
        std::fs::rename(&self.path, &self.target)
    }

    fn create(target: &Path) -> io::Result<Self> {
        let mut error = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..ATTEMPTS {
            let number = NEXT.fetch_add(1, Relaxed);
            let path = target.with_extension(format!("tmp.{}.{number}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Self { file, path, target: target.to_owned() }),
                Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => error = taken,
                Err(other) => return Err(other),
            }
        }
        Err(error)
    }

    /// Takes the place of the target.
    pub fn take_place(self) -> io::Result<()> {
        std::fs::rename(&self.path, &self.target)?;
        let dir = self.target.parent().unwrap_or(Path::new("."));
        let dir = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        match rustix::fs::fsync(dir) {
            // Some file systems keep a rename without being told to.
            Err(rustix::io::Errno::INVAL) => Ok(()),
            synced => Ok(synced?),
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After the rename there is none; before, the error that led here is
        // the one that matters.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes what a process that was killed left beside `target`; how many there were.
/// Names of processes that live are passed over: they may be about to write.
pub fn sweep_beside(target: &Path) -> io::Result<usize> {
    let target = target.canonicalize()?;
    let begin = target.with_extension("tmp.");
    let Some(begin) = begin.file_name().and_then(|name| name.to_str()) else { return Ok(0) };
    let mut swept = 0;
    for entry in std::fs::read_dir(target.parent().unwrap_or(Path::new(".")))?.take(MOST_BESIDE) {
        let entry = entry?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(begin)) else { continue };
        let Some((process, number)) = rest.split_once('.') else { continue };
        let Ok(process) = process.parse::<i32>() else { continue };
        if number.parse::<u64>().is_ok() && entry.file_type()?.is_file() && has_ended(process) {
            std::fs::remove_file(entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// A directory with more is looked at so far.
const MOST_BESIDE: usize = 10_000;

/// One of this process's number is of another that had it before.
fn has_ended(process: i32) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(process.max(0)) else { return false };
    pid == rustix::process::getpid()
        || rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
}

/// A file that has the whole content or is not there.
pub fn write_and_rename(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let prepare = |file: &File| Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?);
    Beside::write(path, content, prepare)?.take_place()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_beside_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let target = dir.path().join("plugins.toml");
        let parent = std::os::unix::process::parent_id();
        let mut stay: Vec<String> =
            ["plugins.toml", "plugins.tmp.x.0", "plugins.tmp.7", "other.tmp.2147483647.0"]
                .map(str::to_owned)
                .into();
        stay.push(format!("plugins.tmp.{parent}.0"));
        stay.sort();
        for name in stay.iter().map(String::as_str).chain(["plugins.tmp.2147483647.3"]) {
            std::fs::write(dir.path().join(name), "").expect("own directory");
        }
        assert_eq!(sweep_beside(&target).expect("own directory"), 1);
        assert_eq!(names(dir.path()), stay);
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.so");
        for content in ["first", "second"] {
            write_and_rename(&path, content.as_bytes(), 0o555).expect("own directory");
            assert_eq!(std::fs::read_to_string(&path).expect("written"), content);
            assert_eq!(path.metadata().expect("it is there").permissions().mode() & 0o7777, 0o555);
        }
        assert_eq!(names(dir.path()), ["a.so"]);
    }

    #[test]
    fn what_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.so");
        let refused = Beside::write(&path, b"content", |_| Err(io::Error::other("no")));
        assert_eq!(refused.expect_err("refused").to_string(), "no");
        drop(Beside::write(&path, b"content", |_| Ok(())).expect("own directory"));
        assert_eq!(names(dir.path()), [""; 0]);
        // A directory in its place cannot be replaced.
        std::fs::create_dir_all(path.join("inner")).expect("own directory");
        assert!(write_and_rename(&path, b"content", 0o444).is_err());
        assert_eq!(names(dir.path()), ["a.so"]);
    }

    #[test]
    fn names_that_are_taken_are_passed_over() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.so");
        let next = NEXT.load(Relaxed);
        // Other tests of this process count as well.
        for number in next..next + 3 {
            let left = path.with_extension(format!("tmp.{}.{number}", std::process::id()));
            std::fs::write(left, "left behind").expect("own directory");
        }
        write_and_rename(&path, b"content", 0o444).expect("another name");
        assert_eq!(std::fs::read_to_string(&path).expect("written"), "content");
    }
}
