//! The containers whose metadata the host asked for, on their way from the
//! thread that hears events to those that ask runtimes.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// As many as can wait: 1 MiB of ids.
const MOST: usize = 8192;

/// As many as wait for a runtime that does not answer: what it has is listed
/// when it does, so these only go first.
const NEWEST: usize = 64;

/// A queue of ids, each once, and a bell.
#[derive(Debug, Default)]
pub struct Wanted {
    ids: Mutex<Ids>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Ids {
    order: VecDeque<String>,
    known: HashSet<String>,
}

impl Ids {
    fn add(&mut self, id: &str) {
        if self.known.insert(id.to_owned()) {
            self.order.push_back(id.to_owned());
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(id) = self.order.pop_front() {
            self.known.remove(&id);
        }
    }
}

impl Wanted {
    /// One more is wanted of a runtime that answers; whether there was room for it.
    pub fn add(&self, id: &str) -> bool {
        let mut ids = self.lock();
        if ids.order.len() >= MOST && !ids.known.contains(id) {
            return false;
        }
        ids.add(id);
        drop(ids);
        self.bell.notify_one();
        true
    }

    /// One more is wanted of a runtime that does not answer: the newest are kept.
    pub fn add_newest(&self, id: &str) {
        let mut ids = self.lock();
        ids.add(id);
        while ids.order.len() > NEWEST {
            ids.drop_oldest();
        }
        drop(ids);
        self.bell.notify_one();
    }

    /// All of them, the oldest first; nobody else is given them.
    pub fn take(&self) -> VecDeque<String> {
        std::mem::take(&mut *self.lock()).order
    }

    /// Waits until one is added; returns at once where one was since the last time.
    pub async fn added(&self) {
        self.bell.notified().await;
    }

    /// A panic cannot leave more than one id in the one and not in the other,
    /// which is then asked for twice, or not.
    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_holds_each_once() {
        let wanted = Wanted::default();
        for number in 0..MOST {
            assert!(wanted.add(&number.to_string()) && wanted.add(&number.to_string()));
        }
        assert!(!wanted.add("one more") && wanted.add("0"));
        assert_eq!(wanted.take().len(), MOST);
        assert!(wanted.take().is_empty() && wanted.add("one more"));
    }

    #[test]
    fn of_one_that_does_not_answer_the_newest_are_kept() {
        let wanted = Wanted::default();
        (0..MOST * 2).for_each(|number| wanted.add_newest(&number.to_string()));
        let kept = wanted.take();
        assert_eq!((kept.len(), kept.back().map(String::as_str)), (NEWEST, Some("16383")));
        assert!(wanted.add("0") && wanted.take().len() == 1);
    }
}
