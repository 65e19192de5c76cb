//! What the order of events says that none of them says alone.

use gantry_netlink::{ProcessEvent, What};
use std::collections::HashSet;

/// Exits, by their places, that are not a process's end: a thread that is not
/// the first one executes a program and takes the first one's place, which is
/// told as that one's exit (`de_thread` in fs/exec.c).
pub fn exits_that_go_on(events: &[ProcessEvent]) -> HashSet<usize> {
    let mut executes = HashSet::new();
    let mut go_on = HashSet::new();
    for (at, event) in events.iter().enumerate().rev() {
        match event.what {
            What::Executed => drop(executes.insert(event.pid)),
            What::Forked { .. } => drop(executes.remove(&event.pid)),
            What::Exited if executes.remove(&event.pid) => drop(go_on.insert(at)),
            What::Exited => {}
        }
    }
    go_on
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
            event(7, What::Exited),
            event(8, What::Forked { parent: 1 }),
            event(8, What::Executed),
        ];
        assert_eq!(exits_that_go_on(&events), HashSet::from([0]), "8 is another one");
    }
}
