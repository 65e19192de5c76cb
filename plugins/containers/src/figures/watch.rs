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
        let counters = Counters::default();
        Self { path: path.into(), group, counters, is_named: true, is_gone: false, is_unread: true }
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
        self.is_named = true;
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
    pub(super) fn read(&mut self, reader: &mut Reader, usage: &mut Usage, troubles: &mut Troubles) -> bool {
        if self.group.is_empty() {
            // Of the past, or to be seen from elsewhere alone. It may be named yet.
            (self.is_gone, self.is_unread) = (true, false);
            return false;
        }
        reader.read(&mut self.group, PARTS, usage);
        troubles.malformed += u64::from(usage.notes.malformed);
        troubles.unreadable += u64::from(usage.notes.unreadable);
        troubles.too_large += u64::from(usage.notes.too_large);
        self.is_gone = usage.notes.gone;
        // What was read before it went counts, though there may be more.
        troubles.devices += self.counters.take(usage);
        if self.is_gone {
            if std::mem::replace(&mut self.is_unread, false) && usage.cpu.usage.is_none() {
                troubles.unread += 1;
            }
            self.counters.begin_anew();
            return false;
        }
        self.is_unread = false;
        true
    }
}
