//! What failed, and when each of it is tried again: so that one thing that
//! fails for ever makes nothing else wait.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;
use tokio::time::Instant;

/// What failed is tried again so much later, then twice as much, up to a minute:
/// what was in the way may be gone by then.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// That are tried again. Others wait for their next event.
const MOST: usize = 10_000;

/// Things that failed, each with a wait of its own.
#[derive(Debug)]
pub struct Retries<K> {
    failed: HashMap<K, Planned>,
    due: BTreeSet<(Instant, K)>,
}

#[derive(Debug)]
struct Planned {
    /// When it is tried; `None` while that is under way.
    at: Option<Instant>,
    /// How long it waits after that.
    next: Duration,
}

impl<K> Default for Retries<K> {
    fn default() -> Self {
        Self { failed: HashMap::new(), due: BTreeSet::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord> Retries<K> {
    /// It failed, for the first time or again.
    pub fn failed(&mut self, what: K, now: Instant) {
        if !self.failed.contains_key(&what) && self.failed.len() >= MOST {
            return;
        }
        let planned = self.failed.entry(what.clone()).or_insert(Planned { at: None, next: AGAIN });
        if planned.at.is_none() {
            let at = now + planned.next;
            planned.at = Some(at);
            planned.next = (planned.next * 2).min(AGAIN_AT_MOST);
            self.due.insert((at, what));
        }
    }

    /// It works, or is no more.
    pub fn settled<Q>(&mut self, what: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(Planned { at: Some(at), .. }) = self.failed.remove(what) {
            self.due.remove(&(at, what.to_owned()));
        }
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Those that are due.
    pub fn take(&mut self, now: Instant) -> Vec<K> {
        let mut taken = Vec::new();
        while self.next().is_some_and(|at| at <= now) {
            let Some((_, what)) = self.due.pop_first() else { break };
            if let Some(planned) = self.failed.get_mut(&what) {
                planned.at = None;
            }
            taken.push(what);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_for_itself() {
        let mut retries: Retries<String> = Retries::default();
        let begun = Instant::now();
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        let one = |name: &str| vec![name.to_owned()];
        let mut now = begun;
        // One that fails for ever.
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            retries.failed("ever".to_owned(), now);
            retries.failed("ever".to_owned(), now);
            assert_eq!(retries.next(), Some(now + Duration::from_secs(wait)));
            assert!(retries.take(now).is_empty());
            now += Duration::from_secs(wait);
            assert_eq!(retries.take(now), one("ever"));
        }
        retries.failed("ever".to_owned(), now);
        retries.failed("new".to_owned(), now);
        assert_eq!(retries.take(now + Duration::from_secs(1)), one("new"), "it does not wait for the other");
        retries.settled("new");
        retries.settled("ever");
        assert_eq!((retries.next(), retries.failed.len()), (None, 0));
        retries.failed("ever".to_owned(), after(1000));
        assert_eq!(retries.next(), Some(after(1001)), "it begins anew");
    }

    #[test]
    fn is_bounded() {
        let mut retries: Retries<String> = Retries::default();
        let now = Instant::now();
        (0..MOST + 10).for_each(|number| retries.failed(number.to_string(), now));
        assert_eq!((retries.failed.len(), retries.due.len()), (MOST, MOST));
    }
}
