//! What the plugin counts of itself.

use crate::metrics;
use gantry_plugin_api::{Counter, Host};

/// Why a victim is of no container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is in no cgroup of its own.
    NoContainer,
    /// Nobody knew its cgroup in time.
    UnknownCgroup,
    /// Too many waited for theirs to be known.
    WaitingFull,
}

const REASONS: [&str; 3] = ["no_container", "unknown_cgroup", "waiting_full"];

const LOST: [&str; 3] = ["ring_full", "malformed", "early_full"];

/// Counters of its own. They outlive the instance by themselves.
#[derive(Debug)]
pub struct Own {
    unattributed: [Counter; REASONS.len()],
    lost: [Counter; LOST.len()],
    /// Kills that a counter alone told of.
    pub found: Counter,
    /// Marks of who was ending anyhow.
    pub not_killed: Counter,
}

impl Own {
    /// All of them, at nothing.
    pub fn new(host: &Host) -> Self {
        let counter = |family, labels: &[&str]| host.metrics().counter(family, None, labels);
        Self {
            unattributed: REASONS.map(|reason| counter(&metrics::UNATTRIBUTED, &[reason])),
            lost: LOST.map(|reason| counter(&metrics::LOST, &[reason])),
            found: counter(&metrics::FOUND, &[]),
            not_killed: counter(&metrics::NOT_KILLED, &[]),
        }
    }

    /// A victim is of no container.
    pub fn unattributed(&self, reason: Reason) {
        self.unattributed[reason as usize].inc();
    }

    /// How many there were so far, by the label.
    pub fn of_reason(&self, reason: &str) -> f64 {
        REASONS
            .iter()
            .zip(&self.unattributed)
            .find(|(name, _)| **name == reason)
            .map_or(0.0, |(_, one)| one.get())
    }

    /// Events were lost: of the ring, malformed, and those that came before counting
    /// began and had no room.
    pub fn lost(&self, counts: [u64; LOST.len()]) {
        self.lost.iter().zip(counts).for_each(|(counter, count)| counter.add(count as f64));
    }
}
