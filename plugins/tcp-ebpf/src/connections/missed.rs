//! Connections that scans did not find any more. Most are gone; one that an
//! iterator passed over, since its map changed under it, comes back, and what
//! was counted of it must not count again.

use super::{Counted, Ends, Known};
use ahash::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// Connections that are remembered: some 120 bytes each. The oldest go first.
pub(super) const MAX: usize = 1 << 14;

type Key = (u64, u64);

/// What is known of connections that scans did not find any more.
#[derive(Debug)]
pub(super) struct Missed {
    known: HashMap<Key, (Ends, Known), RandomState>,
    order: VecDeque<Key>,
}

impl Default for Missed {
    fn default() -> Self {
        Self { known: HashMap::with_hasher(RandomState::new()), order: VecDeque::new() }
    }
}

impl Missed {
    /// Remembers one.
    pub(super) fn keep(&mut self, key: Key, known: (Ends, Known)) {
        self.known.insert(key, known);
        self.order.push_back(key);
        while self.order.len() > MAX {
            let oldest = self.order.pop_front();
            oldest.map(|key| self.known.remove(&key));
        }
    }

    /// It is there again, or its end was told.
    pub(super) fn take(&mut self, key: Key) -> Option<Counted> {
        // Mostly there is none.
        if self.known.is_empty() { None } else { self.known.remove(&key).map(|(_, known)| known.counted) }
    }

    /// All that is remembered.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ends, Known)> {
        self.known.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::some;

    #[test]
    fn the_oldest_go_first() {
        let mut missed = Missed::default();
        for number in 0..MAX as u64 + 5 {
            let counted = Counted { sent: number, ..Counted::default() };
            missed.keep((number, 1), (Ends::default(), Known { counted, ..Known::of(&some()) }));
        }
        assert_eq!((missed.known.len(), missed.order.len()), (MAX, MAX));
        assert_eq!(missed.take((4, 1)), None);
        assert_eq!(missed.take((5, 1)).map(|counted| counted.sent), Some(5));
        assert_eq!(missed.take((5, 1)), None);
    }
}
