//! Which id a container has, and whether a rule leaves it out.

use super::super::filter::UnitFacts;
use super::super::path::Runtime;
use super::{Phase, Record, State};
use crate::config::IdentityConfig;
use gantry_plugin_api::identity::EventKind;

/// Why a unit of systemd is not shown.
const NOISE: &str = "a unit that is skipped";

impl State {
    /// Other rules, from now on, also for what is shown. An id that is shown
    /// stays.
    pub fn set_rules(&mut self, config: &IdentityConfig, now: u64) {
        self.times = super::Times::of(config);
        self.filter = super::filter(config);
        self.skip_units = config.skip_units.clone();
        for handle in self.records.keys().copied().collect::<Vec<_>>() {
            self.judge(handle, now);
        }
    }

    /// Gives a container the id that follows from what is known; one that is
    /// shown keeps its own.
    pub(super) fn rename(&mut self, handle: u64, now: u64) {
        let epoch = self.epoch(now);
        let shown = self.remembered.named(handle);
        let Some(record) = self.records.get_mut(&handle) else { return };
        if matches!(record.phase, Phase::Held | Phase::Hidden) {
            match shown {
                Some(label) => record.named = label,
                None => record.name(epoch),
            }
        }
        self.judge(handle, now);
    }

    /// Leaves a container out where a rule says so, and takes it in again where
    /// none does any more.
    pub(super) fn judge(&mut self, handle: u64, now: u64) {
        let Some(record) = self.records.get(&handle) else { return };
        let is_out = self.leaves_out(record, now).is_some();
        match record.phase {
            Phase::Held | Phase::Shown if is_out => self.leave_out(handle, now),
            Phase::Hidden if !is_out => self.take_in(handle, now),
            _ => {}
        }
    }

    /// Why a rule leaves a container out.
    pub(super) fn leaves_out(&self, record: &Record, now: u64) -> Option<&'static str> {
        let is_noise = || record.found.runtime == Runtime::Systemd && self.skips_unit(record);
        record.named.skipped.or_else(|| is_noise().then_some(NOISE)).or_else(|| {
            // The lists are about the id that it will have: an operator's
            // `^/docker/web` is not about a name that nobody told yet.
            if self.waits_for_name(record, now) { None } else { self.filter.refuses(&record.named.id) }
        })
    }

    fn skips_unit(&self, record: &Record) -> bool {
        let told = record.told().unwrap_or_default();
        let fact = |key: &str| told.names.get(key).map_or("", String::as_str);
        let facts = UnitFacts {
            systemd_type: fact("systemd_type"),
            systemd_triggered_by: fact("systemd_triggered_by"),
        };
        self.skip_units.skips(&record.found.raw_id, facts)
    }

    /// What it counted is kept, and not shown.
    fn leave_out(&mut self, handle: u64, now: u64) {
        self.leave_with_parts(handle);
        let Some(record) = self.records.get_mut(&handle) else { return };
        record.phase = Phase::Hidden;
        self.version += 1;
        if record.is_told() && record.gone.is_none() {
            self.tell(EventKind::ContainerGone, handle, None, now);
        }
    }

    fn take_in(&mut self, handle: u64, now: u64) {
        let Some(record) = self.records.get_mut(&handle) else { return };
        record.phase = Phase::Held;
        record.publish();
        self.version += 1;
        self.unsettled.insert(handle);
        if record.gone.is_none() {
            self.tell(EventKind::ContainerAppeared, handle, None, now);
            self.want_metadata(handle, now);
        }
    }
}
