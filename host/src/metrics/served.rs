//! When a collection was served whole. One scraper may ask for some plugins and
//! another for the rest, and a plugin may be late: what is gone is forgotten
//! after its last values were served, not after somebody asked for something else.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// A plugin that nobody asked for in this time is not waited for.
const ASKED: Duration = Duration::from_secs(10 * 60);

/// What was served since the last whole collection.
#[derive(Debug, Default)]
pub struct Served {
    /// When each plugin was asked for last.
    asked: HashMap<String, Instant>,
    /// Those of them whose samples of a new collection were in an exposition.
    fresh: HashSet<String>,
}

impl Served {
    /// An exposition was made, with these plugins' series, each of this
    /// collection (`true`) or of an earlier one; `there` says who has any at
    /// all. Whether everybody's were served by now.
    pub fn exposed<'a>(
        &mut self,
        shown: impl Iterator<Item = (&'a str, bool)>,
        there: impl Fn(&str) -> bool,
        now: Instant,
    ) -> bool {
        for (name, is_fresh) in shown {
            self.asked.insert(name.to_owned(), now);
            if is_fresh {
                self.fresh.insert(name.to_owned());
            }
        }
        self.asked.retain(|name, at| now.saturating_duration_since(*at) < ASKED && there(name));
        let is_whole = self.asked.keys().all(|name| self.fresh.contains(name));
        if is_whole {
            self.fresh.clear();
        }
        is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_whole_when_all_that_are_asked_for_were_served_fresh() {
        let (mut served, now) = (Served::default(), Instant::now());
        let there = |_: &str| true;
        assert!(served.exposed([("node", true), ("containers", true)].into_iter(), there, now));
        for _ in 0..3 {
            assert!(!served.exposed([("node", true)].into_iter(), there, now), "the rest is missing");
            let late = [("node", true), ("containers", false)];
            assert!(!served.exposed(late.into_iter(), there, now), "one was late");
            assert!(!served.exposed([].into_iter(), there, now), "the host's own alone");
        }
        assert!(served.exposed([("containers", true)].into_iter(), there, now), "two make a whole");
        assert!(!served.exposed([("containers", true)].into_iter(), there, now), "each time");
        let gone = |name: &str| name != "node";
        assert!(
            served.exposed([("containers", true)].into_iter(), gone, now),
            "who is not there is not awaited"
        );
        assert!(served.exposed([("node", true), ("containers", true)].into_iter(), there, now));
        let later = now + ASKED + Duration::from_secs(1);
        assert!(served.exposed([("containers", true)].into_iter(), there, later), "nor who is not asked for");
    }
}
