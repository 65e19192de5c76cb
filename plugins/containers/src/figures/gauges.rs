//! What a container has just now, over all its cgroups.

use super::limits::Limits;
use crate::metrics::*;
use gantry_cgroupfs::Usage;
use gantry_plugin_api::{ContainerRef, Family, Sink};

/// Only of what the kernel tells; nothing of it is kept between collections.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Gauges {
    /// Summed: what is charged to a cgroup stays there when its processes are gone.
    memory: [Option<u64>; 4],
    limits: Limits,
}

/// In the order of [`Gauges::memory`].
const MEMORY: [&Family; 4] = [&MEMORY_RSS, &MEMORY_CACHE, &MEMORY_WORKING_SET, &MEMORY_SWAP];

impl Gauges {
    /// Adds what one of its cgroups has, in which processes are or not.
    pub(super) fn add(&mut self, usage: &Usage, has_processes: bool) {
        let memory = &usage.memory;
        let parts = [memory.rss, memory.cache, memory.working_set, memory.swap];
        for (sum, part) in self.memory.iter_mut().zip(parts) {
            *sum = sum.zip(part).map(|(sum, part)| sum + part).or(*sum).or(part);
        }
        self.limits.add(usage, has_processes);
    }

    pub(super) fn emit(&self, container: ContainerRef, sink: &mut Sink<'_>) {
        for (family, value) in MEMORY.into_iter().zip(self.memory) {
            if let Some(value) = value {
                sink.container(family, container, &[], value);
            }
        }
        self.limits.emit(container, sink);
    }
}
