//! The state, as the thread that watches and all who ask share it.

use super::path::UserSlices;
use super::state::State;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The loop looks at something every 2 s, and each look is told part by part.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is shared. The lock of the state is held for one fact at a time: a
/// look-up never waits for a read of a file.
#[derive(Debug)]
pub struct Shared {
    state: RwLock<State>,
    /// The newest event that those who wait are woken for.
    told: Mutex<u64>,
    more: Condvar,
    ending: AtomicBool,
    looks: AtomicU64,
    missed: AtomicU64,
    watched: AtomicBool,
    cgroups_watched: AtomicBool,
    /// When the loop came round last, in milliseconds after `made`; 0 before it runs.
    beat: AtomicU64,
    made: Instant,
    /// As somebody does whose loop panics.
    #[cfg(test)]
    pub trips: AtomicU64,
    shows_users: AtomicBool,
    lost: Mutex<BTreeMap<&'static str, u64>>,
}

impl Shared {
    pub fn new(state: State) -> Self {
        Self {
            state: RwLock::new(state),
            told: Mutex::default(),
            more: Condvar::new(),
            ending: AtomicBool::new(false),
            looks: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            cgroups_watched: AtomicBool::new(false),
            beat: AtomicU64::new(0),
            made: Instant::now(),
            #[cfg(test)]
            trips: AtomicU64::new(0),
            shows_users: AtomicBool::new(false),
            lost: Mutex::default(),
        }
    }

    pub fn read<T>(&self, ask: impl FnOnce(&State) -> T) -> T {
        ask(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn write<T>(&self, tell: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let before = state.events().calls();
        let answer = tell(&mut state);
        let calls = state.events().calls();
        drop(state);
        if calls != before {
            *lock(&self.told) = calls;
            self.more.notify_all();
        }
        answer
    }

    /// Waits until there is an event after the cursor that wakes, at most so long.
    pub fn wait(&self, cursor: u64, at_most: Duration) -> bool {
        let nothing =
            |_: &mut u64| !self.is_ending() && !self.read(|state| state.events().calls_after(cursor));
        let waited = self.more.wait_timeout_while(lock(&self.told), at_most, nothing);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.read(|state| state.events().calls_after(cursor))
    }

    /// Whether the directories of a container are known.
    pub fn has_directories(&self, key: &str) -> bool {
        self.read(|state| state.has_directories(key))
    }

    pub fn is_ending(&self) -> bool {
        self.ending.load(Relaxed)
    }

    pub fn end(&self) {
        self.ending.store(true, Relaxed);
        let told = lock(&self.told);
        self.more.notify_all();
        drop(told);
    }

    /// All was looked at, once more.
    pub fn looked_at_all(&self) {
        self.looks.fetch_add(1, Relaxed);
    }

    pub fn looks(&self) -> u64 {
        self.looks.load(Relaxed)
    }

    /// A process was gone before it could be looked at.
    pub fn missed(&self) {
        self.missed.fetch_add(1, Relaxed);
    }

    /// The kernel tells of processes as they start.
    pub fn set_watched(&self, watched: bool) {
        self.watched.store(watched, Relaxed);
    }

    /// Whether what users run in their own slices counts.
    pub fn set_users(&self, users: UserSlices) {
        self.shows_users.store(users == UserSlices::Shown, Relaxed);
    }

    pub fn users(&self) -> UserSlices {
        if self.shows_users.load(Relaxed) { UserSlices::Shown } else { UserSlices::Hidden }
    }

    pub fn is_watched(&self) -> bool {
        self.watched.load(Relaxed) && !self.stands_still(PATIENCE)
    }

    /// The kernel tells of directories of cgroups as they come and go.
    pub fn set_cgroups_watched(&self, watched: bool) {
        self.cgroups_watched.store(watched, Relaxed);
    }

    pub fn is_cgroups_watched(&self) -> bool {
        self.cgroups_watched.load(Relaxed) && !self.stands_still(PATIENCE)
    }

    /// The loop came round, or goes on with something long.
    pub fn beat(&self) {
        let millis = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(millis.max(1), Relaxed);
    }

    /// Whether the loop runs, and did not come round for so long.
    pub fn stands_still(&self, patience: Duration) -> bool {
        let beat = Duration::from_millis(self.beat.load(Relaxed));
        !beat.is_zero() && self.made.elapsed().saturating_sub(beat) > patience
    }

    /// Something was lost, for this reason.
    pub fn lost(&self, reason: &'static str) {
        self.lost_many(reason, 1);
    }

    /// So many more were lost, for this reason.
    pub fn lost_many(&self, reason: &'static str, count: u64) {
        if count > 0 {
            *lock(&self.lost).entry(reason).or_default() += count;
        }
    }

    /// So much was lost in all, for this reason.
    pub fn set_lost(&self, reason: &'static str, total: u64) {
        lock(&self.lost).insert(reason, total);
    }

    /// Losses by reason.
    pub fn losses(&self) -> BTreeMap<&'static str, u64> {
        let mut all = lock(&self.lost).clone();
        all.insert("process_gone", self.missed.load(Relaxed));
        all
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
