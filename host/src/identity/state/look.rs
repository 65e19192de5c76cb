//! What a container's processes tell besides their cgroups.

use super::super::path::Found;
use super::facts::Placement;
use super::{Look, Seen, State};
use std::sync::Arc;

/// Processes of one container that are looked at until one can be read.
const TRIES: u8 = 3;

impl State {
    /// What is to be looked at.
    pub fn take_looks(&mut self) -> Vec<Look> {
        std::mem::take(&mut self.looks)
    }

    pub(super) fn want_look(&mut self, look: Look) {
        if self.looks.last() != Some(&look) {
            self.looks.push(look);
        }
    }

    /// Its first process is another, or another program: its environment counts
    /// from now on. That of others counts as long as nobody's was read.
    pub(super) fn look_after_exec(&mut self, handle: u64, pid: u32) {
        let Some(record) = self.records.get_mut(&handle) else { return };
        let is_init = record.init.is_some_and(|init| init.pid == pid);
        if is_init {
            (record.has_executed, record.is_seen) = (true, false);
        }
        if is_init || (!record.is_seen && record.tries < TRIES) {
            self.want_look(Look { handle, pid });
        }
    }

    /// What was seen at a container's process, which was at this place. If that
    /// is not the container's, the process is gone, and its pid may be
    /// another's by now.
    pub fn looked(&mut self, look: Look, seen: Seen, placement: &Placement, now: u64) {
        let Look { handle, pid } = look;
        let key = placement.found.as_ref().map(|found| self.names.of(&found.key.to_string()));
        let is_its = key.is_some_and(|key| self.keys.get(key) == Some(handle));
        let Some(record) = self.records.get_mut(&handle).filter(|_| is_its) else {
            return self.look_at_another(look);
        };
        let Seen { namespace, environment, sandbox } = seen;
        let is_read = environment.is_some();
        if let Some(environment) = environment {
            record.set_environment(environment);
            (record.is_seen, record.is_unreadable) = (true, false);
        }
        self.learn_whether_it_opts_out(handle, now);
        self.set_namespace(handle, namespace);
        self.take_cgroups(handle, &placement.cgroups);
        let is_another = sandbox.is_some_and(|id| self.is_sandbox(handle, &id, now));
        if !is_another {
            self.rename(handle, now);
            self.publish(handle, now);
        }
        if !is_read {
            self.look_at_another(Look { handle, pid });
        }
    }

    /// The process could not be read: the next one in turn, a few times.
    fn look_at_another(&mut self, Look { handle, pid }: Look) {
        let Some(record) = self.records.get_mut(&handle) else { return };
        if record.is_seen || record.processes.is_empty() {
            return;
        }
        record.tries = record.tries.saturating_add(1);
        let others = || record.processes.all().iter().copied().filter(|other| *other != pid);
        match others().filter(|other| *other > pid).min().or_else(|| others().min()) {
            Some(next) if record.tries < TRIES => self.want_look(Look { handle, pid: next }),
            _ => {
                record.is_unreadable = true;
                self.counts.unread += 1;
            }
        }
    }

    /// The network namespace that a container is in; 0 is not known.
    pub(super) fn set_namespace(&mut self, handle: u64, inode: u64) {
        let Some(record) = self.records.get_mut(&handle) else { return };
        if inode == 0 || inode == record.network_namespace {
            return;
        }
        let before = std::mem::replace(&mut record.network_namespace, inode);
        self.leave_namespace(before, handle);
        if inode != self.host_namespace {
            let those = self.by_namespace.entry(inode).or_default();
            *those = those.iter().copied().chain([handle]).collect();
        }
    }

    /// The number of a namespace is another's as soon as it is free.
    pub(super) fn leave_namespace(&mut self, inode: u64, handle: u64) {
        let Some(those) = self.by_namespace.get_mut(&inode) else { return };
        *those = those.iter().copied().filter(|other| *other != handle).collect();
        if those.is_empty() {
            self.by_namespace.remove(&inode);
        }
    }

    pub fn set_host_namespace(&mut self, inode: u64) {
        self.host_namespace = inode;
        self.by_namespace.remove(&inode);
    }

    /// A process of a container turns out to be a gVisor sandbox of this id;
    /// whether it is one with a container that was known by that.
    fn is_sandbox(&mut self, handle: u64, id: &str, now: u64) -> bool {
        let Some(record) = self.records.get_mut(&handle) else { return false };
        let found = Found::clone(&record.found).in_sandbox(id);
        if found == *record.found {
            return false;
        }
        let found = Arc::new(found);
        record.found = found.clone();
        let told_id = self.names.of(&found.told_id());
        if self.raw_ids.get(told_id).is_none() {
            self.raw_ids.give(told_id, handle);
        }
        self.take_pending(handle);
        if self.absorb(handle, now).is_some() {
            return true;
        }
        // A process in a pod's own cgroup was nobody's until now.
        self.rename(handle, now);
        if self.known(handle) != 0 {
            self.want_metadata(handle, now);
        }
        false
    }
}
