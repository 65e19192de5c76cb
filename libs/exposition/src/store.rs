//! Where the series of a table lie: their records, their text in one buffer,
//! and how they are found.

use crate::labels;
use crate::series::{Flag, More, Series, Value, family};
use crate::subjects::NOWHERE;
use hashbrown::HashTable;

/// Below this many bytes the text is not compacted.
const SMALL: usize = 64 << 10;

/// How many series have a text stands before it in so many bytes.
const COUNT: usize = size_of::<u32>();

/// While texts are moved: the number is where it lies now. No buffer of texts is so long.
const MOVED: u32 = 1 << 31;

/// Series by place. Places are used again after a series is gone.
#[derive(Debug, Default)]
pub(crate) struct Store {
    slots: Vec<Series>,
    free: Vec<u32>,
    /// What some series have besides; places are used again.
    more: Vec<More>,
    more_free: Vec<u32>,
    /// Places, by the hash of what makes the series.
    index: HashTable<u32>,
    /// Each text stands behind the number of series that have it, in [`COUNT`] bytes.
    text: Vec<u8>,
    /// Bytes of the text that no series uses.
    garbage: usize,
    /// What all series' texts are together, each counted as often as it is had.
    lines: usize,
    /// Series of Prometheus, see [`Series::weight`].
    weight: usize,
    /// Series of groups.
    sums: usize,
}

/// What makes a series: no two have the same family, subject and labels.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) family: u32,
    pub(crate) subject: u32,
    /// As they lie in the arena.
    pub(crate) labels: &'a [u8],
    pub(crate) glue: &'a [Box<[u8]>],
}

impl Store {
    /// Whether the series at a place is this one; there need be none.
    pub(crate) fn is_at(&self, place: u32, key: &Key<'_>) -> bool {
        self.slots.get(place as usize).is_some_and(|series| {
            u32::from(series.family) == key.family
                && series.subject == key.subject
                && (key.glue.len() == 1
                    || labels::is_written(self.text(series), !series.is(Flag::Escaped), key.glue, key.labels))
        })
    }

    /// Where the series is. `hash` is of what makes the key, keyed at random.
    pub(crate) fn find(&self, key: &Key<'_>, hash: u32) -> Option<u32> {
        let is_key = |&place: &u32| self.slots[place as usize].hash == hash && self.is_at(place, key);
        self.index.find(spread(hash), is_key).copied()
    }

    /// Where the series is that differs from the one at a place by its subject
    /// alone; `hash` is its own.
    pub(crate) fn find_like(&self, place: u32, subject: u32, hash: u32) -> Option<u32> {
        let like = &self.slots[place as usize];
        let is_it = |&other: &u32| {
            let series = &self.slots[other as usize];
            series.hash == hash
                && series.family == like.family
                && series.subject == subject
                && self.text(series) == self.text(like)
        };
        self.index.find(spread(hash), is_it).copied()
    }

    /// Adds a series that is not yet there; its label values have been
    /// checked. Value and times are as in `series`. Of one of the series at the
    /// places `like` it may have the text, where that is of another subject.
    pub(crate) fn insert(
        &mut self,
        key: &Key<'_>,
        hash: u32,
        series: Series,
        like: impl Iterator<Item = u32>,
    ) -> u32 {
        let has_text = key.glue.len() > 1;
        let mut others = like.filter(|_| has_text).filter_map(|place| {
            let subject = self.get(place).subject;
            self.find(&Key { subject, ..*key }, rehash(hash, key.subject, subject))
        });
        if let Some(other) = others.next() {
            return self.insert_like(other, key.subject, hash, series);
        }
        drop(others);
        let (mut start, mut plain) = (self.text.len(), true);
        if has_text {
            let glue: usize = key.glue.iter().map(|glue| glue.len()).sum();
            reserve(&mut self.text, COUNT + key.labels.len() + glue);
            self.text.extend(1_u32.to_ne_bytes());
            start += COUNT;
            plain = labels::write(&mut self.text, key.glue, key.labels);
        }
        let (start, len) = (offset(start), offset(self.text.len() - start));
        let series = Series { subject: key.subject, start, len, hash, family: family(key.family), ..series };
        self.add(series.with(Flag::Escaped, !plain))
    }

    /// Adds the series that differs from the one at a place by its subject.
    pub(crate) fn insert_like(&mut self, place: u32, subject: u32, hash: u32, series: Series) -> u32 {
        let like = self.get(place);
        let (start, len, family, is_escaped) = (like.start, like.len, like.family, like.is(Flag::Escaped));
        if len > 0 {
            self.count(start, |count| count + 1);
        }
        let series = Series { subject, start, len, hash, family, ..series };
        self.add(series.with(Flag::Escaped, is_escaped))
    }

    /// Changes how many series have the text that begins there; the number before and after.
    fn count(&mut self, start: u32, change: impl FnOnce(u32) -> u32) -> (u32, u32) {
        let at = start as usize - COUNT;
        let Some(bytes) = self.text[at..].first_chunk_mut::<COUNT>() else { return (0, 0) };
        let before = u32::from_ne_bytes(*bytes);
        let after = change(before);
        *bytes = after.to_ne_bytes();
        (before, after)
    }

    fn add(&mut self, series: Series) -> u32 {
        self.weight += series.weight();
        self.lines += series.len as usize;
        self.sums += usize::from(matches!(series.value, Value::Sum(_)));
        let hash = series.hash;
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
        let series = std::mem::take(&mut self.slots[place as usize]);
        self.sums -= usize::from(matches!(series.value, Value::Sum(_)));
        self.lines -= series.len as usize;
        if series.len > 0 && self.count(series.start, |count| count - 1).1 == 0 {
            self.garbage += COUNT + series.len as usize;
        }
        if let Some(more) = self.more.get_mut(series.more as usize) {
            *more = More::NOTHING;
            self.more_free.push(series.more);
        }
        self.weight -= series.weight();
        if let Ok(entry) = self.index.find_entry(spread(series.hash), |&other| other == place) {
            entry.remove();
        }
        self.free.push(place);
    }

    /// Moves what is left together, in the order of `places`, which are all
    /// there are, once more than half of the text or of the records is unused.
    pub(crate) fn compact<'a>(&mut self, places: impl Iterator<Item = &'a mut u32>) {
        let is_loose = |all: usize, unused: usize| all >= SMALL && unused > all / 2;
        let records = self.slots.len() * size_of::<Series>();
        let unused = self.free.len() * size_of::<Series>();
        if !is_loose(self.text.len(), self.garbage) && !is_loose(records, unused) {
            return;
        }
        let live = self.slots.len() - self.free.len();
        let mut slots: Vec<Series> = Vec::with_capacity(live);
        let mut text = Vec::with_capacity(self.text.len() - self.garbage);
        let mut index = HashTable::with_capacity(live);
        let mut more = Vec::with_capacity(self.more.len() - self.more_free.len());
        let mut moved = vec![NOWHERE; self.slots.len()];
        for place in places {
            let mut series: Series = std::mem::take(&mut self.slots[*place as usize]);
            if series.len > 0 {
                let to = offset(text.len() + COUNT);
                // The first that has it takes it along.
                let (before, _) =
                    self.count(series.start, |count| if count & MOVED == 0 { to | MOVED } else { count });
                if before & MOVED == 0 {
                    text.extend(before.to_ne_bytes());
                    text.extend_from_slice(self.text(&series));
                }
                series.start = if before & MOVED == 0 { to } else { before & !MOVED };
            }
            if let Some(has) = self.more.get(series.more as usize) {
                series.more = offset(more.len());
                more.push(*has);
            }
            let from = std::mem::replace(place, offset(slots.len()));
            moved[from as usize] = *place;
            slots.push(series);
            let hash_of = |&other: &u32| -> u64 { spread(slots[other as usize].hash) };
            index.insert_unique(hash_of(place), *place, hash_of);
        }
        for More { sum, .. } in more.iter_mut().filter(|more| more.sum != NOWHERE) {
            *sum = moved[*sum as usize];
        }
        let (lines, weight, sums) = (self.lines, self.weight, self.sums);
        let (free, more_free) = (Vec::new(), Vec::new());
        *self = Store { slots, free, more, more_free, index, text, garbage: 0, lines, weight, sums };
    }

    pub(crate) fn get(&self, place: u32) -> &Series {
        &self.slots[place as usize]
    }

    /// For its value and times; what makes it a key stays.
    pub(crate) fn get_mut(&mut self, place: u32) -> &mut Series {
        &mut self.slots[place as usize]
    }

    /// Since when one of its series counts, in seconds since the epoch; NaN: not known.
    pub(crate) fn created(&self, series: &Series) -> f64 {
        self.more.get(series.more as usize).map_or(f64::NAN, |more| more.created)
    }

    pub(crate) fn set_created(&mut self, place: u32, created: f64) {
        if let Some(more) = self.more_of(place, !created.is_nan()) {
            more.created = created;
        }
    }

    /// The place of the group's series that one of its series is a part of, or [`NOWHERE`].
    pub(crate) fn sum(&self, series: &Series) -> u32 {
        self.more.get(series.more as usize).map_or(NOWHERE, |more| more.sum)
    }

    pub(crate) fn set_sum(&mut self, place: u32, sum: u32) {
        if let Some(more) = self.more_of(place, sum != NOWHERE) {
            more.sum = sum;
        }
    }

    /// What a series has besides; made where it is `wanted`.
    fn more_of(&mut self, place: u32, wanted: bool) -> Option<&mut More> {
        let series = &mut self.slots[place as usize];
        if series.more == NOWHERE && wanted {
            series.more = self.more_free.pop().unwrap_or_else(|| {
                reserve(&mut self.more, 1);
                self.more.push(More::NOTHING);
                offset(self.more.len() - 1)
            });
        }
        self.more.get_mut(series.more as usize)
    }

    /// The text of one of its series.
    pub(crate) fn text(&self, series: &Series) -> &[u8] {
        &self.text[series.start as usize..][..series.len as usize]
    }

    /// All records; those of no family are free.
    pub(crate) fn all_mut(&mut self) -> &mut [Series] {
        &mut self.slots
    }

    /// Whether there are series of groups.
    pub(crate) fn has_sums(&self) -> bool {
        self.sums > 0
    }

    pub(crate) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// What all series' texts take where they are written.
    pub(crate) fn lines_bytes(&self) -> usize {
        self.lines
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
            + self.more.capacity() * size_of::<More>()
            + (self.free.capacity() + self.more_free.capacity()) * size_of::<u32>()
    }
}

/// The hash of the series with these labels, of this subject. It is made so that
/// [`rehash`] can go from one subject to another without the labels; places are
/// the host's own, and need no secret.
pub(crate) fn hash(labels: u64, subject: u32) -> u32 {
    // The half that is kept is as good as the whole for some 100,000 series.
    labels as u32 ^ scatter(subject)
}

/// The hash of the series of another subject.
pub(crate) fn rehash(hash: u32, from: u32, to: u32) -> u32 {
    hash ^ scatter(from) ^ scatter(to)
}

/// One to one, so that series without labels never collide. The factor is 2^32
/// divided by the golden ratio.
fn scatter(subject: u32) -> u32 {
    subject.wrapping_mul(0x9e37_79b9)
}

/// The index wants bits at both ends; the records keep half of them. The
/// factor is 2^64 divided by the golden ratio.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Grows by an eighth: there are few growths, and what is reserved and unused
/// would count against each series.
pub(crate) fn reserve<T>(buffer: &mut Vec<T>, more: usize) {
    if buffer.capacity() - buffer.len() < more {
        buffer.reserve_exact(more.max(buffer.len() / 8));
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("the text of a table is bounded far below 4 GiB")
}
