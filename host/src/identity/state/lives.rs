//! What is remembered of containers that died young, so that one that dies
//! again and again grows old at last.

use super::names::Name;
use ahash::RandomState;
use std::collections::HashMap;
use std::time::Duration;

/// For how long it is remembered after its end: the longest pause that an
/// orchestrator makes between two tries is five minutes (kubelet's back-off).
const REMEMBERED: Duration = Duration::from_secs(15 * 60);

/// The most of them: 0.7 MiB. One more begins its next life as a new one.
const MOST: usize = 10_000;

/// Earlier lives of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// How many there were.
    pub number: u64,
    /// When the first one began, in nanoseconds since boot.
    pub first_seen: u64,
    /// When the last one ended.
    pub ended: u64,
}

impl Life {
    fn is_over(&self, now: u64) -> bool {
        now.saturating_sub(self.ended) > u64::try_from(REMEMBERED.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Both are lives of one container.
    fn with(self, other: Life) -> Self {
        Self {
            number: self.number.max(other.number),
            first_seen: self.first_seen.min(other.first_seen),
            ended: self.ended.max(other.ended),
        }
    }
}

/// By all that they are known by.
#[derive(Debug, Default)]
pub struct Lives {
    all: HashMap<Name, Life, RandomState>,
    refused: u64,
}

impl Lives {
    /// Of the container that is known by this.
    pub fn get(&self, key: Name, now: u64) -> Option<Life> {
        self.all.get(&key).copied().filter(|life| !life.is_over(now))
    }

    /// A life ended.
    pub fn add(&mut self, key: Name, life: Life, now: u64) {
        if self.all.len() >= MOST && !self.all.contains_key(&key) {
            self.forget_old(now);
            if self.all.len() >= MOST {
                self.refused += 1;
                return;
            }
        }
        let before = self.get(key, now);
        self.all.insert(key, before.map_or(life, |before| life.with(before)));
    }

    pub fn forget_old(&mut self, now: u64) {
        self.all.retain(|_, life| !life.is_over(now));
    }

    /// How many were not remembered, since there are too many.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::Names;
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    #[test]
    fn it_is_remembered_for_a_while() {
        let (mut lives, names) = (Lives::default(), Names::default());
        let life = |number, first_seen, ended| Life { number, first_seen, ended };
        lives.add(names.of("a"), life(1, 5, MINUTE), MINUTE);
        lives.add(names.of("a"), life(2, 6, 2 * MINUTE), 2 * MINUTE);
        assert_eq!(lives.get(names.of("a"), 3 * MINUTE), Some(life(2, 5, 2 * MINUTE)));
        assert_eq!(lives.get(names.of("a"), 18 * MINUTE), None);
        lives.add(names.of("a"), life(1, 18 * MINUTE, 18 * MINUTE), 18 * MINUTE);
        assert_eq!(lives.get(names.of("a"), 18 * MINUTE).map(|life| life.first_seen), Some(18 * MINUTE));
    }

    #[test]
    fn those_that_are_many_are_bounded_and_those_that_are_known_go_on() {
        let (mut lives, names) = (Lives::default(), Names::default());
        let life = |now| Life { number: 1, first_seen: now, ended: now };
        (0..MOST + 10).for_each(|number| lives.add(names.of(&number.to_string()), life(1), 1));
        assert_eq!((lives.len(), lives.refused()), (MOST, 10));
        lives.add(names.of("7"), Life { number: 2, ..life(2) }, 2);
        assert_eq!(lives.get(names.of("7"), 2).map(|life| life.number), Some(2));
        lives.add(names.of("new"), life(20 * MINUTE), 20 * MINUTE);
        assert_eq!((lives.len(), lives.refused()), (1, 10), "the old ones made room");
    }
}
