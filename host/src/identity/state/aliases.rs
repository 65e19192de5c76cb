//! By what containers are found: each by several names, of which the oldest
//! are forgotten.

use ahash::RandomState;
use hashbrown::HashTable;
use std::hash::Hash;

/// From names of one kind to containers. A container that is started again and
/// again has new ones each time, so each keeps so many.
///
/// Each name lies once, with its container; what is found by hash are places.
/// There are a dozen names for each container, and a table has room for more
/// than it holds.
#[derive(Debug)]
pub struct Aliases<K> {
    to: HashTable<Found>,
    /// Places of containers.
    of: HashTable<u32>,
    slots: Vec<Slot<K>>,
    free: Vec<u32>,
    random: RandomState,
    most: usize,
}

/// Whose a name of this hash is.
#[derive(Debug, Clone, Copy)]
struct Found {
    place: u32,
    hash: u32,
}

#[derive(Debug)]
struct Slot<K> {
    handle: u64,
    /// The newest last.
    names: Box<[K]>,
}

impl<K: Hash + Eq + Copy> Aliases<K> {
    pub fn new(most: usize) -> Self {
        Self {
            to: HashTable::new(),
            of: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            random: RandomState::new(),
            most,
        }
    }

    pub fn get(&self, name: K) -> Option<u64> {
        self.find(name).map(|place| self.slots[place as usize].handle)
    }

    fn find(&self, name: K) -> Option<u32> {
        let hash = half(self.random.hash_one(name));
        let is_it =
            |found: &Found| found.hash == hash && self.slots[found.place as usize].names.contains(&name);
        self.to.find(spread(hash), is_it).map(|found| found.place)
    }

    fn place_of(&self, handle: u64) -> Option<u32> {
        let is_it = |&place: &u32| self.slots[place as usize].handle == handle;
        self.of.find(self.random.hash_one(handle), is_it).copied()
    }

    /// Gives a name to a container, and takes it from another. One that it has
    /// is its newest again.
    pub fn give(&mut self, name: K, handle: u64) {
        let before = self.find(name);
        let place = self.place_of(handle).unwrap_or_else(|| self.add(handle));
        if before == Some(place) {
            let names = &mut self.slots[place as usize].names;
            if let Some(at) = names.iter().position(|known| *known == name) {
                names[at..].rotate_left(1);
            }
            return;
        }
        if let Some(before) = before {
            self.take(name, before);
        }
        let mut names = std::mem::take(&mut self.slots[place as usize].names).into_vec();
        if names.len() >= self.most {
            self.unlink(names.remove(0), place);
        }
        names.reserve_exact(1);
        names.push(name);
        self.slots[place as usize].names = names.into_boxed_slice();
        let hash = half(self.random.hash_one(name));
        self.to.insert_unique(spread(hash), Found { place, hash }, |found| spread(found.hash));
    }

    /// The place of a container that has none.
    fn add(&mut self, handle: u64) -> u32 {
        let slot = Slot { handle, names: Box::default() };
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                if self.slots.len() == self.slots.capacity() {
                    // By an eighth: what is reserved and not used counts against each.
                    self.slots.reserve_exact((self.slots.len() / 8).max(16));
                }
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("containers are bounded far below 2^32")
            }
        };
        let (slots, random) = (&self.slots, &self.random);
        let hash_of = |place: &u32| random.hash_one(slots[*place as usize].handle);
        self.of.insert_unique(random.hash_one(handle), place, hash_of);
        place
    }

    fn take(&mut self, name: K, from: u32) {
        self.unlink(name, from);
        let slot = &mut self.slots[from as usize];
        slot.names = slot.names.iter().copied().filter(|known| *known != name).collect();
        if slot.names.is_empty() {
            self.remove(from);
        }
    }

    /// It does not lead there any more.
    fn unlink(&mut self, name: K, place: u32) {
        let hash = half(self.random.hash_one(name));
        let is_it = |found: &Found| found.hash == hash && found.place == place;
        if let Ok(entry) = self.to.find_entry(spread(hash), is_it) {
            entry.remove();
        }
    }

    /// A place is free; gives its names, which lead nowhere any more.
    fn remove(&mut self, place: u32) -> Box<[K]> {
        let slot = &mut self.slots[place as usize];
        let (handle, names) = (slot.handle, std::mem::take(&mut slot.names));
        if let Ok(entry) = self.of.find_entry(self.random.hash_one(handle), |other| *other == place) {
            entry.remove();
        }
        names.iter().for_each(|name| self.unlink(*name, place));
        self.free.push(place);
        names
    }

    /// All names of a container, the oldest first.
    pub fn of(&self, handle: u64) -> &[K] {
        self.place_of(handle).map_or(&[], |place| &self.slots[place as usize].names)
    }

    /// All names of one are another's from now on.
    pub fn hand_over(&mut self, from: u64, to: u64) {
        let names = self.place_of(from).map(|place| self.remove(place));
        names.unwrap_or_default().into_iter().for_each(|name| self.give(name, to));
    }

    /// A container is forgotten, with its names.
    pub fn forget(&mut self, handle: u64) {
        if let Some(place) = self.place_of(handle) {
            self.remove(place);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        let names = self.slots.iter().map(|slot| slot.names.len()).sum::<usize>();
        assert_eq!(self.to.len(), names, "both ways are one");
        assert_eq!(self.of.len() + self.free.len(), self.slots.len());
        names
    }
}

/// What is kept of a hash: it is compared before the names are.
fn half(hash: u64) -> u32 {
    hash as u32
}

/// The table wants bits at both ends. The factor is 2^64 divided by the golden ratio.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_taken_and_forgotten() {
        let mut all = Aliases::new(2);
        for (name, handle) in [('a', 1), ('b', 1), ('a', 1), ('c', 1)] {
            all.give(name, handle);
        }
        assert_eq!((all.get('a'), all.get('b'), all.get('c')), (Some(1), None, Some(1)), "b was the oldest");
        all.give('a', 2);
        assert_eq!((all.get('a'), all.of(1), all.of(2), all.len()), (Some(2), &['c'][..], &['a'][..], 2));
        all.hand_over(1, 2);
        assert_eq!((all.get('c'), all.of(1).len(), all.of(2)), (Some(2), 0, &['a', 'c'][..]));
        all.forget(2);
        assert_eq!((all.len(), all.of.len()), (0, 0));
    }

    #[test]
    fn many_are_as_a_plain_map() {
        let (mut all, mut plain) = (Aliases::new(8), std::collections::HashMap::new());
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (name, handle) = ((random >> 33) % 500, (random >> 50) % 100 + 1);
            if random >> 62 == 0 {
                all.forget(handle);
                plain.retain(|_, whose| *whose != handle);
            } else {
                all.give(name, handle);
                plain.insert(name, handle);
                let names = all.of(handle);
                plain.retain(|name, whose| *whose != handle || names.contains(name));
            }
        }
        assert!((0..500).all(|name| all.get(name) == plain.get(&name).copied()));
        assert_eq!(all.len(), plain.len());
        assert!(plain.len() > 20 && all.slots.len() <= 100);
    }
}
