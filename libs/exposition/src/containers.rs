//! The constant labels of one collection's containers, each asked for once.

use crate::labels::{Constant, Labels};
use ahash::RandomState;
use std::collections::HashMap;

/// The handle that stands for the node.
pub(crate) const NODE: u64 = 0;

/// Who a sample is of, and the host's labels for it.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// Of handles with the same labels the first that the collection named:
    /// their series could not be told apart.
    pub(crate) handle: u64,
    pub(crate) constant: Constant<'a>,
}

/// Looks subjects up for one collection.
pub(crate) struct Containers<'a> {
    labels: &'a dyn Labels,
    known: HashMap<u64, Option<Subject<'a>>, RandomState>,
    by_text: HashMap<&'a str, u64, RandomState>,
    /// Samples of one container mostly follow each other.
    last: (u64, Option<Subject<'a>>),
}

impl<'a> Containers<'a> {
    pub(crate) fn new(labels: &'a dyn Labels) -> Self {
        let node = Subject { handle: NODE, constant: labels.node() };
        Self {
            labels,
            known: HashMap::from_iter([(NODE, Some(node))]),
            by_text: HashMap::default(),
            last: (NODE, Some(node)),
        }
    }

    /// `None` where the host knows no such container.
    pub(crate) fn get(&mut self, handle: u64) -> Option<Subject<'a>> {
        if self.last.0 != handle {
            let subject = *self.known.entry(handle).or_insert_with(|| {
                let constant = self.labels.container(handle)?;
                let first = *self.by_text.entry(constant.text).or_insert(handle);
                Some(Subject { handle: first, constant })
            });
            // The epoch has to be that of the handle under which the series is kept.
            let subject = subject.map(|own| match self.known.get(&own.handle) {
                Some(Some(first)) => *first,
                _ => own,
            });
            self.last = (handle, subject);
        }
        self.last.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Two(Cell<u32>);

    impl Labels for Two {
        fn node(&self) -> Constant<'_> {
            Constant { text: "node", epoch: 1 }
        }
        fn container(&self, handle: u64) -> Option<Constant<'_>> {
            self.0.set(self.0.get() + 1);
            match handle {
                5 | 6 => Some(Constant { text: "same", epoch: handle }),
                7 => Some(Constant { text: "other", epoch: 7 }),
                _ => None,
            }
        }
    }

    #[test]
    fn same_labels_are_one_container_and_each_is_asked_once() {
        let host = Two(Cell::new(0));
        let mut containers = Containers::new(&host);
        for _ in 0..3 {
            for (handle, first) in [(0, Some((0, 1))), (5, Some((5, 5))), (6, Some((5, 5))), (7, Some((7, 7))), (8, None)] {
                let found = containers.get(handle).map(|subject| (subject.handle, subject.constant.epoch));
                assert_eq!(found, first);
            }
        }
        assert_eq!(host.0.get(), 4);
    }
}
