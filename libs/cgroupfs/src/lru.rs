//! A bounded store that knows what was used longest ago.
//!
//! Its user keeps a [`Ticket`] for each value instead of a key, so that finding
//! one is an index and a comparison, without hashing.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

const NONE: u32 = u32::MAX;

/// Stamps go round after 2^32 values of all stores of a process: a ticket finds
/// no other value, in no other store, unless it lay unused for as long, and
/// ends at the very place. Each container keeps a dozen; half the size counts.
static NEXT_STAMP: AtomicU32 = AtomicU32::new(1);

/// Where a value was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    index: u32,
    stamp: NonZeroU32,
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    /// None is a free place's.
    stamp: Option<NonZeroU32>,
    newer: u32,
    older: u32,
}

#[derive(Debug)]
pub struct Lru<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
}

impl<T> Lru<T> {
    pub fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE }
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The value, if it is still there; it is the newest then.
    pub fn get(&mut self, ticket: Ticket) -> Option<&mut T> {
        if self.slots.get(ticket.index as usize)?.stamp != Some(ticket.stamp) {
            return None;
        }
        if self.newest != ticket.index {
            self.unlink(ticket.index);
            self.link(ticket.index);
        }
        self.slots[ticket.index as usize].value.as_mut()
    }

    /// Puts a value in, as the newest. The caller sees to the bound.
    pub fn insert(&mut self, value: T) -> Ticket {
        let stamp = NonZeroU32::new(NEXT_STAMP.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU32::MAX);
        let slot = Slot { value: Some(value), stamp: Some(stamp), newer: NONE, older: NONE };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                if self.slots.len() == self.slots.capacity() {
                    // By an eighth: there are a dozen for each container, and room that is not
                    // used counts as well.
                    self.slots.reserve_exact((self.slots.len() / 8).max(16));
                }
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("a process has fewer than 2^32 descriptors")
            }
        };
        self.link(index);
        Ticket { index, stamp }
    }

    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let slot = self.slots.get(ticket.index as usize)?;
        (slot.stamp == Some(ticket.stamp)).then(|| self.take(ticket.index)).flatten()
    }

    /// The value that was used longest ago.
    pub fn oldest(&self) -> Option<&T> {
        self.slots.get(self.oldest as usize)?.value.as_ref()
    }

    pub fn remove_oldest(&mut self) -> Option<T> {
        (self.oldest != NONE).then(|| self.take(self.oldest)).flatten()
    }

    fn take(&mut self, index: u32) -> Option<T> {
        self.unlink(index);
        self.free.push(index);
        let slot = &mut self.slots[index as usize];
        slot.stamp = None;
        slot.value.take()
    }

    fn unlink(&mut self, index: u32) {
        let Slot { newer, older, .. } = self.slots[index as usize];
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link(&mut self, index: u32) {
        let newest = self.newest;
        let slot = &mut self.slots[index as usize];
        (slot.newer, slot.older) = (NONE, newest);
        match self.slots.get_mut(newest as usize) {
            Some(slot) => slot.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_use() {
        let mut store = Lru::new();
        let tickets: Vec<_> = (0..4).map(|number| store.insert(number)).collect();
        assert_eq!(store.get(tickets[0]), Some(&mut 0));
        assert_eq!(store.get(tickets[2]), Some(&mut 2));
        assert_eq!(store.get(tickets[2]), Some(&mut 2));
        assert_eq!(store.remove(tickets[3]), Some(3));
        assert_eq!(store.oldest(), Some(&1));
        let order: Vec<_> = std::iter::from_fn(|| store.remove_oldest()).collect();
        assert_eq!(order, [1, 0, 2]);
        assert_eq!((store.len(), store.oldest()), (0, None));
    }

    #[test]
    fn an_old_ticket_finds_no_other_value() {
        let (mut store, mut other) = (Lru::new(), Lru::new());
        let first = store.insert("first");
        assert_eq!(store.remove(first), Some("first"));
        assert_eq!(store.remove(first), None, "only once");
        assert_eq!(store.get(first), None);
        let second = store.insert("second");
        assert_eq!((store.len(), store.oldest()), (1, Some(&"second")));
        other.insert("other");
        assert_eq!(store.get(first), None);
        assert_eq!(store.remove(first), None);
        assert_eq!(other.get(second), None, "of another store");
        assert_eq!(store.get(second), Some(&mut "second"));
        assert_eq!(store.slots.len(), 1, "places are used again");
    }
}
