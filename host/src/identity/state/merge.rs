//! One container turns out to be another.

use super::super::naming;
use super::lives::Life;
use super::names::Name;
use super::processes::Known;
use super::record::Gone;
use super::{Phase, Record, State};
use gantry_plugin_api::identity::EventKind;
use std::num::NonZeroU64;

impl State {
    /// What makes it the same container, by all that is known of it.
    fn identity_key(&self, record: &Record) -> Name {
        self.names.of(&naming::identity_key(&record.found, record.told().as_ref()).to_string())
    }

    /// A living container whose metadata say that it is one that was there
    /// before: a pod's container that was started again. The older one goes on
    /// with what the newer one has; gives its handle.
    pub(super) fn absorb(&mut self, handle: u64, now: u64) -> Option<u64> {
        let key = self.identity_key(self.records.get(&handle)?);
        let goes_on =
            |older: &Record| !matches!(older.phase, Phase::Folded | Phase::Merged | Phase::Replaced);
        let older = self.keys.get(key).filter(|older| *older != handle);
        match older.filter(|older| self.records.get(older).is_some_and(|older| goes_on(older))) {
            Some(older) => {
                self.move_into(handle, older, now);
                // Names of the newer one do not push it out.
                self.keys.give(key, older);
                Some(older)
            }
            None => {
                if let Some(life) = self.lives.get(key, now) {
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
        let key = self.identity_key(record);
        if record.phase == Phase::Folded {
            let own = self.names.of(&record.found.key.to_string());
            let life = self.lives.get(own, now);
            let before = self.lives.get(key, now).map_or(0, |before| before.number);
            if let Some(life) = life.filter(|_| key != own) {
                self.lives.add(key, Life { number: life.number.max(before + 1), ..life }, now);
            }
        } else if self.keys.get(key).is_none() {
            self.keys.give(key, handle);
        }
    }

    fn move_into(&mut self, newer: u64, older: u64, now: u64) {
        self.leave(newer);
        let collections = self.collections;
        let Some(record) = self.records.get_mut(&newer) else { return };
        let was_known = record.phase != Phase::Hidden && record.is_told();
        (record.phase, record.into) = (Phase::Merged, NonZeroU64::new(older));
        record.gone = Some(Box::new(Gone { at: now, collections }));
        let (processes, cgroups) =
            (std::mem::take(&mut record.processes), std::mem::take(&mut record.cgroups));
        let (found, metadata) = (record.found.clone(), record.metadata.take());
        record.publish();
        self.keys.hand_over(newer, older);
        self.raw_ids.hand_over(newer, older);
        self.revive(older, now);
        if let Some(record) = self.records.get_mut(&older) {
            record.parts = record.parts.iter().copied().chain([newer]).collect();
            (record.found, record.metadata) = (found, metadata);
            // What its last life had is gone, and is not read any more.
            record.cgroups.forget_gone();
        }
        self.cgroups.hand_over(newer, older);
        self.take_cgroups(older, &cgroups.all());
        for &pid in processes.all() {
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
