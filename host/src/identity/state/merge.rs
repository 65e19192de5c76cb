//! One container turns out to be another.

use super::super::naming;
use super::lives::Life;
use super::processes::Known;
use super::record::Gone;
use super::{Phase, Record, State};
use gantry_plugin_api::identity::EventKind;
use std::sync::Arc;

/// What makes it the same container, by all that is known of it.
fn identity_key(record: &Record) -> Arc<str> {
    let metadata = record.metadata.as_ref().map(|provided| provided.container.clone());
    naming::identity_key(&record.found, metadata.as_deref()).to_string().into()
}

impl State {
    /// A living container whose metadata say that it is one that was there
    /// before: a pod's container that was started again. The older one goes on
    /// with what the newer one has; gives its handle.
    pub(super) fn absorb(&mut self, handle: u64, now: u64) -> Option<u64> {
        let key = identity_key(self.records.get(&handle)?);
        let goes_on =
            |older: &Record| !matches!(older.phase, Phase::Folded | Phase::Merged | Phase::Replaced);
        let older = self.keys.get(&*key).filter(|older| *older != handle);
        match older.filter(|older| self.records.get(older).is_some_and(|older| goes_on(older))) {
            Some(older) => {
                self.move_into(handle, older, now);
                // Names of the newer one do not push it out.
                self.keys.give(key, older);
                Some(older)
            }
            None => {
                if let Some(life) = self.lives.get(&key, now) {
                    self.had_lives(handle, life);
                }
                self.keys.give(key, handle);
                None
            }
        }
    }

    fn had_lives(&mut self, handle: u64, life: Life) {
        if let Some(record) = self.records.get_mut(&handle) {
            record.first_seen = record.first_seen.min(life.first_seen);
            record.restarts = record.restarts.max(1);
        }
    }

    /// What it is became known after its end: that is for its next life alone.
    pub(super) fn was(&mut self, handle: u64, now: u64) {
        let Some(record) = self.records.get(&handle) else { return };
        let key = identity_key(record);
        if record.phase == Phase::Folded {
            let life = self.lives.get(&record.found.key.to_string(), now);
            let before = self.lives.get(&key, now).map_or(0, |before| before.number);
            if let Some(life) = life.filter(|_| *key != *record.found.key.to_string()) {
                self.lives.add(key, Life { number: life.number.max(before + 1), ..life }, now);
            }
        } else if self.keys.get(&*key).is_none() {
            self.keys.give(key, handle);
        }
    }

    fn move_into(&mut self, newer: u64, older: u64, now: u64) {
        self.leave(newer);
        let collections = self.collections;
        let Some(record) = self.records.get_mut(&newer) else { return };
        let was_known = record.phase != Phase::Hidden && record.is_told();
        (record.phase, record.into) = (Phase::Merged, Some(older));
        record.gone = Some(Gone { at: now, collections });
        let (processes, cgroups) =
            (std::mem::take(&mut record.processes), std::mem::take(&mut record.cgroups));
        let (found, metadata) = (record.found.clone(), record.metadata.take());
        record.publish();
        self.keys.hand_over(newer, older);
        self.raw_ids.hand_over(newer, older);
        self.revive(older, now);
        if let Some(record) = self.records.get_mut(&older) {
            record.parts.push(newer);
            (record.found, record.metadata) = (found, metadata);
            // What its last life had is gone, and is not read any more.
            record.cgroups.forget_gone();
        }
        self.cgroups.hand_over(newer, older);
        self.take_cgroups(older, cgroups.all());
        let mut pids: Vec<u32> = processes.into_iter().collect();
        pids.sort_unstable();
        for pid in pids {
            if let Some(known) = self.processes.living(pid) {
                self.put(pid, Known { container: older, ..known }, now);
            }
        }
        self.rename(older, now);
        // What was counted of the newer one is the older one's.
        let shown = self.records.get(&older).filter(|record| record.phase == Phase::Shown);
        if let Some(named) = shown.map(|record| record.named.clone()) {
            self.join_parts(older, &named.id, &named.app_id);
        }
        if was_known {
            self.tell(EventKind::ContainerGone, newer, None, now);
        }
        self.unsettled.extend([newer, older]);
        self.version += 1;
        self.publish(older, now);
    }
}
