//! The samples of one container.

use super::Watched;
use super::kept::{Counters, sum};
use super::total::Total;
use crate::metrics::*;
use gantry_cgroupfs::Usage;
use gantry_plugin_api::{ContainerRef, Family, Sink};
use std::collections::BTreeMap;

impl Watched {
    pub(super) fn emit(&self, container: ContainerRef, sink: &mut Sink<'_>) {
        let mut counter = |family: &Family, labels: &[&str], of: &dyn Fn(&Counters) -> Option<Total>| {
            let total = sum(self.groups.iter().map(|watch| of(&watch.counters).map(|total| total.get())));
            if let Some(total) = total {
                sink.container(family, container, labels, total);
            }
        };
        counter(&CPU_USAGE, &[], &|counters| counters.cpu_usage);
        counter(&CPU_THROTTLED, &[], &|counters| counters.cpu_throttled);
        counter(&CPU_PERIODS, &[], &|counters| counters.cpu_periods);
        counter(&CPU_THROTTLED_PERIODS, &[], &|counters| counters.cpu_throttled_periods);
        counter(&MAJOR_FAULTS, &[], &|counters| counters.major_faults);
        for (at, family) in [&CPU_PRESSURE, &MEMORY_PRESSURE, &IO_PRESSURE].into_iter().enumerate() {
            for (kind, name) in ["some", "full"].into_iter().enumerate() {
                counter(family, &[name], &|counters| counters.pressure[at][kind]);
            }
        }
        if self.gone > 0 {
            return;
        }
        let mut gauge = |family: &Family, of: &dyn Fn(&Usage) -> Option<u64>| {
            let values = self.groups.iter().filter_map(|watch| watch.now.as_ref());
            if let Some(value) = sum(values.map(of)) {
                sink.container(family, container, &[], value);
            }
        };
        gauge(&MEMORY_RSS, &|usage| usage.memory.rss);
        gauge(&MEMORY_CACHE, &|usage| usage.memory.cache);
        gauge(&MEMORY_WORKING_SET, &|usage| usage.memory.working_set);
        gauge(&MEMORY_SWAP, &|usage| usage.memory.swap);
        gauge(&MEMORY_LIMIT, &|usage| usage.memory.limit.own);
        gauge(&MEMORY_BINDING_LIMIT, &|usage| usage.memory.limit.binding);
        gauge(&SWAP_LIMIT, &|usage| usage.memory.swap_limit.own);
        let cores = |of: fn(&Usage) -> Option<f64>| {
            sum(self.groups.iter().filter_map(|watch| watch.now.as_ref()).map(of))
        };
        for (family, value) in [
            (&CPU_LIMIT, cores(|usage| usage.cpu.limit.own)),
            (&CPU_BINDING_LIMIT, cores(|usage| usage.cpu.limit.binding)),
        ] {
            if let Some(value) = value {
                sink.container(family, container, &[], value);
            }
        }
    }

    /// By device: reads, writes, bytes read, bytes written.
    pub(super) fn devices(&self) -> BTreeMap<(u32, u32), [f64; 4]> {
        let mut devices: BTreeMap<(u32, u32), [f64; 4]> = BTreeMap::new();
        for watch in &self.groups {
            for (number, traffic) in &watch.counters.devices {
                let sums = devices.entry(*number).or_default();
                let parts = [traffic.reads, traffic.writes, traffic.read_bytes, traffic.written_bytes];
                sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part.get());
            }
        }
        devices
    }
}
