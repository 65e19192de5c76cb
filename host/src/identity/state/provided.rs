//! What plugins tell of containers.

use super::super::naming;
use super::super::path::Found;
use super::processes::Known;
use super::record::{Gone, Provided};
use super::{Phase, Record, State};
use gantry_plugin_api::identity::{EventKind, Metadata};
use std::collections::VecDeque;
use std::sync::Arc;

/// A plugin that provides metadata of some runtimes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    pub plugin: Arc<str>,
    /// Its place in the configuration: of two that tell of one container, the
    /// first in the file is believed.
    pub order: usize,
    pub runtimes: Vec<String>,
    /// It is enabled.
    pub active: bool,
}

/// What was told of containers that nobody has seen yet, the newest.
#[derive(Debug, Default)]
pub struct Pending(VecDeque<(String, Provided)>);

/// A runtime tells of a container before its first process is there, so some
/// are always early; those that never come are the oldest.
const MAX_PENDING: usize = 1024;

#[cfg(test)]
impl Pending {
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What became of what a plugin told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// Another provider goes before.
    pub lost: u64,
    /// It is not known of these containers that they are there; kept for a while.
    pub early: u64,
}

impl State {
    /// The providers that there are. What one told before stays when it goes.
    pub fn set_provider(&mut self, provider: Provider) {
        match self.providers.iter_mut().find(|known| known.plugin == provider.plugin) {
            Some(known) => *known = provider,
            None => self.providers.push(provider),
        }
    }

    /// Whether somebody provides metadata of this runtime.
    pub(super) fn is_provided(&self, found: &Found) -> bool {
        let names = |provider: &Provider| {
            provider.active && provider.runtimes.iter().any(|name| found.is_known_to(name))
        };
        self.providers.iter().any(names)
    }

    /// Whether a container's name is worth waiting for.
    fn is_awaited(&self, found: &Found) -> bool {
        !self.providers_are_known || self.is_provided(found)
    }

    /// Whether a container that nobody told of yet waits for its name.
    pub(super) fn waits_for_name(&self, record: &Record, now: u64) -> bool {
        record.phase == Phase::Held
            && record.metadata.is_none()
            && self.times.may_wait(record, now)
            && self.is_awaited(&record.found)
    }

    /// Whether a container in which something runs waits for its name.
    pub fn awaits_names(&self) -> bool {
        self.records.values().any(|record| {
            record.phase == Phase::Held
                && record.gone.is_none()
                && !record.processes.is_empty()
                && record.metadata.is_none()
                && self.is_awaited(&record.found)
        })
    }

    /// All plugins have started, or failed to: what is not provided now is not waited for.
    pub fn providers_are_known(&mut self) {
        self.providers_are_known = true;
    }

    /// A plugin tells of containers of a runtime.
    pub fn provided(&mut self, plugin: &str, metadata: Vec<Metadata>, now: u64) -> Told {
        let known = self.providers.iter().find(|known| &*known.plugin == plugin);
        let (order, plugin) =
            known.map_or((usize::MAX, plugin.into()), |known| (known.order, known.plugin.clone()));
        let mut told = Told::default();
        for Metadata { runtime_id, container, removed } in metadata {
            if removed {
                self.pending.0.retain(|(id, _)| *id != runtime_id);
                continue;
            }
            let provided = Provided { order, plugin: plugin.clone(), container: Arc::new(container) };
            match self.by_raw_id.get(&runtime_id).copied() {
                Some(handle) => told.lost += u64::from(!self.take_provided(handle, provided, now)),
                None => {
                    told.early += 1;
                    self.pending.0.retain(|(id, _)| *id != runtime_id);
                    if self.pending.0.len() >= MAX_PENDING {
                        self.pending.0.pop_front();
                    }
                    self.pending.0.push_back((runtime_id, provided));
                }
            }
        }
        told
    }

    /// What was told of a container before it was seen.
    pub(super) fn take_pending(&mut self, handle: u64) -> bool {
        let Some(record) = self.records.get_mut(&handle) else { return false };
        let Some(at) = self.pending.0.iter().position(|(id, _)| *id == record.found.raw_id) else {
            return false;
        };
        record.metadata = self.pending.0.remove(at).map(|(_, provided)| provided);
        true
    }

    fn take_provided(&mut self, handle: u64, provided: Provided, now: u64) -> bool {
        let Some(record) = self.records.get_mut(&handle) else { return true };
        if let Some(before) = &record.metadata
            && before.order < provided.order
            && self.providers.iter().any(|known| known.plugin == before.plugin && known.active)
        {
            return false;
        }
        record.metadata = Some(provided);
        if self.absorb(handle, now).is_some() {
            return true;
        }
        self.rename(handle, now);
        self.publish(handle, now);
        self.settle(handle, now);
        true
    }

    /// A container whose metadata say that it is one that was there before: a
    /// pod's container that was started again. The older one goes on with what
    /// the newer one has; gives its handle.
    pub(super) fn absorb(&mut self, handle: u64, now: u64) -> Option<u64> {
        let record = self.records.get(&handle)?;
        let metadata = record.metadata.as_ref().map(|provided| provided.container.clone());
        let key = naming::identity_key(&record.found, metadata.as_deref()).to_string();
        if record.keys.contains(&key) {
            return None;
        }
        let older = self.by_key.get(&key).copied().filter(|older| {
            self.records
                .get(older)
                .is_some_and(|older| !matches!(older.phase, Phase::Folded | Phase::Replaced))
        });
        let Some(older) = older.filter(|older| *older != handle) else {
            self.by_key.insert(key.clone(), handle);
            self.records.get_mut(&handle)?.keys.push(key);
            return None;
        };
        self.move_into(handle, older, now);
        Some(older)
    }

    fn move_into(&mut self, newer: u64, older: u64, now: u64) {
        let Some(record) = self.records.get_mut(&newer) else { return };
        record.phase = Phase::Folded;
        let (keys, processes) = (std::mem::take(&mut record.keys), std::mem::take(&mut record.processes));
        let cgroups = std::mem::take(&mut record.cgroups);
        record.directories.clear();
        let (found, metadata, was_told) = (record.found.clone(), record.metadata.take(), record.is_told());
        for key in &keys {
            self.by_key.insert(key.clone(), older);
        }
        self.by_raw_id.insert(found.raw_id.clone(), older);
        self.revive(older, now);
        if let Some(record) = self.records.get_mut(&older) {
            record.keys.extend(keys);
            (record.found, record.metadata) = (found, metadata);
            // What its last life had is gone, and is not read any more.
            record.cgroups.retain(|cgroup| record.directories.contains(&(cgroup.hierarchy, cgroup.id)));
        }
        self.take_cgroups(older, &cgroups);
        let mut pids: Vec<u32> = processes.into_iter().collect();
        pids.sort_unstable();
        for pid in pids {
            if let Some(known) = self.processes.living(pid) {
                self.put(pid, Known { container: older, ..known }, false, now);
            }
        }
        self.rename(older, now);
        // What was counted of the newer one is the older one's.
        let named = self
            .records
            .get(&older)
            .filter(|record| record.phase == Phase::Shown)
            .map(|record| record.named.clone());
        if let Some(named) = named {
            let joined = self.ids.join(&named.id, &named.app_id, newer, true, |_| false);
            for member in joined.regrouped.iter().chain([&newer]) {
                if let Some(record) = self.records.get_mut(member) {
                    record.group = joined.group;
                }
            }
            if let Some(record) = self.records.get_mut(&newer) {
                record.named = named;
            }
        }
        if was_told {
            self.tell(EventKind::ContainerGone, newer, None, now);
        }
        let collections = self.collections;
        if let Some(record) = self.records.get_mut(&newer) {
            record.gone = Some(Gone { at: now, collections });
            record.publish();
        }
        self.unsettled.extend([newer, older]);
        self.version += 1;
        self.publish(older, now);
    }
}
