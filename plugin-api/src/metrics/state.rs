//! Kept metrics as bytes, for hand-over and snapshot.
//!
//! One record a series: name of the family, container, label values, then the
//! numbers (one for a counter; for a histogram its sum, one count a bucket and
//! the bounds), each as 8 bytes. Gauges are not kept: they are set anew. A family that the
//! next version no longer has, or has with another shape, is passed over.

use super::family::Family;
use super::kept::{Kept, Metrics, add_f64};
use crate::description::Kind;
use crate::handover::{Reader, Writer};
use crate::identity::ContainerRef;
use std::sync::atomic::Ordering::Relaxed;

impl Metrics {
    pub(crate) fn save(&self) -> Vec<u8> {
        let mut out = Writer::default();
        for (key, cell) in self.lock().iter() {
            let numbers: Vec<u64> = match &cell.value {
                Kept::Counter(counter) => vec![counter.bits.load(Relaxed)],
                Kept::Gauge(_) => continue,
                Kept::Histogram(histogram) => std::iter::once(&histogram.inner.sum)
                    .chain(&histogram.inner.counts)
                    .map(|number| number.load(Relaxed))
                    .chain(cell.family.bounds.iter().map(|bound| bound.to_bits()))
                    .collect(),
            };
            out.text(key.family);
            out.number(key.container.map_or(0, ContainerRef::handle));
            out.number(key.labels.len() as u64);
            key.labels.iter().for_each(|label| out.text(label));
            out.number(numbers.len() as u64);
            numbers.iter().for_each(|number| out.number(*number));
        }
        out.into_bytes()
    }

    /// Adds what was handed over to what is kept. Returns how many series were
    /// taken, or `None` where the bytes end early or make no sense; what was
    /// read up to there stays.
    pub(crate) fn restore(&self, bytes: &[u8], families: &[&'static Family]) -> Option<usize> {
        let mut input = Reader::new(bytes);
        let mut taken = 0;
        while !input.is_empty() {
            let name = input.text()?;
            let container = ContainerRef::from_handle(input.number()?);
            let labels: Vec<&str> = (0..input.count()?).map(|_| input.text()).collect::<Option<_>>()?;
            let numbers: Vec<u64> = (0..input.count()?).map(|_| input.number()).collect::<Option<_>>()?;
            let family = families
                .iter()
                .find(|family| family.name() == name && family.label_names().len() == labels.len());
            // Seen before a series is made: one of the wrong shape would be shown as 0.
            let Some(family) = family.filter(|family| fits(family, &numbers)) else { continue };
            add(&self.entry(family, container, &labels), &numbers);
            taken += 1;
        }
        Some(taken)
    }
}

/// Whether the numbers are those of such a family; counts of other buckets
/// would be counted wrongly.
fn fits(family: &Family, numbers: &[u64]) -> bool {
    let bounds = family.bounds;
    match family.kind() {
        Kind::Counter => numbers.len() == 1,
        Kind::Histogram => {
            numbers.len() == 2 * bounds.len() + 2
                && bounds
                    .iter()
                    .zip(&numbers[bounds.len() + 2..])
                    .all(|(mine, theirs)| mine.to_bits() == *theirs)
        }
        Kind::Gauge | Kind::Unknown => false,
    }
}

fn add(kept: &Kept, numbers: &[u64]) {
    match (kept, numbers) {
        (Kept::Counter(counter), [bits, ..]) => counter.add(f64::from_bits(*bits)),
        (Kept::Histogram(histogram), [sum, counts @ ..]) => {
            add_f64(&histogram.inner.sum, f64::from_bits(*sum));
            for (mine, handed) in histogram.inner.counts.iter().zip(counts) {
                mine.fetch_add(*handed, Relaxed);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::families! { ALL:
        EVENTS = Family::counter("demo_events_total", "Events.").labels(&["kind"]);
        WAIT = Family::histogram("demo_wait_seconds", "Waits.", &[0.1, 1.0]);
    }

    #[test]
    fn counts_survive_an_instance() {
        let (old, new) = (Metrics::default(), Metrics::default());
        let container = ContainerRef::from_handle(7);
        old.counter(&EVENTS, container, &["a"]).add(3.0);
        old.counter(&EVENTS, None, &["b"]).add(0.5);
        [0.05, 0.5, 5.0].iter().for_each(|wait| old.histogram(&WAIT, None, &[]).observe(*wait));
        new.counter(&EVENTS, container, &["a"]).inc();
        assert_eq!(new.restore(&old.save(), ALL), Some(3));
        assert_eq!(new.counter(&EVENTS, container, &["a"]).get(), 4.0);
        assert_eq!(new.counter(&EVENTS, None, &["b"]).get(), 0.5);
        let counts = &new.histogram(&WAIT, None, &[]).inner.counts;
        assert_eq!(counts.iter().map(|count| count.load(Relaxed)).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn what_was_dropped_by_the_new_version_is_passed_over() {
        let old = Metrics::default();
        old.counter(&EVENTS, None, &["a"]).inc();
        old.histogram(&WAIT, None, &[]).observe(1.0);
        assert_eq!(Metrics::default().restore(&old.save(), &ALL[1..]), Some(1));
    }

    #[test]
    fn another_shape_of_the_same_name_makes_no_series() {
        crate::families! { GAUGE: _EVENTS = Family::gauge("demo_events_total", "Events.").labels(&["kind"]); }
        crate::families! { MOVED: _WAIT = Family::histogram("demo_wait_seconds", "Waits.", &[0.2, 1.0]); }
        let old = Metrics::default();
        old.counter(&EVENTS, None, &["a"]).inc();
        old.histogram(&WAIT, None, &[]).observe(0.15);
        for families in [GAUGE, MOVED] {
            let new = Metrics::default();
            assert_eq!(new.restore(&old.save(), families), Some(0));
            assert!(new.is_empty());
        }
    }

    #[test]
    fn bytes_cut_anywhere_are_no_panic() {
        let old = Metrics::default();
        old.counter(&EVENTS, None, &["a"]).inc();
        let whole = old.save();
        for end in 1..whole.len() {
            assert_eq!(Metrics::default().restore(&whole[..end], ALL), None, "cut at {end}");
        }
        let garbage = [0xff; 64];
        assert_eq!(Metrics::default().restore(&garbage, ALL), None);
    }
}
