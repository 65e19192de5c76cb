//! What the plugin counts of what it could not know of translations.

use super::{Actual, Unknown};
use crate::metrics;
use gantry_plugin_api::{Counter, Host, Sink};

const REASONS: [&str; 3] = ["event_lost", "not_asked", "full"];

/// Counters of it.
#[derive(Debug)]
pub struct Own {
    counters: [Counter; 3],
    before: Unknown,
}

impl Own {
    /// All of them, at nothing.
    pub fn new(host: &Host) -> Self {
        let counter = |reason| host.metrics().counter(&metrics::UNKNOWN, None, &[reason]);
        Self { counters: REASONS.map(counter), before: Unknown::default() }
    }

    /// Adds what came since the last time, and shows what is known now.
    pub fn show(&mut self, actual: &Actual, sink: &mut Sink<'_>) {
        let numbers = |unknown: Unknown| [unknown.lost, unknown.not_asked, unknown.full];
        let (now, before) = (actual.unknown(), std::mem::replace(&mut self.before, actual.unknown()));
        for (counter, (now, before)) in
            self.counters.iter().zip(numbers(now).into_iter().zip(numbers(before)))
        {
            counter.add(now.saturating_sub(before) as f64);
        }
        let (translations, namespaces) = actual.known();
        sink.node(&metrics::TRANSLATIONS, &[], translations);
        sink.node(&metrics::TRANSLATING, &[], namespaces);
    }
}
