//! The series of groups: sums over their members' series, which stay and are
//! not written themselves.

use crate::declared::Declared;
use crate::reason::Reason;
use crate::series::{Flag, Value};
use crate::subjects::{NOWHERE, Subjects};
use crate::table::Table;
use gantry_plugin_api::description::{Kind, Merge};

/// What a group has of a series. What is shown of a counter or histogram is
/// the base and all that its members counted last; it never goes back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sum {
    shown: Value,
    /// Of members that have left the series for good or began it anew.
    base: Value,
    /// What has been added up of those who have it.
    members: Value,
    /// How many these are.
    present: u32,
}

impl Sum {
    /// What is written; never a sum itself.
    pub(crate) fn shown(&self) -> &Value {
        &self.shown
    }

    fn add(&mut self, value: &Value, merge: Merge) {
        match (self.present, &mut self.members, value) {
            (0, members, value) => members.clone_from(value),
            (_, Value::Number(sum), Value::Number(number)) if merge == Merge::Largest => {
                *sum = sum.max(*number);
            }
            (_, sum, value) => sum.add(value),
        }
        self.present += 1;
    }

    /// Shows what has been added up, for a counter or histogram on top of the
    /// base. Whether there is anything to show.
    fn close(&mut self, counts: bool, group_is_gone: bool) -> bool {
        let present = std::mem::take(&mut self.present);
        let members = std::mem::take(&mut self.members);
        if !counts {
            if present > 0 {
                self.shown = members;
            }
            return present > 0 || group_is_gone;
        }
        let mut shown = self.base.clone();
        shown.add(&members);
        match (&mut shown, &self.shown) {
            // Added up in another order it may be less in its last digits.
            (Value::Number(now), Value::Number(before)) => *now = now.max(*before),
            (Value::Histogram(now), Value::Histogram(before)) => now.hold_sum(before),
            // Nobody has it, and nobody had: no number may take its place.
            (now, before) => *now = before.clone(),
        }
        self.shown = shown;
        true
    }
}

impl Value {
    /// A group's histogram with nothing in it is a number 0 until the first
    /// member comes.
    fn add(&mut self, other: &Value) {
        match (self, other) {
            (Value::Number(sum), Value::Number(number)) => *sum += number,
            (Value::Histogram(sum), Value::Histogram(buckets)) => sum.add(buckets),
            (sum @ Value::Number(_), Value::Histogram(_)) => sum.clone_from(other),
            (Value::Histogram(_) | Value::Sum(_), _) | (_, Value::Sum(_)) => {}
        }
    }
}

/// Whether the values of a family are counts: summed, and kept.
pub(crate) fn counts(family: &Declared) -> bool {
    matches!(family.info.kind, Kind::Counter | Kind::Histogram)
}

/// Whether these counts begin with their owner: the first is an increase.
pub(crate) fn is_counted_here(family: &Declared) -> bool {
    family.info.counted_here && counts(family)
}

/// Whether a group's series comes on top of its member's, or in place of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Capped,
    OfTheMember,
}

impl Table {
    /// Adds to the base of the group what the series at a place counted last:
    /// it leaves, or begins anew.
    pub(crate) fn give(&mut self, place: u32) {
        let family = self.store.family(place).and_then(|family| self.families.get(family));
        if !family.is_some_and(counts) {
            return;
        }
        let sum = self.store.sum(place);
        self.begin_with(sum, place);
        let value = self.store.take_value(place);
        if let Some(Value::Sum(sum)) = self.store.heavy_mut(sum) {
            sum.base.add(&value);
        }
        self.store.put_value(place, value);
    }

    /// The group's series at `sum` counts since the first of its members did.
    fn begin_with(&mut self, sum: u32, member: u32) {
        let created = self.store.created(member);
        let of_group = self.store.created(sum);
        self.store.set_created(sum, of_group.min(created));
    }

    /// Makes the series at a place a part of its group's, which is made where
    /// there is none: it shows 0 first where it is counted here or all members'
    /// counts began with them, and goes on where the member's own line was.
    /// Refused where there is no `room` for that.
    pub(crate) fn join(
        &mut self,
        place: u32,
        group: u32,
        subjects: &mut Subjects,
        room: Room,
    ) -> Result<(), Reason> {
        let series = self.store.get(place);
        let family = usize::from(self.store.line(series).family);
        let goes_on = !series.is(Flag::Newborn) && subjects.goes_on(series.subject, group);
        let sum = match self.store.find_like(place, group) {
            Some(sum) => sum,
            None => {
                if room == Room::Capped {
                    self.check_room(self.store.weight_of(series), self.store.text(series).len())?;
                }
                let is = |what: fn(&Declared) -> bool| self.families.get(family).is_some_and(what);
                let zero =
                    self.zero_first && is(is_counted_here) || subjects.counts_from_zero(group) && is(counts);
                let sum = Sum { shown: self.store.value(place), ..Sum::default() };
                let value = Value::Sum(Box::new(sum));
                let sum = self.store.insert_like(place, group, value, zero);
                self.rows[family].places.push(sum);
                subjects.keep(group);
                sum
            }
        };
        if goes_on {
            self.store.get_mut(sum).set(Flag::Newborn, false);
        }
        self.store.set_sum(place, sum);
        Ok(())
    }

    /// Adds up all groups' series, at the end of a collection.
    pub(crate) fn add_up(&mut self, subjects: &Subjects) {
        if !self.store.has_sums() {
            return;
        }
        let places = self.store.places();
        for place in 0..places {
            let family = self.store.family(place).and_then(|family| self.families.get(family));
            let (sum, Some(family)) = (self.store.sum(place), family) else { continue };
            if sum == NOWHERE {
                continue;
            }
            let merge = family.info.merge;
            self.begin_with(sum, place);
            let value = self.store.take_value(place);
            if let Some(Value::Sum(sum)) = self.store.heavy_mut(sum) {
                sum.add(&value, merge);
            }
            self.store.put_value(place, value);
        }
        let mut empty = Vec::new();
        for place in 0..places {
            let family = self.store.family(place).and_then(|family| self.families.get(family));
            let (Some(family), subject) = (family, self.store.get(place).subject) else { continue };
            let Some(value @ Value::Sum(_)) = self.store.heavy_mut(place) else { continue };
            let before = value.weight();
            let Value::Sum(sum) = value else { continue };
            if sum.close(counts(family), subjects.is_gone(subject)) {
                let after = value.weight();
                self.store.reweigh(before, after);
            } else {
                empty.push(place);
            }
        }
        self.drop_all(&empty);
    }
}
