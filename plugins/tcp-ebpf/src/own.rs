//! What the plugin counts of itself.

use crate::metrics;
use crate::shared::Inner;
use gantry_plugin_api::{Counter, Host};

/// Reasons of losses: as `tcp_ebpf_lost_total` has them, and as the host is
/// told of lost events (`docs/decisions/0038-what-is-a-lost-event.md`). What the kernel passes over, since
/// an interrupt came while the programs ran, is the load's and no version's: the host is told of it, but
/// nothing is rolled back for it.
const REASONS: [(&str, &str); LOST] = [
    ("ring_full", "ring_full_lost"),
    ("no_storage", "no_storage_lost"),
    ("recursion", "recursion"),
    ("malformed", "malformed_lost"),
    ("not_held", "not_held_lost"),
    ("connections_full", "connections_full_lost"),
    ("listens_full", "listens_full_lost"),
    ("groups_full", "groups_full_lost"),
];

const LOST: usize = 8;

/// The place of what listens.
const LISTENS: usize = 6;

const OTHERS: usize = 6;

/// What there was in all, at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    others: [u64; OTHERS],
    /// In the order of the reasons.
    lost: [u64; LOST],
    /// In nanoseconds.
    unwatched: u64,
}

impl Totals {
    /// Those of now.
    pub fn of(inner: &Inner) -> Self {
        let Inner { tracker, lost, .. } = inner;
        Self {
            others: [
                tracker.events,
                tracker.connections.corrected,
                inner.resyncs,
                tracker.counts.unattributed,
                tracker.counts.folded,
                inner.engine.underflows(),
            ],
            lost: [
                lost.ring,
                lost.storage,
                lost.missed,
                lost.malformed,
                tracker.overheld,
                tracker.connections.refused,
                tracker.listens.refused + lost.listens,
                tracker.counts.refused,
            ],
            unwatched: tracker.unwatched,
        }
    }
}

/// Counters of its own.
#[derive(Debug)]
pub struct Own {
    others: [Counter; OTHERS],
    lost: [Counter; LOST],
    unwatched: Counter,
    /// What was added already.
    before: Totals,
    /// Addresses that were hidden at the last collection.
    hidden: u64,
}

impl Own {
    /// All of them, at nothing.
    pub fn new(host: &Host) -> Self {
        let others = [
            &metrics::EVENTS,
            &metrics::CORRECTIONS,
            &metrics::RESYNCS,
            &metrics::UNATTRIBUTED,
            &metrics::FOLDED,
            &metrics::UNDERFLOWS,
        ];
        Self {
            others: others.map(|family| host.metrics().counter(family, None, &[])),
            lost: REASONS.map(|(reason, _)| host.metrics().counter(&metrics::LOST, None, &[reason])),
            unwatched: host.metrics().counter(&metrics::UNWATCHED, None, &[]),
            before: Totals::default(),
            hidden: 0,
        }
    }

    /// Adds what came on top since the last time, and tells of what was lost.
    pub fn take(&mut self, now: Totals, mut skipped: impl FnMut(&'static str, u64)) {
        for ((counter, now), before) in self.others.iter().zip(now.others).zip(self.before.others) {
            counter.add(now.saturating_sub(before) as f64);
        }
        for (index, counter) in self.lost.iter().enumerate() {
            let more = now.lost[index].saturating_sub(self.before.lost[index]);
            counter.add(more as f64);
            if more > 0 {
                skipped(REASONS[index].1, more);
            }
        }
        self.unwatched.add(now.unwatched.saturating_sub(self.before.unwatched) as f64 / 1e9);
        self.before = now;
    }

    /// So many addresses are not shown for want of room. Each is lost once, and not at
    /// each collection.
    pub fn hides(&mut self, hidden: u64, mut skipped: impl FnMut(&'static str, u64)) {
        let more = hidden.saturating_sub(self.hidden);
        self.hidden = hidden;
        if more > 0 {
            self.lost[LISTENS].add(more as f64);
            skipped(REASONS[LISTENS].1, more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_plugin_testkit::Kit;

    #[test]
    fn the_host_is_told_of_each_loss_once() {
        let kit = Kit::of::<crate::TcpEbpf>();
        let mut own = Own::new(&kit.host());
        let mut told = Vec::new();
        let first = Totals { lost: [3, 0, 1, 0, 0, 0, 0, 0], ..Totals::default() };
        own.take(first, |reason, count| told.push((reason, count)));
        own.take(first, |reason, count| told.push((reason, count)));
        let then = Totals { lost: [5, 0, 1, 0, 0, 0, 0, 2], ..first };
        own.take(then, |reason, count| told.push((reason, count)));
        let all = [("ring_full_lost", 3), ("recursion", 1), ("ring_full_lost", 2), ("groups_full_lost", 2)];
        assert_eq!(told, all);
        let mut told = Vec::new();
        for hidden in [5, 5, 3, 4] {
            own.hides(hidden, |reason, count| told.push((reason, count)));
        }
        assert_eq!(told, [("listens_full_lost", 5), ("listens_full_lost", 1)]);
        // By the ending the host knows it for a loss of events.
        let others = REASONS.iter().filter(|(label, told)| told.strip_suffix("_lost") != Some(label));
        assert_eq!(others.collect::<Vec<_>>(), [&("recursion", "recursion")]);
    }
}
