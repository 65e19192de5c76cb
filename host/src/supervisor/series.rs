//! What a plugin said last, and how current that is.

use super::lock;
use gantry_exposition::Table;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How current a plugin's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Of this collection.
    Fresh,
    /// Of one before; still shown.
    Stale,
    /// There are none to show.
    Nothing,
}

/// The series of one plugin, across its instances.
#[derive(Debug, Default)]
pub struct Series {
    /// Locked while samples are taken over and while they are exposed, never
    /// while the plugin runs.
    table: Mutex<Option<Table>>,
    /// The attempt whose families the table has; changes while the table is held.
    owner: AtomicU64,
    age: Mutex<Age>,
    /// Counts collections that were taken over, so that an exposition that
    /// was made of the same ones can be used again.
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct Age {
    /// There was a good collection.
    filled: bool,
    /// The last scrape did not get its collection.
    missed: bool,
    /// Since when nothing new came though it was asked for. Not since the last
    /// collection: with a scrape every two minutes its samples would be too
    /// old for the first one that is missed.
    since: Option<Instant>,
}

impl Series {
    pub fn table(&self) -> MutexGuard<'_, Option<Table>> {
        lock(&self.table)
    }

    /// For whoever holds the table: a thread that was left behind must not
    /// touch it. The unit's life must not be asked then: it comes before the
    /// table.
    pub fn owner(&self) -> u64 {
        self.owner.load(Relaxed)
    }

    /// For whoever holds the table.
    pub fn set_owner(&self, attempt: u64) {
        self.owner.store(attempt, Relaxed);
    }

    pub fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }

    /// A collection was taken over, in time or not.
    pub fn filled(&self) {
        let mut age = lock(&self.age);
        (age.filled, age.since) = (true, None);
        self.version.fetch_add(1, Relaxed);
    }

    /// A scrape got its collection, or did not.
    pub fn asked(&self, in_time: bool) {
        let mut age = lock(&self.age);
        age.missed = !in_time;
        if !in_time {
            age.since.get_or_insert_with(Instant::now);
        }
    }

    /// Nothing new will come for now.
    pub fn ended(&self) {
        let mut age = lock(&self.age);
        age.missed = true;
        age.since.get_or_insert_with(Instant::now);
    }

    /// Drops everything.
    pub fn forget(&self) {
        *lock(&self.table) = None;
        *lock(&self.age) = Age::default();
        self.version.fetch_add(1, Relaxed);
    }

    /// How current they are, where samples may be shown that were not asked
    /// for just now for at most `stale`.
    pub fn freshness(&self, stale: Duration) -> Freshness {
        let age = lock(&self.age);
        match (age.filled, age.missed, age.since) {
            (false, ..) => Freshness::Nothing,
            (true, false, _) => Freshness::Fresh,
            (true, true, Some(since)) if since.elapsed() > stale => Freshness::Nothing,
            (true, true, _) => Freshness::Stale,
        }
    }
}
