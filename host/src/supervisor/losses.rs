//! Events that a plugin lost, by its own word: what it skipped by a reason that
//! ends in [`SUFFIX`]. Other reasons are of samples that could not be made, which
//! says nothing of the plugin's version.

use crate::records::Lost;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

/// What such a reason ends in.
const SUFFIX: &str = "_lost";

/// More reasons than these are not remembered; a collection has 17 at most.
const MAX_REASONS: usize = 64;

/// What is lost all the time is written anew so often, in seconds.
const WRITTEN_EVERY: f64 = 60.0;

/// Whether a reason says that events are lost.
pub fn is_loss(reason: &str) -> bool {
    reason.ends_with(SUFFIX)
}

/// Whether what was written down of the same file says as much as this does.
pub fn is_as_good(written: &Lost, now: &Lost) -> bool {
    let is_close = |reason: &String, at: f64| {
        written.at.get(reason).is_some_and(|written| (written - at).abs() < WRITTEN_EVERY)
    };
    written.digest == now.digest
        && written.at.len() == now.at.len()
        && now.at.iter().all(|(reason, at)| is_close(reason, *at))
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

    /// For the next agent: when it was, in seconds since 1970.
    pub fn kept(&self, now: (Instant, SystemTime)) -> BTreeMap<String, f64> {
        let at = |at: &Instant| epoch(now.1) - now.0.saturating_duration_since(*at).as_secs_f64();
        self.0.iter().map(|(reason, when)| (reason.clone(), at(when))).collect()
    }

    /// What an earlier agent kept. What a clock that was set has in the future, or
    /// before this boot, is passed over.
    pub fn resumed(kept: BTreeMap<String, f64>, now: (Instant, SystemTime)) -> Self {
        let instant = |at: f64| {
            let ago = Duration::try_from_secs_f64(epoch(now.1) - at).ok()?;
            now.0.checked_sub(ago)
        };
        let each = kept.into_iter().take(MAX_REASONS);
        Self(each.filter_map(|(reason, at)| Some((reason, instant(at)?))).collect())
    }

    /// The reasons of the last `span`.
    pub fn since(self, now: Instant, span: Duration) -> BTreeSet<String> {
        let recent = |at: &Instant| now.saturating_duration_since(*at) <= span;
        self.0.into_iter().filter(|(_, at)| recent(at)).map(|(reason, _)| reason).collect()
    }
}

fn epoch(now: SystemTime) -> f64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
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
        let clock = SystemTime::now();
        let again = |passed: Duration| {
            let mut losses = Losses::default();
            losses.note(&[("old_lost", 1)], now);
            Losses::resumed(losses.kept((now, clock)), (now + passed, clock + passed))
        };
        assert_eq!(again(span / 2).since(now + span, span), ["old_lost".to_owned()].into());
        let late = span * 2;
        assert!(again(span / 2).since(now + late, span).is_empty(), "by the next agent as well");
        let kept = [("future_lost".to_owned(), 1e18), ("odd_lost".to_owned(), f64::NAN)].into();
        assert!(Losses::resumed(kept, (now, clock)).since(now, span).is_empty());
        let lost = |digest: &str, at: &[(&str, f64)]| Lost {
            digest: digest.to_owned(),
            at: at.iter().map(|(reason, at)| ((*reason).to_owned(), *at)).collect(),
        };
        let written = lost("x", &[("a_lost", 100.0), ("b_lost", 200.0)]);
        assert!(is_as_good(&written, &lost("x", &[("a_lost", 159.0), ("b_lost", 199.9)])));
        for other in [
            lost("x", &[("a_lost", 160.0), ("b_lost", 200.0)]),
            lost("x", &[("a_lost", 100.0)]),
            lost("x", &[("a_lost", 100.0), ("c_lost", 200.0)]),
            lost("y", &[("a_lost", 100.0), ("b_lost", 200.0)]),
        ] {
            assert!(!is_as_good(&written, &other), "{other:?}");
        }
        let mut many = Losses::default();
        (0..1000).for_each(|at| many.note(&[(&format!("{at}_lost"), 1)], now));
        assert_eq!(many.since(now, span).len(), MAX_REASONS);
    }
}
