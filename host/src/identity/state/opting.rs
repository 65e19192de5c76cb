//! A container is shown when it is known whether it asks to be left alone.
//!
//! It says so in its program's environment. A runtime's own step is there some
//! milliseconds before that program, and a plugin that collected before it was
//! known has figures of the container.

use super::{Phase, Record, State};

/// How long after its first process a runtime executes the container's program:
/// runc 25 to 60 ms on a machine that does little. With it whoever executes no
/// program is shown.
const STARTS: u64 = 2_000_000_000;

/// How late a plugin may be with what it collected before; see `presence`.
const LATE: u64 = 60_000_000_000;

/// When it was learned that a container opts out.
#[derive(Debug, Clone, Copy)]
pub struct Learned {
    /// Collections until then.
    collections: u64,
    at: u64,
}

impl State {
    /// Whether a container is not shown yet, as it may turn out to opt out, or has
    /// just done so.
    pub(super) fn may_opt_out(&self, record: &Record, now: u64) -> bool {
        if record.gone.is_some() || record.phase != Phase::Held {
            return false;
        }
        match self.opting.get(&record.handle) {
            // A collection that was under way then may have figures of it.
            Some(learned) => {
                // Nobody has figures before the first collection of all.
                let was_shown = self.remembered.has(record.handle) && learned.collections == 0;
                let is_late = now.saturating_sub(learned.at) >= LATE;
                !was_shown && !is_late && self.collections <= learned.collections
            }
            None => {
                !self.remembered.has(record.handle)
                    && now.saturating_sub(record.made) < STARTS
                    && !record.knows_environment(now.saturating_sub(STARTS))
            }
        }
    }

    /// What its processes or its runtime told may be that it opts out.
    pub(super) fn learn_whether_it_opts_out(&mut self, handle: u64, now: u64) {
        let Some(record) = self.records.get(&handle) else { return };
        if record.phase == Phase::Held && !self.opting.contains_key(&handle) && record.opts_out() {
            self.opting.insert(handle, Learned { collections: self.collections, at: now });
        }
    }
}
