//! What of a plugin goes to the state directory, and what comes from there.

use super::lock;
use super::state::{State, Status};
use super::unit::Unit;
use crate::records::handover::{Found, Taken, When, Written};
use crate::records::{Entry, File, What};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Snapshots go to the disk at most so often: what a crash can take with it.
pub(super) const SNAPSHOT_EVERY: Duration = Duration::from_secs(15);

/// After a collection, its exposition is on its way: what is written once that
/// was shown says so, and no series is taken for a new one by the next start.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

/// What was last written.
#[derive(Debug, Default)]
pub(super) struct OnDisk {
    /// The hand-over of an earlier agent was looked for.
    taken: bool,
    /// A file of it could be loaded.
    loaded: bool,
    at: Option<Instant>,
    bytes: Option<Arc<[u8]>>,
    /// Of the marks that stand behind them.
    marks: u64,
    /// It was said that there is something to write.
    ordered: bool,
    /// The agent ends, and the last word is written.
    ended: bool,
}

impl Unit {
    /// Whether this is the first file of it that can be loaded, where it matters
    /// what an earlier agent ran.
    pub fn take_first_load(&self) -> bool {
        self.parts.records.is_open() && !std::mem::replace(&mut lock(&self.on_disk).loaded, true)
    }

    /// That one was none after all: the next file is the first.
    pub fn give_back_first_load(&self) {
        lock(&self.on_disk).loaded = false;
    }

    /// Before the first attempt: what an earlier agent kept of it.
    pub(super) fn take_kept(&self) {
        if !self.parts.records.is_open() || std::mem::replace(&mut lock(&self.on_disk).taken, true) {
            return;
        }
        let name = self.name();
        let Some(found) = self.parts.records.take_handover(name) else { return };
        let source = match found {
            Found::Good(Taken { when, version, kept, marks, age }) => {
                if lock(&self.kept).put(&kept) {
                    *lock(&self.marks) = marks;
                }
                if when == When::Stop {
                    tracing::debug!("plugin {name}: goes on with what {version} handed over {age:.0} s ago");
                    "stop"
                } else {
                    tracing::warn!(
                        "plugin {name}: the agent before did not end in order; it goes on with what {version} had \
                         counted {age:.0} s ago, and what came after that is missing"
                    );
                    "snapshot"
                }
            }
            Found::None => "none",
            Found::OtherBoot => {
                tracing::info!("plugin {name}: what it handed over is of another boot, and passed over");
                "other_boot"
            }
            Found::Damaged(why) => {
                tracing::warn!(
                    "plugin {name}: what it handed over cannot be used ({why}); its counters begin at 0"
                );
                "damaged"
            }
        };
        self.parts.own.handed_over(name, source);
    }

    /// What it hands over has changed: it goes to the disk when it may.
    pub(super) fn keep_soon(self: &Arc<Self>) {
        if !self.parts.records.is_open() {
            return;
        }
        let at = {
            let mut on_disk = lock(&self.on_disk);
            if std::mem::replace(&mut on_disk.ordered, true) {
                return;
            }
            let soon = Instant::now() + SHOWN_WITHIN;
            on_disk.at.map_or(soon, |at| (at + SNAPSHOT_EVERY).max(soon))
        };
        let unit = Arc::downgrade(self);
        let taken = self.parts.records.at(self.name(), at, move || {
            if let Some(unit) = unit.upgrade() {
                unit.write_kept(When::Snapshot);
            }
        });
        if !taken {
            // The next snapshot is another try.
            lock(&self.on_disk).ordered = false;
        }
    }

    /// Writes what it hands over.
    pub(super) fn write_kept(&self, when: When) {
        // Before it is read: what changes meanwhile is a reason to write again.
        lock(&self.on_disk).ordered = false;
        self.parts.keep_ids();
        self.keep_ran();
        let status = self.status();
        let kept = lock(&self.kept).get();
        let Some(kept) = kept.filter(|_| status.state != State::Disabled) else { return };
        // Of one that has no table yet, what an earlier agent showed is all there is.
        let marks = match self.series.table().as_ref() {
            Some(table) => table.marks(),
            None => lock(&self.marks).clone(),
        };
        // What was counted may be the same, and be shown only now.
        let digest = of_marks(&marks);
        {
            let mut on_disk = lock(&self.on_disk);
            if on_disk.ended {
                return;
            }
            let same = on_disk.bytes.as_ref().is_some_and(|bytes| Arc::ptr_eq(bytes, &kept));
            on_disk.at = Some(Instant::now());
            if same && on_disk.marks == digest && when == When::Snapshot {
                return;
            }
        }
        let (version, file) = match status.manifest().zip(status.digest()) {
            Some((manifest, digest)) => (manifest.version.as_str(), digest),
            None => ("", ""),
        };
        let written = Written { when, version, digest: file, kept: &kept, marks: &marks };
        // No lock is held: a disk may take its time.
        match self.parts.records.write_handover(self.name(), &written) {
            Ok(()) => {
                let mut on_disk = lock(&self.on_disk);
                (on_disk.at, on_disk.bytes, on_disk.marks) = (Some(Instant::now()), Some(kept), digest);
            }
            Err(error) => self.parts.own.handover_lost(self.name(), error.reason()),
        }
    }

    /// At the end of the agent, on the thread that writes its records: no snapshot
    /// is under way then, and none comes after. One that did not stop in order
    /// left what it had at its last good collection.
    pub fn hand_over(&self) {
        // What has no thread any more counts as stopped too, with what it last said.
        let well = self.state() == State::Stopped && lock(&self.kept).is_whole();
        self.write_kept(if well { When::Stop } else { When::Snapshot });
        // Of one that was never begun with, an earlier agent's is still there.
        if lock(&self.kept).get().is_none() && lock(&self.on_disk).taken {
            self.parts.records.forget_handover(self.name());
        }
        lock(&self.on_disk).ended = true;
    }

    /// It shall not run: nothing of it is kept.
    pub(super) fn forget_kept(&self) {
        *lock(&self.kept) = super::handover::Kept::default();
        lock(&self.marks).clear();
        let mut on_disk = lock(&self.on_disk);
        on_disk.bytes = None;
        if on_disk.taken {
            let parts = self.parts.clone();
            let name = self.name().to_owned();
            self.parts.records.at(&format!("{name} forgets"), Instant::now(), move || {
                parts.records.forget_handover(&name);
            });
        }
    }

    /// A line of its history, if a state is worth one.
    pub(super) fn note_history(&self, before: State, status: &Status) {
        let state = status.state;
        let started = state.collects() && !before.collects();
        let what = match state {
            _ if state == before => return,
            State::Running | State::Degraded if started => What::Start,
            State::Running => What::Running,
            State::Degraded => What::Degraded,
            State::Unsupported => What::Unsupported,
            State::Failed => What::Failed,
            State::Hung => What::Hung,
            State::Quarantined => What::Quarantined,
            State::Disabled => What::Disable,
            State::Stopped => What::Stop,
            _ => return,
        };
        let file = file(status);
        let (from, to) = if state.collects() { (None, file) } else { (file, None) };
        self.parts.records.happened(self.name(), Entry::now(what, from, to, &status.reasons.join("; ")));
    }
}

/// Tells marks apart, in whatever order they come.
fn of_marks(marks: &[(u64, f64)]) -> u64 {
    let one = |(mark, since): &(u64, f64)| mark.rotate_left(7) ^ since.to_bits();
    marks.iter().map(one).fold(marks.len() as u64, u64::wrapping_add)
}

/// What a status says of the file that it runs.
pub(super) fn file(status: &Status) -> Option<File> {
    let (manifest, digest) = status.manifest().zip(status.digest())?;
    Some(File { version: manifest.version.clone(), digest: digest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Agent;
    use crate::config;
    use crate::notify::Notifier;
    use std::path::Path;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A plugin that has stopped, in an agent that keeps records.
    fn stopped(dir: &Path) -> (Agent, Arc<Unit>) {
        let config = config::check(Path::new("plugins.toml"), "[plugins.x]\n").expect("a good one");
        let agent = Agent::new(config, dir, true, Notifier::new(None, None));
        agent.fleet.parts().records.begin(dir, Path::new("/proc"));
        let unit = agent.fleet.unit("x").expect("it is configured");
        unit.change(|status| status.enter(State::Stopped, &[]));
        (agent, unit)
    }

    fn keep(unit: &Unit, bytes: &[u8], whole: bool) {
        let mut kept = lock(&unit.kept);
        assert!(kept.put(bytes));
        if whole {
            kept.whole();
        }
    }

    /// What the next agent would find.
    fn found(agent: &Agent) -> (When, Vec<u8>) {
        let records = &agent.fleet.parts().records;
        assert!(records.flush(PATIENCE));
        match records.take_handover("x") {
            Some(Found::Good(Taken { when, kept, .. })) => (when, kept),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_snapshot_takes_the_place_of_what_was_handed_over_at_the_end() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (agent, unit) = stopped(dir.path());
        let records = &agent.fleet.parts().records;
        // One is under way when the agent ends: the disk takes its time with it.
        keep(&unit, b"older", false);
        let (free, busy) = std::sync::mpsc::channel::<()>();
        let snapshot = unit.clone();
        records.then(move || {
            let _ = busy.recv();
            snapshot.write_kept(When::Snapshot);
        });
        // Another waits for its time, and is due behind the end.
        unit.keep_soon();
        keep(&unit, b"the last word", true);
        let ends = unit.clone();
        records.then(move || ends.hand_over());
        free.send(()).expect("it waits");
        assert!(records.flush(PATIENCE));
        // One that comes back too late from a call says something more.
        keep(&unit, b"too late", false);
        let late = unit.clone();
        records.then(move || late.write_kept(When::Snapshot));
        unit.keep_soon();
        let (told, hears) = std::sync::mpsc::channel();
        assert!(records.at("behind both", Instant::now() + SHOWN_WITHIN, move || {
            let _ = told.send(());
        }));
        hears.recv_timeout(PATIENCE).expect("its time comes");
        assert_eq!(found(&agent), (When::Stop, b"the last word".to_vec()));
    }

    #[test]
    fn what_did_not_stop_in_order_is_a_snapshot_at_the_end() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (agent, unit) = stopped(dir.path());
        keep(&unit, b"counted", false);
        agent.fleet.parts().records.then(move || unit.hand_over());
        assert_eq!(found(&agent), (When::Snapshot, b"counted".to_vec()));
    }
}
