//! The ids that an agent before this one showed, in the same boot: a container
//! that was shown is shown at once, under the same id.
//!
//! A name is waited for only as long as the start of the agent does: of a
//! runtime that answers it is there by then, and for one that does not what was
//! shown must not vanish. What was not there at the first look at everything is
//! gone, and what comes later by its key is new.

use super::record::Label;
use super::{Phase, Record, State};
use ahash::RandomState;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// How one container was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownId {
    /// What it is known by.
    pub key: String,
    pub id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub app_id: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Its name is in the id, which stays, whatever is told now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named: bool,
    /// The number by which plugins know it, and what they counted of it: that of
    /// a pod's container is its first life's, and that of one that died young
    /// before another than its key gives. 0 where the agent before kept none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub handle: u64,
}

fn is_none(handle: &u64) -> bool {
    *handle == 0
}

#[derive(Debug, Default)]
pub struct Remembered {
    /// Until all was looked at once.
    by_key: HashMap<Arc<str>, Arc<ShownId>, RandomState>,
    /// Of those that are there and not shown yet.
    held: HashMap<u64, Arc<ShownId>, RandomState>,
    start_is_over: bool,
}

impl Remembered {
    /// Whether it was shown before, and is not yet.
    pub fn has(&self, handle: u64) -> bool {
        self.held.contains_key(&handle)
    }

    /// Whether its name is waited for no more.
    pub fn waits_no_more(&self, handle: u64) -> bool {
        self.start_is_over && self.has(handle)
    }

    /// The id that it keeps.
    pub fn named(&self, handle: u64) -> Option<Label> {
        let known = self.held.get(&handle).filter(|known| known.named)?;
        let (id, app_id) = (known.id.as_str().into(), known.app_id.as_str().into());
        Some(Label { id, app_id, shared: known.shared, skipped: None })
    }

    /// The handle that the container had that is known by this.
    pub fn handle(&self, key: &str) -> Option<u64> {
        self.by_key.get(key).map(|known| known.handle).filter(|handle| *handle != 0)
    }

    /// A container was made that is known by this.
    pub fn recall(&mut self, handle: u64, key: &str) {
        if let Some(known) = self.by_key.get(key) {
            self.held.insert(handle, known.clone());
        }
    }

    pub fn forget(&mut self, handle: u64) {
        self.held.remove(&handle);
    }
}

impl State {
    /// What an agent before showed; before anything is looked at.
    pub fn remember(&mut self, ids: Vec<ShownId>) {
        for known in ids.into_iter().map(Arc::new) {
            self.remembered.by_key.insert(known.key.as_str().into(), known);
        }
    }

    /// All was looked at once.
    pub fn all_were_seen(&mut self) {
        self.remembered.by_key = HashMap::default();
    }

    /// The start of the agent is over: what was shown before is shown now.
    pub fn start_is_over(&mut self) {
        self.remembered.start_is_over = true;
    }

    /// For the next agent: what is shown, and what was shown before and is not yet.
    pub fn shown_ids(&self) -> Vec<ShownId> {
        let those = self.records.values().filter(|record| record.gone.is_none());
        those.filter_map(|record| self.shown_id(record)).collect()
    }

    fn shown_id(&self, record: &Record) -> Option<ShownId> {
        let key = record.found.key.to_string();
        if let Some(known) = self.remembered.held.get(&record.handle) {
            return Some(ShownId { key, handle: record.handle, ..ShownId::clone(known) });
        }
        let Label { id, app_id, shared, .. } = &record.named;
        let (id, app_id, shared) = (id.to_string(), app_id.to_string(), *shared);
        // One that came too late for this agent is for the next.
        let named = record.is_named();
        (record.phase == Phase::Shown).then_some(ShownId {
            key,
            id,
            app_id,
            shared,
            named,
            handle: record.handle,
        })
    }
}
