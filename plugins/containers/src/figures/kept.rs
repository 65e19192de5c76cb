//! The figures of one container: of one cgroup mostly, of several where they
//! are one container.

use super::total::Total;
use gantry_cgroupfs::usage::{Counted, Stall, Usage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counters, summed over all cgroups that the container has or had.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    pub cpu_usage: Option<Total>,
    pub cpu_throttled: Option<Total>,
    pub cpu_periods: Option<Total>,
    pub cpu_throttled_periods: Option<Total>,
    pub major_faults: Option<Total>,
    /// `some` and `full` of cpu, memory and io.
    pub pressure: [[Option<Total>; 2]; 3],
    #[serde(with = "as_pairs")]
    pub devices: BTreeMap<(u32, u32), Traffic>,
}

/// Traffic of one block device.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Traffic {
    pub reads: Total,
    pub writes: Total,
    pub read_bytes: Total,
    pub written_bytes: Total,
}

impl Traffic {
    fn begin_anew(&mut self) {
        for total in [&mut self.reads, &mut self.writes, &mut self.read_bytes, &mut self.written_bytes] {
            total.begin_anew();
        }
    }
}

/// A container's devices are few; one with more is not worth its series.
const MAX_DEVICES: usize = 64;

/// Parts of a second. A quotient is the number nearest to what the file says; a
/// product with 1e-9, which no `f64` is, is not.
const NANOS: f64 = 1e9;
const MICROS: f64 = 1e6;

impl Counters {
    /// What the cgroup's files say now. How many devices are more than are kept.
    pub fn take(&mut self, usage: &Usage) -> u64 {
        let anew = |what| usage.notes.anew.has(what);
        let set = |total: &mut Option<Total>, value: Option<u64>, unit: f64, anew: bool| {
            if let Some(value) = value {
                let total = total.get_or_insert_default();
                if anew {
                    total.begin_anew();
                }
                total.set(value as f64 / unit);
            }
        };
        let (cpu, throttling) = (anew(Counted::CpuUsage), anew(Counted::Throttling));
        set(&mut self.cpu_usage, usage.cpu.usage, NANOS, cpu);
        set(&mut self.cpu_throttled, usage.cpu.throttled, NANOS, throttling);
        set(&mut self.cpu_periods, usage.cpu.periods, 1.0, throttling);
        set(&mut self.cpu_throttled_periods, usage.cpu.throttled_periods, 1.0, throttling);
        set(&mut self.major_faults, usage.memory.major_faults, 1.0, anew(Counted::Memory));
        let pressure = [
            (usage.pressure.cpu, Counted::CpuPressure),
            (usage.pressure.memory, Counted::MemoryPressure),
            (usage.pressure.io, Counted::IoPressure),
        ];
        for (kept, (Stall { some, full }, counted)) in self.pressure.iter_mut().zip(pressure) {
            set(&mut kept[0], some, MICROS, anew(counted));
            set(&mut kept[1], full, MICROS, anew(counted));
        }
        if anew(Counted::Io) {
            self.devices.values_mut().for_each(Traffic::begin_anew);
        }
        let mut beyond = 0;
        for device in &usage.io.devices {
            if self.devices.len() >= MAX_DEVICES && !self.devices.contains_key(&device.number) {
                beyond += 1;
                continue;
            }
            let traffic = self.devices.entry(device.number).or_default();
            traffic.reads.set(device.reads as f64);
            traffic.writes.set(device.writes as f64);
            traffic.read_bytes.set(device.read_bytes as f64);
            traffic.written_bytes.set(device.written_bytes as f64);
        }
        beyond
    }

    /// Adds what another cgroup counted, which is gone for good. How many
    /// devices are more than are kept.
    pub fn add(&mut self, other: &Self) -> u64 {
        let add = |sum: &mut Option<Total>, other: Option<Total>| {
            if let Some(other) = other {
                sum.get_or_insert_default().add(other);
            }
        };
        add(&mut self.cpu_usage, other.cpu_usage);
        add(&mut self.cpu_throttled, other.cpu_throttled);
        add(&mut self.cpu_periods, other.cpu_periods);
        add(&mut self.cpu_throttled_periods, other.cpu_throttled_periods);
        add(&mut self.major_faults, other.major_faults);
        let pressure = self.pressure.iter_mut().flatten().zip(other.pressure.iter().flatten());
        pressure.for_each(|(sum, other)| add(sum, *other));
        let mut beyond = 0;
        for (number, other) in &other.devices {
            if self.devices.len() >= MAX_DEVICES && !self.devices.contains_key(number) {
                beyond += 1;
                continue;
            }
            let sum = self.devices.entry(*number).or_default();
            sum.reads.add(other.reads);
            sum.writes.add(other.writes);
            sum.read_bytes.add(other.read_bytes);
            sum.written_bytes.add(other.written_bytes);
        }
        beyond
    }

    /// The cgroup is gone; another of the same path begins at zero.
    pub fn begin_anew(&mut self) {
        for total in self.totals() {
            total.begin_anew();
        }
    }

    /// Goes on from what the instance before read of the same cgroup.
    pub fn inherit(&mut self, past: Self) {
        let go_on = |own: &mut Option<Total>, past: Option<Total>| match (own, past) {
            (Some(own), Some(past)) => own.inherit(past),
            (own, past) => *own = (*own).or(past),
        };
        go_on(&mut self.cpu_usage, past.cpu_usage);
        go_on(&mut self.cpu_throttled, past.cpu_throttled);
        go_on(&mut self.cpu_periods, past.cpu_periods);
        go_on(&mut self.cpu_throttled_periods, past.cpu_throttled_periods);
        go_on(&mut self.major_faults, past.major_faults);
        let pressure = self.pressure.iter_mut().flatten();
        pressure.zip(past.pressure.into_iter().flatten()).for_each(|(own, past)| go_on(own, past));
        for (device, past) in past.devices {
            let own = self.devices.entry(device).or_default();
            own.reads.inherit(past.reads);
            own.writes.inherit(past.writes);
            own.read_bytes.inherit(past.read_bytes);
            own.written_bytes.inherit(past.written_bytes);
        }
    }

    /// Whether it has more than the cgroup that is there says.
    pub fn has_past(&mut self) -> bool {
        self.totals().any(|total| total.has_past())
    }

    fn totals(&mut self) -> impl Iterator<Item = &mut Total> {
        let one = [
            &mut self.cpu_usage,
            &mut self.cpu_throttled,
            &mut self.cpu_periods,
            &mut self.cpu_throttled_periods,
            &mut self.major_faults,
        ];
        let pressure = self.pressure.iter_mut().flatten();
        let devices = self.devices.values_mut().flat_map(|traffic| {
            [&mut traffic.reads, &mut traffic.writes, &mut traffic.read_bytes, &mut traffic.written_bytes]
        });
        one.into_iter().chain(pressure).flatten().chain(devices)
    }
}

/// JSON has no keys but texts.
mod as_pairs {
    use super::Traffic;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    type Devices = BTreeMap<(u32, u32), Traffic>;

    pub fn serialize<S: Serializer>(devices: &Devices, to: S) -> Result<S::Ok, S::Error> {
        devices.iter().collect::<Vec<_>>().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Devices, D::Error> {
        Ok(Vec::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_that_is_made_anew_goes_on() {
        let mut counters = Counters::default();
        let mut usage = Usage::default();
        usage.cpu.usage = Some(2_000_000_000);
        usage.pressure.io.full = Some(500_000);
        counters.take(&usage);
        counters.begin_anew();
        usage.cpu.usage = Some(3_000_000_000);
        counters.take(&usage);
        let seconds = counters.cpu_usage.expect("known").get();
        assert!((seconds - 5.0).abs() < 1e-9, "{seconds}");
        assert_eq!(counters.cpu_throttled, None, "the kernel has no such file");
        let waited = counters.pressure[2][1].expect("known").get();
        assert!((waited - 1.0).abs() < 1e-9, "{waited}");
    }
}
