//! When all sockets are looked at: now and then, once after a loss, and where only that tells something. A loss that
//! follows from looks, or that comes again and again, is not looked after at once: each
//! time in vain it is waited twice as long.

use std::time::{Duration, Instant};

/// After a loss, at the earliest after the look before.
const AFTER_LOSS: Duration = Duration::from_secs(5);

/// Without one: for listening sockets that changed hands.
const NOW_AND_THEN: Duration = Duration::from_secs(300);

/// When the next look is due.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    /// When the last one was, or was tried.
    last: Instant,
    /// The pause before the next one, where there is a reason for it.
    pause: Duration,
    /// Something was lost that no look came after.
    is_lost: bool,
    /// Something is only told by a look.
    is_wanted: bool,
    /// The last one failed.
    has_failed: bool,
    /// How often there was a reason for one.
    noted: u64,
}

impl Looks {
    /// None was made yet.
    pub fn new(now: Instant) -> Self {
        Self { last: now, pause: AFTER_LOSS, is_lost: false, is_wanted: false, has_failed: false, noted: 0 }
    }

    /// Something was lost.
    pub fn lost(&mut self) {
        self.is_lost = true;
        self.noted += 1;
    }

    /// Something is to be found that only a look tells.
    pub fn wanted(&mut self) {
        self.is_wanted = true;
        self.noted += 1;
    }

    /// Whether something was lost that no look came after.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether it is time.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.last);
        if self.is_lost || self.is_wanted || self.has_failed {
            return since >= self.pause;
        }
        // It was quiet for long enough.
        if since >= 2 * self.pause {
            self.pause = AFTER_LOSS;
        }
        since >= NOW_AND_THEN
    }

    /// There was one, which began when it was as in `begun`; whether it was after a loss and put that right. What
    /// was lost while it ran is to be looked after still.
    pub fn looked(&mut self, begun: Self, now: Instant, has_failed: bool) -> bool {
        if self.is_lost || self.is_wanted || has_failed {
            self.pause = (2 * self.pause).min(NOW_AND_THEN);
        }
        (self.last, self.has_failed) = (now, has_failed);
        let stays = has_failed || self.noted != begun.noted;
        self.is_lost &= stays;
        self.is_wanted &= stays;
        begun.is_lost && !has_failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which looks are made, where each second something may be lost.
    fn made(seconds: u64, is_lost: impl Fn(u64) -> bool, fails: impl Fn(u64) -> bool) -> Vec<u64> {
        let begun = Instant::now();
        let mut looks = Looks::new(begun);
        let mut made = Vec::new();
        for second in 1..=seconds {
            if is_lost(second) {
                looks.lost();
            }
            let now = begun + Duration::from_secs(second);
            if looks.is_due(now) {
                looks.looked(looks, now, fails(second));
                made.push(second);
            }
        }
        made
    }

    #[test]
    fn a_loss_is_looked_after_once() {
        assert_eq!(made(299, |second| second == 100, |_| false), [100]);
        assert_eq!(made(299, |second| second == 2, |_| false), [5], "not so soon after the one before");
        assert_eq!(made(650, |_| false, |_| false), [300, 600]);
    }

    #[test]
    fn losses_without_end_are_looked_after_less_and_less_often() {
        assert_eq!(made(1000, |_| true, |_| false), [5, 15, 35, 75, 155, 315, 615, 915]);
        // Until it is quiet for a while.
        let two = |second| second <= 15 || second == 100 || second == 200;
        assert_eq!(made(250, two, |_| false), [5, 15, 100, 200]);
    }

    #[test]
    fn one_that_fails_is_made_again() {
        assert_eq!(made(60, |second| second == 5, |second| second < 30), [5, 15, 35]);
        let mut looks = Looks::new(Instant::now());
        looks.lost();
        assert!(!looks.looked(looks, Instant::now(), true) && looks.is_lost());
        assert!(looks.looked(looks, Instant::now(), false) && !looks.is_lost());
        assert!(!looks.looked(looks, Instant::now(), false), "there was nothing to be put right");
    }

    #[test]
    fn one_that_is_wanted_puts_nothing_right() {
        let begun = Instant::now();
        let mut looks = Looks::new(begun);
        looks.wanted();
        assert!(looks.is_due(begun + AFTER_LOSS) && !looks.is_lost());
        assert!(!looks.looked(looks, begun + AFTER_LOSS, false));
        assert!(!looks.is_due(begun + 2 * AFTER_LOSS), "there was one");
    }

    #[test]
    fn what_is_lost_while_one_runs_has_another() {
        let begun = Instant::now();
        let mut looks = Looks::new(begun);
        looks.lost();
        let before = looks;
        looks.lost();
        assert!(looks.looked(before, begun, false), "the first loss was put right");
        assert!(looks.is_lost() && looks.is_due(begun + 2 * AFTER_LOSS));
    }
}
