//! CPU time (Documentation/scheduler/sched-bwc.rst; cgroup-v1/cpuacct.rst;
//! cgroup-v2.rst, section CPU).

use super::Cpu;
use super::number::{Bad, lines, number, pair};
use crate::layout::Version;

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_US: u64 = 1000;

/// `cpuacct.stat`, in the ticks that user space is told of.
pub fn modes_v1(text: &[u8], cpu: &mut Cpu, bad: &mut Bad) {
    let tick = NS_PER_S / rustix::param::clock_ticks_per_second().max(1);
    for (key, value) in lines(text).map(pair) {
        let mode = match key {
            b"user" => &mut cpu.user,
            b"system" => &mut cpu.system,
            _ => continue,
        };
        *mode = bad.check(number(value).and_then(|ticks| ticks.checked_mul(tick)));
    }
}

/// `cpu.stat` of v2: used time.
pub fn usage_v2(text: &[u8], cpu: &mut Cpu, bad: &mut Bad) {
    for (key, value) in lines(text).map(pair) {
        let figure = match key {
            b"usage_usec" => &mut cpu.usage,
            b"user_usec" => &mut cpu.user,
            b"system_usec" => &mut cpu.system,
            _ => continue,
        };
        *figure = bad.check(number(value).and_then(|us| us.checked_mul(NS_PER_US)));
    }
}

/// `cpu.stat` of both: throttling.
pub fn throttling(text: &[u8], version: Version, cpu: &mut Cpu, bad: &mut Bad) {
    for (key, value) in lines(text).map(pair) {
        let (figure, unit) = match (key, version) {
            (b"nr_periods", _) => (&mut cpu.periods, 1),
            (b"nr_throttled", _) => (&mut cpu.throttled_periods, 1),
            (b"throttled_time", Version::V1) => (&mut cpu.throttled, 1),
            (b"throttled_usec", Version::V2) => (&mut cpu.throttled, NS_PER_US),
            _ => continue,
        };
        *figure = bad.check(number(value).and_then(|value| value.checked_mul(unit)));
    }
}

/// `cpu.cfs_quota_us`: µs in a period; `None` is without a limit.
pub fn quota_v1(text: &[u8], bad: &mut Bad) -> Option<u64> {
    match text.trim_ascii_end() {
        b"-1" => None,
        quota => bad.check(number(quota)),
    }
}

/// `cpu.max`, in cores.
pub fn limit_v2(text: &[u8], bad: &mut Bad) -> Option<f64> {
    let (quota, period) = pair(text.trim_ascii_end());
    if quota == b"max" {
        return None;
    }
    bad.check(number(quota).zip(number(period)).and_then(|(quota, period)| cores(quota, period)))
}

/// Quota divided by period; both are far below 2^53.
pub fn cores(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}
