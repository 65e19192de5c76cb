//! Which units are looked at, a few at a time.

use std::collections::{HashMap, HashSet, VecDeque};

/// Units that are looked at side by side: systemd answers one request after
/// the other, and the next one should wait there.
const AT_ONCE: usize = 4;
/// Units that wait to be looked at: more than a node has.
const MOST: usize = 100_000;

/// What follows a look that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Nothing,
    /// Another one: something happened meanwhile.
    Again,
    /// It is no more: the answer is of yesterday.
    Forget,
}

/// Units by the names of their cgroups, each once.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<String>,
    queued: HashSet<String>,
    under_way: HashMap<String, After>,
}

impl Queue {
    /// One more, before or after all others; whether there is room for it.
    pub fn add(&mut self, id: String, first: bool) -> bool {
        if let Some(after) = self.under_way.get_mut(&id) {
            *after = After::Again;
        } else if first {
            // Where it stands further back too, it is passed over there.
            if !self.queued.insert(id.clone()) && self.waiting.front() == Some(&id) {
                return true;
            }
            self.waiting.push_front(id);
        } else if self.waiting.len() >= MOST {
            return false;
        } else if self.queued.insert(id.clone()) {
            self.waiting.push_back(id);
        }
        true
    }

    /// The next to look at, if there may be one more.
    pub fn begin(&mut self) -> Option<String> {
        while self.under_way.len() < AT_ONCE {
            let id = self.waiting.pop_front()?;
            if self.queued.remove(&id) {
                self.under_way.insert(id.clone(), After::Nothing);
                return Some(id);
            }
        }
        None
    }

    /// A look is over.
    pub fn end(&mut self, id: &str) -> After {
        self.under_way.remove(id).unwrap_or(After::Nothing)
    }

    /// It is no more.
    pub fn forget(&mut self, id: &str) {
        self.queued.remove(id);
        if let Some(after) = self.under_way.get_mut(id) {
            *after = After::Forget;
        }
    }

    /// It is looked at now.
    pub fn is_under_way(&self, id: &str) -> bool {
        self.under_way.contains_key(id)
    }

    /// Something is looked at now.
    pub fn is_any_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// Nothing is looked at any more, but for what is under way.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.queued.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_looked_at_once_and_wishes_go_first() {
        let mut queue = Queue::default();
        for id in ["a", "b", "c", "a"] {
            assert!(queue.add(id.to_owned(), false));
        }
        assert!(queue.add("c".to_owned(), true) && queue.add("c".to_owned(), true));
        let order: Vec<String> = std::iter::from_fn(|| queue.begin()).collect();
        assert_eq!(order, ["c", "a", "b"]);
        assert!(queue.is_empty());
        assert!(queue.add("a".to_owned(), true));
        queue.forget("b");
        assert_eq!(["a", "b", "c"].map(|id| queue.end(id)), [After::Again, After::Forget, After::Nothing]);
    }

    #[test]
    fn is_bounded() {
        let mut queue = Queue::default();
        (0..MOST).for_each(|number| assert!(queue.add(number.to_string(), false)));
        assert!(!queue.add("one more".to_owned(), false) && queue.add("wanted".to_owned(), true));
        assert_eq!(std::iter::from_fn(|| queue.begin()).count(), AT_ONCE);
        queue.clear();
        assert!(queue.is_empty() && queue.begin().is_none());
    }
}
