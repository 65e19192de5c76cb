//! One generation takes the place of another, as a part of its plugin's life.
//!
//! ```text
//! trying    the new one is created, started and tried; the old one serves
//! parting   the old one, between two collections, stops and hands over
//! activating  the new one begins to count where the old one stopped
//! restoring   that failed: the old one is made anew, with its own hand-over
//! ```
//!
//! The plugin collects throughout, as far as anybody sees: what is asked of it
//! while neither runs waits for the one that will. Of two that must not run
//! together the old one parts first.

use super::{Call, Do, Failure, HUNG_AFTER, Life, MOST_LEFT_BEHIND, Progress, STOP_WITHIN, State};
use std::time::{Duration, Instant};

/// Whoever asked for a swap waits for it: a call of the trial may not take
/// longer, however patient the plugin's own deadline is.
const TRY_WITHIN: Duration = Duration::from_secs(20);

/// A swap that is under way.
#[derive(Debug)]
pub(super) struct Swap {
    /// The number of the new generation.
    attempt: u64,
    pub(super) phase: Phase,
    /// What the new generation was asked, while the old one serves.
    pub(super) busy: Option<(Call, Instant, Duration)>,
    exclusive: bool,
    /// Why the new generation cannot take the place.
    failed: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Trying,
    Parting,
    Activating,
    Restoring,
}

impl Life {
    /// Whether an attempt may be asked anything: it serves, or is tried.
    pub fn is_live(&self, attempt: u64) -> bool {
        self.is_current(attempt) || self.is_tried(attempt)
    }

    pub(super) fn is_tried(&self, attempt: u64) -> bool {
        let tried = |phase| matches!(phase, Phase::Trying | Phase::Parting);
        self.swap.as_ref().is_some_and(|swap| swap.attempt == attempt && tried(swap.phase))
    }

    pub(super) fn swap(&mut self, exclusive: bool) -> Vec<Do> {
        let refused = |why: String| vec![Do::Swapped(Err(why))];
        if self.swap.is_some() {
            return refused("another generation is about to take its place".to_owned());
        }
        if !self.state.collects() {
            return refused(format!("it is {}", self.state.as_str()));
        }
        if self.left_behind.len() >= MOST_LEFT_BEHIND {
            return refused(format!("{} of its threads hang; restart the agent", self.left_behind.len()));
        }
        let attempt = self.number();
        let phase = if exclusive { Phase::Parting } else { Phase::Trying };
        self.swap = Some(Swap { attempt, phase, busy: None, exclusive, failed: None });
        if exclusive {
            vec![Do::Part { attempt: self.attempt, next: attempt, within: STOP_WITHIN }]
        } else {
            vec![Do::Try { attempt }]
        }
    }

    /// Of the new generation, while the old one is the present attempt.
    pub(super) fn tried(&mut self, progress: Progress, now: Instant) -> Vec<Do> {
        let (limit, old) = ((self.deadline * HUNG_AFTER).min(TRY_WITHIN), self.attempt);
        let Some(swap) = self.swap.as_mut() else { return Vec::new() };
        match progress {
            Progress::Began(call) => swap.busy = Some((call, now, limit)),
            Progress::Ended => swap.busy = None,
            Progress::Ready if swap.phase == Phase::Trying => {
                (swap.phase, swap.busy) = (Phase::Parting, None);
                let next = swap.attempt;
                return vec![Do::Part { attempt: old, next, within: STOP_WITHIN }];
            }
            Progress::Failed(Failure::Fault(why) | Failure::Unsupported(why)) => {
                if swap.phase == Phase::Trying {
                    return self.no_swap(&why);
                }
                // The old one was asked to stop already.
                swap.failed.get_or_insert(why);
            }
            _ => {}
        }
        Vec::new()
    }

    /// Of the present attempt while there is a swap: what follows, or the
    /// progress where it means what it always does.
    pub(super) fn swapping(&mut self, progress: Progress, now: Instant) -> Result<Vec<Do>, Progress> {
        let Some(phase) = self.swap.as_ref().map(|swap| swap.phase) else { return Err(progress) };
        match (phase, progress) {
            (Phase::Trying, progress) => Err(progress),
            (Phase::Parting, Progress::Began(Call::Stop)) => {
                self.busy = Some((Call::Stop, now, STOP_WITHIN));
                Ok(Vec::new())
            }
            (Phase::Parting, Progress::Stopped(_)) => Ok(self.parted(now)),
            (Phase::Parting, Progress::Failed(Failure::Fault(why) | Failure::Unsupported(why))) => {
                Ok(self.ended_in_swap(why, State::Failed, now))
            }
            (Phase::Parting, progress) => Err(progress),
            (Phase::Activating, Progress::Activated(missing)) => {
                self.swap = None;
                self.row.end();
                let mut todo = self.progress(Progress::Activated(missing), now);
                todo.push(Do::Swapped(Ok(())));
                Ok(todo)
            }
            (Phase::Restoring, Progress::Activated(missing)) => {
                let why = self.swap.take().and_then(|swap| swap.failed).unwrap_or_default();
                let mut todo = self.progress(Progress::Activated(missing), now);
                todo.push(Do::Swapped(Err(why)));
                Ok(todo)
            }
            (_, Progress::Failed(Failure::Fault(why) | Failure::Unsupported(why))) => {
                Ok(self.ended_in_swap(why, State::Failed, now))
            }
            (_, Progress::Stopped(why)) => {
                let why = why.unwrap_or_else(|| "it ended by itself".to_owned());
                Ok(self.ended_in_swap(why, State::Failed, now))
            }
            (_, progress @ (Progress::Began(_) | Progress::Ended)) => Err(progress),
            // Nobody sees its way there: it collects all the time.
            _ => Ok(Vec::new()),
        }
    }

    /// The present attempt is over, unasked or too late, in a swap beyond the trial.
    pub(super) fn ended_in_swap(&mut self, why: String, state: State, now: Instant) -> Vec<Do> {
        let Some(swap) = self.swap.as_mut() else { return Vec::new() };
        match swap.phase {
            // What it last handed over is there all the same.
            Phase::Trying | Phase::Parting => self.parted(now),
            Phase::Activating => {
                swap.failed = Some(why);
                self.restore(now)
            }
            Phase::Restoring => {
                let first = swap.failed.take().unwrap_or_default();
                self.swap = None;
                self.failed(state, why.clone(), now);
                vec![Do::Swapped(Err(format!(
                    "{first}; and the generation before could not be restored: {why}"
                )))]
            }
        }
    }

    /// The old one has handed over.
    fn parted(&mut self, now: Instant) -> Vec<Do> {
        let Some(swap) = self.swap.as_mut() else { return Vec::new() };
        if swap.failed.is_some() {
            return self.restore(now);
        }
        let attempt = swap.attempt;
        swap.phase = Phase::Activating;
        let call = if swap.exclusive { Call::Create } else { Call::Activate };
        (self.attempt, self.has_thread) = (attempt, true);
        self.busy = Some((call, now, self.deadline * HUNG_AFTER));
        let mut todo = Vec::new();
        if swap.exclusive {
            todo.push(Do::Try { attempt });
        }
        todo.push(Do::Activate { attempt });
        todo
    }

    fn restore(&mut self, now: Instant) -> Vec<Do> {
        let attempt = self.number();
        let Some(swap) = self.swap.as_mut() else { return Vec::new() };
        swap.phase = Phase::Restoring;
        let gone = swap.attempt;
        (self.attempt, self.has_thread) = (attempt, true);
        self.busy = Some((Call::Create, now, self.deadline * HUNG_AFTER));
        vec![Do::Drop { attempt: gone }, Do::Restore { attempt }]
    }

    /// The new one does not come back from what it was asked in its trial.
    pub(super) fn tried_too_long(&mut self, now: Instant) -> Vec<Do> {
        let overdue =
            self.swap.as_ref().and_then(|swap| swap.busy).filter(|(_, since, limit)| now >= *since + *limit);
        let Some((call, _, limit)) = overdue else { return Vec::new() };
        let is_apart = self.swap.as_ref().is_some_and(|swap| self.apart.contains(&swap.attempt));
        let end = if is_apart { "its process was killed" } else { "its thread was left behind" };
        self.no_swap(&format!("{} did not come back within {limit:?}; {end}", call.as_str()))
    }

    /// Whatever swap there is is over, and the old generation stays what it is.
    pub(super) fn no_swap(&mut self, why: &str) -> Vec<Do> {
        let Some(swap) = self.swap.take() else { return Vec::new() };
        let attempt = swap.attempt;
        let hangs = swap.phase == Phase::Trying && swap.busy.is_some();
        let is_apart = self.apart.contains(&attempt);
        if hangs && !is_apart {
            // Until it comes back.
            self.left_behind.insert(attempt);
        }
        let why = match swap.failed {
            Some(first) if swap.phase == Phase::Restoring => first,
            _ => why.to_owned(),
        };
        let mut todo = vec![Do::Swapped(Err(why))];
        if matches!(swap.phase, Phase::Trying | Phase::Parting) {
            todo.insert(0, Do::Drop { attempt });
        }
        if hangs && is_apart {
            todo.insert(0, Do::Abandon { attempt });
        }
        todo
    }
}
