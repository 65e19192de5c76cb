//! How long to wait between two sessions.

use std::time::Duration;

/// A Docker that was restarted is back within a second or two.
const FIRST: Duration = Duration::from_millis(250);

/// A container waits 10 s for its name before it is shown without one. A look at
/// a path that is not there costs some microseconds.
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles from 250 ms to 5 s, and begins anew after a session that worked.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The next wait, after a session that lasted so long, and in which all was
    /// listed or not. A runtime that dies each time it was listed is not taken
    /// for one that works, nor is one that is so slow that a request alone
    /// lasts that long.
    pub fn after(&mut self, session: Duration, listed: bool) -> Duration {
        if listed && session >= LONGEST {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (self.next * 2).min(LONGEST);
        wait
    }

    /// The least wait, also where somebody is waiting for an answer.
    pub fn least() -> Duration {
        FIRST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_and_begins_anew() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let waits: Vec<u128> = (0..7).map(|_| backoff.after(short, true).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(backoff.after(LONGEST, false), LONGEST, "it was slow, and said nothing");
        assert_eq!(backoff.after(LONGEST, true), FIRST);
    }
}
