//! What an agent keeps of its plugins in its state directory, across its own
//! restarts.
//!
//! * [`handover`]: what a plugin handed over, for the next start in the same boot.
//! * [`history`]: what happened to it.
//! * [`ids`]: under which ids containers are shown.
//! * [`lineage`]: which file ran before, and which was rolled back from.
//! * [`mod@writer`]: the thread that writes.
//!
//! Nothing here is needed for a plugin to run: what cannot be read or written
//! is said in the log and passed over. A command that runs plugins beside an
//! agent (`once`) keeps nothing.

pub mod handover;
mod history;
mod ids;
mod lineage;
mod writer;

use crate::identity::ShownId;
use history::History;
pub use history::{Entry, File, What};
pub use lineage::{Held, Lineage, Lost, OnProbation, Ran, Stored};

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use writer::Writer;

/// The records of one agent; nothing is kept before [`Records::begin`].
#[derive(Debug, Default)]
pub struct Records {
    open: OnceLock<Open>,
}

#[derive(Debug)]
struct Open {
    dir: PathBuf,
    boot: String,
    writer: Writer,
    history: Arc<History>,
}

impl Records {
    /// Keeps from here on, in a state directory.
    pub fn begin(&self, dir: &Path, proc: &Path) {
        let writer = match Writer::start() {
            Ok(writer) => writer,
            Err(error) => {
                tracing::warn!("nothing is kept of plugins: the thread that writes: {error}");
                return;
            }
        };
        let boot = std::fs::read_to_string(proc.join("sys/kernel/random/boot_id")).unwrap_or_default();
        let history = Arc::new(History::new(&dir.join("history")));
        let open = Open { dir: dir.to_owned(), boot: boot.trim().to_owned(), writer, history };
        drop(self.open.set(open));
    }

    /// The id of this boot of the machine; empty where it is not told.
    pub fn boot(&self) -> &str {
        self.open.get().map_or("", |open| &open.boot)
    }

    /// What happened to a plugin.
    pub fn happened(&self, plugin: &str, entry: Entry) {
        let Some(open) = self.open.get() else { return };
        let (history, plugin) = (open.history.clone(), plugin.to_owned());
        open.writer.then(move || history.add(&plugin, entry));
    }

    /// The last of what happened to a plugin, the newest first.
    pub fn history(&self, plugin: &str) -> Vec<Entry> {
        let Some(open) = self.open.get() else { return Vec::new() };
        // Behind whatever was noted before it was asked.
        open.writer.flush(FLUSH_WITHIN);
        open.history.of(plugin)
    }

    /// The plugins of which something is known.
    pub fn known(&self) -> Vec<String> {
        self.open.get().map(|open| open.history.known()).unwrap_or_default()
    }

    /// Which files of a plugin ran. Waits for a disk.
    pub fn lineage(&self, plugin: &str) -> Lineage {
        let Some(open) = self.open.get() else { return Lineage::default() };
        // Behind what was said before it was asked.
        open.writer.flush(FLUSH_WITHIN);
        Lineage::read(&open.dir, plugin)
    }

    /// The digests of all files that a rollback, or what is held back, asks for, or
    /// that a start would go back to.
    ///
    /// # Errors
    /// A record cannot be read: who takes away what is not named would take too much.
    pub fn named_files(&self, is_configured: impl Fn(&str) -> bool) -> std::io::Result<BTreeSet<String>> {
        self.open.get().map_or_else(|| Ok(BTreeSet::new()), |open| lineage::named(&open.dir, is_configured))
    }

    /// Waits until it is written: what was answered must be known after a crash,
    /// however soon that comes. Waits for a disk; `false`: it did not answer.
    pub fn set_lineage(&self, plugin: &str, lineage: Lineage) -> bool {
        let Some(open) = self.open.get() else { return true };
        let (dir, plugin) = (open.dir.clone(), plugin.to_owned());
        open.writer.then(move || write(&lineage, &dir, &plugin)) && open.writer.flush(FLUSH_WITHIN)
    }

    /// Changes what is kept of a plugin, and waits as [`Self::set_lineage`] does.
    pub fn amend_lineage_now(
        &self,
        plugin: &str,
        amend: impl FnOnce(Lineage) -> Lineage + Send + 'static,
    ) -> bool {
        self.amend_lineage(plugin, amend) && self.flush(FLUSH_WITHIN)
    }

    /// Changes what is kept of a plugin, behind what was said before; nobody waits.
    /// `false`: the disk does not keep up, and it stays. So does one that cannot be
    /// read just now, which is said in the log.
    pub fn amend_lineage(
        &self,
        plugin: &str,
        amend: impl FnOnce(Lineage) -> Lineage + Send + 'static,
    ) -> bool {
        let Some(open) = self.open.get() else { return true };
        let (dir, plugin) = (open.dir.clone(), plugin.to_owned());
        open.writer.then(move || {
            let before = match Lineage::try_read(&dir, &plugin) {
                Ok(before) => before,
                Err(error) => {
                    tracing::warn!("plugin {plugin}: which file ran before is not written anew: {error}");
                    return;
                }
            };
            let after = amend(before.clone());
            if after != before {
                write(&after, &dir, &plugin);
            }
        })
    }

    /// What a plugin handed over to the next start of the agent.
    pub fn take_handover(&self, plugin: &str) -> Option<handover::Found> {
        let open = self.open.get()?;
        Some(handover::take(&open.dir, plugin, &open.boot))
    }

    /// An error was said in the log.
    pub fn write_handover(
        &self,
        plugin: &str,
        written: &handover::Written<'_>,
    ) -> Result<(), handover::Unwritten> {
        let Some(open) = self.open.get() else { return Ok(()) };
        handover::write(&open.dir, plugin, &open.boot, written)
            .inspect_err(|error| tracing::warn!("plugin {plugin}: its hand-over cannot be kept: {error}"))
    }

    pub fn forget_handover(&self, plugin: &str) {
        let Some(open) = self.open.get() else { return };
        handover::forget(&open.dir, plugin);
    }

    /// Does some work on the thread that writes, at that time; in the place of
    /// work of the same `key` that waits. `false`: it is not done.
    pub fn at(&self, key: &str, at: Instant, work: impl FnOnce() + Send + 'static) -> bool {
        self.open.get().is_some_and(|open| open.writer.at(key, at, work))
    }

    /// What an agent before showed, in the same boot.
    pub fn take_ids(&self) -> Vec<ShownId> {
        self.open.get().map(|open| ids::read(&open.dir, &open.boot)).unwrap_or_default()
    }

    /// For the next agent; whether they were written. Where not it was said.
    pub fn write_ids(&self, ids: &[ShownId]) -> bool {
        let Some(open) = self.open.get() else { return false };
        let written = ids::write(&open.dir, &open.boot, ids);
        if let Err(error) = &written {
            tracing::warn!("the ids of the containers that are shown cannot be kept: {error}");
        }
        written.is_ok()
    }

    pub fn is_open(&self) -> bool {
        self.open.get().is_some()
    }

    /// Does some work on the thread that writes, behind what was ordered before.
    pub fn then(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(open) = self.open.get() {
            open.writer.then(work);
        }
    }

    /// Waits for what is to be written; `false`: it is not written in that time.
    pub fn flush(&self, within: Duration) -> bool {
        self.open.get().is_none_or(|open| open.writer.flush(within))
    }
}

fn write(lineage: &Lineage, dir: &Path, plugin: &str) {
    if let Err(error) = lineage.write(dir, plugin) {
        tracing::warn!("plugin {plugin}: which file ran before cannot be kept: {error}");
    }
}

/// Lines of text; a disk that takes longer does not answer.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// A directory of the agent's own, mode 0700.
fn private_dir(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// A file of at most so many bytes; none where it is not there.
fn read_bounded(path: &Path, most: u64) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NOFOLLOW.union(rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
    let file = match std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(std::io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_a_disk_refused_is_written_by_the_next_word() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let records = Records::default();
        records.begin(dir.path(), dir.path());
        let lost = || Some(Lost { digest: "x".to_owned(), at: [("ring_lost".to_owned(), 1.0)].into() });
        let say = || records.amend_lineage_now("x", move |lineage| Lineage { lost: lost(), ..lineage });
        // Something else lies there.
        std::fs::write(dir.path().join("lineage"), "").expect("own directory");
        say();
        assert_eq!(records.lineage("x").lost, None);
        std::fs::remove_file(dir.path().join("lineage")).expect("own file");
        assert!(say());
        assert_eq!(records.lineage("x").lost, lost());
        // What another said meanwhile stays.
        assert!(records.amend_lineage_now("x", |lineage| Lineage { probation: None, ..lineage }));
        assert_eq!(records.lineage("x").lost, lost());
    }

    #[test]
    fn what_cannot_be_read_just_now_is_not_written_over() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let records = Records::default();
        records.begin(dir.path(), dir.path());
        let held = || {
            let instead = Stored::of_digest("good");
            Some(Held { digest: "bad".to_owned(), section: String::new(), reason: String::new(), instead })
        };
        assert!(records.amend_lineage_now("x", move |lineage| Lineage { held: held(), ..lineage }));
        let ran = || Some(Ran { stored: Stored::of_digest("good"), known: Vec::new() });
        // A link is not followed, by an error of the system that says nothing of what it leads to.
        let (file, away) = (dir.path().join("lineage/x.json"), dir.path().join("away"));
        std::fs::rename(&file, &away).expect("own directory");
        std::os::unix::fs::symlink(&away, &file).expect("own directory");
        records.amend_lineage_now("x", move |lineage| Lineage { ran: ran(), ..lineage });
        assert!(records.named_files(|_| true).is_err(), "nobody knows what it names");
        std::fs::rename(&away, &file).expect("own directory");
        assert_eq!(records.lineage("x"), Lineage { held: held(), ..Lineage::default() });
        assert!(records.amend_lineage_now("x", move |lineage| Lineage { ran: ran(), ..lineage }));
        assert_eq!(records.lineage("x"), Lineage { held: held(), ran: ran(), ..Lineage::default() });
    }

    #[test]
    fn which_file_ran_is_written_when_it_is_answered() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let records = Records::default();
        records.begin(dir.path(), dir.path());
        // The disk is busy until the test lets go.
        let (free, busy) = mpsc::channel::<()>();
        assert!(records.at("busy", Instant::now(), move || {
            let _ = busy.recv();
        }));
        let (told, answer) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                records.set_lineage("x", Lineage::default());
                told.send(dir.path().join("lineage/x.json").exists()).expect("it is awaited");
            });
            let early = answer.recv_timeout(Duration::from_millis(100));
            assert!(early.is_err(), "it is answered before it is written");
            free.send(()).expect("it waits");
            assert_eq!(answer.recv(), Ok(true));
        });
    }
}
