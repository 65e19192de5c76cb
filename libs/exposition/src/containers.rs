//! The constant labels of a table's series, kept once a container, and how a
//! collection finds them.

use crate::labels::{Constant, Labels};
use ahash::RandomState;
use std::collections::HashMap;

/// The handle that stands for the node.
pub(crate) const NODE: u64 = 0;

/// The constant labels of all containers that have series, by place. A handle
/// keeps its place as long as each collection names it, as its series do.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    slots: Vec<Slot>,
    places: HashMap<u64, u32, RandomState>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    text: String,
    epoch: u64,
    /// The collection that named it last.
    generation: u32,
}

impl Constants {
    pub(crate) fn text(&self, place: u32) -> &str {
        &self.slots[place as usize].text
    }

    /// Keeps the labels of a handle, and says where.
    fn keep(&mut self, handle: u64, constant: Constant<'_>, generation: u32) -> u32 {
        if let Some(&place) = self.places.get(&handle) {
            let slot = &mut self.slots[place as usize];
            if slot.epoch != constant.epoch {
                slot.text.clear();
                slot.text.push_str(constant.text);
                slot.epoch = constant.epoch;
            }
            slot.generation = generation;
            return place;
        }
        let slot = Slot { text: constant.text.to_owned(), epoch: constant.epoch, generation };
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("a collection names fewer than 2^32 containers")
            }
        };
        self.places.insert(handle, place);
        place
    }

    /// Drops those that the collection did not name: it emitted none of their series.
    fn sweep(&mut self, generation: u32) {
        self.places.retain(|_, &mut place| {
            let slot = &mut self.slots[place as usize];
            let stays = slot.generation == generation;
            if !stays {
                slot.text = String::new();
                self.free.push(place);
            }
            stays
        });
    }
}

/// Who a sample is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Of handles with the same labels the first that the collection named:
    /// their series could not be told apart.
    pub(crate) handle: u64,
    /// Where its constant labels are.
    pub(crate) constant: u32,
}

/// Looks subjects up for one collection; the host is asked once for each.
pub(crate) struct Containers<'a> {
    labels: &'a dyn Labels,
    constants: Constants,
    generation: u32,
    known: HashMap<u64, Option<Subject>, RandomState>,
    by_text: HashMap<&'a str, Subject, RandomState>,
    /// Samples of one container mostly follow each other.
    last: (u64, Option<Subject>),
}

impl<'a> Containers<'a> {
    pub(crate) fn new(labels: &'a dyn Labels, mut constants: Constants, generation: u32) -> Self {
        let constant = constants.keep(NODE, labels.node(), generation);
        let last = (NODE, Some(Subject { handle: NODE, constant }));
        let (known, by_text) = (HashMap::from_iter([last]), HashMap::default());
        Self { labels, constants, generation, known, by_text, last }
    }

    /// `None` where the host knows no such container.
    pub(crate) fn get(&mut self, handle: u64) -> Option<Subject> {
        if self.last.0 != handle {
            let subject = *self.known.entry(handle).or_insert_with(|| {
                let constant = self.labels.container(handle)?;
                let keep =
                    || Subject { handle, constant: self.constants.keep(handle, constant, self.generation) };
                Some(*self.by_text.entry(constant.text).or_insert_with(keep))
            });
            self.last = (handle, subject);
        }
        self.last.1
    }

    /// Ends the collection.
    pub(crate) fn finish(mut self) -> Constants {
        self.constants.sweep(self.generation);
        self.constants
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Two(Cell<u32>, u64);

    impl Labels for Two {
        fn node(&self) -> Constant<'_> {
            Constant { text: "node", epoch: 1 }
        }
        fn container(&self, handle: u64) -> Option<Constant<'_>> {
            self.0.set(self.0.get() + 1);
            match handle {
                5 | 6 => Some(Constant { text: "same", epoch: handle }),
                7 => Some(Constant { text: if self.1 == 7 { "other" } else { "new" }, epoch: self.1 }),
                _ => None,
            }
        }
    }

    #[test]
    fn same_labels_are_one_container_and_each_is_asked_once() {
        let host = Two(Cell::new(0), 7);
        let mut containers = Containers::new(&host, Constants::default(), 1);
        for _ in 0..3 {
            for (handle, first) in [(0, Some(0)), (5, Some(5)), (6, Some(5)), (7, Some(7)), (8, None)] {
                assert_eq!(containers.get(handle).map(|subject| subject.handle), first);
            }
        }
        assert_eq!(host.0.get(), 4);
    }

    #[test]
    fn labels_change_with_their_epoch_and_go_with_their_container() {
        let host = Two(Cell::new(0), 7);
        let mut containers = Containers::new(&host, Constants::default(), 1);
        let (five, seven) = (containers.get(5).unwrap().constant, containers.get(7).unwrap().constant);
        let constants = containers.finish();
        assert_eq!((constants.text(five), constants.text(seven)), ("same", "other"));
        let host = Two(Cell::new(0), 8);
        let mut containers = Containers::new(&host, constants, 2);
        assert_eq!(containers.get(7).unwrap().constant, seven);
        let mut constants = containers.finish();
        assert_eq!(
            (constants.text(seven), constants.places.len(), &constants.free[..]),
            ("new", 2, &[five][..])
        );
        assert_eq!(constants.keep(9, Constant { text: "nine", epoch: 0 }, 3), five);
    }
}
