//! The clocks of the fake host: they stand until the test turns them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The host's three clocks. They stand still until the test turns them, so
/// that what a plugin computes from times is exact. Waits of a plugin's own
/// (a channel's `recv_timeout`, say) go by the machine's time all the same.
#[derive(Debug)]
pub struct Clock {
    now: Mutex<Times>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    realtime: Duration,
    monotonic: Duration,
    boottime: Duration,
}

/// 14 November 2023, 22:13:20 UTC: round, and no test passes on another day only.
const REALTIME: Duration = Duration::from_secs(1_700_000_000);
/// The machine ran so long, and slept half as long: the clocks are told apart.
const MONOTONIC: Duration = Duration::from_secs(10_000);
const BOOTTIME: Duration = Duration::from_secs(15_000);

impl Clock {
    pub(crate) fn new() -> Self {
        let now = Times { realtime: REALTIME, monotonic: MONOTONIC, boottime: BOOTTIME };
        Self { now: Mutex::new(now) }
    }

    /// Time goes by.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        now.realtime = now.realtime.saturating_add(by);
        now.monotonic = now.monotonic.saturating_add(by);
        now.boottime = now.boottime.saturating_add(by);
    }

    /// The machine sleeps: the monotonic clock does not see it.
    pub fn suspend(&self, length: Duration) {
        let mut now = self.lock();
        now.realtime = now.realtime.saturating_add(length);
        now.boottime = now.boottime.saturating_add(length);
    }

    /// Somebody sets the machine's time, forwards or back.
    pub fn set_realtime(&self, since_epoch: Duration) {
        self.lock().realtime = since_epoch;
    }

    /// Time since the epoch.
    pub fn realtime(&self) -> Duration {
        self.lock().realtime
    }

    /// Time since some start, without sleep.
    pub fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    /// Time since boot, with sleep.
    pub fn boottime(&self) -> Duration {
        self.lock().boottime
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
