//! What happened to each plugin: its last transitions, one JSON line each.

use super::{private_dir, read_bounded};
use crate::files::write_and_rename;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// So many transitions are shown of a plugin.
pub const SHOWN: usize = 50;

/// A file is written anew when it has so many lines.
const ROTATED_AT: usize = 4 * SHOWN;

/// A line that is longer was not written by an agent; reasons are cut before.
const MAX_LINE: usize = 8 << 10;

/// Reasons are for people.
const MAX_REASON: usize = 1000;

/// Of a file; more is no history.
const MAX_BYTES: u64 = (2 * ROTATED_AT * MAX_LINE) as u64;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Start,
    Upgrade,
    UpgradeFailed,
    Rollback,
    RollbackFailed,
    Reconfigure,
    ReconfigureFailed,
    Degraded,
    Running,
    Unsupported,
    Failed,
    Hung,
    Quarantined,
    /// It took the agent down.
    Crash,
    /// It may run in the agent's own process again.
    Forgiven,
    Disable,
    /// By hand.
    Restart,
    Stop,
}

impl What {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Upgrade => "upgrade",
            Self::UpgradeFailed => "upgrade-failed",
            Self::Rollback => "rollback",
            Self::RollbackFailed => "rollback-failed",
            Self::Reconfigure => "reconfigure",
            Self::ReconfigureFailed => "reconfigure-failed",
            Self::Degraded => "degraded",
            Self::Running => "running",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
            Self::Hung => "hung",
            Self::Quarantined => "quarantined",
            Self::Crash => "crash",
            Self::Forgiven => "forgiven",
            Self::Disable => "disable",
            Self::Restart => "restart",
            Self::Stop => "stop",
        }
    }
}

/// A version and the digest of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub version: String,
    pub digest: String,
}

/// One transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// In seconds since 1970.
    pub at: f64,
    pub what: What,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<File>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<File>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Entry {
    /// That happens now.
    pub fn now(what: What, from: Option<File>, to: Option<File>, reason: &str) -> Self {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
        let reason = (!reason.is_empty()).then(|| reason.to_owned());
        Self { at: at.as_secs_f64(), what, from, to, reason }
    }

    /// The file that ran from then on. Of an upgrade that failed `to` never ran.
    pub fn runs(&self) -> Option<&File> {
        let began = matches!(
            self.what,
            What::Start | What::Running | What::Degraded | What::Upgrade | What::Rollback | What::Reconfigure
        );
        self.to.as_ref().filter(|_| began)
    }
}

/// The histories of all plugins.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    plugins: Mutex<HashMap<String, Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The newest last.
    entries: VecDeque<Entry>,
    /// Of the file.
    lines: usize,
    complained: bool,
}

impl History {
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), plugins: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, plugin: &str) -> PathBuf {
        self.dir.join(format!("{plugin}.jsonl"))
    }

    /// Adds what happened, in the file as well.
    pub fn add(&self, plugin: &str, entry: Entry) {
        let mut plugins = self.lock();
        let kept = plugins.entry(plugin.to_owned()).or_insert_with(|| read(&self.path(plugin)));
        kept.entries.push_back(entry);
        if kept.entries.len() > SHOWN {
            kept.entries.pop_front();
        }
        let written = private_dir(&self.dir).and_then(|()| self.write(plugin, kept));
        match written {
            Ok(lines) => (kept.lines, kept.complained) = (lines, false),
            Err(error) if !std::mem::replace(&mut kept.complained, true) => {
                tracing::warn!("{} cannot be written: {error}", self.path(plugin).display());
            }
            Err(_) => {}
        }
    }

    /// Appends the last entry, or writes all anew; how many lines there are then.
    fn write(&self, plugin: &str, kept: &Kept) -> std::io::Result<usize> {
        let path = self.path(plugin);
        let line = |entry: &Entry| {
            serde_json::to_string(entry).map(|line| line + "\n").map_err(std::io::Error::other)
        };
        if kept.lines == 0 || kept.lines >= ROTATED_AT {
            let all = kept.entries.iter().map(line).collect::<Result<String, _>>()?;
            write_and_rename(&path, all.as_bytes(), 0o600)?;
            return Ok(kept.entries.len());
        }
        let Some(last) = kept.entries.back() else { return Ok(kept.lines) };
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let mut file = std::fs::OpenOptions::new().append(true).custom_flags(flags).open(&path)?;
        file.write_all(line(last)?.as_bytes())?;
        Ok(kept.lines + 1)
    }

    /// Of a plugin, the newest first.
    pub fn of(&self, plugin: &str) -> Vec<Entry> {
        let mut plugins = self.lock();
        let kept = plugins.entry(plugin.to_owned()).or_insert_with(|| read(&self.path(plugin)));
        kept.entries.iter().rev().cloned().collect()
    }

    /// The plugins that have a file.
    pub fn known(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".jsonl").map(str::to_owned)
        };
        entries.take(10_000).filter_map(name).collect()
    }
}

/// What a file holds; lines that make no sense are passed over, and the file
/// is then written anew.
fn read(path: &Path) -> Kept {
    let bytes = match read_bounded(path, MAX_BYTES) {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(error) => {
            tracing::warn!("{}: {error}; the history before is not known", path.display());
            return Kept::default();
        }
    };
    let (mut kept, mut garbage) = (Kept::default(), 0_usize);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(entry) if line.len() <= MAX_LINE => kept.entries.push_back(entry),
            _ => garbage += 1,
        }
        kept.lines += 1;
        if kept.entries.len() > SHOWN {
            kept.entries.pop_front();
        }
    }
    let torn = !bytes.is_empty() && !bytes.ends_with(b"\n");
    if garbage > 0 || torn {
        tracing::warn!("{}: {garbage} lines make no sense and are passed over", path.display());
        kept.lines = 0;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: usize) -> Entry {
        Entry::now(What::Start, None, None, &format!("the {n}th"))
    }

    #[test]
    fn the_last_are_kept_across_restarts_in_a_bounded_file() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let history = History::new(dir.path());
        (0..1000).for_each(|n| history.add("x", entry(n)));
        let again = History::new(dir.path()).of("x");
        assert_eq!(again.len(), SHOWN);
        assert_eq!(again[0].reason.as_deref(), Some("the 999th"), "the newest is first");
        assert_eq!(again, history.of("x"));
        let lines = std::fs::read_to_string(dir.path().join("x.jsonl")).expect("written").lines().count();
        assert!(lines <= ROTATED_AT, "{lines}");
        assert_eq!(history.known(), ["x"]);
    }

    #[test]
    fn garbage_is_passed_over_and_mended() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("x.jsonl");
        let good = serde_json::to_string(&entry(1)).expect("JSON");
        for damage in ["\u{0}\u{1}garbage\n", "{\"at\": 1", "[]\n\n\n{}\n", "{\"at\":1,\"what\":\"evil\"}\n"]
        {
            std::fs::write(&path, format!("{good}\n{damage}")).expect("own file");
            let history = History::new(dir.path());
            assert_eq!(history.of("x").len(), 1, "{damage}");
            history.add("x", entry(2));
            let text = std::fs::read_to_string(&path).expect("own file");
            assert_eq!(text.lines().count(), 2, "{text}");
        }
        std::fs::write(&path, vec![b'x'; MAX_LINE * 2]).expect("own file");
        assert!(History::new(dir.path()).of("x").is_empty());
        std::fs::remove_file(&path).expect("own file");
        std::fs::create_dir(&path).expect("own directory");
        let history = History::new(dir.path());
        history.add("x", entry(3));
        assert_eq!(history.of("x").len(), 1, "it is known while the agent runs");
    }
}
