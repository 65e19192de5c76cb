//! The figures of one container: of one cgroup mostly, of several where they
//! are one container.

use super::total::{Total, Totals};
use gantry_cgroupfs::usage::{Counted, Stall, Usage};
use serde::{Deserialize, Serialize};

/// A counter of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    CpuUsage,
    CpuThrottled,
    CpuPeriods,
    CpuThrottledPeriods,
    MajorFaults,
    /// `some` and `full` of cpu, memory and io, one behind the other.
    Pressure,
}

/// How many there are.
const FIGURES: usize = Figure::Pressure as usize + 6;

/// Where the time is that was waited for the first, second or third of cpu,
/// memory and io: by some (0), or all (1).
pub fn pressure(of: usize, kind: usize) -> usize {
    Figure::Pressure as usize + 2 * of + kind
}

/// Counters, summed over all cgroups that the container has or had. There is
/// one of these for each cgroup, so it takes little room.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Counters {
    /// By [`Figure`].
    totals: Totals<FIGURES>,
    /// By number.
    devices: Vec<Device>,
}

/// Traffic of one block device: reads, writes, bytes read, bytes written.
#[derive(Debug, Clone)]
struct Device {
    number: (u32, u32),
    traffic: Totals<4>,
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
        let totals = &mut self.totals;
        let mut set = |at: usize, value: Option<u64>, unit: f64, anew: bool| {
            if let Some(value) = value {
                totals.update(at, |total| {
                    if anew {
                        total.begin_anew();
                    }
                    total.set(value as f64 / unit);
                });
            }
        };
        let (cpu, throttling) = (anew(Counted::CpuUsage), anew(Counted::Throttling));
        set(Figure::CpuUsage as usize, usage.cpu.usage, NANOS, cpu);
        set(Figure::CpuThrottled as usize, usage.cpu.throttled, NANOS, throttling);
        set(Figure::CpuPeriods as usize, usage.cpu.periods, 1.0, throttling);
        set(Figure::CpuThrottledPeriods as usize, usage.cpu.throttled_periods, 1.0, throttling);
        set(Figure::MajorFaults as usize, usage.memory.major_faults, 1.0, anew(Counted::Memory));
        let waited = [
            (usage.pressure.cpu, Counted::CpuPressure),
            (usage.pressure.memory, Counted::MemoryPressure),
            (usage.pressure.io, Counted::IoPressure),
        ];
        for (of, (Stall { some, full }, counted)) in waited.into_iter().enumerate() {
            set(pressure(of, 0), some, MICROS, anew(counted));
            set(pressure(of, 1), full, MICROS, anew(counted));
        }
        if anew(Counted::Io) {
            self.devices.iter_mut().for_each(|device| device.traffic.begin_anew());
        }
        let mut beyond = 0;
        for device in &usage.io.devices {
            let values = [device.reads, device.writes, device.read_bytes, device.written_bytes];
            match self.device(device.number, MAX_DEVICES) {
                Some(traffic) => {
                    let all = values.into_iter().enumerate();
                    all.for_each(|(at, value)| traffic.update(at, |total| total.set(value as f64)));
                }
                None => beyond += 1,
            }
        }
        beyond
    }

    /// The traffic of a device; `None` where it would be one more than are kept.
    fn device(&mut self, number: (u32, u32), most: usize) -> Option<&mut Totals<4>> {
        let at = match self.devices.binary_search_by_key(&number, |device| device.number) {
            Ok(at) => at,
            Err(_) if self.devices.len() >= most => return None,
            Err(at) => {
                // Mostly there is one, and no more will come.
                self.devices.reserve_exact(1);
                self.devices.insert(at, Device { number, traffic: Totals::default() });
                at
            }
        };
        self.devices.get_mut(at).map(|device| &mut device.traffic)
    }

    /// One of them, where the kernel says it.
    pub fn get(&self, at: usize) -> Option<f64> {
        self.totals.total(at).map(|total| total.get())
    }

    /// The devices with their traffic.
    pub fn devices(&self) -> impl Iterator<Item = ((u32, u32), [f64; 4])> {
        let value = |traffic: &Totals<4>, at| traffic.total(at).map_or(0.0, |total| total.get());
        let traffic = move |traffic| [0, 1, 2, 3].map(|at| value(traffic, at));
        self.devices.iter().map(move |device| (device.number, traffic(&device.traffic)))
    }

    /// Adds what another cgroup counted, which is gone for good. How many
    /// devices are more than are kept.
    pub fn add(&mut self, other: &Self) -> u64 {
        self.totals.add(&other.totals);
        let mut beyond = 0;
        for other in &other.devices {
            match self.device(other.number, MAX_DEVICES) {
                Some(traffic) => traffic.add(&other.traffic),
                None => beyond += 1,
            }
        }
        beyond
    }

    /// The cgroup is gone; another of the same path begins at zero.
    pub fn begin_anew(&mut self) {
        self.totals.begin_anew();
        self.devices.iter_mut().for_each(|device| device.traffic.begin_anew());
    }

    /// Goes on from what the instance before read of the same cgroup.
    pub fn inherit(&mut self, past: &Self) {
        self.totals.inherit(&past.totals);
        for past in &past.devices {
            if let Some(traffic) = self.device(past.number, usize::MAX) {
                traffic.inherit(&past.traffic);
            }
        }
    }

    /// Whether it has more than the cgroup that is there says.
    pub fn has_past(&self) -> bool {
        self.totals.has_past() || self.devices.iter().any(|device| device.traffic.has_past())
    }
}

/// As it is handed over.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Written {
    cpu_usage: Option<Total>,
    cpu_throttled: Option<Total>,
    cpu_periods: Option<Total>,
    cpu_throttled_periods: Option<Total>,
    major_faults: Option<Total>,
    pressure: [[Option<Total>; 2]; 3],
    /// In pairs: JSON has no keys but texts.
    devices: Vec<((u32, u32), Traffic)>,
}

#[derive(Default, Serialize, Deserialize)]
struct Traffic {
    reads: Total,
    writes: Total,
    read_bytes: Total,
    written_bytes: Total,
}

impl From<Counters> for Written {
    fn from(counters: Counters) -> Self {
        let total = |figure: Figure| counters.totals.total(figure as usize);
        let traffic = |Device { number, traffic }: &Device| {
            let total = |at| traffic.total(at).unwrap_or_default();
            let [reads, writes, read_bytes, written_bytes] = [0, 1, 2, 3].map(total);
            (*number, Traffic { reads, writes, read_bytes, written_bytes })
        };
        Self {
            cpu_usage: total(Figure::CpuUsage),
            cpu_throttled: total(Figure::CpuThrottled),
            cpu_periods: total(Figure::CpuPeriods),
            cpu_throttled_periods: total(Figure::CpuThrottledPeriods),
            major_faults: total(Figure::MajorFaults),
            pressure: [0, 1, 2].map(|of| [0, 1].map(|kind| counters.totals.total(pressure(of, kind)))),
            devices: counters.devices.iter().map(traffic).collect(),
        }
    }
}

impl From<Written> for Counters {
    fn from(written: Written) -> Self {
        let mut counters = Self::default();
        let one = [
            written.cpu_usage,
            written.cpu_throttled,
            written.cpu_periods,
            written.cpu_throttled_periods,
            written.major_faults,
        ];
        let all = one.into_iter().chain(written.pressure.into_iter().flatten());
        for (at, total) in all.enumerate() {
            if let Some(total) = total {
                counters.totals.update(at, |kept| *kept = total);
            }
        }
        for (number, Traffic { reads, writes, read_bytes, written_bytes }) in written.devices {
            if let Some(traffic) = counters.device(number, usize::MAX) {
                let all = [reads, writes, read_bytes, written_bytes].into_iter().enumerate();
                all.for_each(|(at, total)| traffic.update(at, |kept| *kept = total));
            }
        }
        counters
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
        let seconds = counters.get(Figure::CpuUsage as usize).expect("known");
        assert!((seconds - 5.0).abs() < 1e-9, "{seconds}");
        assert_eq!(counters.get(Figure::CpuThrottled as usize), None, "the kernel has no such file");
        let waited = counters.get(pressure(2, 1)).expect("known");
        assert!((waited - 1.0).abs() < 1e-9, "{waited}");
    }

    #[test]
    fn what_is_handed_over_has_the_form_that_it_always_had() {
        let json = "{\"cpu_usage\":{\"base\":2.0,\"last\":3.0},\"cpu_throttled\":null,\
                    \"cpu_periods\":null,\"cpu_throttled_periods\":null,\
                    \"major_faults\":{\"base\":0.0,\"last\":7.0},\
                    \"pressure\":[[null,null],[null,null],[null,{\"base\":0.0,\"last\":0.5}]],\
                    \"devices\":[[[8,0],{\"reads\":{\"base\":1.0,\"last\":2.0},\
                    \"writes\":{\"base\":0.0,\"last\":3.0},\"read_bytes\":{\"base\":0.0,\"last\":4.0},\
                    \"written_bytes\":{\"base\":0.0,\"last\":5.0}}]]}";
        let counters: Counters = serde_json::from_str(json).expect("it is read");
        assert_eq!(counters.get(Figure::CpuUsage as usize), Some(5.0));
        assert_eq!(counters.devices().collect::<Vec<_>>(), [((8, 0), [3.0, 3.0, 4.0, 5.0])]);
        assert!(counters.has_past());
        assert_eq!(serde_json::to_string(&counters).expect("it is written"), json);
        assert!(!serde_json::from_str::<Counters>("{}").expect("it is read").has_past());
    }
}
