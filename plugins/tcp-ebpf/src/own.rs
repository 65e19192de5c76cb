//! What the plugin counts of itself.

use crate::metrics;
use crate::watch::Inner;
use gantry_plugin_api::{Counter, Host};

/// Counters of its own.
#[derive(Debug)]
pub struct Own {
    events: Counter,
    corrections: Counter,
    resyncs: Counter,
    unattributed: Counter,
    folded: Counter,
    lost: [Lost; LOST],
    /// What was added of each already.
    before: [u64; 5 + LOST],
}

/// A reason, and how much there was in all.
type Lost = (Counter, fn(&Inner) -> u64);

const LOST: usize = 7;

impl Own {
    /// All of them, at nothing.
    pub fn new(host: &Host) -> Self {
        let counter = |family| host.metrics().counter(family, None, &[]);
        let lost = |reason| host.metrics().counter(&metrics::LOST, None, &[reason]);
        Self {
            events: counter(&metrics::EVENTS),
            corrections: counter(&metrics::CORRECTIONS),
            resyncs: counter(&metrics::RESYNCS),
            unattributed: counter(&metrics::UNATTRIBUTED),
            folded: counter(&metrics::FOLDED),
            lost: [
                (lost("ring_full"), |inner| inner.lost.ring),
                (lost("no_storage"), |inner| inner.lost.storage),
                (lost("recursion"), |inner| inner.lost.missed),
                (lost("malformed"), |inner| inner.lost.malformed),
                (lost("not_held"), |inner| inner.tracker.overheld),
                (lost("connections_full"), |inner| inner.tracker.connections.refused),
                (lost("listens_full"), |inner| inner.tracker.listens.refused),
            ],
            before: [0; 5 + LOST],
        }
    }

    /// Adds what came on top since the last time.
    pub fn take(&mut self, inner: &Inner) {
        let tracker = &inner.tracker;
        let first = [
            (&self.events, tracker.events),
            (&self.corrections, tracker.connections.corrected),
            (&self.resyncs, inner.resyncs),
            (&self.unattributed, tracker.counts.unattributed),
            (&self.folded, tracker.counts.folded),
        ];
        let all = first.into_iter().chain(self.lost.iter().map(|(counter, of)| (counter, of(inner))));
        for ((counter, now), before) in all.zip(&mut self.before) {
            counter.add(now.saturating_sub(*before) as f64);
            *before = now;
        }
    }
}
