//! How often containers began anew, whatever of the agent was restarted in between.

use crate::brief::Brief;
use crate::metrics::RESTARTS;
use gantry_plugin_api::identity::Process;
use gantry_plugin_api::{ContainerRef, Sink};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What was seen of each container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Restarts {
    seen: HashMap<u64, Seen>,
    /// See [`SWEEP_FROM`]; twice of what was left the last time.
    #[serde(skip)]
    sweep_at: usize,
}

/// So many may be kept before it is asked, between collections, which of them
/// are there still.
const SWEEP_FROM: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// What the host counted since it knows the container.
    restarts: u64,
    init: Option<Process>,
    /// What is shown.
    #[serde(default)]
    total: u64,
    /// By this instance, under this host.
    #[serde(skip)]
    is_ours: bool,
}

impl Restarts {
    /// Counts what happened since the last time.
    pub fn count(&mut self, container: ContainerRef, known: &Brief) {
        let mut now = Seen { restarts: known.restarts, init: known.init, total: 0, is_ours: true };
        now.total = self
            .seen
            .get(&container.handle())
            .map_or(now.restarts, |before| before.total + since(*before, now));
        self.seen.insert(container.handle(), now);
    }

    /// What the instance before knew; this one may have seen some of them already.
    pub fn set_past(&mut self, past: Self) {
        for (handle, before) in past.seen {
            self.seen
                .entry(handle)
                .and_modify(|ours| ours.total = before.total + since(before, *ours))
                .or_insert(before);
        }
    }

    /// Nothing of a container is shown any more.
    pub fn forget(&mut self, container: ContainerRef) {
        self.seen.remove(&container.handle());
    }

    /// Forgets those that are gone, where many have piled up without a collection.
    pub fn sweep(&mut self, is_there: impl Fn(ContainerRef) -> bool) {
        if self.seen.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        self.seen.retain(|handle, _| ContainerRef::from_handle(*handle).is_some_and(&is_there));
        self.seen.shrink_to(SWEEP_FROM);
        self.sweep_at = 2 * self.seen.len();
    }

    /// Emits them of those that are there still, and forgets the others.
    pub fn emit(&mut self, sink: &mut Sink<'_>, is_there: impl Fn(ContainerRef) -> bool) {
        self.seen.retain(|handle, seen| {
            let container = ContainerRef::from_handle(*handle).filter(|container| is_there(*container));
            if let Some(container) = container {
                sink.container(&RESTARTS, container, &[], seen.total);
            }
            container.is_some()
        });
    }
}

/// The host counts from zero after its own restart; then another first process
/// than an instance before saw says that there was one at least.
fn since(before: Seen, now: Seen) -> u64 {
    if before.is_ours {
        return now.restarts.saturating_sub(before.restarts);
    }
    if now.restarts >= before.restarts && (now.restarts > 0 || before.init == now.init) {
        return now.restarts - before.restarts;
    }
    let began_anew = before.init.is_some() && now.init.is_some() && before.init != now.init;
    now.restarts.max(u64::from(began_anew))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_across_those_of_the_agent() {
        let seen = |restarts, pid| Seen {
            restarts,
            init: Some(Process { pid, start: 1 }),
            total: 0,
            is_ours: false,
        };
        let ours = |restarts, pid| Seen { is_ours: true, ..seen(restarts, pid) };
        for (before, now, more) in [
            (seen(0, 1), seen(0, 1), 0),
            (seen(0, 1), seen(2, 3), 2),
            (seen(2, 3), seen(2, 3), 0),
            // The agent was away.
            (seen(2, 3), seen(0, 3), 0),
            (seen(2, 3), seen(0, 4), 1),
            (seen(0, 3), seen(0, 4), 1),
            (seen(5, 3), seen(2, 9), 2),
            // The runtime's own step was taken for the first process.
            (ours(0, 3), ours(0, 4), 0),
            (ours(1, 3), ours(3, 4), 2),
        ] {
            assert_eq!(since(before, now), more, "{before:?} {now:?}");
        }
    }
}
