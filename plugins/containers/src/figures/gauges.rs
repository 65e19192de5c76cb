//! What a container has just now, summed over its cgroups.

use crate::metrics::*;
use gantry_cgroupfs::Usage;
use gantry_plugin_api::{ContainerRef, Family, Sink};
use std::ops::Add;

/// Only of what the kernel tells; nothing of it is kept between collections.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Gauges {
    memory: [Option<u64>; 7],
    cores: [Option<f64>; 2],
}

/// In the order of [`Gauges::memory`].
const MEMORY: [&Family; 7] = [
    &MEMORY_RSS,
    &MEMORY_CACHE,
    &MEMORY_WORKING_SET,
    &MEMORY_SWAP,
    &MEMORY_LIMIT,
    &MEMORY_BINDING_LIMIT,
    &SWAP_LIMIT,
];

/// In the order of [`Gauges::cores`].
const CORES: [&Family; 2] = [&CPU_LIMIT, &CPU_BINDING_LIMIT];

impl Gauges {
    /// Adds what one of its cgroups has.
    pub(super) fn add(&mut self, usage: &Usage) {
        let memory = &usage.memory;
        let of_memory = [
            memory.rss,
            memory.cache,
            memory.working_set,
            memory.swap,
            memory.limit.own,
            memory.limit.binding,
            memory.swap_limit.own,
        ];
        self.memory.iter_mut().zip(of_memory).for_each(|(sum, value)| add(sum, value));
        let of_cpu = [usage.cpu.limit.own, usage.cpu.limit.binding];
        self.cores.iter_mut().zip(of_cpu).for_each(|(sum, value)| add(sum, value));
    }

    pub(super) fn emit(&self, container: ContainerRef, sink: &mut Sink<'_>) {
        for (family, value) in MEMORY.into_iter().zip(self.memory) {
            if let Some(value) = value {
                sink.container(family, container, &[], value);
            }
        }
        for (family, value) in CORES.into_iter().zip(self.cores) {
            if let Some(value) = value {
                sink.container(family, container, &[], value);
            }
        }
    }
}

fn add<T: Add<Output = T> + Copy>(sum: &mut Option<T>, value: Option<T>) {
    if let Some(value) = value {
        *sum = Some(sum.map_or(value, |sum| sum + value));
    }
}
