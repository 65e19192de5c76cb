//! Events that a plugin lost, by its own word: what it skipped by a reason that
//! ends in [`SUFFIX`]. Other reasons are of samples that could not be made, which
//! says nothing of the plugin's version.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What such a reason ends in.
const SUFFIX: &str = "_lost";

/// More reasons than these are not remembered; a collection has 17 at most.
const MAX_REASONS: usize = 64;

/// Whether a reason says that events are lost.
pub fn is_loss(reason: &str) -> bool {
    reason.ends_with(SUFFIX)
}

/// When events were lost last, by reason.
#[derive(Debug, Default)]
pub struct Losses(BTreeMap<String, Instant>);

impl Losses {
    pub fn note(&mut self, losses: &[(&str, u64)], now: Instant) {
        for (reason, _) in losses {
            if self.0.len() < MAX_REASONS || self.0.contains_key(*reason) {
                self.0.insert((*reason).to_owned(), now);
            }
        }
    }

    /// The reasons of the last `span`.
    pub fn since(self, now: Instant, span: Duration) -> BTreeSet<String> {
        let recent = |at: &Instant| now.saturating_duration_since(*at) <= span;
        self.0.into_iter().filter(|(_, at)| recent(at)).map(|(reason, _)| reason).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_long_ago_is_forgotten() {
        assert!(is_loss("ring_lost") && !is_loss("file_unreadable"));
        let (now, span) = (Instant::now(), Duration::from_secs(600));
        let mut losses = Losses::default();
        losses.note(&[("old_lost", 1), ("both_lost", 1)], now);
        losses.note(&[("both_lost", 1)], now + span);
        let late = now + span + Duration::from_secs(1);
        assert_eq!(losses.since(late, span), ["both_lost".to_owned()].into());
        let mut many = Losses::default();
        (0..1000).for_each(|at| many.note(&[(&format!("{at}_lost"), 1)], now));
        assert_eq!(many.since(now, span).len(), MAX_REASONS);
    }
}
