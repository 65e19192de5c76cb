//! Connections that scans did not find any more. Most are gone; one that an
//! iterator passed over, since its map changed under it, comes back, and what
//! was counted of it must not count again.

use super::Counted;
use ahash::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// Connections that are remembered: some 60 bytes each. The oldest go first.
const MAX: usize = 1 << 14;

type Key = (u64, u64);

/// What was counted of connections that scans did not find any more.
#[derive(Debug)]
pub(super) struct Missed {
    known: HashMap<Key, Counted, RandomState>,
    order: VecDeque<Key>,
}

impl Default for Missed {
    fn default() -> Self {
        Self { known: HashMap::with_hasher(RandomState::new()), order: VecDeque::new() }
    }
}

impl Missed {
    /// Remembers one.
    pub(super) fn keep(&mut self, key: Key, counted: Counted) {
        self.known.insert(key, counted);
        self.order.push_back(key);
        while self.order.len() > MAX {
            let oldest = self.order.pop_front();
            oldest.map(|key| self.known.remove(&key));
        }
    }

    /// It is there again, or its end was told.
    pub(super) fn take(&mut self, key: Key) -> Option<Counted> {
        // Mostly there is none.
        if self.known.is_empty() { None } else { self.known.remove(&key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut missed = Missed::default();
        for number in 0..MAX as u64 + 5 {
            missed.keep((number, 1), Counted { sent: number, ..Counted::default() });
        }
        assert_eq!((missed.known.len(), missed.order.len()), (MAX, MAX));
        assert_eq!(missed.take((4, 1)), None);
        assert_eq!(missed.take((5, 1)).map(|counted| counted.sent), Some(5));
        assert_eq!(missed.take((5, 1)), None);
    }
}
