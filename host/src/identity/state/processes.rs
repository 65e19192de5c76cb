//! Which process is in which container, also for a while after it is gone.

use ahash::RandomState;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// How long a process is known after its end. What the kernel told of it may
/// still be on its way to a plugin: a ring buffer that is read once a second,
/// a collection every minute.
pub const REMEMBERED: Duration = Duration::from_secs(90);

/// The most of them: at 1,000 exits a second the time above is not reached,
/// and the memory stays below 4 MiB.
const MAX_DEAD: usize = 65_536;

/// The most living ones: twice what Linux allows by default
/// (`kernel.pid_max` of a machine with many processors is 4 million, but
/// nobody runs them). One more is of no container, and is counted.
const MAX_LIVING: usize = 1 << 20;

/// How far two notions of one process's start may lie apart, in clock ticks:
/// the kernel's connector tells the time of its event, some microseconds after
/// the start that `/proc/PID/stat` shows. A pid does not come back so soon.
const TOLERANCE: u64 = 1;

/// A process and its container; 0 is none. Packed: with its pid it is half of a
/// cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, packed(4))]
pub struct Known {
    /// In clock ticks since boot.
    pub start: u64,
    /// The same in nanoseconds: of the kernel's event, or else of the tick.
    pub born: u64,
    pub container: u64,
    /// Its own cgroup was read since it executed its program; else it is its
    /// parent's, or what a plugin saw.
    pub read: bool,
}

#[derive(Debug, Clone, Copy)]
struct Dead {
    pid: u32,
    known: Known,
    /// Nanoseconds since boot.
    at: u64,
}

/// It was not taken.
#[derive(Debug)]
pub struct TooMany;

/// All processes.
#[derive(Debug, Default)]
pub struct Processes {
    living: HashMap<u32, Known, RandomState>,
    /// In the order of their ends.
    dead: VecDeque<Dead>,
    /// How many of each pid are in `dead`, the newest, and when it ended.
    newest: HashMap<u32, (u32, Known, u64), RandomState>,
    refused: u64,
}

impl Processes {
    pub fn len(&self) -> usize {
        self.living.len()
    }

    /// How many were not taken, since there are too many.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The living process of a pid.
    pub fn living(&self, pid: u32) -> Option<Known> {
        self.living.get(&pid).copied()
    }

    /// Those of the living that were born before this.
    pub fn born_before(&self, at: u64) -> impl Iterator<Item = u32> {
        self.living.iter().filter(move |(_, known)| known.born < at).map(|(pid, _)| *pid)
    }

    /// A process is there, in this container; what was known of its pid before.
    ///
    /// # Errors
    /// There are too many, and it was not taken.
    pub fn set(&mut self, pid: u32, known: Known) -> Result<Option<Known>, TooMany> {
        if self.living.len() >= MAX_LIVING && !self.living.contains_key(&pid) {
            self.refused += 1;
            return Err(TooMany);
        }
        Ok(self.living.insert(pid, known))
    }

    /// It is gone.
    pub fn remove(&mut self, pid: u32, now: u64) -> Option<Known> {
        let known = self.living.remove(&pid)?;
        if self.dead.len() >= MAX_DEAD {
            self.forget_oldest();
        }
        self.dead.push_back(Dead { pid, known, at: now });
        let entry = self.newest.entry(pid).or_insert((0, known, now));
        *entry = (entry.0 + 1, known, now);
        Some(known)
    }

    /// Forgets those that are gone for long.
    pub fn forget_old(&mut self, now: u64) {
        let kept = u64::try_from(REMEMBERED.as_nanos()).unwrap_or(u64::MAX);
        while self.dead.front().is_some_and(|dead| now.saturating_sub(dead.at) > kept) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(Dead { pid, .. }) = self.dead.pop_front() else { return };
        if let Some((count, ..)) = self.newest.get_mut(&pid) {
            *count -= 1;
            if *count == 0 {
                self.newest.remove(&pid);
            }
        }
    }

    /// The container of a process, living or dead; `start` 0 is any, and the
    /// living one goes first. `None`: nothing is known of it.
    pub fn container(&self, pid: u32, start: u64) -> Option<u64> {
        let living = self.living.get(&pid).filter(|known| start == 0 || same_start(known.start, start));
        living.copied().or_else(|| self.dead(pid, start).map(|(known, _)| known)).map(|known| known.container)
    }

    /// What was read of where a process is does not count any more.
    pub fn unread(&mut self, pid: u32) {
        if let Some(known) = self.living.get_mut(&pid) {
            known.read = false;
        }
    }

    /// A process that is gone was in this container, as somebody saw who knows
    /// better, unless it was read. `false`: nothing is known of it.
    pub fn was_in(&mut self, pid: u32, start: u64, container: u64) -> bool {
        let Some((_, newest, _)) = self.newest.get_mut(&pid) else { return false };
        let is_newest = same_start(newest.start, start);
        if is_newest {
            if newest.container == container || newest.read {
                return true;
            }
            newest.container = container;
        }
        // It is told within a second, so it is among the last ones.
        let those = self.dead.iter_mut().rev().filter(|dead| dead.pid == pid);
        let one = those.filter(|dead| same_start(dead.known.start, start)).take(1);
        one.filter(|dead| !dead.known.read).for_each(|dead| dead.known.container = container);
        is_newest || self.dead(pid, start).is_some()
    }

    /// What is known of a process that is gone, and when it went; `start` 0 is any.
    pub fn dead(&self, pid: u32, start: u64) -> Option<(Known, u64)> {
        let fits = |known: &Known| start == 0 || same_start(known.start, start);
        let (count, newest, at) = self.newest.get(&pid)?;
        if fits(newest) {
            return Some((*newest, *at));
        }
        if *count == 1 {
            return None;
        }
        // A pid that was used twice within the time: rare, so it may take some microseconds.
        let older = self.dead.iter().rev().find(|dead| dead.pid == pid && fits(&dead.known));
        older.map(|dead| (dead.known, dead.at))
    }
}

/// Whether these are one process.
pub fn same_start(one: u64, other: u64) -> bool {
    one.abs_diff(other) <= TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn known(start: u64, container: u64) -> Known {
        Known { start, born: 0, container, read: false }
    }

    #[test]
    fn a_pid_that_is_used_again_is_another_process() {
        let mut all = Processes::default();
        assert_eq!(all.container(7, 0), None);
        all.set(7, known(100, 1)).expect("room");
        assert_eq!(
            (all.container(7, 0), all.container(7, 100), all.container(7, 101)),
            (Some(1), Some(1), Some(1))
        );
        assert_eq!(all.container(7, 300), None);
        all.remove(7, SECOND);
        all.set(7, known(300, 2)).expect("room");
        assert_eq!(
            (all.container(7, 0), all.container(7, 100), all.container(7, 300)),
            (Some(2), Some(1), Some(2))
        );
        all.remove(7, 2 * SECOND);
        all.set(7, known(500, 3)).expect("room");
        assert_eq!((all.container(7, 100), all.container(7, 300)), (Some(1), Some(2)));
        all.forget_old(SECOND + 91 * SECOND);
        assert_eq!((all.container(7, 100), all.container(7, 300)), (None, Some(2)));
        all.forget_old(200 * SECOND);
        assert_eq!((all.container(7, 300), all.container(7, 0)), (None, Some(3)));
        assert!(all.dead.is_empty() && all.newest.is_empty());
    }

    #[test]
    fn where_the_dead_were_may_be_known_later() {
        let mut all = Processes::default();
        assert!(!all.was_in(7, 100, 5));
        for start in [100, 300] {
            all.set(7, known(start, 1)).expect("room");
            all.remove(7, SECOND);
        }
        assert!(all.was_in(7, 100, 5) && all.was_in(7, 300, 6) && !all.was_in(7, 500, 7));
        assert_eq!((all.container(7, 100), all.container(7, 300)), (Some(5), Some(6)));
    }

    #[test]
    fn the_dead_are_bounded() {
        let mut all = Processes::default();
        for pid in 1..=100_000 {
            all.set(pid, known(5, 9)).expect("room");
            all.remove(pid, 1);
        }
        assert_eq!((all.dead.len(), all.newest.len(), all.len()), (MAX_DEAD, MAX_DEAD, 0));
        assert_eq!((all.container(1, 5), all.container(100_000, 5)), (None, Some(9)));
    }
}
