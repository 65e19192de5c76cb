//! Failures in a row, and how long to wait after each.

use std::time::Duration;

/// After the first failure; doubled after each further one.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// However many there were.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// So many in a row, and it is quarantined.
pub const MOST: u32 = 8;

/// A row ends with a good collection of an instance that has lived so long.
/// The first good collection would be too early: an instance that fails at
/// its second one each time would be made anew every second for ever.
pub const STABLE: Duration = Duration::from_secs(60);

/// The failures of a plugin since it last worked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Row(u32);

impl Row {
    /// One more. How long to wait, or `None`: there were too many.
    pub fn failed(&mut self) -> Option<Duration> {
        self.0 = self.0.saturating_add(1);
        (self.0 < MOST).then(|| FIRST_WAIT.saturating_mul(1 << (self.0 - 1).min(16)).min(LONGEST_WAIT))
    }

    pub fn end(&mut self) {
        self.0 = 0;
    }

    pub fn len(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_there_were_too_many() {
        let mut row = Row::default();
        let waits: Vec<u64> = std::iter::from_fn(|| row.failed()).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(row.len(), MOST);
        assert_eq!(row.failed(), None, "one more is still too many");
        row.end();
        assert_eq!(row.failed(), Some(FIRST_WAIT));
    }
}
