//! Takes a collection into a table.

use crate::arena::{Arena, RawHistogram, Sample};
use crate::declared::Declared;
use crate::groups::{Room, counts, is_counted_here};
use crate::histogram::{self, Buckets};
use crate::labels::{Labels, MAX_LABEL_BYTES, values};
use crate::reason::Reason;
use crate::series::{Flag, Value};
use crate::store::{self, Key, Store};
use crate::subjects::{NODE, NOWHERE, Named, Subjects};
use crate::table::Table;
use crate::taken::{Taken, Tally};
use gantry_plugin_api::description::Kind;
use std::sync::Arc;

/// The most text that the series of one table may take, in bytes: twice what
/// one collection can bring, as names and escapes come on top.
const MAX_TEXT: usize = 256 << 20;

/// So many series of one family a container may have before others' labels are
/// no longer found: disks, kinds of something.
const LOOKED_BACK: usize = 16;

/// A sample that has passed all checks which do not depend on whether its
/// series is known.
struct Checked<'a> {
    family: &'a Declared,
    subject: u32,
    sample: Sample<'a>,
    histogram: Option<RawHistogram<'a>>,
}

/// A sample whose series is not known yet.
struct New {
    /// Its place in the arena.
    sample: u32,
    hash: u32,
}

impl Table {
    /// Takes a whole collection: checks each sample, matches it to its series,
    /// and drops the series that are no longer emitted, but for those of
    /// containers and groups that [`Labels`] says stay. `now` is in seconds
    /// since the epoch. `zero_first`: whether a counter or histogram that is
    /// counted by the owner itself shows a series never seen before as 0
    /// until [`crate::encode`] wrote it once; not so right after a hand-over,
    /// whose values were shown before.
    ///
    /// Known series come before new ones where `max_series` has not room for
    /// both, and those dropped make room first.
    pub fn take(&mut self, arena: &Arena, labels: &dyn Labels, now: f64, zero_first: bool) -> Taken {
        self.generation = self.generation.wrapping_add(1);
        self.zero_first = zero_first;
        self.show();
        let families = Arc::clone(&self.families);
        let mut named = Named::new(labels, std::mem::take(&mut self.subjects), self.generation);
        let mut tally = Tally::default();
        tally.count(Reason::Overflow, arena.overflow());
        let mut samples = 0;
        let (mut new, mut guess) = (Vec::new(), 0);
        for place in 0..arena.samples() {
            let sample = arena.get(place);
            let checked = check(&families, &mut named, sample);
            match checked.and_then(|checked| self.update(&checked, place, &mut guess, &named.subjects)) {
                Ok(None) => samples += 1,
                Ok(Some(unknown)) => new.push(unknown),
                Err(reason) => tally.refuse(reason, place, &sample, families.get(sample.family as usize)),
            }
        }
        for reason in self.settle(&mut named.subjects) {
            samples -= 1;
            tally.count(reason, 1);
        }
        for New { sample, hash } in new {
            let place = sample as usize;
            let sample = arena.get(place);
            let checked = check(&families, &mut named, sample);
            match checked.and_then(|checked| self.insert(&checked, hash, now, &mut named.subjects)) {
                Ok(()) => samples += 1,
                Err(reason) => tally.refuse(reason, place, &sample, families.get(sample.family as usize)),
            }
        }
        self.add_up(&named.subjects);
        self.subjects = named.subjects;
        self.subjects.finish();
        self.recall(now);
        self.store.compact(self.rows.iter_mut().flat_map(|rows| &mut rows.places));
        self.weigh_shown();
        tally.into_taken(samples, self.series(), self.kept())
    }

    /// Sets the value of a known series, or says that there is none. `guess`
    /// is where it may be, and then where the next may be: collections mostly
    /// have the order of the one before.
    fn update(
        &mut self,
        checked: &Checked<'_>,
        place: usize,
        guess: &mut u32,
        subjects: &Subjects,
    ) -> Result<Option<New>, Reason> {
        let sample = &checked.sample;
        let key = checked.key();
        let known = if self.store.is_at(*guess, &key) {
            *guess
        } else {
            let seed = self.rows[sample.family as usize].seed;
            let hash = store::hash(self.random.hash_one((seed, sample.labels)), key.subject);
            let Some(known) = self.store.find(&key, hash) else {
                let sample = u32::try_from(place).expect("an arena is bounded far below 2^32 samples");
                return Ok(Some(New { sample, hash }));
            };
            known
        };
        *guess = known.wrapping_add(1);
        let sum = self.store.sum(known);
        let series = self.store.get_mut(known);
        if series.is(Flag::Emitted) {
            return Err(Reason::Duplicate);
        }
        // Nearly all are so.
        if sum == NOWHERE && !series.is(Flag::Newborn) && series.number().is_some() {
            series.set_number(sample.value);
        } else {
            // A group's series mostly came right behind its first member's.
            *guess = guess.wrapping_add(u32::from(sum == *guess));
            self.update_other(checked, known, subjects)?;
        }
        self.store.get_mut(known).set(Flag::Emitted, true);
        if let Some(at) = created(sample) {
            self.store.set_created(known, at);
        }
        Ok(None)
    }

    /// Sets a histogram, a part of a group's series, or what may yet be shown as 0.
    fn update_other(&mut self, checked: &Checked<'_>, place: u32, subjects: &Subjects) -> Result<(), Reason> {
        let (before, after) = (self.store.weight_of(self.store.get(place)), checked.weight());
        if self.store.sum(place) != NOWHERE {
            self.update_member(checked, place)?;
        } else if after > before {
            self.check_room(after - before, 0)?;
        }
        self.age(place, subjects);
        match (self.store.heavy_mut(place), &checked.histogram) {
            (Some(Value::Histogram(buckets)), Some(histogram)) => {
                buckets.set(histogram, checked.sample.value);
            }
            _ => {
                self.store.take_value(place);
                self.store.put_value(place, Value::Number(checked.sample.value));
            }
        }
        self.store.reweigh(before, after);
        Ok(())
    }

    /// Before a part of a group's series is set: the group keeps what it
    /// counted before it began anew.
    fn update_member(&mut self, checked: &Checked<'_>, place: u32) -> Result<(), Reason> {
        let series = self.store.get(place);
        let grows = checked.weight().saturating_sub(self.store.weight_of(series));
        if grows > 0 {
            self.check_room(2 * grows, 0)?;
        }
        let falls = match (self.store.heavy(series), series.number(), &checked.histogram) {
            (Some(Value::Histogram(buckets)), _, Some(histogram)) => buckets.falls_to(histogram),
            (_, Some(before), None) => checked.sample.value < before && counts(checked.family),
            _ => false,
        };
        if falls {
            self.give(place);
        }
        Ok(())
    }

    /// Adds a series that was not known when the collection began.
    fn insert(
        &mut self,
        checked: &Checked<'_>,
        hash: u32,
        now: f64,
        subjects: &mut Subjects,
    ) -> Result<(), Reason> {
        let sample = &checked.sample;
        for value in values(sample.labels) {
            if value.len() > MAX_LABEL_BYTES {
                return Err(Reason::LabelTooLong);
            }
            std::str::from_utf8(value).map_err(|_| Reason::Utf8)?;
        }
        let key = checked.key();
        if self.store.find(&key, hash).is_some() {
            return Err(Reason::Duplicate);
        }
        self.check_room(checked.weight(), 2 * sample.labels.len())?;
        let counted_here = is_counted_here(checked.family);
        let value = match &checked.histogram {
            Some(histogram) => {
                let mut buckets = Box::<Buckets>::default();
                buckets.set(histogram, sample.value);
                Value::Histogram(buckets)
            }
            None => Value::Number(sample.value),
        };
        let since = if counted_here { now } else { f64::NAN };
        let newborn = self.zero_first && counted_here;
        let family = &self.rows[sample.family as usize].places;
        let place = self.store.insert(&key, hash, value, newborn, like(&self.store, family, key.subject));
        self.store.set_created(place, created(sample).unwrap_or(since));
        let group = subjects.summed_in(key.subject);
        if group != NOWHERE {
            self.join(place, group, subjects, Room::Capped).inspect_err(|_| self.store.remove(place))?;
        }
        let places = &mut self.rows[sample.family as usize].places;
        store::reserve(places, 1);
        places.push(place);
        Ok(())
    }

    /// Whether so many more series, and so many bytes of text, may be kept.
    pub(crate) fn check_room(&self, more: usize, text: usize) -> Result<(), Reason> {
        if more > self.max_series.saturating_sub(self.store.weight()) {
            return Err(Reason::SeriesCap);
        }
        if self.store.text_bytes() + text > MAX_TEXT {
            return Err(Reason::Overflow);
        }
        Ok(())
    }
}

impl<'a> Checked<'a> {
    fn key(&self) -> Key<'a> {
        Key {
            family: self.sample.family,
            subject: self.subject,
            labels: self.sample.labels,
            glue: &self.family.glue,
        }
    }

    fn weight(&self) -> usize {
        self.histogram.as_ref().map_or(1, |histogram| histogram::weight(histogram.bounds.len()))
    }
}

fn check<'a>(
    families: &'a [Declared],
    named: &mut Named<'_>,
    sample: Sample<'a>,
) -> Result<Checked<'a>, Reason> {
    let family = families.get(sample.family as usize).ok_or(Reason::UnknownFamily)?;
    if let Some(reason) = family.refused {
        return Err(reason);
    }
    if (sample.container != NODE) != family.info.per_container {
        return Err(Reason::Scope);
    }
    if sample.label_count != family.info.labels.len() {
        return Err(Reason::Labels);
    }
    let histogram = match (family.is_histogram(), &sample.histogram) {
        (false, None) => None,
        (true, Some(raw)) => Some(histogram::check(raw, sample.value).ok_or(Reason::Histogram)?),
        _ => return Err(Reason::Histogram),
    };
    if family.info.kind == Kind::Counter && !(sample.value >= 0.0 && sample.value.is_finite()) {
        return Err(Reason::Value);
    }
    let subject = named.get(sample.container)?;
    Ok(Checked { family, subject, sample, histogram })
}

/// Series of a family whose labels another container's may have as well: the
/// oldest one, and that of the one before it.
fn like(store: &Store, family: &[u32], subject: u32) -> impl Iterator<Item = u32> + use<> {
    let is_other = move |place: &&u32| store.get(**place).subject != subject;
    let newest = family.iter().rev().take(LOOKED_BACK).find(is_other);
    [newest, family.first().filter(is_other)].map(Option::<&u32>::copied).into_iter().flatten()
}

/// Since when the plugin says that it counts, where that makes sense.
fn created(sample: &Sample<'_>) -> Option<f64> {
    sample.created.filter(|at| at.is_finite() && *at >= 0.0)
}
