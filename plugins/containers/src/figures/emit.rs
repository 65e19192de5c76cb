//! The samples of one container.

use super::Watched;
use super::gauges::Gauges;
use super::kept::{Counters, Figure, pressure};
use crate::metrics::*;
use gantry_plugin_api::{ContainerRef, Family, Sink};
use std::collections::BTreeMap;

impl Watched {
    pub(super) fn emit(&self, container: ContainerRef, gauges: &Gauges, sink: &mut Sink<'_>) {
        let mut counter = |family: &Family, labels: &[&str], at: usize| {
            let totals = self.counters().filter_map(|counters| counters.get(at));
            if let Some(sum) = totals.reduce(|one, two| one + two) {
                sink.container(family, container, labels, sum);
            }
        };
        counter(&CPU_USAGE, &[], Figure::CpuUsage as usize);
        counter(&CPU_THROTTLED, &[], Figure::CpuThrottled as usize);
        counter(&CPU_PERIODS, &[], Figure::CpuPeriods as usize);
        counter(&CPU_THROTTLED_PERIODS, &[], Figure::CpuThrottledPeriods as usize);
        counter(&MAJOR_FAULTS, &[], Figure::MajorFaults as usize);
        for (of, family) in [&CPU_PRESSURE, &MEMORY_PRESSURE, &IO_PRESSURE].into_iter().enumerate() {
            for (kind, name) in ["some", "full"].into_iter().enumerate() {
                counter(family, &[name], pressure(of, kind));
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
        for (number, traffic) in self.counters().flat_map(Counters::devices) {
            let sums = devices.entry(number).or_default();
            sums.iter_mut().zip(traffic).for_each(|(sum, part)| *sum += part);
        }
        devices
    }
}
