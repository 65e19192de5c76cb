//! What the plugin counts of itself.

use crate::engine::Counted;
use crate::metrics;
use gantry_plugin_api::{Counter, Host};

/// Reasons of losses: as `taskstats_lost_total` has them, and as the host is told.
const REASONS: [(&str, &str); LOST] = [
    ("overrun", "overrun_lost"),
    ("unknown_process", "unknown_process_lost"),
    ("full", "full_lost"),
    ("malformed", "malformed_lost"),
    ("unanswered", "unanswered_lost"),
];

const LOST: usize = 5;
const OTHERS: usize = 3;

/// Counters of its own.
#[derive(Debug)]
pub struct Own {
    others: [Counter; OTHERS],
    lost: [Counter; LOST],
    before: ([u64; OTHERS], [u64; LOST]),
}

impl Own {
    /// All of them, at nothing.
    pub fn new(host: &Host) -> Self {
        let others = [&metrics::EXITS, &metrics::OVERRUNS, &metrics::RESYNCS];
        Self {
            others: others.map(|family| host.metrics().counter(family, None, &[])),
            lost: REASONS.map(|(reason, _)| host.metrics().counter(&metrics::LOST, None, &[reason])),
            before: Default::default(),
        }
    }

    /// Adds what came on top since the last time, and tells of what was lost.
    pub fn take(&mut self, counted: &Counted, mut skipped: impl FnMut(&'static str, u64)) {
        let lost = counted.lost;
        let full = lost.full + counted.counts.refused;
        let now = (
            [counted.exits, counted.overruns, counted.resyncs],
            [lost.overrun, lost.unknown, full, lost.malformed, lost.unanswered],
        );
        for ((counter, now), before) in self.others.iter().zip(now.0).zip(self.before.0) {
            counter.add(now.saturating_sub(before) as f64);
        }
        for (index, counter) in self.lost.iter().enumerate() {
            let more = now.1[index].saturating_sub(self.before.1[index]);
            counter.add(more as f64);
            if more > 0 {
                skipped(REASONS[index].1, more);
            }
        }
        self.before = now;
    }
}
