//! One cgroup of a container.

use super::Troubles;
use super::kept::Counters;
use gantry_cgroupfs::{Entry, Group, Layout, Parts, Reader, Usage};
use gantry_plugin_api::identity::Cgroup;
use std::path::Path;

/// What is read of each.
const PARTS: Parts = Parts { cpu_modes: false, pids: false, ..Parts::ALL };

/// One cgroup of a container, by its path in all hierarchies.
#[derive(Debug)]
pub(super) struct Watch {
    path: Box<str>,
    group: Group,
    counters: Counters,
    /// Among those that the host tells of now.
    pub is_named: bool,
    /// Its directories are not there.
    pub is_gone: bool,
    /// Nothing of it was read yet.
    is_unread: bool,
    /// It was read after its last process had ended, and used nothing since.
    is_settled: bool,
    /// CPU time that it had used when it was read last.
    used: Option<u64>,
}

/// When a cgroup is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// At a collection.
    Meanwhile,
    /// After its last process.
    AtEnd,
}

/// The cgroups of one path.
pub(super) fn group<'a>(layout: &Layout, cgroups: impl Iterator<Item = &'a Cgroup>) -> Group {
    let named: Vec<(&Cgroup, String)> =
        cgroups.map(|cgroup| (cgroup, cgroup.controllers.join(","))).collect();
    let entries = named.iter().map(|(cgroup, controllers)| Entry {
        hierarchy: cgroup.hierarchy,
        controllers,
        path: Path::new(&cgroup.path),
        deleted: false,
    });
    Group::at_roots(layout, entries)
}

impl Watch {
    pub(super) fn new(path: &str, group: Group) -> Self {
        let (path, counters) = (path.into(), Counters::default());
        let (is_named, is_gone, is_unread, is_settled) = (true, false, true, false);
        Self { path, group, counters, is_named, is_gone, is_unread, is_settled, used: None }
    }

    /// One of which an instance before knew; it may be gone.
    pub(super) fn of_the_past(path: &str, group: Group, counters: Counters) -> Self {
        Self { counters, is_unread: false, ..Self::new(path, group) }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The same paths, of which more is known now, or other directories.
    pub(super) fn replace(&mut self, reader: &mut Reader, group: Group) {
        reader.replace(&mut self.group, group);
        (self.is_named, self.is_settled) = (true, false);
        // They are there, until the next look says otherwise.
        self.is_gone = false;
    }

    /// Whether a process is in it; also where that cannot be known.
    pub(super) fn has_processes(&self, reader: &mut Reader) -> bool {
        reader.has_processes(&self.group).unwrap_or(true)
    }

    /// Closes what it holds open.
    pub(super) fn forget(&mut self, reader: &mut Reader) {
        reader.forget(&mut self.group);
    }

    /// What must outlive this instance, if that is more than the next one reads.
    pub(super) fn past(&mut self) -> Option<(String, Counters)> {
        self.counters.has_past().then(|| (self.path.to_string(), self.counters.clone()))
    }

    /// Goes on from what the instance before read.
    pub(super) fn inherit(&mut self, past: &Counters) {
        self.counters.inherit(past);
    }

    /// Reads it into `usage`; whether it is there.
    pub(super) fn read(
        &mut self,
        (reader, when): (&mut Reader, When),
        usage: &mut Usage,
        troubles: &mut Troubles,
    ) -> bool {
        if self.group.is_empty() {
            // Of the past, or to be seen from elsewhere alone. It may be named yet.
            (self.is_gone, self.is_unread) = (true, false);
            return false;
        }
        reader.read(&mut self.group, PARTS, usage);
        troubles.malformed += u64::from(usage.notes.malformed);
        troubles.unreadable += u64::from(usage.notes.unreadable);
        troubles.too_large += u64::from(usage.notes.too_large);
        let was_gone = std::mem::replace(&mut self.is_gone, usage.notes.gone);
        // What was read before it went counts, though there may be more.
        troubles.devices += self.counters.take(usage);
        if self.is_gone {
            let is_unread = std::mem::replace(&mut self.is_unread, false);
            if usage.cpu.usage.is_none() && !was_gone {
                troubles.unread += u64::from(is_unread);
                troubles.unread_end += u64::from(!is_unread && !self.is_settled);
            }
            self.counters.begin_anew();
            return false;
        }
        self.is_unread = false;
        self.is_settled = when == When::AtEnd || (self.is_settled && self.used == usage.cpu.usage);
        self.used = usage.cpu.usage;
        true
    }
}
