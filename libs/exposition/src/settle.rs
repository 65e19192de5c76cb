//! Between the known and the new samples of a collection: which series stay,
//! and which have joined a group.

use crate::groups::{Room, counts};
use crate::reason::Reason;
use crate::series::{Flag, Value};
use crate::subjects::{NOWHERE, Subjects};
use crate::table::Table;

impl Table {
    /// Drops the series that neither this collection emitted nor the host has
    /// stay, and brings those of new members into their groups. Returns what
    /// had to go though it was emitted, as there was no room for the group's
    /// series beside it.
    pub(crate) fn settle(&mut self, subjects: &mut Subjects) -> Vec<Reason> {
        let (mut refused, mut ended) = (Vec::new(), Vec::new());
        for family in 0..self.rows.len() {
            let mut places = std::mem::take(&mut self.rows[family].places);
            places.retain(|&place| {
                let emitted = self.store.get(place).is(Flag::Emitted);
                self.store.get_mut(place).set(Flag::Emitted, false);
                if emitted && !subjects.have_changed() {
                    return true;
                }
                let stays = if matches!(self.store.heavy(self.store.get(place)), Some(Value::Sum(_))) {
                    self.keep_sum(place, subjects, &mut ended)
                } else {
                    self.stays(place, emitted, subjects).unwrap_or_else(|reason| {
                        refused.push(reason);
                        false
                    })
                };
                if !stays {
                    self.store.remove(place);
                }
                stays
            });
            // Series of groups that have come meanwhile stand behind.
            places.append(&mut self.rows[family].places);
            self.rows[family].places = places;
        }
        self.drop_all(&ended);
        refused
    }

    /// Whether a series stays that is no group's. An error: not, though it was
    /// emitted.
    fn stays(&mut self, place: u32, emitted: bool, subjects: &mut Subjects) -> Result<bool, Reason> {
        let (subject, sum) = (self.store.get(place).subject, self.store.sum(place));
        let group = subjects.summed_in(subject);
        if !emitted {
            self.age(place, subjects);
        }
        if sum != NOWHERE && (group == NOWHERE || self.store.get(sum).subject != group) {
            self.give(place);
            self.store.set_sum(place, NOWHERE);
        }
        if group == NOWHERE {
            let stays = emitted || subjects.check(subject).is_ok() && subjects.is_gone(subject);
            if stays {
                subjects.keep(subject);
            }
            return Ok(stays);
        }
        if emitted {
            if self.store.sum(place) == NOWHERE {
                self.join(place, group, subjects, Room::Capped)?;
            }
            return Ok(true);
        }
        let family = self.store.family(place).and_then(|family| self.families.get(family));
        let counts = family.is_some_and(counts);
        // A gauge leaves nothing, but as the last of all.
        if !counts && !subjects.is_gone(group) {
            return Ok(false);
        }
        if self.store.sum(place) == NOWHERE {
            self.join(place, group, subjects, Room::OfTheMember)?;
        }
        if counts && !subjects.is_gone(subject) && self.may_pause() {
            subjects.keep(subject);
            return Ok(true);
        }
        self.give(place);
        Ok(false)
    }

    /// Whether a member that lives and emits a count no more may keep what it
    /// has, as it may go on there: not where series that come and go would
    /// take the room of others.
    fn may_pause(&self) -> bool {
        self.store.weight() <= self.max_series / 2
    }

    /// A group's series stays as long as the group. Those that end are taken
    /// out when their members have left them.
    fn keep_sum(&mut self, place: u32, subjects: &mut Subjects, ended: &mut Vec<u32>) -> bool {
        let group = self.store.get(place).subject;
        if subjects.check(group).is_ok() {
            subjects.keep(group);
            self.age(place, subjects);
        } else {
            ended.push(place);
        }
        true
    }

    /// What has been written as 0 shows its value from now on.
    pub(crate) fn age(&mut self, place: u32, subjects: &Subjects) {
        let series = self.store.get_mut(place);
        if series.is(Flag::Newborn) && self.was_written && subjects.was_shown(series.subject) {
            series.set(Flag::Newborn, false);
        }
    }

    /// Drops the series at these places.
    pub(crate) fn drop_all(&mut self, places: &[u32]) {
        if places.is_empty() {
            return;
        }
        places.iter().for_each(|&place| self.store.remove(place));
        for rows in &mut self.rows {
            rows.places.retain(|&place| !self.store.get(place).is_none());
        }
    }
}
