//! A container begins, is emptied, is gone, comes back, and is forgotten.

use super::super::clock;
use super::super::path::Found;
use super::directory::Directory;
use super::processes::Known;
use super::record::{Gone, Record};
use super::{Look, MAX_CONTAINERS, Phase, State};
use gantry_plugin_api::identity::{EventKind, Process};
use std::sync::Arc;

impl State {
    /// The container of this place, made where it is not known; 0 where there
    /// are too many.
    pub(super) fn container_is(&mut self, found: &Arc<Found>, cgroups: &[Directory], now: u64) -> u64 {
        let text = found.key.to_string();
        let key = self.names.of(&text);
        if let Some(handle) = self.keys.get(key)
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
        let life = self.lives.get(key, now);
        let number = life.map_or(0, |life| life.number);
        let is_taken = |number| self.records.contains_key(&number);
        let remembered = self.remembered.handle(&text).filter(|number| !is_taken(*number));
        let handle = remembered.unwrap_or_else(|| self.handles.make(&text, number, is_taken));
        self.records.insert(handle, Box::new(Record::new(handle, found.clone(), life, now)));
        self.remembered.recall(handle, &text);
        self.keys.give(key, handle);
        if !found.raw_id.is_empty() {
            self.raw_ids.give(self.names.of(&found.told_id()), handle);
        }
        self.unsettled.insert(handle);
        self.newest.add(handle, now);
        self.take_cgroups(handle, cgroups);
        self.take_pending(handle);
        self.learn_whether_it_opts_out(handle, now);
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

    /// A process is in a container (again, or in another one).
    pub(super) fn put(&mut self, pid: u32, known: Known, now: u64) {
        let Ok(before) = self.processes.set(pid, known) else { return };
        let process = Process { pid, start: known.start };
        match before {
            Some(before) if before.container != known.container => {
                self.take_out(before.container, process, now, now);
            }
            Some(_) => {}
            None => self.tell(EventKind::ProcessStarted, known.container, Some(process), now),
        }
        let container = known.container;
        let Some(record) = self.records.get_mut(&container) else { return };
        if !record.processes.insert(pid) {
            // Its birth may have been known to the tick alone.
            if record.init == Some(process) && record.begins_anew(known.born) {
                self.publish(container, now);
            }
            return;
        }
        if record.processes.len() > 1 {
            return;
        }
        // The first one: it begins, or begins anew.
        record.begins_anew(known.born);
        record.started = record.started.min(known.start.saturating_mul(clock::TICK));
        self.begins_with(container, process, now);
    }

    fn begins_with(&mut self, container: u64, process: Process, now: u64) {
        let Some(record) = self.records.get_mut(&container) else { return };
        (record.init, record.is_seen, record.tries) = (Some(process), false, 0);
        (record.has_executed, record.is_unreadable) = (false, false);
        self.want_look(Look { handle: container, pid: process.pid });
        self.publish(container, now);
    }

    /// A process is not in it any more since some time (`ended`), which may be long ago.
    pub(super) fn take_out(&mut self, container: u64, process: Process, ended: u64, now: u64) {
        let Some(record) = self.records.get_mut(&container) else { return };
        if !record.processes.remove(process.pid) {
            return;
        }
        record.ended = record.ended.max(ended);
        if record.processes.is_empty() {
            self.unsettled.insert(container);
            self.is_it_gone(container, now);
        } else if record.init.is_some_and(|init| init.pid == process.pid) {
            // A runtime's own step ended, and the program goes on; or the program
            // ended before those were born that are there.
            let born = |process: &Process| self.processes.living(process.pid).map_or(0, |known| known.born);
            let oldest = self.processes_in(container).map(|process| (born(&process), process));
            let oldest = oldest.min_by_key(|(born, process)| (*born, process.pid));
            if let Some((born, oldest)) = oldest {
                if let Some(record) = self.records.get_mut(&container) {
                    record.begins_anew(born);
                }
                self.begins_with(container, oldest, now);
            }
        }
    }

    /// Whether one of them is new, or another directory by now.
    pub(super) fn take_cgroups(&mut self, handle: u64, cgroups: &[Directory]) -> bool {
        let Some(record) = self.records.get_mut(&handle) else { return false };
        let is_indexed = |cgroup: &&Directory| self.indexed.contains(&cgroup.hierarchy.number);
        for cgroup in cgroups.iter().filter(|cgroup| cgroup.id != 0).filter(is_indexed) {
            self.cgroups.give(cgroup.place(), handle);
        }
        record.cgroups.take(cgroups, &mut self.lists)
    }

    /// Whether all of it is gone.
    pub(super) fn is_it_gone(&mut self, handle: u64, now: u64) {
        let collections = self.collections;
        let Some(record) = self.records.get_mut(&handle) else { return };
        if !record.is_empty() || record.gone.is_some() {
            return;
        }
        record.gone = Some(Box::new(Gone { at: now, collections }));
        self.unsettled.insert(handle);
        self.version += 1;
        let is_hidden = record.phase == Phase::Hidden;
        record.publish();
        if !is_hidden {
            self.tell(EventKind::ContainerGone, handle, None, now);
        }
        self.settle(handle, now);
    }

    /// A container of this key is there again. Whether it must be made anew,
    /// since what the one before counted was folded.
    pub(super) fn revive(&mut self, handle: u64, now: u64) -> bool {
        let Some(record) = self.records.get_mut(&handle) else { return true };
        if record.gone.is_none() {
            return false;
        }
        match record.phase {
            Phase::Folded | Phase::Merged | Phase::Replaced => true,
            Phase::Held | Phase::Shown | Phase::Hidden => {
                record.gone = None;
                self.late.remove(&handle);
                // Whoever is the first now comes after all that were.
                (record.ended, record.anew) = (record.ended.min(1), 0);
                record.publish();
                self.version += 1;
                self.unsettled.insert(handle);
                self.newest.add(handle, now);
                if self.known(handle) != 0 {
                    self.tell(EventKind::ContainerAppeared, handle, None, now);
                }
                false
            }
        }
    }

    /// There are too many: those that are gone for longest make room, though
    /// their last values were not yet served for as long as they should be.
    fn make_room(&mut self) {
        let gone = self.records.values().filter_map(|record| Some((record.gone.as_ref()?.at, record.handle)));
        let mut gone: Vec<(u64, u64)> = gone.collect();
        gone.sort_unstable();
        // A tenth at once: sorting for each single one would cost the agent what the flood costs the machine.
        gone.truncate(gone.len().div_ceil(10));
        self.counts.forgotten_early += gone.len() as u64;
        gone.into_iter().for_each(|(_, handle)| self.forget(handle));
    }

    /// Nothing is known of it any more.
    pub(super) fn forget(&mut self, handle: u64) {
        self.leave(handle);
        let Some(record) = self.records.remove(&handle) else { return };
        self.unsettled.remove(&handle);
        self.remembered.forget(handle);
        self.late.remove(&handle);
        self.opting.remove(&handle);
        self.keys.forget(handle);
        self.raw_ids.forget(handle);
        self.cgroups.forget(handle);
        self.leave_namespace(record.network_namespace, handle);
        if let Some(whole) = record.into.and_then(|whole| self.records.get_mut(&whole.get())) {
            whole.parts = whole.parts.iter().copied().filter(|part| *part != handle).collect();
        }
        self.version += 1;
    }

    /// What users run in their own slices does not count any more: it is as if
    /// it were gone.
    pub fn leave_out_users(&mut self, now: u64) {
        let those = self.records.values().filter(|record| record.found.is_of_user_slice());
        for handle in those.map(|record| record.handle).collect::<Vec<_>>() {
            for Process { pid, .. } in self.processes_in(handle).collect::<Vec<_>>() {
                if let Some(known) = self.processes.living(pid) {
                    self.put(pid, Known { container: 0, ..known }, now);
                }
            }
            self.directories_gone(handle, now);
        }
    }
}
