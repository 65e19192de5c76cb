//! The series of one owner across collections.

use crate::declared::Declared;
use crate::series::Series;
use crate::store::Store;
use ahash::RandomState;
use std::sync::Arc;

/// The series of one owner. Each keeps the text of its line, so that showing
/// it is a copy and a number; a collection ([`Table::take`]) brings the numbers.
#[derive(Debug)]
pub struct Table {
    pub(crate) families: Arc<[Declared]>,
    /// By place of the family.
    pub(crate) rows: Vec<Rows>,
    pub(crate) store: Store,
    pub(crate) max_series: usize,
    /// Number of the last collection.
    pub(crate) generation: u32,
    /// Labels come from outside: without a secret key they could be chosen to collide.
    pub(crate) random: RandomState,
    is_shown: bool,
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
            max_series,
            generation: 0,
            random: RandomState::new(),
            is_shown: true,
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

    pub(crate) fn show(&mut self) {
        self.is_shown = true;
    }

    /// The shown series of the family at a place.
    pub(crate) fn shown(&self, family: usize) -> impl Iterator<Item = (&Series, &[u8])> {
        let places = if self.is_shown { &self.rows[family].places[..] } else { &[] };
        places.iter().map(|&place| {
            let series = self.store.get(place);
            (series, self.store.text(series))
        })
    }

    /// Whether nothing of the family at a place is shown.
    pub(crate) fn is_empty(&self, family: usize) -> bool {
        !self.is_shown || self.rows[family].places.is_empty()
    }
}
