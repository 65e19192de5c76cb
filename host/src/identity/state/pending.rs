//! What was told of containers that nobody has seen yet, the newest.

use super::record::Provided;
use std::collections::VecDeque;

/// A runtime tells of a container before its first process is there, so some
/// are always early; those that never come are the oldest.
const MOST: usize = 1024;

/// By the runtime's id.
#[derive(Debug, Default)]
pub struct Pending(VecDeque<(String, Provided)>);

impl Pending {
    /// All that was told of this container: by one plugin, and by each of its
    /// runtimes that has one of this id. Which of them is believed its cgroup says.
    pub fn of(&self, id: &str) -> impl Iterator<Item = &Provided> {
        self.0.iter().filter(move |(known, _)| known == id).map(|(_, provided)| provided)
    }

    /// Keeps it, instead of what this runtime or another plugin told; whether
    /// another one had to go.
    pub fn put(&mut self, id: String, provided: Provided) -> bool {
        self.0.retain(|(known, before)| *known != id || before.is_rival_of(&provided));
        let is_full = self.0.len() >= MOST;
        if is_full {
            self.0.pop_front();
        }
        self.0.push_back((id, provided));
        is_full
    }

    /// The same, and it waits no more.
    pub fn take(&mut self, id: &str) -> Vec<Provided> {
        let mut taken = Vec::new();
        while let Some(at) = self.0.iter().position(|(known, _)| known == id) {
            taken.extend(self.0.remove(at).map(|(_, provided)| provided));
        }
        taken
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
