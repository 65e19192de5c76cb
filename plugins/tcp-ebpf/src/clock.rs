//! The clock that the programs use: `CLOCK_MONOTONIC` of the machine, also where this
//! process is in a time namespace, in which that clock is another one. And when a process started, as
//! this process reads it.

use rustix::time::{ClockId, clock_gettime};
use std::path::Path;

/// The clock that the programs use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    /// How much the clock of this process is ahead, in nanoseconds.
    ahead: i64,
    /// The same of the time since boot.
    boot_ahead: i64,
}

impl Clock {
    /// That of this machine. Where the kernel tells of no time namespaces there are none.
    pub fn of(proc: &Path) -> Self {
        let offsets = std::fs::read_to_string(proc.join("self/timens_offsets"));
        let of = |name| offsets.as_deref().ok().and_then(|text| offset(text, name)).unwrap_or_default();
        Self { ahead: of("monotonic"), boot_ahead: of("boottime") }
    }

    /// Now, in nanoseconds.
    pub fn now(self) -> u64 {
        let time = clock_gettime(ClockId::Monotonic);
        let own = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
        u64::try_from(own.saturating_sub(self.ahead)).unwrap_or_default()
    }

    /// When a process started, of the machine's nanoseconds since boot: as the files of `/proc`
    /// have it, in ticks of this process's time.
    pub fn ticks(self, nanoseconds: u64) -> u64 {
        let own = nanoseconds.saturating_add_signed(self.boot_ahead);
        own / (1_000_000_000 / rustix::param::clock_ticks_per_second()).max(1)
    }
}

/// Out of lines such as `monotonic  100000  0`: seconds and nanoseconds.
fn offset(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut numbers = line.split_ascii_whitespace().map(str::parse::<i64>);
    let (seconds, nanoseconds) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_plugin_testkit::Tree;

    #[test]
    fn what_a_time_namespace_adds_is_taken_off() {
        let clock = |offsets: &str| {
            let tree = Tree::new();
            tree.write("proc/self/timens_offsets", offsets);
            Clock::of(&tree.path("proc"))
        };
        assert_eq!(clock("monotonic    -100         5\nboottime       1         2\n").ahead, -99_999_999_995);
        for text in ["", "monotonic x 0\n", "monotonic 9999999999999999 0\n"] {
            assert_eq!(clock(text), Clock::default(), "{text:?}");
        }
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        let ahead = clock("monotonic 0 0\nboottime 100 0\n");
        assert_eq!(
            (ahead.ticks(5 * tick), Clock::default().ticks(5 * tick)),
            (100_000_000_000 / tick + 5, 5)
        );
        let (behind, own) = (clock("monotonic -100 0\n").now(), Clock::default().now());
        assert!(behind >= 100_000_000_000 && behind > own, "{behind} {own}");
    }
}
