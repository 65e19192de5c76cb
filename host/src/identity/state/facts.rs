//! Processes and cgroups come and go.

use super::super::clock;
use super::super::path::Found;
use super::directory::Directory;
use super::processes::{Known, same_start};
use super::record::{Gone, Record};
use super::time::Life;
use super::{MAX_CONTAINERS, Phase, State};
use gantry_plugin_api::identity::{EventKind, Process};
use std::collections::{BTreeMap, HashSet};

/// Where a process is: what its cgroups say.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// Its container; `None`: it is of none.
    pub found: Option<Found>,
    /// The container's own directories, in each hierarchy in which it has one.
    pub cgroups: Vec<Directory>,
}

/// Somebody should look at a container's process: its namespace, its
/// environment, the ids of its cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub handle: u64,
    pub pid: u32,
}

/// What was seen there.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Of the network; 0 where it is not known.
    pub namespace: u64,
    pub opted_out: Vec<String>,
    /// What a task of Nomad is named by; nothing of others.
    pub environment: BTreeMap<String, String>,
    /// The id that the command of a gVisor sandbox ends with.
    pub sandbox: Option<String>,
}

impl State {
    /// A process is there. `start` is in clock ticks since boot.
    pub fn process_is(&mut self, pid: u32, start: u64, placement: &Placement, now: u64) -> u64 {
        let before = self.processes.living(pid);
        if before.is_some_and(|known| !same_start(known.start, start)) {
            self.process_exited(pid, now);
        }
        let is_new = self.processes.living(pid).is_none();
        let handle = match &placement.found {
            Some(found) => self.container_is(found, &placement.cgroups, now),
            None => 0,
        };
        let born = self.processes.living(pid).map_or(start.saturating_mul(clock::TICK), |known| known.born);
        self.put(pid, Known { start, born, container: handle }, is_new, now);
        handle
    }

    /// A process is there as a child of another, in whose container it is
    /// until it is seen elsewhere.
    pub fn process_forked(&mut self, pid: u32, parent: u32, start: u64, at: u64) {
        if self.processes.living(pid).is_some() {
            // Its exit was not told.
            self.process_exited(pid, at);
        }
        let container = self.processes.living(parent).map_or(0, |parent| parent.container);
        self.put(pid, Known { start, born: at, container }, true, at);
    }

    /// A process replaced its program, and was seen at this place then.
    pub fn process_executed(&mut self, pid: u32, start: u64, placement: &Placement, at: u64) {
        let start = self.processes.living(pid).map_or(start, |known| known.start);
        let handle = self.process_is(pid, start, placement, at);
        self.tell(EventKind::ProcessExecuted, handle, Some(Process { pid, start }), at);
        // Its environment is another now.
        if let Some(record) = self.records.get_mut(&handle)
            && (record.look || record.init.is_some_and(|init| init.pid == pid))
        {
            record.look = false;
            self.looks.push(Look { handle, pid });
        }
    }

    /// A process is gone.
    pub fn process_exited(&mut self, pid: u32, at: u64) {
        let Some(Known { start, container, .. }) = self.processes.remove(pid, at) else { return };
        self.tell(EventKind::ProcessExited, container, Some(Process { pid, start }), at);
        self.take_out(container, pid, at);
    }

    /// These are all the pids that there are: others have exited.
    pub fn processes_are(&mut self, pids: &HashSet<u32>, now: u64) {
        let gone: Vec<u32> = self.processes.pids().filter(|pid| !pids.contains(pid)).collect();
        gone.into_iter().for_each(|pid| self.process_exited(pid, now));
    }

    /// A directory of a container is there.
    pub fn directory_is(&mut self, placement: &Placement, now: u64) {
        if let Some(found) = &placement.found {
            self.container_is(found, &placement.cgroups, now);
        }
    }

    /// A directory of a container came and went, and nobody saw what it did:
    /// it is one that died young, unless it is known by other directories or
    /// processes.
    pub fn directory_passed(&mut self, placement: &Placement, now: u64) {
        let Some(found) = &placement.found else { return };
        let key = found.key.to_string();
        if !self.by_key.contains_key(&key) && !self.lives.contains_key(&key) {
            let handle = self.container_is(found, &[], now);
            self.is_it_gone(handle, now);
        }
    }

    /// A directory is gone; its id is known for as long as its container.
    pub fn directory_gone(&mut self, hierarchy: u32, id: u64, now: u64) {
        let Some(&handle) = self.by_cgroup.get(&(hierarchy, id)) else { return };
        if let Some(record) = self.records.get_mut(&handle) {
            // One directory gone, and all are going: what could not be watched in
            // other hierarchies is not waited for.
            if record.directories.remove(&(hierarchy, id)) && record.processes.is_empty() {
                record.directories.clear();
            }
            self.is_it_gone(handle, now);
        }
    }

    /// Those without a process, and their directories: whoever can look says
    /// which are there. Of those that were first seen since then.
    pub fn empty(&self, since: u64) -> Vec<(u64, Vec<Directory>)> {
        let those = self.unsettled.iter().filter_map(|handle| self.records.get(handle));
        let those = those.filter(|record| record.gone.is_none() && record.processes.is_empty());
        let those = those.filter(|record| record.first_seen >= since);
        those.map(|record| (record.handle, record.cgroups.clone())).collect()
    }

    /// None of a container's directories is there any more.
    pub fn directories_gone(&mut self, handle: u64, now: u64) {
        if let Some(record) = self.records.get_mut(&handle) {
            record.directories.clear();
            self.is_it_gone(handle, now);
        }
    }

    /// What is to be looked at.
    pub fn take_looks(&mut self) -> Vec<Look> {
        std::mem::take(&mut self.looks)
    }

    /// What was seen at a container's process, which was at this place. If that
    /// is another container's, the pid is another process's by now.
    pub fn looked(&mut self, handle: u64, seen: Seen, placement: &Placement, now: u64) {
        let Some(record) = self.records.get_mut(&handle) else { return };
        if placement.found.as_ref().is_some_and(|found| !record.keys.contains(&found.key.to_string())) {
            return;
        }
        let Seen { namespace, opted_out, environment, sandbox } = seen;
        record.opted_out = opted_out;
        record.environment = environment;
        if namespace != 0 && namespace != record.network_namespace {
            record.network_namespace = namespace;
            let those = self.by_namespace.entry(namespace).or_default();
            if namespace != self.host_namespace && !those.contains(&handle) {
                those.push(handle);
            }
        }
        self.take_cgroups(handle, &placement.cgroups);
        if let Some(id) = sandbox
            && self.is_sandbox(handle, &id, now)
        {
            return;
        }
        self.rename(handle, now);
        self.publish(handle, now);
    }

    /// A process of a container turns out to be a gVisor sandbox of this id;
    /// whether it is one with a container that was known by that.
    fn is_sandbox(&mut self, handle: u64, id: &str, now: u64) -> bool {
        let Some(record) = self.records.get_mut(&handle) else { return false };
        let found = record.found.clone().in_sandbox(id);
        if found == record.found {
            return false;
        }
        record.found = found.clone();
        self.by_raw_id.entry(found.raw_id).or_insert(handle);
        self.take_pending(handle);
        if self.absorb(handle, now).is_some() {
            return true;
        }
        let was_asked_for = self.known(handle) != 0;
        // A process in a pod's own cgroup was nobody's until now.
        self.rename(handle, now);
        if was_asked_for {
            self.want_metadata(handle, now);
        }
        false
    }

    /// Whether the directories of a container are known, and it is there.
    pub fn has_directories(&self, key: &str) -> bool {
        let known = self.by_key.get(key).and_then(|handle| self.records.get(handle));
        known.is_some_and(|record| {
            record.gone.is_none() && !record.processes.is_empty() && !record.directories.is_empty()
        })
    }

    pub fn set_host_namespace(&mut self, inode: u64) {
        self.host_namespace = inode;
        self.by_namespace.remove(&inode);
    }

    /// A process is in a container (again, or in another one).
    pub(super) fn put(&mut self, pid: u32, known: Known, is_new: bool, now: u64) {
        let before = self.processes.set(pid, known);
        let process = Process { pid, start: known.start };
        if let Some(before) = before.filter(|before| before.container != known.container) {
            self.take_out(before.container, pid, now);
        }
        if is_new {
            self.tell(EventKind::ProcessStarted, known.container, Some(process), now);
        }
        let Some(record) = self.records.get_mut(&known.container) else { return };
        if !record.processes.insert(pid) || record.processes.len() > 1 {
            return;
        }
        // The first one: it begins, or begins anew. One that was born before the
        // last one exited has moved in: runc's own steps come and go before the
        // container's program is executed.
        if record.emptied.is_some_and(|emptied| known.born > emptied) {
            record.restarts += 1;
        }
        record.init = Some(process);
        record.started = record.started.min(known.start.saturating_mul(clock::TICK));
        record.look = true;
        self.looks.push(Look { handle: known.container, pid });
        self.publish(known.container, now);
    }

    fn take_out(&mut self, container: u64, pid: u32, now: u64) {
        let Some(record) = self.records.get_mut(&container) else { return };
        if record.processes.remove(&pid) && record.processes.is_empty() {
            record.emptied = Some(now);
            self.unsettled.insert(container);
            self.is_it_gone(container, now);
        }
    }

    /// The container of this place, made where it is not known.
    fn container_is(&mut self, found: &Found, cgroups: &[Directory], now: u64) -> u64 {
        let key = found.key.to_string();
        if let Some(&handle) = self.by_key.get(&key)
            && !self.revive(handle, now)
        {
            if self.take_cgroups(handle, cgroups) {
                self.publish(handle, now);
            }
            return handle;
        }
        if self.records.len() >= MAX_CONTAINERS {
            self.make_room();
        }
        if self.records.len() >= MAX_CONTAINERS {
            self.counts.containers_refused += 1;
            return 0;
        }
        let life = self.lives.get(&key).copied().unwrap_or(Life { number: 0, first_seen: now });
        let handle = self.handles.make(&key, life.number, |number| self.records.contains_key(&number));
        let record = Record {
            handle,
            keys: vec![key.clone()],
            found: found.clone(),
            processes: HashSet::new(),
            directories: HashSet::new(),
            cgroups: Vec::new(),
            first_seen: life.first_seen,
            started: life.first_seen,
            init: None,
            restarts: u64::from(life.number > 0),
            emptied: None,
            network_namespace: 0,
            opted_out: Vec::new(),
            environment: BTreeMap::new(),
            metadata: None,
            named: super::super::naming::Named::default(),
            phase: Phase::Held,
            group: None,
            gone: None,
            published: None,
            look: false,
        };
        self.records.insert(handle, record);
        self.by_key.insert(key, handle);
        if found.owner.is_none() && !found.raw_id.is_empty() {
            self.by_raw_id.insert(found.raw_id.clone(), handle);
        }
        self.unsettled.insert(handle);
        self.take_cgroups(handle, cgroups);
        self.take_pending(handle);
        if let Some(known) = self.absorb(handle, now) {
            return known;
        }
        self.rename(handle, now);
        if let Some(record) = self.records.get_mut(&handle) {
            record.publish();
        }
        self.version += 1;
        if self.known(handle) != 0 {
            self.tell(EventKind::ContainerAppeared, handle, None, now);
            self.want_metadata(handle, now);
        }
        handle
    }

    /// Whether one of them is new, or another directory by now.
    pub(super) fn take_cgroups(&mut self, handle: u64, cgroups: &[Directory]) -> bool {
        let mut changed = false;
        let Some(record) = self.records.get_mut(&handle) else { return changed };
        for cgroup in cgroups {
            let place = (cgroup.hierarchy, cgroup.id);
            match record
                .cgroups
                .iter_mut()
                .find(|known| known.hierarchy == cgroup.hierarchy && known.path == cgroup.path)
            {
                Some(known) if cgroup.id == 0 || known.id == cgroup.id => {}
                Some(known) => {
                    known.id = cgroup.id;
                    changed = true;
                }
                None => {
                    let same = record.cgroups.iter().find(|known| known.path == cgroup.path);
                    let path = same.map_or_else(|| cgroup.path.clone(), |known| known.path.clone());
                    record.cgroups.push(Directory { path, ..cgroup.clone() });
                    changed = true;
                }
            }
            if cgroup.id != 0 {
                record.directories.insert(place);
                self.by_cgroup.insert(place, handle);
            }
        }
        changed
    }

    /// Whether all of it is gone.
    fn is_it_gone(&mut self, handle: u64, now: u64) {
        let collections = self.collections;
        let Some(record) = self.records.get_mut(&handle) else { return };
        if !record.is_empty() || record.gone.is_some() {
            return;
        }
        record.gone = Some(Gone { at: now, collections });
        self.unsettled.insert(handle);
        self.version += 1;
        let is_hidden = record.phase == Phase::Hidden;
        record.publish();
        if !is_hidden {
            self.tell(EventKind::ContainerGone, handle, None, now);
        }
        self.settle(handle, now);
    }
}
