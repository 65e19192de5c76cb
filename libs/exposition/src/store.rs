//! Where the series of a table lie: their records, their text in one buffer,
//! and how they are found.

use crate::containers::Subject;
use crate::labels;
use crate::series::{NO_FAMILY, Series};
use hashbrown::HashTable;

/// Below this many bytes the text is not compacted.
const SMALL: usize = 64 << 10;

/// Series by place. Places are used again after a series is gone.
#[derive(Debug, Default)]
pub(crate) struct Store {
    slots: Vec<Series>,
    free: Vec<u32>,
    /// Places, by the hash of what makes the series.
    index: HashTable<u32>,
    text: Vec<u8>,
    /// Bytes of the text that no series uses.
    garbage: usize,
    /// Series of Prometheus, see [`Series::weight`].
    weight: usize,
}

/// What makes a series: no two have the same family, handle and labels.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) family: u32,
    pub(crate) subject: Subject,
    /// As they lie in the arena.
    pub(crate) labels: &'a [u8],
    pub(crate) glue: &'a [Box<[u8]>],
}

impl Store {
    /// Whether the series at a place is this one; there need be none.
    pub(crate) fn is_at(&self, place: u32, key: &Key<'_>) -> bool {
        self.slots.get(place as usize).is_some_and(|series| {
            series.family == key.family
                && series.container == key.subject.handle
                && labels::is_written(self.text(series), series.plain, key.glue, key.labels)
        })
    }

    /// Where the series is. `hash` is of what makes the key, keyed at random.
    pub(crate) fn find(&self, key: &Key<'_>, hash: u32) -> Option<u32> {
        let is_key = |&place: &u32| self.slots[place as usize].hash == hash && self.is_at(place, key);
        self.index.find(spread(hash), is_key).copied()
    }

    /// Adds a series that is not yet there; its label values have been
    /// checked. Value and times are as in `series`.
    pub(crate) fn insert(&mut self, key: &Key<'_>, hash: u32, series: Series) -> u32 {
        let start = self.text.len();
        let glue: usize = key.glue.iter().map(|glue| glue.len()).sum();
        reserve(&mut self.text, key.labels.len() + glue);
        let plain = labels::write(&mut self.text, key.glue, key.labels);
        self.weight += series.weight();
        let series = Series {
            container: key.subject.handle,
            constant: key.subject.constant,
            start: offset(start),
            len: offset(self.text.len() - start),
            hash,
            family: key.family,
            plain,
            ..series
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = series;
                place
            }
            None => {
                reserve(&mut self.slots, 1);
                self.slots.push(series);
                offset(self.slots.len() - 1)
            }
        };
        let slots = &self.slots;
        self.index.insert_unique(spread(hash), place, |&other| spread(slots[other as usize].hash));
        place
    }

    pub(crate) fn remove(&mut self, place: u32) {
        let gone = Series { family: NO_FAMILY, ..Series::default() };
        let series = std::mem::replace(&mut self.slots[place as usize], gone);
        self.garbage += series.len as usize;
        self.weight -= series.weight();
        if let Ok(entry) = self.index.find_entry(spread(series.hash), |&other| other == place) {
            entry.remove();
        }
        self.free.push(place);
    }

    /// Moves what is left together, in the order of `places`, which are all
    /// there are, once more than half of the text is unused.
    pub(crate) fn compact<'a>(&mut self, places: impl Iterator<Item = &'a mut u32>) {
        if self.text.len() < SMALL || self.garbage <= self.text.len() / 2 {
            return;
        }
        let live = self.slots.len() - self.free.len();
        let mut slots: Vec<Series> = Vec::with_capacity(live);
        let mut text = Vec::with_capacity(self.text.len() - self.garbage);
        let mut index = HashTable::with_capacity(live);
        for place in places {
            let mut series: Series = std::mem::take(&mut self.slots[*place as usize]);
            let start = text.len();
            text.extend_from_slice(self.text(&series));
            series.start = offset(start);
            *place = offset(slots.len());
            slots.push(series);
            let hash_of = |&other: &u32| -> u64 { spread(slots[other as usize].hash) };
            index.insert_unique(hash_of(place), *place, hash_of);
        }
        let weight = self.weight;
        *self = Store { slots, free: Vec::new(), index, text, garbage: 0, weight };
    }

    pub(crate) fn get(&self, place: u32) -> &Series {
        &self.slots[place as usize]
    }

    /// For its value and times; what makes it a key stays.
    pub(crate) fn get_mut(&mut self, place: u32) -> &mut Series {
        &mut self.slots[place as usize]
    }

    /// The text of one of its series.
    pub(crate) fn text(&self, series: &Series) -> &[u8] {
        &self.text[series.start as usize..][..series.len as usize]
    }

    pub(crate) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// Says that a series of this weight now has that one.
    pub(crate) fn reweigh(&mut self, from: usize, to: usize) {
        self.weight = self.weight - from + to;
    }

    /// What it takes, in bytes, histograms' buckets not counted.
    #[cfg(test)]
    pub(crate) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Series>()
            + self.text.capacity()
            + self.index.allocation_size()
            + self.free.capacity() * size_of::<u32>()
    }
}

/// The index wants bits at both ends; the records keep half of them. The
/// factor is 2^64 divided by the golden ratio.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Grows by an eighth: there are few growths, and what is reserved and unused
/// would count against each series.
fn reserve<T>(buffer: &mut Vec<T>, more: usize) {
    if buffer.capacity() - buffer.len() < more {
        buffer.reserve_exact(more.max(buffer.len() / 8));
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("the text of a table is bounded far below 4 GiB")
}
