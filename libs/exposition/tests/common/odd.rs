//! Valid samples of every type, with labels and values as odd as they may be.

use super::{Random, family};
use gantry_exposition::Arena;
use gantry_plugin_api::description::{FamilyInfo, Kind};
use std::collections::HashSet;

/// A sample that must be taken.
pub struct Emitted {
    pub family: usize,
    pub labels: Vec<String>,
    pub value: f64,
    /// Bounds, cumulative counts, count; the value is the sum.
    pub histogram: Option<(Vec<f64>, Vec<u64>, u64)>,
}

pub fn families() -> Vec<FamilyInfo> {
    let help = "It's \"odd\" \\ and\nhas two lines.";
    let info =
        |name, kind, labels: &[&str]| FamilyInfo { help: help.to_owned(), ..family(name, kind, labels) };
    vec![
        info("odd_events_total", Kind::Counter, &["a", "b"]),
        info("odd_level", Kind::Gauge, &["a", "b"]),
        info("odd_things", Kind::Unknown, &["a"]),
        info("odd_requests_duration_seconds_total", Kind::Histogram, &["a"]),
        info("odd_exceptions_total", Kind::Gauge, &["a"]),
        info("odd_info", Kind::Gauge, &[]),
        info("odd_wait_seconds", Kind::Histogram, &[]),
    ]
}

pub fn emitted(random: &mut Random, number: usize) -> Vec<Emitted> {
    let families = families();
    let mut seen = HashSet::new();
    let mut emitted = Vec::new();
    for _ in 0..number {
        let family = random.below(families.len() as u64) as usize;
        let labels: Vec<String> = families[family].labels.iter().map(|_| random.text(12)).collect();
        if !seen.insert((family, labels.clone())) {
            continue;
        }
        let value = match families[family].kind {
            Kind::Counter => Some(random.number().abs()).filter(|value| value.is_finite()).unwrap_or(0.0),
            Kind::Histogram => random.below(1000) as f64 / 3.0,
            _ => random.number(),
        };
        let histogram = (families[family].kind == Kind::Histogram).then(|| {
            let mut count = 0;
            let bounds: Vec<f64> = (0..random.below(6)).map(|at| at as f64 * 1.5 + 0.001).collect();
            let cumulative = bounds.iter().map(|_| (count += random.below(9), count).1).collect();
            (bounds, cumulative, count + random.below(9))
        });
        emitted.push(Emitted { family, labels, value, histogram });
    }
    emitted
}

pub fn arena(emitted: &[Emitted]) -> Arena {
    let mut arena = Arena::with_limit(emitted.len());
    for sample in emitted {
        let labels = sample.labels.iter().map(|label| label.as_bytes());
        let family = sample.family as u32;
        match &sample.histogram {
            None => arena.sample(family, 0, labels, sample.value),
            Some((bounds, cumulative, count)) => {
                arena.histogram(family, 0, labels, bounds, cumulative, sample.value, *count);
            }
        }
    }
    arena
}
