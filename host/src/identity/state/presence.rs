//! When a container is shown, and for how long: rules over times.

use super::record::Record;
use crate::config::IdentityConfig;
use std::time::Duration;

/// What becomes of a container's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is counted and not shown: too young, or without its name.
    Held,
    /// It is shown under its id, which stays.
    Shown,
    /// It is counted and never shown: a rule leaves it out.
    Hidden,
    /// It died young: what it counted is part of a folded series.
    Folded,
    /// It turned out to be one that was there before, and goes on as that: what
    /// it counted is part of that one's.
    Merged,
    /// Another container has its id: its series make room.
    Replaced,
}

/// The operator's rules, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub min_age: u64,
    pub metadata_wait: u64,
    pub linger: u64,
}

impl Times {
    pub fn of(config: &IdentityConfig) -> Self {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self {
            min_age: nanos(config.min_container_age),
            metadata_wait: nanos(config.metadata_wait),
            linger: nanos(config.linger),
        }
    }

    /// Whether a container is old enough to be shown.
    pub fn is_old(&self, record: &Record, now: u64) -> bool {
        record.age(now) >= self.min_age
    }

    /// Whether a container's name may still come, where somebody is asked for it.
    pub fn may_wait(&self, record: &Record, now: u64) -> bool {
        record.gone.is_none() && now.saturating_sub(record.made) < self.metadata_wait
    }

    /// Whether the name of one that is gone may still come.
    pub fn may_wait_after_end(&self, record: &Record, now: u64) -> bool {
        record
            .gone
            .as_ref()
            .is_some_and(|gone| now.saturating_sub(gone.at) < self.metadata_wait.min(AFTER_END))
    }

    /// Whether one that is gone died so young that it was never shown.
    pub fn died_young(&self, record: &Record) -> bool {
        record.age(record.first_seen) < self.min_age
    }

    /// Whether one that is gone may be forgotten: its last values were served
    /// for long enough, and in two collections.
    pub fn may_forget(&self, record: &Record, now: u64, collections: u64) -> bool {
        let Some(gone) = &record.gone else { return false };
        let span = match record.phase {
            Phase::Replaced | Phase::Hidden => 0,
            // It is part of a series that stays; a plugin that is late brings the last of it.
            Phase::Folded | Phase::Merged => self.linger.min(LATE),
            Phase::Held | Phase::Shown => self.linger,
        };
        now.saturating_sub(gone.at) >= span && collections >= gone.collections + COLLECTIONS
    }
}

/// How long the name of one that is gone is waited for: runtimes keep what ended
/// for a while, and answer within some milliseconds.
const AFTER_END: u64 = 1_000_000_000;

/// How late a plugin may be: its collections are served stale for a minute.
const LATE: u64 = 60_000_000_000;

/// Of those that are gone, their last values are served at least so often: a
/// scrape may be lost on its way.
const COLLECTIONS: u64 = 2;
