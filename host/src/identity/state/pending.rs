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
    /// Of this container, if anything.
    pub fn get(&self, id: &str) -> Option<&Provided> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, provided)| provided)
    }

    /// Keeps it, instead of what was there; whether another one had to go.
    pub fn put(&mut self, id: String, provided: Provided) -> bool {
        self.take(&id);
        let is_full = self.0.len() >= MOST;
        if is_full {
            self.0.pop_front();
        }
        self.0.push_back((id, provided));
        is_full
    }

    pub fn take(&mut self, id: &str) -> Option<Provided> {
        let at = self.0.iter().position(|(known, _)| known == id)?;
        self.0.remove(at).map(|(_, provided)| provided)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
