//! How many lines of one plugin's log are taken. Reads no clock.

use std::time::{Duration, Instant};

/// So many at once, and one more each time this has passed.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    burst: u32,
    every: Duration,
}

/// A line a container at the start of a full node, and then 100 a second: 30 s
/// of two floods at once stay below the 10,000 after which journald, as it
/// comes, drops lines of the whole service, the host's among them.
pub const LINES: Rate = Rate { burst: 1000, every: Duration::from_millis(10) };

/// Errors are counted apart: the last words of a plugin that dies are not to be
/// lost behind what it chattered before.
pub const ERRORS: Rate = Rate { burst: 100, every: Duration::from_millis(100) };

impl Rate {
    /// Lines a second that are taken for ever.
    pub fn per_second(self) -> u128 {
        Duration::from_secs(1).as_nanos() / self.every.as_nanos()
    }
}

/// A flood has ended when nothing was dropped for so long.
const ENDED: Duration = Duration::from_secs(1);

/// A plugin's floods are told at most this often.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// A bucket of tokens, kept as the moment at which it will be full again.
#[derive(Debug, Default)]
struct Bucket {
    full: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let full = self.full.map_or(now, |full| full.max(now));
        if full.duration_since(now) > rate.every * (rate.burst - 1) {
            return false;
        }
        self.full = Some(full + rate.every);
        true
    }
}

/// The limit of one plugin.
#[derive(Debug, Default)]
pub struct Limit {
    lines: Bucket,
    errors: Bucket,
    dropped: u64,
    /// Lines that were dropped and not told of.
    untold: Option<Untold>,
    told: Option<Instant>,
}

#[derive(Debug)]
struct Untold {
    lines: u64,
    first: Instant,
    last: Instant,
}

impl Limit {
    /// Whether a line is taken.
    pub fn takes(&mut self, error: bool, now: Instant) -> bool {
        let (bucket, rate) = if error { (&mut self.errors, ERRORS) } else { (&mut self.lines, LINES) };
        if bucket.take(rate, now) {
            return true;
        }
        self.dropped += 1;
        let untold = self.untold.get_or_insert(Untold { lines: 0, first: now, last: now });
        untold.lines += 1;
        untold.last = now;
        false
    }

    /// All lines that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// When there is something to tell: the flood has ended, or goes on for long.
    pub fn due(&self) -> Option<Instant> {
        let untold = self.untold.as_ref()?;
        let due = (untold.last + ENDED).min(untold.first + SAID_EVERY);
        Some(self.told.map_or(due, |told| due.max(told + SAID_EVERY)))
    }

    /// The lines that were not told of before, which they are now.
    pub fn tell(&mut self, now: Instant) -> Option<u64> {
        let untold = self.untold.take()?;
        self.told = Some(now);
        Some(untold.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time of the test's own, in milliseconds.
    fn at(millis: u64) -> Instant {
        static BEGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *BEGIN + Duration::from_millis(millis)
    }

    /// How many of so many lines at one moment are taken.
    fn taken(limit: &mut Limit, error: bool, lines: u32, now: u64) -> usize {
        (0..lines).filter(|_| limit.takes(error, at(now))).count()
    }

    #[test]
    fn a_burst_is_taken_and_then_a_trickle() {
        let mut limit = Limit::default();
        assert_eq!(taken(&mut limit, false, 5000, 0), 1000);
        assert_eq!(taken(&mut limit, false, 10, 9), 0);
        assert_eq!(taken(&mut limit, false, 10, 10), 1);
        assert_eq!(taken(&mut limit, false, 500, 1010), 100, "100 a second");
        assert_eq!(limit.dropped(), 4000 + 10 + 9 + 400);
        // At rest the bucket fills up, and not beyond.
        assert_eq!(taken(&mut limit, false, 5000, 3_600_000), 1000);
        // What comes at the rate is taken for ever.
        let mut steady = Limit::default();
        assert!((0..100_000).all(|line| steady.takes(false, at(line * 10))));
        assert_eq!(LINES.per_second(), 100);
    }

    #[test]
    fn errors_pass_beside_a_flood_and_have_a_limit_too() {
        let mut limit = Limit::default();
        taken(&mut limit, false, 1_000_000, 0);
        assert_eq!(taken(&mut limit, true, 1000, 0), 100);
        assert_eq!(taken(&mut limit, true, 1000, 1000), 10, "10 a second");
        // And a flood of errors is no reason to drop the rest.
        assert_eq!(taken(&mut limit, false, 1000, 1000), 100);
    }

    #[test]
    fn a_flood_is_told_when_it_ends() {
        let mut limit = Limit::default();
        assert_eq!(taken(&mut limit, false, 1000, 0), 1000);
        assert_eq!((limit.due(), limit.tell(at(0))), (None, None), "nothing was dropped");
        taken(&mut limit, false, 5, 1);
        assert_eq!(limit.due(), Some(at(1001)));
        taken(&mut limit, false, 5, 5);
        assert_eq!(limit.due(), Some(at(1005)), "it went on");
        assert_eq!(limit.tell(at(1005)), Some(10));
        assert_eq!((limit.due(), limit.tell(at(1005))), (None, None), "once");
        // The next one soon after waits its turn.
        taken(&mut limit, false, 500, 1006);
        assert_eq!(limit.due(), Some(at(11_005)));
    }

    #[test]
    fn a_flood_that_never_ends_is_told_every_ten_seconds() {
        let mut limit = Limit::default();
        let (mut told, mut lines) = (Vec::new(), 0);
        for now in 0..60_000 {
            taken(&mut limit, false, 2, now);
            if limit.due().is_some_and(|due| due <= at(now)) {
                told.push(now);
                lines += limit.tell(at(now)).expect("it is due");
            }
        }
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(told.windows(2).all(|pair| pair[1] - pair[0] >= 10_000), "{told:?}");
        lines += limit.tell(at(60_000)).expect("it goes on");
        assert_eq!(lines, limit.dropped());
        assert_eq!(lines, 120_000 - 1000 - 5999, "two a millisecond, less what is taken");
    }

    #[test]
    fn a_clock_that_stands_or_steps_back_harms_nobody() {
        let mut limit = Limit::default();
        assert_eq!(taken(&mut limit, false, 1000, 500), 1000);
        assert_eq!(taken(&mut limit, false, 10, 0), 0);
        assert_eq!(taken(&mut limit, false, 10, 510), 1);
    }
}
