//! The containers whose metadata the host asked for, on their way from the
//! thread that hears events to those that ask runtimes.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// As many as can wait: 1 MiB of ids.
const MOST: usize = 8192;

/// A set of ids, each once, and a bell.
#[derive(Debug, Default)]
pub struct Wanted {
    ids: Mutex<BTreeSet<String>>,
    bell: Notify,
}

impl Wanted {
    /// One more is wanted; whether there was room for it.
    pub fn add(&self, id: &str) -> bool {
        let mut ids = self.lock();
        if ids.len() >= MOST && !ids.contains(id) {
            return false;
        }
        ids.insert(id.to_owned());
        drop(ids);
        self.bell.notify_one();
        true
    }

    /// All of them; nobody else is given them.
    pub fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.lock())
    }

    /// Waits until one is added; returns at once where one was since the last time.
    pub async fn added(&self) {
        self.bell.notified().await;
    }

    /// A panic cannot leave the set broken: each change is one call.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
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
}
