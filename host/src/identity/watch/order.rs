//! What the order of events says that none of them says alone.

use ahash::RandomState;
use gantry_netlink::{ProcessEvent, What};
use std::collections::{HashMap, HashSet};

/// Events, by their places, that others after them make say something else.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Exits that are not a process's end: a thread that is not the first one
    /// executes a program and takes the first one's place, which is told as that
    /// one's exit (`de_thread` in fs/exec.c).
    pub go_on: HashSet<usize, RandomState>,
    /// Executions of processes whose exits follow.
    pub short: HashSet<usize, RandomState>,
}

impl Order {
    pub fn of(events: &[ProcessEvent]) -> Self {
        let mut order = Self::default();
        // What comes next of each.
        let mut next: HashMap<u32, What, RandomState> =
            HashMap::with_capacity_and_hasher(events.len(), RandomState::default());
        for (at, event) in events.iter().enumerate().rev() {
            match (event.what, next.insert(event.pid, event.what)) {
                (What::Exited, Some(What::Executed)) => drop(order.go_on.insert(at)),
                (What::Executed, Some(What::Exited)) => drop(order.short.insert(at)),
                _ => {}
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_executes_is_no_end() {
        let event = |pid, what| ProcessEvent { pid, what, at: 0 };
        let events = [
            event(7, What::Exited),
            event(8, What::Exited),
            event(7, What::Executed),
            event(9, What::Executed),
            event(7, What::Exited),
            event(8, What::Forked { parent: 1 }),
            event(8, What::Executed),
        ];
        let order = Order::of(&events);
        assert_eq!(order.go_on, [0].into_iter().collect(), "8 is another one");
        assert_eq!(order.short, [2].into_iter().collect(), "8 and 9 go on");
    }
}
