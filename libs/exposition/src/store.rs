//! Where the series of a table lie: their records, their text in one buffer,
//! and how they are found.

use crate::labels;
use crate::series::{Line, More, Series, Value, family};
use crate::subjects::NOWHERE;
use hashbrown::HashTable;

/// Below this many bytes the text is not compacted.
const SMALL: usize = 64 << 10;

/// Series by place. Places are used again after a series is gone.
#[derive(Debug, Default)]
pub(crate) struct Store {
    slots: Vec<Series>,
    free: Vec<u32>,
    lines: Vec<Line>,
    lines_free: Vec<u32>,
    /// Values that are no numbers, by their place; those that are free are 0.
    heavy: Vec<Value>,
    heavy_free: Vec<u32>,
    /// Where each series has its [`More`], or [`NOWHERE`], by its place. It ends with
    /// the last one that has some: of containers' figures, none.
    has_more: Vec<u32>,
    /// What some series have besides; places are used again.
    more: Vec<More>,
    more_free: Vec<u32>,
    /// Places, by the hash of what makes the series.
    index: HashTable<u32>,
    text: Vec<u8>,
    /// Bytes of the text that no series uses.
    garbage: usize,
    /// What all series' texts are together, each counted as often as it is had.
    written: usize,
    /// Series of Prometheus, see [`Value::weight`].
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
        let Some(series) = self.slots.get(place as usize) else { return false };
        series.subject == key.subject
            && self.lines.get(series.line() as usize).is_some_and(|line| {
                u32::from(line.family) == key.family
                    && (key.glue.len() == 1
                        || labels::is_written(self.text_of(line), !line.escaped, key.glue, key.labels))
            })
    }

    /// Where the series is. `hash` is of what makes the key, keyed at random.
    pub(crate) fn find(&self, key: &Key<'_>, hash: u32) -> Option<u32> {
        let is_key =
            |&place: &u32| hash_of(&self.slots, &self.lines, place) == hash && self.is_at(place, key);
        self.index.find(spread(hash), is_key).copied()
    }

    /// Where the series is that differs from the one at a place by its subject alone.
    pub(crate) fn find_like(&self, place: u32, subject: u32) -> Option<u32> {
        let like = self.line(self.get(place));
        let hash = hash(u64::from(like.hash), subject);
        let is_it = |&other: &u32| {
            let other = self.get(other);
            let line = self.line(other);
            other.subject == subject
                && line.hash == like.hash
                && line.family == like.family
                && self.text_of(line) == self.text_of(like)
        };
        self.index.find(spread(hash), is_it).copied()
    }

    /// Adds a series that is not yet there; its label values have been checked. Of
    /// one of the series at the places `like` it may have the line, where that is of
    /// another subject.
    pub(crate) fn insert(
        &mut self,
        key: &Key<'_>,
        hash: u32,
        value: Value,
        newborn: bool,
        like: impl Iterator<Item = u32>,
    ) -> u32 {
        let mut others = like.filter_map(|place| {
            let subject = self.get(place).subject;
            self.find(&Key { subject, ..*key }, rehash(hash, key.subject, subject))
        });
        if let Some(other) = others.next() {
            return self.insert_like(other, key.subject, value, newborn);
        }
        drop(others);
        let (start, mut plain) = (self.text.len(), true);
        if key.glue.len() > 1 {
            let glue: usize = key.glue.iter().map(|glue| glue.len()).sum();
            reserve(&mut self.text, key.labels.len() + glue);
            plain = labels::write(&mut self.text, key.glue, key.labels);
        }
        let line = Line {
            start: offset(start),
            len: offset(self.text.len() - start),
            hash: unscattered(hash, key.subject),
            uses: 0,
            family: family(key.family),
            escaped: !plain,
        };
        let line = put(&mut self.lines, &mut self.lines_free, line);
        self.add(Series::new(key.subject, line, newborn), value)
    }

    /// Adds the series that differs from the one at a place by its subject.
    pub(crate) fn insert_like(&mut self, place: u32, subject: u32, value: Value, newborn: bool) -> u32 {
        let line = self.get(place).line();
        self.add(Series::new(subject, line, newborn), value)
    }

    fn add(&mut self, series: Series, value: Value) -> u32 {
        let line = &mut self.lines[series.line() as usize];
        line.uses += 1;
        self.written += line.len as usize;
        self.weight += value.weight();
        self.sums += usize::from(matches!(value, Value::Sum(_)));
        let hash = hash(u64::from(line.hash), series.subject);
        let place = put(&mut self.slots, &mut self.free, series);
        self.put_value(place, value);
        let (slots, lines) = (&self.slots, &self.lines);
        self.index.insert_unique(spread(hash), place, |&other| spread(hash_of(slots, lines, other)));
        place
    }

    pub(crate) fn remove(&mut self, place: u32) {
        let hash = hash_of(&self.slots, &self.lines, place);
        if let Ok(entry) = self.index.find_entry(spread(hash), |&other| other == place) {
            entry.remove();
        }
        let value = self.take_value(place);
        self.sums -= usize::from(matches!(value, Value::Sum(_)));
        self.weight -= value.weight();
        let series = std::mem::replace(&mut self.slots[place as usize], Series::NONE);
        let line = &mut self.lines[series.line() as usize];
        line.uses -= 1;
        self.written -= line.len as usize;
        if line.uses == 0 {
            self.garbage += line.len as usize;
            self.lines_free.push(series.line());
        }
        if let Some(has) = self.has_more.get_mut(place as usize)
            && let Some(more) = self.more.get_mut(*has as usize)
        {
            *more = More::NOTHING;
            self.more_free.push(std::mem::replace(has, NOWHERE));
        }
        self.free.push(place);
    }

    /// Moves what is left together, in the order of `places`, which are all
    /// there are, once more than half of the text, the records or the lines is unused.
    pub(crate) fn compact<'a>(&mut self, places: impl Iterator<Item = &'a mut u32>) {
        let is_loose = |all: usize, unused: usize| all >= SMALL && unused > all / 2;
        let records = |all: usize| all * size_of::<Series>();
        let lines = |all: usize| all * size_of::<Line>();
        if !is_loose(self.text.len(), self.garbage)
            && !is_loose(records(self.slots.len()), records(self.free.len()))
            && !is_loose(lines(self.lines.len()), lines(self.lines_free.len()))
        {
            return;
        }
        let live = self.slots.len() - self.free.len();
        let mut to = Store {
            slots: Vec::with_capacity(live),
            lines: Vec::with_capacity(self.lines.len() - self.lines_free.len()),
            heavy: Vec::with_capacity(self.heavy.len() - self.heavy_free.len()),
            more: Vec::with_capacity(self.more.len() - self.more_free.len()),
            index: HashTable::with_capacity(live),
            text: Vec::with_capacity(self.text.len() - self.garbage),
            written: self.written,
            weight: self.weight,
            sums: self.sums,
            ..Store::default()
        };
        let mut moved = vec![NOWHERE; self.slots.len()];
        let mut lines_moved = vec![NOWHERE; self.lines.len()];
        for place in places {
            let value = self.take_value(*place);
            let mut series = *self.get(*place);
            let line = &mut lines_moved[series.line() as usize];
            if *line == NOWHERE {
                let known = self.line(&series);
                let start = offset(to.text.len());
                to.text.extend_from_slice(self.text_of(known));
                *line = put(&mut to.lines, &mut to.lines_free, Line { start, ..*known });
            }
            series.set_line(*line);
            let at = put(&mut to.slots, &mut to.free, series);
            to.put_value(at, value);
            if let Some(has) = self.more(*place) {
                let has = *has;
                to.more_of(at, true).into_iter().for_each(|more| *more = has);
            }
            moved[*place as usize] = at;
            *place = at;
            let (slots, lines) = (&to.slots, &to.lines);
            let hash_of = |&other: &u32| spread(hash_of(slots, lines, other));
            to.index.insert_unique(hash_of(&at), at, hash_of);
        }
        for More { sum, .. } in to.more.iter_mut().filter(|more| more.sum != NOWHERE) {
            *sum = moved[*sum as usize];
        }
        *self = to;
    }

    pub(crate) fn get(&self, place: u32) -> &Series {
        &self.slots[place as usize]
    }

    /// The line of one of its series.
    pub(crate) fn line(&self, series: &Series) -> &Line {
        &self.lines[series.line() as usize]
    }

    /// The family of the series at a place, where there is one.
    pub(crate) fn family(&self, place: u32) -> Option<usize> {
        self.lines.get(self.get(place).line() as usize).map(|line| usize::from(line.family))
    }

    /// All lines; those that are free have no use.
    pub(crate) fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        self.lines.iter_mut().filter(|line| line.uses > 0)
    }

    /// The value of one of its series, where that is no number.
    pub(crate) fn heavy(&self, series: &Series) -> Option<&Value> {
        series.heavy().and_then(|at| self.heavy.get(at as usize))
    }

    /// The same, of the one at a place.
    pub(crate) fn heavy_mut(&mut self, place: u32) -> Option<&mut Value> {
        let at = self.get(place).heavy()?;
        self.heavy.get_mut(at as usize)
    }

    /// The value at a place, which is 0 then.
    pub(crate) fn take_value(&mut self, place: u32) -> Value {
        let series = &mut self.slots[place as usize];
        let (number, heavy) = (series.number(), series.heavy());
        series.set_number(0.0);
        match heavy.and_then(|at| Some((at, self.heavy.get_mut(at as usize)?))) {
            Some((at, value)) => {
                self.heavy_free.push(at);
                std::mem::take(value)
            }
            None => Value::Number(number.unwrap_or_default()),
        }
    }

    /// A copy of it.
    pub(crate) fn value(&self, place: u32) -> Value {
        let series = self.get(place);
        let number = || Value::Number(series.number().unwrap_or_default());
        self.heavy(series).cloned().unwrap_or_else(number)
    }

    /// Gives the one at a place a value instead of a number.
    pub(crate) fn put_value(&mut self, place: u32, value: Value) {
        match value {
            Value::Number(number) => self.slots[place as usize].set_number(number),
            heavy => {
                let at = put(&mut self.heavy, &mut self.heavy_free, heavy);
                self.slots[place as usize].set_heavy(at);
            }
        }
    }

    /// See [`Value::weight`].
    pub(crate) fn weight_of(&self, series: &Series) -> usize {
        self.heavy(series).map_or(1, Value::weight)
    }

    /// For its value and times; what makes it a key stays.
    pub(crate) fn get_mut(&mut self, place: u32) -> &mut Series {
        &mut self.slots[place as usize]
    }

    fn more(&self, place: u32) -> Option<&More> {
        self.more.get(*self.has_more.get(place as usize)? as usize)
    }

    /// Since when the series at a place counts, in seconds since the epoch; NaN: not known.
    pub(crate) fn created(&self, place: u32) -> f64 {
        self.more(place).map_or(f64::NAN, |more| more.created)
    }

    pub(crate) fn set_created(&mut self, place: u32, created: f64) {
        if let Some(more) = self.more_of(place, !created.is_nan()) {
            more.created = created;
        }
    }

    /// The place of the group's series that the one at a place is a part of, or [`NOWHERE`].
    pub(crate) fn sum(&self, place: u32) -> u32 {
        self.more(place).map_or(NOWHERE, |more| more.sum)
    }

    pub(crate) fn set_sum(&mut self, place: u32, sum: u32) {
        if let Some(more) = self.more_of(place, sum != NOWHERE) {
            more.sum = sum;
        }
    }

    /// What a series has besides; made where it is `wanted`.
    fn more_of(&mut self, place: u32, wanted: bool) -> Option<&mut More> {
        let at = place as usize;
        if wanted && self.has_more.len() <= at {
            let more = at + 1 - self.has_more.len();
            reserve(&mut self.has_more, more);
            self.has_more.resize(at + 1, NOWHERE);
        }
        let has = self.has_more.get_mut(at)?;
        if *has == NOWHERE && wanted {
            *has = put(&mut self.more, &mut self.more_free, More::NOTHING);
        }
        self.more.get_mut(*has as usize)
    }

    /// The text of one of its series.
    pub(crate) fn text(&self, series: &Series) -> &[u8] {
        self.text_of(self.line(series))
    }

    fn text_of(&self, line: &Line) -> &[u8] {
        &self.text[line.start as usize..][..line.len as usize]
    }

    /// How many places there are, free ones among them.
    pub(crate) fn places(&self) -> u32 {
        offset(self.slots.len())
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
        self.written
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
        let places = [&self.free, &self.lines_free, &self.heavy_free, &self.has_more, &self.more_free];
        self.slots.capacity() * size_of::<Series>()
            + self.lines.capacity() * size_of::<Line>()
            + self.heavy.capacity() * size_of::<Value>()
            + self.text.capacity()
            + self.index.allocation_size()
            + self.more.capacity() * size_of::<More>()
            + places.into_iter().map(|places| places.capacity() * size_of::<u32>()).sum::<usize>()
    }
}

/// The hash of the series at a place.
fn hash_of(slots: &[Series], lines: &[Line], place: u32) -> u32 {
    let series = &slots[place as usize];
    hash(u64::from(lines[series.line() as usize].hash), series.subject)
}

/// Puts something at a place that is free.
fn put<T>(all: &mut Vec<T>, free: &mut Vec<u32>, new: T) -> u32 {
    match free.pop() {
        Some(place) => {
            all[place as usize] = new;
            place
        }
        None => {
            reserve(all, 1);
            all.push(new);
            offset(all.len() - 1)
        }
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

/// The same of no subject.
fn unscattered(hash: u32, subject: u32) -> u32 {
    hash ^ scatter(subject)
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
