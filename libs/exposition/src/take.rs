//! Takes a collection into a table.

use crate::arena::{Arena, RawHistogram, Sample};
use crate::containers::{Containers, NODE, Subject};
use crate::declared::Declared;
use crate::histogram::{self, Buckets};
use crate::labels::{Labels, MAX_LABEL_BYTES, values};
use crate::reason::Reason;
use crate::series::{Series, Value};
use crate::store::Key;
use crate::table::Table;
use crate::taken::{Taken, Tally};
use gantry_plugin_api::description::Kind;
use std::sync::Arc;

/// The most text that the series of one table may take, in bytes: twice what
/// one collection can bring, as names and escapes come on top.
const MAX_TEXT: usize = 256 << 20;

/// A sample that has passed all checks which do not depend on whether its
/// series is known.
struct Checked<'a> {
    family: &'a Declared,
    subject: Subject,
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
    /// and drops the series that are no longer emitted. `now` is in seconds
    /// since the epoch. `zero_first`: whether a counter or histogram that is
    /// counted by the owner itself shows a series never seen before as 0
    /// until [`crate::encode`] wrote it once; not so right after a hand-over,
    /// whose values were shown before.
    ///
    /// Known series come before new ones where `max_series` has not room for
    /// both, and those dropped make room first.
    pub fn take(&mut self, arena: &Arena, labels: &dyn Labels, now: f64, zero_first: bool) -> Taken {
        self.generation = self.generation.wrapping_add(1);
        self.show();
        let families = Arc::clone(&self.families);
        let constants = std::mem::take(&mut self.constants);
        let mut containers = Containers::new(labels, constants, self.generation);
        let mut tally = Tally::default();
        tally.count(Reason::Overflow, arena.overflow());
        let mut samples = 0;
        let (mut new, mut guess) = (Vec::new(), 0);
        for place in 0..arena.samples() {
            let sample = arena.get(place);
            let checked = check(&families, &mut containers, sample);
            match checked.and_then(|checked| self.update(&checked, place, &mut guess)) {
                Ok(None) => samples += 1,
                Ok(Some(unknown)) => new.push(unknown),
                Err(reason) => tally.refuse(reason, place, &sample, families.get(sample.family as usize)),
            }
        }
        self.sweep();
        for New { sample, hash } in new {
            let place = sample as usize;
            let sample = arena.get(place);
            let checked = check(&families, &mut containers, sample);
            match checked.and_then(|checked| self.insert(&checked, hash, now, zero_first)) {
                Ok(()) => samples += 1,
                Err(reason) => tally.refuse(reason, place, &sample, families.get(sample.family as usize)),
            }
        }
        self.constants = containers.finish();
        self.store.compact(self.rows.iter_mut().flat_map(|rows| &mut rows.places));
        tally.into_taken(samples, self.series())
    }

    /// Sets the value of a known series, or says that there is none. `guess`
    /// is where it may be, and then where the next may be: collections mostly
    /// have the order of the one before.
    fn update(
        &mut self,
        checked: &Checked<'_>,
        place: usize,
        guess: &mut u32,
    ) -> Result<Option<New>, Reason> {
        let sample = &checked.sample;
        let key = checked.key();
        let known = if self.store.is_at(*guess, &key) {
            *guess
        } else {
            let seed = self.rows[sample.family as usize].seed;
            // The half that is kept is as good as the whole for some 100,000 series.
            let hash = self.random.hash_one((seed, key.subject.handle, sample.labels)) as u32;
            let Some(known) = self.store.find(&key, hash) else {
                let sample = u32::try_from(place).expect("an arena is bounded far below 2^32 samples");
                return Ok(Some(New { sample, hash }));
            };
            known
        };
        *guess = known.wrapping_add(1);
        if self.store.get(known).generation == self.generation {
            return Err(Reason::Duplicate);
        }
        let weight = self.store.get(known).weight();
        if checked.weight() > weight {
            self.check_room(checked.weight() - weight)?;
        }
        let series = self.store.get_mut(known);
        series.generation = self.generation;
        series.newborn &= !self.was_written;
        let zero = series.newborn;
        if let Some(at) = created(sample) {
            series.created = at;
        }
        match (&mut series.value, &checked.histogram) {
            (Value::Histogram(buckets), Some(histogram)) => buckets.set(histogram, sample.value, zero),
            (value, _) => *value = Value::Number(if zero { 0.0 } else { sample.value }),
        }
        self.store.reweigh(weight, checked.weight());
        Ok(None)
    }

    /// Adds a series that was not known when the collection began.
    fn insert(&mut self, checked: &Checked<'_>, hash: u32, now: f64, zero_first: bool) -> Result<(), Reason> {
        let sample = &checked.sample;
        let info = &checked.family.info;
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
        self.check_room(checked.weight())?;
        if self.store.text_bytes() + 2 * sample.labels.len() > MAX_TEXT {
            return Err(Reason::Overflow);
        }
        let counted_here = info.counted_here && matches!(info.kind, Kind::Counter | Kind::Histogram);
        let zero = zero_first && counted_here;
        let value = match &checked.histogram {
            Some(histogram) => {
                let mut buckets = Box::<Buckets>::default();
                buckets.set(histogram, sample.value, zero);
                Value::Histogram(buckets)
            }
            None => Value::Number(if zero { 0.0 } else { sample.value }),
        };
        let since = if counted_here { now } else { f64::NAN };
        let series = Series {
            created: created(sample).unwrap_or(since),
            value,
            generation: self.generation,
            newborn: zero,
            ..Series::default()
        };
        let place = self.store.insert(&key, hash, series);
        self.rows[sample.family as usize].places.push(place);
        Ok(())
    }

    fn check_room(&self, more: usize) -> Result<(), Reason> {
        let room = self.max_series.saturating_sub(self.store.weight());
        if more > room { Err(Reason::SeriesCap) } else { Ok(()) }
    }

    /// Drops the series that this collection did not emit.
    fn sweep(&mut self) {
        for rows in &mut self.rows {
            rows.places.retain(|&place| {
                let stays = self.store.get(place).generation == self.generation;
                if !stays {
                    self.store.remove(place);
                }
                stays
            });
        }
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
    containers: &mut Containers<'_>,
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
    let subject = containers.get(sample.container).ok_or(Reason::UnknownContainer)?;
    Ok(Checked { family, subject, sample, histogram })
}

/// Since when the plugin says that it counts, where that makes sense.
fn created(sample: &Sample<'_>) -> Option<f64> {
    sample.created.filter(|at| at.is_finite() && *at >= 0.0)
}
