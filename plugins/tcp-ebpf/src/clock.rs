//! The clock that the programs use: `CLOCK_MONOTONIC` of the machine, also where this
//! process is in a time namespace, in which that clock is another one.

use rustix::time::{ClockId, clock_gettime};
use std::path::Path;

/// The clock that the programs use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    /// How much the clock of this process is ahead, in nanoseconds.
    ahead: i64,
}

impl Clock {
    /// That of this machine. Where the kernel tells of no time namespaces there are none.
    pub fn of(proc: &Path) -> Self {
        let offsets = std::fs::read_to_string(proc.join("self/timens_offsets"));
        Self { ahead: offsets.ok().and_then(|text| monotonic(&text)).unwrap_or_default() }
    }

    /// Now, in nanoseconds.
    pub fn now(self) -> u64 {
        let time = clock_gettime(ClockId::Monotonic);
        let own = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
        u64::try_from(own.saturating_sub(self.ahead)).unwrap_or_default()
    }
}

/// Out of lines such as `monotonic  100000  0`: seconds and nanoseconds.
fn monotonic(text: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix("monotonic"))?;
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
        let (behind, own) = (clock("monotonic -100 0\n").now(), Clock::default().now());
        assert!(behind >= 100_000_000_000 && behind > own, "{behind} {own}");
    }
}
