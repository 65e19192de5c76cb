//! Ends that the kernel told, until the identity service tells of them as well:
//! it knows the start of the process and the container it was in at last.
//!
//! The kernel sends its message before the event that the identity service
//! hears of, so whoever reads events first and messages second has the message
//! of each event that he read. One without an event is settled by its pid when
//! it is old: it is that of a process that nobody knows, of a thread (before
//! version 12 of the structure), or events were lost.

use ahash::RandomState;
use gantry_netlink::Exit;
use gantry_netlink::exits::Of;
use gantry_plugin_api::Process;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// How long an event is waited for: the identity service reads within
/// milliseconds, and longer only on a machine that is overloaded.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The most: at 10,000 a second those of the time above; 8 MiB.
const MOST: usize = 1 << 16;

/// A clock tick, in nanoseconds: `USER_HZ` is 100 wherever Linux runs.
const TICK: u64 = 10_000_000;

/// How late a message may have been read, and how far clocks may be apart.
const LATE: u64 = 10_000_000_000;

/// An end, and when it was read: nanoseconds since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// What the kernel told.
    pub exit: Exit,
    /// When that was read.
    pub read: u64,
    /// What the machine slept: of that the time that it lived knows nothing.
    pub slept: u64,
    /// The identity service said that it is of no container. It may have learned better
    /// since: its own look at a process may come after the end of that.
    pub is_of_none: bool,
}

impl Ended {
    /// Whether this may be the process whose end it is.
    fn may_be(&self, start: u64) -> bool {
        let Some(lived) = self.exit.lived else { return true };
        let start = start.saturating_mul(TICK);
        let latest = self.read.saturating_sub(lived.saturating_mul(1000));
        let earliest = latest.saturating_sub(LATE + self.slept);
        (earliest..=latest + 2 * TICK).contains(&start)
    }

    /// When it started, in clock ticks since boot, if it was read at once.
    pub fn start(&self) -> Option<u64> {
        Some(self.read.saturating_sub(self.exit.lived?.saturating_mul(1000)) / TICK)
    }
}

/// All that wait.
#[derive(Debug, Default)]
pub struct Waiting {
    all: HashMap<u32, Ended, RandomState>,
    order: VecDeque<(u32, u64)>,
}

impl Waiting {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds one. Another that can wait no longer comes back: of the same pid, or the oldest.
    pub fn add(&mut self, ended: Ended) -> Option<Ended> {
        let pid = ended.exit.pid;
        let before = self.all.insert(pid, ended);
        self.order.push_back((pid, ended.read));
        match before {
            // The first thread's own, before that of the whole.
            Some(Ended { exit: Exit { of: Of::Either, .. }, .. }) => None,
            Some(before) => Some(before),
            None if self.all.len() > MOST => self.oldest(u64::MAX),
            None => None,
        }
    }

    /// That of a process, which ended.
    pub fn take(&mut self, process: Process) -> Option<Ended> {
        if !self.all.get(&process.pid)?.may_be(process.start) {
            return None;
        }
        let taken = self.all.remove(&process.pid);
        if self.all.is_empty() {
            self.order.clear();
        }
        taken
    }

    /// The oldest of those that were read before.
    pub fn oldest(&mut self, before: u64) -> Option<Ended> {
        while let Some(&(pid, read)) = self.order.front()
            && read < before
        {
            self.order.pop_front();
            if self.all.get(&pid).is_some_and(|ended| ended.read == read) {
                return self.all.remove(&pid);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn ended(pid: u32, of: Of, lived: Option<u64>, read: u64) -> Ended {
        Ended {
            exit: Exit { pid, of, lived, mark: read, delays: [read; 8] },
            read,
            slept: 0,
            is_of_none: false,
        }
    }

    fn one(pid: u32, read: u64) -> Ended {
        ended(pid, Of::Process, Some(20_000), read)
    }

    #[test]
    fn an_end_is_that_of_the_process_that_lived_so_long() {
        let mut waiting = Waiting::default();
        let read = 1000 * SECOND;
        waiting.add(one(7, read));
        let process = |start| Process { pid: 7, start };
        assert_eq!(waiting.take(process(100_050)), None, "it began after that ended");
        assert_eq!(waiting.take(process(90_000)), None, "it was there long before that began");
        assert_eq!(waiting.take(Process { pid: 8, start: 99_998 }), None);
        assert_eq!(waiting.take(process(99_998)), Some(one(7, read)));
        assert_eq!(waiting.take(process(99_998)), None);
        // Read late, and of a machine that slept.
        waiting.add(one(7, read));
        assert!(waiting.take(process(99_400)).is_some());
        waiting.add(Ended { slept: 3600 * SECOND, ..ended(7, Of::Process, Some(20_000), 5000 * SECOND) });
        assert!(waiting.take(process(200_000)).is_some());
        // Of how long it lived nobody knows.
        waiting.add(ended(7, Of::Process, None, read));
        assert!(waiting.take(process(5)).is_some());
    }

    #[test]
    fn the_whole_takes_the_place_of_its_first_thread_and_a_pid_that_is_used_again_displaces() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.add(ended(7, Of::Either, Some(5), 1)), None);
        assert_eq!(waiting.add(ended(7, Of::Process, None, 2)), None);
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting.add(one(7, 3)), Some(ended(7, Of::Process, None, 2)));
    }

    #[test]
    fn those_that_are_old_and_those_that_are_too_many_come_back() {
        let mut waiting = Waiting::default();
        for (pid, read) in [(1, 10), (2, 20), (3, 30)] {
            waiting.add(one(pid, read));
        }
        waiting.all.remove(&1);
        assert_eq!(waiting.oldest(30), Some(one(2, 20)));
        assert_eq!(waiting.oldest(30), None);
        let mut waiting = Waiting::default();
        let back: Vec<Ended> =
            (1..=MOST as u32 + 2).filter_map(|pid| waiting.add(one(pid, u64::from(pid)))).collect();
        assert_eq!(back, [one(1, 1), one(2, 2)]);
        assert!(waiting.order.len() <= MOST + 2);
    }
}
