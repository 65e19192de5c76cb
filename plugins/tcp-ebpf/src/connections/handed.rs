//! What the generation before knew of connections that are open.
//!
//! A connection is known there by another moment than here: each generation's
//! programs note their own. So it is found by its socket, namespace and ports,
//! which the next connection may have as well, within milliseconds. The two are told
//! apart by when they were seen: what was there at one moment is one connection.

use super::{Counted, Ends};
use crate::record::{ADOPTED, Record};
use ahash::RandomState;
use hashbrown::HashMap;

/// Connections that are taken over.
const MAX: usize = super::MAX_OPEN + super::MAX_UNCOUNTED + super::missed::MAX;

/// The programs of two generations run one after the other, those of the one before
/// first. It may have seen a connection that the next one was about to note, and an
/// interrupt may have come in between; in nanoseconds.
const SKEW: u64 = 100_000;

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// When it began, or was found.
    pub opened_at: u64,
    /// When it was seen last.
    pub at: u64,
    /// It was there before it was found.
    pub is_adopted: bool,
    /// What is counted of it, or would have been: what comes on top is to be.
    pub counted: Counted,
    /// It counts; else it is open, and rules or bounds leave it out.
    pub counts: bool,
}

impl Known {
    /// All that a record tells.
    pub fn of(record: &Record) -> Self {
        Self {
            opened_at: record.opened_at,
            at: record.at,
            is_adopted: record.is(ADOPTED),
            counted: Counted::all(record),
            counts: true,
        }
    }

    /// Whether another generation saw the same connection, of two with the same ends.
    fn is_same(&self, seen: &Self) -> bool {
        if seen.opened_at > self.at.saturating_add(SKEW) {
            return seen.is_adopted && self.counted.is_before(&seen.counted);
        }
        if seen.at < self.opened_at {
            return self.is_adopted && seen.counted.is_before(&self.counted);
        }
        true
    }
}

/// What the generation before knew.
#[derive(Debug)]
pub(super) struct Handed {
    known: HashMap<Ends, Known, RandomState>,
}

impl Default for Handed {
    fn default() -> Self {
        Self { known: HashMap::with_hasher(RandomState::new()) }
    }
}

impl Handed {
    /// Takes it over; how many of them found no room.
    pub(super) fn extend(&mut self, handed: impl IntoIterator<Item = (Ends, Known)>) -> u64 {
        let mut refused = 0;
        for (ends, known) in handed {
            if self.known.len() >= MAX && !self.known.contains_key(&ends) {
                refused += 1;
                continue;
            }
            let kept = self.known.entry(ends).or_insert(known);
            // The end of the other one was not told.
            if known.at > kept.at {
                *kept = known;
            }
        }
        refused
    }

    /// What was known of a connection, which is known here from now on.
    pub(super) fn take(&mut self, ends: &Ends, seen: &Known) -> Option<Known> {
        // Mostly there is none.
        if self.known.is_empty() || !self.known.get(ends)?.is_same(seen) {
            return None;
        }
        self.known.remove(ends)
    }

    /// All that is waiting still.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ends, Known)> {
        self.known.iter().map(|(ends, known)| (*ends, *known))
    }

    /// How many of those counted.
    pub(super) fn counted(&self) -> u64 {
        self.known.values().filter(|known| known.counts).count() as u64
    }

    /// None of it comes any more.
    pub(super) fn clear(&mut self) {
        if !self.known.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::some;

    const MS: u64 = 1_000_000;

    fn known(from: u64, to: u64, is_adopted: bool, sent: u64) -> Known {
        let counted = Counted { connect: true, sent, ..Counted::default() };
        Known { opened_at: from * MS, at: to * MS, is_adopted, counted, counts: true }
    }

    #[test]
    fn two_with_the_same_ends_are_told_apart_by_when_they_were_there() {
        for (before, now, is_same) in [
            // Both saw it begin; and one found it later than the other.
            (known(10, 20, false, 5), known(10, 30, false, 9), true),
            (known(10, 20, false, 5), known(15, 15, true, 1), true),
            (known(15, 20, true, 5), known(10, 30, false, 9), true),
            // It began after the other one was seen last, or was gone before it began.
            (known(10, 20, false, 5), known(21, 30, false, 9), false),
            (known(10, 20, false, 5), known(2, 9, true, 1), false),
            // It was found after it was seen last: its numbers go on, or not.
            (known(10, 20, false, 5), known(21, 30, true, 9), true),
            (known(10, 20, false, 5), known(21, 30, true, 1), false),
            (known(10, 20, true, 5), known(2, 9, false, 1), true),
            (known(10, 20, true, 5), known(2, 9, false, 9), false),
        ] {
            assert_eq!(before.is_same(&now), is_same, "{before:?} {now:?}");
            let mut handed = Handed::default();
            let ends = Ends::from(&some());
            handed.extend([(ends, before)]);
            assert_eq!(handed.take(&ends, &now).is_some(), is_same);
            assert_eq!(handed.iter().count(), usize::from(!is_same), "another one's stays");
        }
    }

    #[test]
    fn what_finds_no_room_is_told() {
        let mut handed = Handed::default();
        let many = (0..MAX as u64 + 7).map(|sock| (Ends { sock, ..Ends::default() }, known(1, 2, false, 0)));
        assert_eq!(handed.extend(many), 7);
    }
}
