//! Who series are of: the node, containers, and groups of containers that are
//! shown as one. What the host says of each is asked once a collection.

use crate::labels::{Constant, Labels};
use crate::reason::Reason;
use crate::store::reserve;
use ahash::RandomState;
use hashbrown::HashTable;
use std::collections::HashMap;
use std::sync::Arc;

/// The handle that stands for the node, and its place.
pub(crate) const NODE: u64 = 0;
const NODE_PLACE: u32 = 0;

/// No place.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// All subjects that have series, by place. One keeps its place as long as a
/// collection names it or a series of it is kept.
#[derive(Debug, Default)]
pub(crate) struct Subjects {
    slots: Vec<Slot>,
    /// Places of containers, by the hash of their handles. What is found lies in
    /// the slots alone: a table has room for more than it holds.
    containers: HashTable<u32>,
    /// Places by the group's number, which may equal a handle.
    groups: HashMap<u64, u32, RandomState>,
    /// Who writes lines with which labels, by their hash: no two with the same.
    texts: HashTable<u32>,
    free: Vec<u32>,
    /// See [`Labels::common`].
    common: String,
    random: RandomState,
    /// Number of this collection.
    generation: u32,
    /// Whether this collection found one in another group or presence.
    changed: bool,
    /// Whether the last collection left one that writes no lines.
    has_hidden: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Node,
    Container(u64),
    Group(u64),
    /// The place is free.
    Nobody,
}

#[derive(Debug)]
struct Slot {
    who: Who,
    /// Empty while it is in a group.
    text: Arc<str>,
    /// Of the text, unless that is to be read anew.
    epoch: u64,
    has_epoch: bool,
    text_hash: u64,
    /// The place of its group, or [`NOWHERE`].
    group: u32,
    /// The collection that asked the host for it last.
    asked: u32,
    /// The collection that named it, or kept a series of it, last.
    used: u32,
    /// The host knows it.
    known: bool,
    held: bool,
    gone: bool,
    /// A group whose members' counts all began at 0 unseen.
    from_zero: bool,
    /// Its text is in `texts`: it writes lines.
    shown: bool,
    /// It wrote lines with its own text before this collection.
    was_shown: bool,
}

impl Slot {
    fn of(who: Who) -> Self {
        Self {
            who,
            text: Arc::default(),
            epoch: 0,
            has_epoch: false,
            text_hash: 0,
            group: NOWHERE,
            asked: 0,
            used: 0,
            known: false,
            held: false,
            gone: false,
            from_zero: false,
            shown: false,
            was_shown: false,
        }
    }

    fn set_text(&mut self, constant: Constant<'_>) -> bool {
        let differs = !self.has_epoch || self.epoch != constant.epoch;
        if differs {
            self.text = constant.to_text();
            (self.epoch, self.has_epoch) = (constant.epoch, true);
        }
        differs
    }

    fn forget_text(&mut self) {
        (self.text, self.has_epoch) = (Arc::default(), false);
    }
}

impl Subjects {
    /// Begins a collection: asks the host for the node and for all that have series.
    fn refresh(&mut self, labels: &dyn Labels, generation: u32) {
        (self.changed, self.generation) = (false, generation);
        if self.common != labels.common() {
            labels.common().clone_into(&mut self.common);
        }
        if self.slots.is_empty() {
            self.slots.push(Slot { shown: true, ..Slot::of(Who::Node) });
        }
        for place in 0..self.slots.len() as u32 {
            self.ask(place, labels);
        }
        // All that went have left their text to those that come.
        for place in 0..self.slots.len() as u32 {
            self.claim(place);
        }
    }

    fn ask(&mut self, place: u32, labels: &dyn Labels) {
        let generation = self.generation;
        let slot = &mut self.slots[place as usize];
        if slot.asked == generation {
            return;
        }
        slot.asked = generation;
        slot.was_shown = slot.shown;
        let before = (slot.known, slot.held, slot.group);
        let mut renamed = false;
        match slot.who {
            Who::Nobody => return,
            Who::Node => {
                (slot.known, slot.used) = (true, generation);
                slot.set_text(labels.node());
                return;
            }
            Who::Group(number) => {
                let group = labels.group(number);
                slot.known = group.is_some();
                if let Some(group) = group {
                    (slot.gone, slot.from_zero) = (group.gone, group.from_zero);
                    renamed = slot.set_text(group.labels);
                }
            }
            Who::Container(handle) => {
                let member = labels.container(handle);
                slot.known = member.is_some();
                if let Some(member) = member {
                    (slot.held, slot.gone) = (member.held, member.gone);
                    let group = member.group.map_or(NOWHERE, |group| self.group(group, labels));
                    let slot = &mut self.slots[place as usize];
                    if group == NOWHERE {
                        renamed = slot.set_text(member.labels);
                    } else if slot.group != NOWHERE {
                        // Kept through the collection in which it joins: does the group go on where it was?
                        slot.forget_text();
                    }
                    slot.group = group;
                }
            }
        }
        let slot = &mut self.slots[place as usize];
        self.changed |= before != (slot.known, slot.held, slot.group);
        if slot.shown && (renamed || !slot.writes()) {
            slot.shown = false;
            let hash = slot.text_hash;
            self.release(hash, place);
        }
        if renamed {
            let slot = &mut self.slots[place as usize];
            slot.text_hash = self.random.hash_one(&slot.text);
        }
    }

    /// Lets it write lines, where nobody else does so with its labels.
    fn claim(&mut self, place: u32) {
        let slot = &self.slots[place as usize];
        if slot.shown || !slot.writes() {
            return;
        }
        let (hash, slots) = (slot.text_hash, &self.slots);
        let is_same = |other: &u32| slots[*other as usize].text_hash == hash;
        if self.texts.find(hash, is_same).is_none() {
            self.texts.insert_unique(hash, place, |other| slots[*other as usize].text_hash);
            self.slots[place as usize].shown = true;
        }
    }

    /// Nobody writes lines with its labels any more.
    fn release(&mut self, hash: u64, place: u32) {
        if let Ok(entry) = self.texts.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
    }

    fn place_of(&self, handle: u64) -> Option<u32> {
        let is_it = |&place: &u32| self.slots[place as usize].who == Who::Container(handle);
        self.containers.find(self.random.hash_one(handle), is_it).copied()
    }

    /// The place of a group; new where it is not known yet.
    fn group(&mut self, number: u64, labels: &dyn Labels) -> u32 {
        match self.groups.get(&number) {
            Some(&place) => {
                self.ask(place, labels);
                place
            }
            None => self.add(Who::Group(number), labels),
        }
    }

    fn add(&mut self, who: Who, labels: &dyn Labels) -> u32 {
        let slot = Slot { asked: self.generation.wrapping_sub(1), ..Slot::of(who) };
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                reserve(&mut self.slots, 1);
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("a collection names fewer than 2^32 containers")
            }
        };
        match who {
            Who::Container(handle) => {
                let (slots, random) = (&self.slots, &self.random);
                let hash_of = |other: &u32| match slots[*other as usize].who {
                    Who::Container(handle) => random.hash_one(handle),
                    // None of these is among them.
                    Who::Node | Who::Group(_) | Who::Nobody => 0,
                };
                self.containers.insert_unique(random.hash_one(handle), place, hash_of);
            }
            Who::Group(number) => drop(self.groups.insert(number, place)),
            Who::Node | Who::Nobody => {}
        }
        self.ask(place, labels);
        place
    }

    /// Whether samples of the container at a place are taken, and the series
    /// at it, or the group's, may stay.
    pub(crate) fn check(&self, place: u32) -> Result<(), Reason> {
        let slot = &self.slots[place as usize];
        if !slot.known {
            return Err(Reason::UnknownContainer);
        }
        let writer = if slot.group == NOWHERE { slot } else { &self.slots[slot.group as usize] };
        match (writer.known, slot.held || writer.shown) {
            (false, _) => Err(Reason::UnknownContainer),
            (true, false) => Err(Reason::Duplicate),
            (true, true) => Ok(()),
        }
    }

    /// The place of the group whose sums have the series of the one at this
    /// place, or [`NOWHERE`].
    pub(crate) fn summed_in(&self, place: u32) -> u32 {
        let slot = &self.slots[place as usize];
        if slot.held || self.check(place).is_err() { NOWHERE } else { slot.group }
    }

    /// Whether it is gone, and its last values stay.
    pub(crate) fn is_gone(&self, place: u32) -> bool {
        self.slots[place as usize].gone
    }

    /// Whether the counts of a group's members began at 0 before anybody saw them.
    pub(crate) fn counts_from_zero(&self, group: u32) -> bool {
        self.slots[group as usize].from_zero
    }

    /// Whether its own series are written.
    pub(crate) fn is_shown(&self, place: u32) -> bool {
        self.slots[place as usize].shown
    }

    /// Whether its own series were written, if any were, before this collection.
    pub(crate) fn was_shown(&self, place: u32) -> bool {
        self.slots[place as usize].was_shown
    }

    /// Whether the group's lines go on where this container's own lines were.
    pub(crate) fn goes_on(&self, place: u32, group: u32) -> bool {
        let (slot, group) = (&self.slots[place as usize], &self.slots[group as usize]);
        slot.was_shown && slot.text == group.text
    }

    /// Says that a series of it is kept.
    pub(crate) fn keep(&mut self, place: u32) {
        self.slots[place as usize].used = self.generation;
    }

    #[cfg(test)]
    pub(crate) fn text(&self, place: u32) -> &str {
        &self.slots[place as usize].text
    }

    /// The host's labels of one: those that all have, and its own.
    pub(crate) fn constant(&self, place: u32) -> [&[u8]; 2] {
        let common = if place == NODE_PLACE { "" } else { self.common.as_str() };
        [common.as_bytes(), self.slots[place as usize].text.as_bytes()]
    }

    /// Whether this collection found one in another group or presence.
    pub(crate) fn have_changed(&self) -> bool {
        self.changed
    }

    /// Whether there is one whose series are not written.
    pub(crate) fn have_hidden(&self) -> bool {
        self.has_hidden
    }

    /// Ends a collection: forgets who was not named and has no series.
    pub(crate) fn finish(&mut self) {
        let generation = self.generation;
        for place in 0..self.slots.len() {
            let slot = &self.slots[place];
            if slot.used == generation && slot.group != NOWHERE {
                let group = slot.group as usize;
                self.slots[group].used = generation;
            }
        }
        self.has_hidden = false;
        for place in 0..self.slots.len() as u32 {
            let &Slot { who, shown, used, text_hash, .. } = &self.slots[place as usize];
            if used == generation {
                self.has_hidden |= !shown;
                continue;
            }
            match who {
                Who::Nobody => continue,
                Who::Container(handle) => {
                    let hash = self.random.hash_one(handle);
                    if let Ok(entry) = self.containers.find_entry(hash, |other| *other == place) {
                        entry.remove();
                    }
                }
                Who::Group(number) => drop(self.groups.remove(&number)),
                Who::Node => {}
            }
            if shown {
                self.release(text_hash, place);
            }
            self.slots[place as usize] = Slot::of(Who::Nobody);
            self.free.push(place);
        }
    }
}

impl Slot {
    /// Whether its own text is to be written.
    fn writes(&self) -> bool {
        let is_somebody = matches!(self.who, Who::Container(_) | Who::Group(_));
        is_somebody && self.known && !self.held && self.group == NOWHERE
    }
}

/// Looks subjects up for one collection; the host is asked once for each.
pub(crate) struct Named<'a> {
    labels: &'a dyn Labels,
    pub(crate) subjects: Subjects,
    /// Samples of one container mostly follow each other.
    last: (u64, Result<u32, Reason>),
}

impl<'a> Named<'a> {
    /// Begins a collection.
    pub(crate) fn new(labels: &'a dyn Labels, mut subjects: Subjects, generation: u32) -> Self {
        subjects.refresh(labels, generation);
        Self { labels, subjects, last: (NODE, Ok(NODE_PLACE)) }
    }

    /// The place of a handle, or why its samples are refused.
    pub(crate) fn get(&mut self, handle: u64) -> Result<u32, Reason> {
        if self.last.0 != handle {
            self.last = (handle, self.find(handle));
        }
        self.last.1
    }

    fn find(&mut self, handle: u64) -> Result<u32, Reason> {
        if handle == NODE {
            return Ok(NODE_PLACE);
        }
        let subjects = &mut self.subjects;
        let place = match subjects.place_of(handle) {
            Some(place) => place,
            None => {
                let place = subjects.add(Who::Container(handle), self.labels);
                let group = subjects.slots[place as usize].group;
                for place in [place, group].into_iter().filter(|&place| place != NOWHERE) {
                    subjects.claim(place);
                }
                place
            }
        };
        if subjects.slots[place as usize].known {
            subjects.keep(place);
        }
        subjects.check(place).map(|()| place)
    }
}

#[cfg(test)]
mod tests;
