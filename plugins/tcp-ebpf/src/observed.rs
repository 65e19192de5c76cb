//! Processes that the kernel told of, for the identity service: it learns of
//! one that lives for milliseconds only, and is sure where it was.

use crate::record::{Kind, Owner, Record};
use ahash::RandomState;
use gantry_plugin_api::identity::{EventKind, Observation};
use gantry_plugin_api::{Host, Process};
use hashbrown::HashSet;

/// Processes that are remembered to have been told.
const REMEMBERED: usize = 8192;

/// What is told, each process once.
#[derive(Debug)]
pub struct Observed {
    host: Host,
    last: (u32, u64),
    told: HashSet<(u32, u64), RandomState>,
    waiting: Vec<Observation>,
}

/// Nanoseconds since boot, as the kernel's files have them: in ticks.
pub fn ticks(nanoseconds: u64) -> u64 {
    nanoseconds / (1_000_000_000 / rustix::param::clock_ticks_per_second()).max(1)
}

impl Observed {
    /// None yet.
    pub fn new(host: Host) -> Self {
        Self { host, last: (0, 0), told: HashSet::with_hasher(RandomState::new()), waiting: Vec::new() }
    }

    /// A record names a process.
    pub fn saw(&mut self, record: &Record) {
        let Owner { start, cgroup2, cgroup1, hierarchy, tgid } = record.owner;
        // Mostly it is the same as the last one.
        if record.kind == Kind::Listened || tgid == 0 || self.last == (tgid, start) {
            return;
        }
        self.last = (tgid, start);
        if self.told.len() >= REMEMBERED {
            self.told.clear();
        }
        if !self.told.insert((tgid, start)) {
            return;
        }
        let (hierarchy, cgroup) = if hierarchy == 0 { (0, cgroup2) } else { (hierarchy, cgroup1) };
        self.waiting.push(Observation {
            kind: EventKind::ProcessStarted,
            process: Process { pid: tgid, start: ticks(start) },
            hierarchy,
            cgroup,
            network_namespace: u64::from(record.netns),
        });
    }

    /// Tells what was seen.
    pub fn tell(&mut self) {
        if !self.waiting.is_empty() {
            self.host.observe(&self.waiting);
            self.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::some;
    use gantry_plugin_testkit::Kit;

    #[test]
    fn each_process_is_told_once() {
        let kit = Kit::of::<crate::TcpEbpf>();
        let mut observed = Observed::new(kit.host());
        let other = |tgid| Record { owner: Owner { tgid, ..some().owner }, ..some() };
        for tgid in [7, 8, 7, 7, 8] {
            observed.saw(&other(tgid));
        }
        let v1 = Owner { tgid: 9, hierarchy: 4, cgroup1: 33, start: 25_000_000, ..some().owner };
        observed.saw(&Record { owner: v1, ..some() });
        observed.tell();
        observed.tell();
        let told = kit.observed().all();
        let of: Vec<_> = told.iter().map(|seen| (seen.process.pid, seen.hierarchy, seen.cgroup)).collect();
        assert_eq!(of, [(7, 0, 77), (8, 0, 77), (9, 4, 33)]);
        assert_eq!(
            told[2].process.start,
            25_000_000 / (1_000_000_000 / rustix::param::clock_ticks_per_second())
        );
    }
}
