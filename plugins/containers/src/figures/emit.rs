//! The samples of one container.

use super::Watched;
use super::gauges::Gauges;
use super::kept::Counters;
use super::total::Total;
use crate::metrics::*;
use gantry_plugin_api::{ContainerRef, Family, Sink};
use std::collections::BTreeMap;

impl Watched {
    pub(super) fn emit(&self, container: ContainerRef, gauges: &Gauges, sink: &mut Sink<'_>) {
        let mut counter = |family: &Family, labels: &[&str], of: &dyn Fn(&Counters) -> Option<Total>| {
            let totals = self.counters().filter_map(|counters| of(counters).map(|total| total.get()));
            if let Some(sum) = totals.reduce(|one, two| one + two) {
                sink.container(family, container, labels, sum);
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
        gauges.emit(container, sink);
    }

    /// Of the cgroups that it has, and of those that it had.
    fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.groups.iter().map(|watch| watch.counters()).chain(self.past.as_deref())
    }

    /// By device: reads, writes, bytes read, bytes written.
    pub(super) fn devices(&self) -> BTreeMap<(u32, u32), [f64; 4]> {
        let mut devices: BTreeMap<(u32, u32), [f64; 4]> = BTreeMap::new();
        for (number, traffic) in self.counters().flat_map(|counters| &counters.devices) {
            let sums = devices.entry(*number).or_default();
            let parts = [traffic.reads, traffic.writes, traffic.read_bytes, traffic.written_bytes];
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part.get());
        }
        devices
    }
}
