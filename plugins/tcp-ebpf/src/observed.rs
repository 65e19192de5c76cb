//! Processes that the kernel told of, for the identity service: it learns of
//! one that lives for milliseconds only, and is sure where it was.

use crate::clock::Clock;
use crate::record::{Kind, Record};
use ahash::RandomState;
use gantry_plugin_api::Process;
use gantry_plugin_api::identity::{EventKind, Observation};
use hashbrown::HashSet;

/// Processes that are remembered to have been told.
const REMEMBERED: usize = 8192;

/// What is told, each process once.
#[derive(Debug)]
pub struct Observed {
    clock: Clock,
    last: (u32, u64),
    told: HashSet<(u32, u64), RandomState>,
    waiting: Vec<Observation>,
}

impl Observed {
    /// One that told of none.
    pub fn new(clock: Clock) -> Self {
        let told = HashSet::with_hasher(RandomState::new());
        Self { clock, last: (0, 0), told, waiting: Vec::new() }
    }

    /// A record names a process.
    pub fn saw(&mut self, record: &Record) {
        let (tgid, start) = (record.owner.tgid, record.owner.start);
        // Mostly it is the same as the last one. What is open was told of at its end or
        // when it was adopted, or will be.
        if matches!(record.kind, Kind::Listened | Kind::Live) || tgid == 0 || self.last == (tgid, start) {
            return;
        }
        self.last = (tgid, start);
        if self.told.len() >= REMEMBERED {
            self.told.clear();
        }
        if !self.told.insert((tgid, start)) {
            return;
        }
        let (hierarchy, cgroup) = record.owner.cgroup();
        self.waiting.push(Observation {
            kind: EventKind::ProcessStarted,
            process: Process { pid: tgid, start: self.clock.ticks(start) },
            hierarchy,
            cgroup,
            network_namespace: u64::from(record.netns),
        });
    }

    /// What is to be told since the last time.
    pub fn take(&mut self) -> Vec<Observation> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Owner, tests::some};

    #[test]
    fn each_process_is_told_once() {
        let mut observed = Observed::new(Clock::default());
        let other = |tgid| Record { owner: Owner { tgid, ..some().owner }, ..some() };
        for tgid in [7, 8, 7, 7, 8] {
            observed.saw(&other(tgid));
        }
        let v1 = Owner { tgid: 9, hierarchy: 4, cgroup1: 33, start: 25_000_000, ..some().owner };
        observed.saw(&Record { owner: v1, ..some() });
        // Of a machine with both versions, in no container of version 1.
        observed.saw(&Record { owner: Owner { tgid: 10, cgroup1: 1, ..v1 }, ..some() });
        let told = observed.take();
        let of: Vec<_> = told.iter().map(|seen| (seen.process.pid, seen.hierarchy, seen.cgroup)).collect();
        assert_eq!(of, [(7, 0, 77), (8, 0, 77), (9, 4, 33), (10, 0, 77)]);
        assert_eq!(told[2].process.start, Clock::default().ticks(25_000_000));
        assert!(observed.take().is_empty());
    }
}
