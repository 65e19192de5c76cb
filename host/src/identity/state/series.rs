//! Under which id a container's figures are, and with whom they are one.

use super::{Phase, State};
use std::num::NonZeroU64;
use std::sync::Arc;

impl State {
    /// Gives a container an id in what is shown, and takes its old one.
    /// `shared`: all that ever have it are one.
    pub(super) fn join(&mut self, handle: u64, id: &Arc<str>, app_id: &Arc<str>, shared: bool) {
        self.leave(handle);
        let records = &self.records;
        let is_gone = |other: u64| records.get(&other).is_none_or(|record| record.gone.is_some());
        let joined = self.ids.join(id, app_id, handle, shared, is_gone);
        for member in joined.regrouped.iter().chain([&handle]) {
            if let Some(record) = self.records.get_mut(member) {
                record.group = joined.group.and_then(NonZeroU64::new);
            }
        }
        for replaced in joined.replaced {
            if let Some(record) = self.records.get_mut(&replaced) {
                (record.phase, record.group, record.member) = (Phase::Replaced, None, None);
            }
        }
        if let Some(record) = self.records.get_mut(&handle) {
            record.member = Some(joined.id);
        }
        self.version += 1;
    }

    /// It has no id any more.
    pub(super) fn leave(&mut self, handle: u64) {
        let Some(record) = self.records.get_mut(&handle) else { return };
        record.group = None;
        if let Some(id) = record.member.take() {
            self.ids.leave(&id, handle);
            self.version += 1;
        }
    }

    /// What was counted of those that turned out to be this one is shown where
    /// it is.
    pub(super) fn join_parts(&mut self, handle: u64, id: &Arc<str>, app_id: &Arc<str>) {
        let Some(record) = self.records.get(&handle) else { return };
        for part in record.parts.clone() {
            self.join(part, id, app_id, true);
        }
    }

    /// It is shown nowhere, with all that turned out to be it.
    pub(super) fn leave_with_parts(&mut self, handle: u64) {
        let parts = self.records.get(&handle).map(|record| record.parts.clone());
        parts.into_iter().flatten().chain([handle]).for_each(|one| self.leave(one));
    }
}
