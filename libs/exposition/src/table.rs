//! The series of one owner across collections.

use crate::containers::Constants;
use crate::declared::Declared;
use crate::series::{Series, Text};
use crate::store::Store;
use ahash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The series of one owner. Each keeps the text of its line up to the host's
/// labels, which are kept once a container: showing it is two copies and a
/// number. A collection ([`Table::take`]) brings the numbers.
#[derive(Debug)]
pub struct Table {
    pub(crate) families: Arc<[Declared]>,
    /// By place of the family.
    pub(crate) rows: Vec<Rows>,
    pub(crate) store: Store,
    pub(crate) constants: Constants,
    pub(crate) max_series: usize,
    /// Number of the last collection.
    pub(crate) generation: u32,
    /// Labels come from outside: without a secret key they could be chosen to collide.
    pub(crate) random: RandomState,
    is_shown: bool,
    /// Whether somebody wrote the series since the last collection.
    written: AtomicBool,
    /// Whether somebody wrote what the collection before this one brought.
    pub(crate) was_written: bool,
}

/// The series of one family.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Stands for the family in the hash of a series. It depends on the name
    /// alone, so that series keep their hash when families change places.
    pub(crate) seed: u64,
    /// Places in the store, in the order of first appearance.
    pub(crate) places: Vec<u32>,
}

impl Table {
    /// An empty table. `max_series` bounds what it keeps: a histogram is a
    /// series a bucket, one for +Inf, and two for its sum and count.
    pub fn new(families: Arc<[Declared]>, max_series: usize) -> Self {
        let mut table = Self {
            families: Arc::new([]),
            rows: Vec::new(),
            store: Store::default(),
            constants: Constants::default(),
            max_series,
            generation: 0,
            random: RandomState::new(),
            is_shown: true,
            written: AtomicBool::new(false),
            was_written: false,
        };
        table.set_families(families);
        table
    }

    /// How many series are shown; histograms count as in [`Table::new`].
    pub fn series(&self) -> usize {
        if self.is_shown { self.store.weight() } else { 0 }
    }

    /// Shows nothing until the next collection, for when the samples are too
    /// stale. What is known of the series stays: one that is then emitted
    /// again goes on from where it was, and is not shown as 0 first.
    pub fn clear(&mut self) {
        self.is_shown = false;
    }

    /// Changes the bound. Series that are there stay though it is lower.
    pub fn set_max_series(&mut self, max: usize) {
        self.max_series = max;
    }

    /// Takes the families of the owner's next generation. Series survive where
    /// name, type, labels and scope of their family are as before.
    pub fn set_families(&mut self, families: Arc<[Declared]>) {
        let mut rows: Vec<Rows> = families
            .iter()
            .map(|family| Rows { seed: self.random.hash_one(&family.info.name), places: Vec::new() })
            .collect();
        for (old, was) in self.families.iter().zip(&mut self.rows) {
            let survives = |new: &Declared| new.refused.is_none() && new.same_series(&old.info);
            match families.iter().position(survives) {
                Some(place) if rows[place].places.is_empty() => {
                    let family = u32::try_from(place).expect("a plugin has fewer families than 2^32");
                    for &series in &was.places {
                        self.store.get_mut(series).family = family;
                    }
                    rows[place].places = std::mem::take(&mut was.places);
                }
                _ => was.places.drain(..).for_each(|series| self.store.remove(series)),
            }
        }
        (self.families, self.rows) = (families, rows);
    }

    /// At the beginning of a collection.
    pub(crate) fn show(&mut self) {
        self.is_shown = true;
        self.was_written = self.written.swap(false, Relaxed);
    }

    /// What is shown now was written.
    pub(crate) fn note_written(&self) {
        self.written.store(true, Relaxed);
    }

    /// The shown series of the family at a place.
    pub(crate) fn shown(&self, family: usize) -> impl Iterator<Item = (&Series, Text<'_>)> {
        let places = if self.is_shown { &self.rows[family].places[..] } else { &[] };
        places.iter().map(|&place| {
            let series = self.store.get(place);
            let constant = self.constants.text(series.constant).as_bytes();
            (series, Text { own: self.store.text(series), constant })
        })
    }

    /// Whether nothing of the family at a place is shown.
    pub(crate) fn is_empty(&self, family: usize) -> bool {
        !self.is_shown || self.rows[family].places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arena, Constant, Labels, Registry};
    use gantry_plugin_api::description::{FamilyInfo, Kind};

    /// Containers with an id of 64 digits.
    struct Ids(Vec<String>);

    impl Labels for Ids {
        fn node(&self) -> Constant<'_> {
            Constant { text: "", epoch: 0 }
        }
        fn container(&self, handle: u64) -> Option<Constant<'_>> {
            let text = self.0.get(usize::try_from(handle).ok()?)?;
            Some(Constant { text, epoch: 0 })
        }
    }

    /// 100,000 series with five labels.
    fn arena(epoch: usize) -> Arena {
        let mut arena = Arena::with_limit(100_000);
        for series in 0..100_000_usize {
            let (one, two) =
                (format!("10.20.30.40:{}", 1000 + series), format!("10.30.30.{epoch}:{}", 1000 + series));
            let labels = [one.as_bytes(), two.as_bytes(), b"200"];
            arena.sample(0, series as u64 % 50 + 1, labels.into_iter(), 1.0);
        }
        arena
    }

    #[test]
    fn a_series_takes_at_most_230_bytes() {
        let info = FamilyInfo {
            name: "container_http_requests_total".to_owned(),
            help: String::new(),
            kind: Kind::Counter,
            unit: String::new(),
            labels: ["destination", "actual_destination", "status"].map(str::to_owned).into(),
            per_container: true,
            counted_here: true,
        };
        let ids =
            Ids((0..51).map(|id| format!("machine_id=\"{id:032}\",container_id=\"{id:064}\"")).collect());
        let mut table = Table::new(Registry::new().register("demo", &[], &[info]).families, 1_000_000);
        assert_eq!(table.take(&arena(0), &ids, 1.0, true).samples, 100_000);
        let places = |table: &Table| table.rows[0].places.capacity() * size_of::<u32>();
        let a_series = (table.store.heap_bytes() + places(&table)) / 100_000;
        assert!(crate::encode(&[&table], crate::Format::Text, &mut Vec::new()).samples == 100_000);
        assert!(a_series <= 230, "{a_series} bytes");
        for epoch in 1..10 {
            table.take(&arena(epoch), &ids, 1.0, true);
        }
        let after = (table.store.heap_bytes() + places(&table)) / 100_000;
        assert!(after <= 2 * 230, "{after} bytes with all series new each time");
        table.take(&Arena::with_limit(0), &ids, 1.0, true);
        assert!(table.store.heap_bytes() < 4096, "nothing is kept of what is gone");
    }
}
