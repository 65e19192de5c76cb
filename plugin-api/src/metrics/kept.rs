//! Counters, gauges and histograms that a plugin keeps between collections.

use super::family::Family;
use super::sink::Sink;
use crate::description::Kind;
use crate::identity::ContainerRef;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All that one instance of a plugin keeps. Reached by [`crate::Host::metrics`];
/// clones are the same thing. What is kept is emitted at each collection, and
/// travels in hand-over and snapshot by itself.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    series: Arc<Mutex<HashMap<Key, Cell>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) family: &'static str,
    pub(super) container: Option<ContainerRef>,
    pub(super) labels: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) family: &'static Family,
    pub(super) value: Kept,
}

#[derive(Debug, Clone)]
pub(super) enum Kept {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// Counts up. A clone is the same counter; some 10 ns an increment.
#[derive(Debug, Clone, Default)]
pub struct Counter {
    pub(super) bits: Arc<AtomicU64>,
}

/// Is set.
#[derive(Debug, Clone, Default)]
pub struct Gauge {
    pub(super) bits: Arc<AtomicU64>,
}

/// Counts observations in the buckets of its family.
#[derive(Debug, Clone)]
pub struct Histogram {
    pub(super) inner: Arc<Buckets>,
}

#[derive(Debug)]
pub(super) struct Buckets {
    bounds: &'static [f64],
    /// One a bound and one for +Inf; not cumulative.
    pub(super) counts: Vec<AtomicU64>,
    pub(super) sum: AtomicU64,
}

pub(super) fn add_f64(bits: &AtomicU64, amount: f64) {
    // The closure always gives a value, so the update cannot fail.
    let _ = bits.fetch_update(Relaxed, Relaxed, |old| Some((f64::from_bits(old) + amount).to_bits()));
}

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1.0);
    }
    /// More by a finite amount of at least 0; another is passed over, since a
    /// counter never goes back.
    pub fn add(&self, amount: f64) {
        if amount >= 0.0 && amount.is_finite() {
            add_f64(&self.bits, amount);
        }
    }
    /// How many.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.bits.load(Relaxed))
    }
}

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Relaxed);
    }
    /// Adds to it; a negative amount takes away.
    pub fn add(&self, amount: f64) {
        add_f64(&self.bits, amount);
    }
    /// Its value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.bits.load(Relaxed))
    }
}

impl Histogram {
    fn new(family: &'static Family) -> Self {
        let counts = (0..=family.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        let sum = AtomicU64::new(0.0f64.to_bits());
        Self { inner: Arc::new(Buckets { bounds: family.bounds, counts, sum }) }
    }
    /// Counts one observation. NaN is passed over: it fits no bucket.
    pub fn observe(&self, value: f64) {
        if value.is_nan() {
            return;
        }
        let bucket = self.inner.bounds.partition_point(|bound| *bound < value);
        self.inner.counts[bucket].fetch_add(1, Relaxed);
        add_f64(&self.inner.sum, value);
    }
    /// Counts at or below each bound, then the whole number.
    fn cumulative(&self) -> (Vec<u64>, u64) {
        let mut total = 0;
        let mut cumulative: Vec<u64> = self
            .inner
            .counts
            .iter()
            .map(|count| {
                total += count.load(Relaxed);
                total
            })
            .collect();
        cumulative.pop();
        (cumulative, total)
    }
}

impl Metrics {
    /// The counter of a family with these label values; made at the first call.
    /// Keep it: the look-up takes a lock.
    ///
    /// # Panics
    /// Where the family is no counter: a fault in the plugin.
    pub fn counter(
        &self,
        family: &'static Family,
        container: Option<ContainerRef>,
        labels: &[&str],
    ) -> Counter {
        match self.entry(family, container, labels) {
            Kept::Counter(counter) => counter,
            _ => panic!("{} is declared as a {}", family.name(), family.kind().as_str()),
        }
    }

    /// The gauge of a family with these label values.
    ///
    /// # Panics
    /// Where the family is no gauge.
    pub fn gauge(&self, family: &'static Family, container: Option<ContainerRef>, labels: &[&str]) -> Gauge {
        match self.entry(family, container, labels) {
            Kept::Gauge(gauge) => gauge,
            _ => panic!("{} is declared as a {}", family.name(), family.kind().as_str()),
        }
    }

    /// The histogram of a family with these label values.
    ///
    /// # Panics
    /// Where the family is no histogram.
    pub fn histogram(
        &self,
        family: &'static Family,
        container: Option<ContainerRef>,
        labels: &[&str],
    ) -> Histogram {
        match self.entry(family, container, labels) {
            Kept::Histogram(histogram) => histogram,
            _ => panic!("{} is declared as a {}", family.name(), family.kind().as_str()),
        }
    }

    /// Forgets all series of a container. Counters that somebody still holds
    /// go on counting into nothing.
    pub fn forget_container(&self, container: ContainerRef) {
        self.lock().retain(|key, _| key.container != Some(container));
    }

    /// Forgets one series.
    pub fn forget(&self, family: &'static Family, container: Option<ContainerRef>, labels: &[&str]) {
        self.lock().remove(&Key::new(family, container, labels));
    }

    /// Forgets those series of a family for which `keep` says no. What a generation
    /// before handed over is among them, also where nobody asked for it yet.
    pub fn retain(
        &self,
        family: &'static Family,
        mut keep: impl FnMut(Option<ContainerRef>, &[String]) -> bool,
    ) {
        self.lock().retain(|key, _| key.family != family.name() || keep(key.container, &key.labels));
    }

    /// Sets all counters and histograms to 0, and leaves gauges as they are.
    pub(crate) fn discard_counts(&self) {
        for cell in self.lock().values() {
            match &cell.value {
                Kept::Counter(counter) => counter.bits.store(0.0f64.to_bits(), Relaxed),
                Kept::Gauge(_) => {}
                Kept::Histogram(histogram) => {
                    histogram.inner.sum.store(0.0f64.to_bits(), Relaxed);
                    histogram.inner.counts.iter().for_each(|count| count.store(0, Relaxed));
                }
            }
        }
    }

    /// How many series are kept.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Emits all that is kept.
    pub fn emit(&self, sink: &mut Sink<'_>) {
        for (key, cell) in self.lock().iter() {
            let labels: Vec<&str> = key.labels.iter().map(String::as_str).collect();
            let (family, container) = (cell.family, key.container);
            let value = match &cell.value {
                Kept::Counter(counter) => counter.get(),
                Kept::Gauge(gauge) => gauge.get(),
                Kept::Histogram(histogram) => {
                    let (cumulative, count) = histogram.cumulative();
                    let sum = f64::from_bits(histogram.inner.sum.load(Relaxed));
                    sink.histogram(family, container, &labels, &cumulative, sum, count);
                    continue;
                }
            };
            match container {
                Some(container) => sink.container(family, container, &labels, value),
                None => sink.node(family, &labels, value),
            }
        }
    }

    pub(super) fn entry(
        &self,
        family: &'static Family,
        container: Option<ContainerRef>,
        labels: &[&str],
    ) -> Kept {
        let make = || Cell {
            family,
            value: match family.kind() {
                Kind::Counter => Kept::Counter(Counter::default()),
                Kind::Histogram => Kept::Histogram(Histogram::new(family)),
                Kind::Gauge | Kind::Unknown => Kept::Gauge(Gauge::default()),
            },
        };
        let mut series = self.lock();
        series.entry(Key::new(family, container, labels)).or_insert_with(make).value.clone()
    }

    /// A panic of the author while the lock is held (a label's `Deref`, say)
    /// leaves the map whole: each change of it is one call.
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Key, Cell>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn new(family: &'static Family, container: Option<ContainerRef>, labels: &[&str]) -> Self {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        Self { family: family.name(), container, labels }
    }
}
