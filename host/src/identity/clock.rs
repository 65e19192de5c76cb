//! Times of the kernel, and what the agent's own process tells of the machine.

use super::read::namespace;
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds in a clock tick: `USER_HZ` is 100 on every architecture that
/// Linux still has (`include/asm-generic/param.h`).
pub const TICK: u64 = 10_000_000;

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let whole = u64::try_from(time.tv_sec).unwrap_or_default().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Since boot, with the time that the machine slept: what processes' start
/// times count in, and what no step of the clock changes.
pub fn boot() -> u64 {
    nanos(ClockId::Boottime)
}

/// Since the epoch; may be set.
pub fn epoch() -> u64 {
    nanos(ClockId::Realtime)
}

/// What the machine slept: from `CLOCK_MONOTONIC` to `CLOCK_BOOTTIME`.
pub fn boot_offset() -> u64 {
    boot().saturating_sub(nanos(ClockId::Monotonic))
}

/// The agent's own, where the machine's cannot be read.
pub fn own_network_namespace() -> Option<u64> {
    let link = std::fs::read_link("/proc/self/ns/net").ok()?;
    namespace(link.to_str()?)
}
