//! By what containers are found: each by several names, of which the oldest
//! are forgotten.

use ahash::RandomState;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// From names of one kind to containers. A container that is started again and
/// again has new ones each time, so each keeps so many.
#[derive(Debug)]
pub struct Aliases<K> {
    to: HashMap<K, u64, RandomState>,
    /// The newest last.
    of: HashMap<u64, Vec<K>, RandomState>,
    most: usize,
}

impl<K: Hash + Eq + Clone> Aliases<K> {
    pub fn new(most: usize) -> Self {
        Self { to: HashMap::default(), of: HashMap::default(), most }
    }

    pub fn get<Q: Hash + Eq + ?Sized>(&self, name: &Q) -> Option<u64>
    where
        K: Borrow<Q>,
    {
        self.to.get(name).copied()
    }

    /// Gives a name to a container, and takes it from another. One that it has
    /// is its newest again.
    pub fn give(&mut self, name: K, handle: u64) {
        match self.to.insert(name.clone(), handle) {
            Some(before) if before == handle => {
                let all = self.of.entry(handle).or_default();
                if let Some(at) = all.iter().position(|known| *known == name) {
                    all[at..].rotate_left(1);
                }
                return;
            }
            Some(before) => self.take(&name, before),
            None => {}
        }
        let all = self.of.entry(handle).or_default();
        // Most have few, and there are many of those.
        all.reserve_exact(1);
        all.push(name);
        if all.len() > self.most {
            let oldest = all.remove(0);
            self.to.remove(&oldest);
        }
    }

    fn take(&mut self, name: &K, from: u64) {
        if let Some(all) = self.of.get_mut(&from) {
            all.retain(|known| known != name);
            if all.is_empty() {
                self.of.remove(&from);
            }
        }
    }

    /// All names of a container, the oldest first.
    pub fn of(&self, handle: u64) -> &[K] {
        self.of.get(&handle).map_or(&[], Vec::as_slice)
    }

    /// All names of one are another's from now on.
    pub fn hand_over(&mut self, from: u64, to: u64) {
        for name in self.of.remove(&from).unwrap_or_default() {
            self.to.remove(&name);
            self.give(name, to);
        }
    }

    /// A container is forgotten, with its names.
    pub fn forget(&mut self, handle: u64) {
        for name in self.of.remove(&handle).unwrap_or_default() {
            self.to.remove(&name);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        assert_eq!(self.to.len(), self.of.values().map(Vec::len).sum::<usize>(), "both ways are one");
        self.to.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_taken_and_forgotten() {
        let mut all = Aliases::new(2);
        for (name, handle) in [("a", 1), ("b", 1), ("a", 1), ("c", 1)] {
            all.give(name, handle);
        }
        assert_eq!((all.get("a"), all.get("b"), all.get("c")), (Some(1), None, Some(1)), "b was the oldest");
        all.give("a", 2);
        assert_eq!((all.get("a"), all.of(1), all.of(2), all.len()), (Some(2), &["c"][..], &["a"][..], 2));
        all.hand_over(1, 2);
        assert_eq!((all.get("c"), all.of(1).len(), all.of(2)), (Some(2), 0, &["a", "c"][..]));
        all.forget(2);
        assert_eq!((all.len(), all.of.len()), (0, 0));
    }
}
