//! What the host saw of a plugin, in order, for tests to look at and wait for.

use crate::failure::Failure;
use crate::wait::PATIENCE;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A plugin under test that floods is bounded here as in the host.
const MAX_NOTED: usize = 10_000;

/// How many of the last entries a failure shows.
const SHOWN: usize = 10;

/// What a plugin told the host, in order; the last 10,000 of it.
#[derive(Debug)]
pub struct Noted<T> {
    what: &'static str,
    entries: Mutex<(VecDeque<T>, u64)>,
    changed: Condvar,
}

impl<T: Clone + Debug> Noted<T> {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, entries: Mutex::new((VecDeque::new(), 0)), changed: Condvar::new() }
    }

    pub(crate) fn push(&self, entry: T) {
        let mut held = self.lock();
        if held.0.len() == MAX_NOTED {
            held.0.pop_front();
            held.1 += 1;
        }
        held.0.push_back(entry);
        drop(held);
        self.changed.notify_all();
    }

    /// All that is there, the oldest first.
    pub fn all(&self) -> Vec<T> {
        self.lock().0.iter().cloned().collect()
    }

    /// The newest.
    pub fn last(&self) -> Option<T> {
        self.lock().0.back().cloned()
    }

    /// How many were forgotten, as there were more than 10,000.
    pub fn forgotten(&self) -> u64 {
        self.lock().1
    }

    /// Whether one is there that `is`.
    pub fn any(&self, is: impl Fn(&T) -> bool) -> bool {
        self.lock().0.iter().any(is)
    }

    /// Forgets all, for a test that is about what comes next.
    pub fn clear(&self) {
        self.lock().0.clear();
    }

    /// The first one that `is`, as soon as it is there; a failure that shows
    /// the last ones where it does not come within [`PATIENCE`].
    pub fn wait_for(&self, is: impl Fn(&T) -> bool) -> Result<T, Failure> {
        let held = self.lock();
        let missing = |held: &mut (VecDeque<T>, u64)| !held.0.iter().any(&is);
        let (held, _) =
            self.changed.wait_timeout_while(held, PATIENCE, missing).unwrap_or_else(PoisonError::into_inner);
        held.0.iter().find(|entry| is(entry)).cloned().ok_or_else(|| {
            let last: Vec<&T> = held.0.iter().rev().take(SHOWN).collect();
            let what = self.what;
            Failure::NeverCame(format!(
                "no {what} of the wanted kind came within {PATIENCE:?}; the last of {}: {last:?}",
                held.0.len()
            ))
        })
    }

    fn lock(&self) -> MutexGuard<'_, (VecDeque<T>, u64)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_bounded_and_counted() {
        let noted = Noted::new("number");
        (0..MAX_NOTED + 5).for_each(|number| noted.push(number));
        assert_eq!((noted.all().len(), noted.all()[0], noted.forgotten()), (MAX_NOTED, 5, 5));
    }

    #[test]
    fn what_comes_later_is_waited_for() {
        let noted = Noted::new("number");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| noted.wait_for(|number| *number == 2));
            (0..3).for_each(|number| noted.push(number));
            assert_eq!(waiting.join().unwrap().unwrap(), 2);
        });
    }
}
