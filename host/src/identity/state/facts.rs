//! Processes and cgroups come and go.

use super::super::clock;
use super::super::path::Found;
use super::State;
use super::directory::{Directory, Place};
use super::processes::{Known, same_start};
use gantry_plugin_api::identity::{EventKind, Process};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Where a process is: what its cgroups say.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// Its container; `None`: it is of none.
    pub found: Option<Arc<Found>>,
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
    /// Where it could be read; one that is empty is that of a process that ends.
    pub environment: Option<Environment>,
    /// The id that the command of a gVisor sandbox ends with.
    pub sandbox: Option<String>,
}

/// What counts of a process's environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Collectors that shall leave the container alone.
    pub opted_out: Vec<String>,
    /// What a task of Nomad is named by; nothing of others.
    pub nomad: BTreeMap<String, String>,
}

/// By how much the times of two events may be apart from what they are, in
/// nanoseconds: those of `/proc` are cut to ticks.
const JITTER: u64 = clock::TICK;

/// The most that wait to be rechecked: some seconds pass at most, and those
/// beyond are seen at the next look at all.
const MAX_RECHECKS: usize = 1024;

impl State {
    /// A process is there. `start` is in clock ticks since boot.
    pub fn process_is(&mut self, pid: u32, start: u64, placement: &Placement, now: u64) -> u64 {
        let before = self.processes.living(pid);
        if before.is_some_and(|known| !same_start(known.start, start)) {
            self.process_exited(pid, now);
        }
        let handle = match &placement.found {
            Some(found) => {
                let handle = self.container_is(found, &placement.cgroups, now);
                self.adopt(handle, found);
                handle
            }
            None => 0,
        };
        let born = self.processes.living(pid).map_or(start.saturating_mul(clock::TICK), |known| known.born);
        self.put(pid, Known { start, born, container: handle, read: true }, now);
        handle
    }

    /// Whoever worked out the place of a process keeps it for the next one; the
    /// container's own may be that of its directory, and would be there twice.
    fn adopt(&mut self, handle: u64, found: &Arc<Found>) {
        if let Some(record) = self.records.get_mut(&handle)
            && !Arc::ptr_eq(&record.found, found)
            && record.found == *found
        {
            record.found = found.clone();
        }
    }

    /// A process was there when somebody began to read of it (`began`), who does
    /// not know whether its end was told meanwhile. One whose end was told
    /// before goes on all the same: its first thread alone is over.
    pub fn process_was(&mut self, pid: u32, start: u64, placement: &Placement, began: u64, now: u64) -> u64 {
        let handle = match self.processes.dead(pid, start) {
            Some((known, at)) if self.processes.living(pid).is_none() => {
                if at < began {
                    self.want_recheck(pid, start);
                    self.process_is(pid, start, placement, now)
                } else {
                    known.container
                }
            }
            _ => self.process_is(pid, start, placement, now),
        };
        self.known(handle)
    }

    /// A process is there as a child of another, in whose container it is
    /// until it is seen elsewhere.
    pub fn process_forked(&mut self, pid: u32, parent: u32, start: u64, at: u64) {
        match self.processes.living(pid) {
            // Somebody read of it before this was told, also where it is.
            Some(known) if same_start(known.start, start) => {
                return self.put(pid, Known { born: at, ..known }, at);
            }
            // Its exit was not told.
            Some(_) => self.process_exited(pid, at),
            None => {}
        }
        let container = self.processes.living(parent).map_or(0, |parent| parent.container);
        self.put(pid, Known { start, born: at, container, read: false }, at);
    }

    /// A process replaced its program, and was seen at this place then. `start`
    /// is 0 where it is known.
    pub fn process_executed(&mut self, pid: u32, start: u64, placement: &Placement, at: u64) {
        let start = self.processes.living(pid).map_or(start, |known| known.start);
        if start == 0 {
            return;
        }
        let handle = self.process_is(pid, start, placement, at);
        self.tell(EventKind::ProcessExecuted, handle, Some(Process { pid, start }), at);
        self.look_after_exec(handle, pid);
    }

    /// A process replaced its program, and was gone before somebody could see
    /// where: where it was before says nothing of that.
    pub fn process_unseen(&mut self, pid: u32) {
        self.processes.unread(pid);
    }

    /// A process is gone. One that began later is another of its pid.
    pub fn process_exited(&mut self, pid: u32, at: u64) {
        if self.processes.living(pid).is_some_and(|known| known.born > at.saturating_add(JITTER)) {
            return;
        }
        self.exited(pid, at, at);
    }

    /// The process of a pid is gone as is known now; it was over before, as is
    /// known by then.
    fn exited(&mut self, pid: u32, ended: u64, now: u64) {
        let Some(Known { start, container, .. }) = self.processes.remove(pid, now) else { return };
        let process = Process { pid, start };
        self.tell(EventKind::ProcessExited, container, Some(process), now);
        self.take_out(container, process, ended, now);
    }

    /// Whether the process of a pid is this one.
    pub fn is_living(&self, pid: u32, start: u64) -> bool {
        self.processes.living(pid).is_some_and(|known| same_start(known.start, start))
    }

    /// This process is gone, as somebody sees it who looked; `ended` is when it
    /// was over, where that is known.
    pub fn process_ended(&mut self, pid: u32, start: u64, ended: Option<u64>, now: u64) {
        if self.is_living(pid, start) {
            self.exited(pid, ended.unwrap_or(now), now);
        }
    }

    /// Somebody should look now and then whether this process, whose end is not
    /// told any more, is there.
    pub(super) fn want_recheck(&mut self, pid: u32, start: u64) {
        if self.rechecks.len() < MAX_RECHECKS {
            self.rechecks.push((pid, start));
        }
    }

    pub fn has_rechecks(&self) -> bool {
        !self.rechecks.is_empty()
    }

    /// What is to be rechecked.
    pub fn take_rechecks(&mut self) -> Vec<(u32, u64)> {
        std::mem::take(&mut self.rechecks)
    }

    /// These were all the pids that there were: others have exited, but for
    /// those that began since the listing (`began`), which may have been read
    /// by somebody else meanwhile.
    pub fn processes_are(&mut self, pids: &HashSet<u32>, began: u64, now: u64) {
        // A start is cut to its tick.
        let those = self.processes.born_before(began.saturating_sub(clock::TICK));
        let gone: Vec<u32> = those.filter(|pid| !pids.contains(pid)).collect();
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
        let key = self.names.of(&found.key.to_string());
        if self.keys.get(key).is_none() && self.lives.get(key, now).is_none() {
            let handle = self.container_is(found, &[], now);
            self.is_it_gone(handle, now);
        }
    }

    /// A directory is gone; its id is known for as long as its container.
    pub fn directory_gone(&mut self, hierarchy: u32, id: u64, now: u64) {
        self.index(hierarchy);
        let Some(handle) = self.cgroups.get(Place::new(hierarchy, id)) else { return };
        if let Some(record) = self.records.get_mut(&handle) {
            // One directory gone, and all are going: what could not be watched in
            // other hierarchies is not waited for.
            if record.cgroups.went(hierarchy, id) && record.processes.is_empty() {
                record.cgroups.all_went();
            }
            self.is_it_gone(handle, now);
        }
    }

    /// None of a container's directories is there any more.
    pub fn directories_gone(&mut self, handle: u64, now: u64) {
        if let Some(record) = self.records.get_mut(&handle) {
            record.cgroups.all_went();
            self.is_it_gone(handle, now);
        }
    }

    /// Those without a process, and their directories: whoever can look says
    /// which are there.
    pub fn empty(&self) -> Vec<(u64, Vec<Directory>)> {
        self.empty_of(self.unsettled.iter().copied())
    }

    /// Those of them that have just been made.
    pub fn new_and_empty(&self, now: u64) -> Vec<(u64, Vec<Directory>)> {
        self.empty_of(self.newest.all(now))
    }

    fn empty_of(&self, handles: impl Iterator<Item = u64>) -> Vec<(u64, Vec<Directory>)> {
        let those = handles.filter_map(|handle| self.records.get(&handle));
        let those = those.filter(|record| record.gone.is_none() && record.processes.is_empty());
        those.map(|record| (record.handle, record.cgroups.all())).collect()
    }

    /// Whether the directories of a container are known, and it is there.
    pub fn has_directories(&self, key: &str) -> bool {
        let known = self.keys.get(self.names.of(key)).and_then(|handle| self.records.get(&handle));
        known.is_some_and(|record| {
            record.gone.is_none() && !record.processes.is_empty() && !record.cgroups.are_gone()
        })
    }
}
