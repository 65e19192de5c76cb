//! One plugin's life as a state machine: events in, things to do out. It knows
//! no clock, thread or lock; the caller brings the time and does what is asked.
//!
//! ```text
//! disabled -> discovered -> verified -> probed -> created -> started -> ready -> running <-> degraded
//!                 ^                                                                |
//!                 |   (back-off: 1 s, doubled)                                     v
//!                 +---- failed, hung <-------- a fault, or no answer --------------+
//!                 +---- quarantined <--------- eight in a row                      v
//!                 +---- unsupported <--------- this node lacks something        stopping -> stopped
//! ```
//!
//! While it collects, another generation may take its place: [`swap`].

mod event;
mod row;
mod swap;
#[cfg(test)]
mod swap_tests;
#[cfg(test)]
mod tests;

pub use event::{Call, Do, Event, Failure, Progress, cut};

use super::state::State;
use row::{MOST, Row, STABLE};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use swap::{Phase, Swap};

/// So many late collections in a row make a plugin degraded.
const LATE_DEGRADES: u32 = 3;

/// A call that is not back after so many of its plugin's deadlines hangs.
pub const HUNG_AFTER: u32 = 10;

/// Loading takes 20 ms; its slowest part, the child that tries the library,
/// is killed after 10 s. Longer than this means a disk that does not answer.
const LOAD_WITHIN: Duration = Duration::from_secs(60);

/// Of a stop that is not the agent's own end.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// After so long what was given up is tried once more: whatever was wrong may
/// be over, and nobody may be looking.
const TRY_AGAIN: Duration = Duration::from_secs(3600);

/// So often within an hour over its budget, and it is quarantined: what it
/// needs is more than it is allowed, and each time costs a minute of it.
const MOST_BREACHES: usize = 3;

/// Threads that hang cannot be ended, and each holds what its instance held.
const MOST_LEFT_BEHIND: usize = 8;

/// The life of one plugin.
#[derive(Debug)]
pub struct Life {
    state: State,
    /// Why it is in that state.
    reasons: Vec<String>,
    goal: Goal,
    /// Its tries to run, counted. What comes from an earlier one is passed over.
    attempt: u64,
    /// The last number that was given: that of a generation beside is higher.
    last: u64,
    /// Another generation is about to take its place.
    swap: Option<Swap>,
    deadline: Duration,
    has_thread: bool,
    /// The attempts that run in a process of their own, which can be killed:
    /// nothing of them is ever left behind.
    apart: BTreeSet<u64>,
    /// What it was asked, since when, and for how long at most.
    busy: Option<(Call, Instant, Duration)>,
    retry_at: Option<Instant>,
    /// Until then what this node lacks may only be starting.
    patient_until: Option<Instant>,
    row: Row,
    /// Late collections in a row, and when the last one was noticed.
    late: u32,
    last_late: Option<Instant>,
    active_since: Option<Instant>,
    /// What is missing since it was activated, and by its last word on its health.
    missing: Vec<String>,
    unwell: Vec<String>,
    /// The attempts whose threads were left behind and have not come back.
    left_behind: BTreeSet<u64>,
    settled: bool,
    /// Why it is asked to end, where it took more than it may; and when that
    /// was before.
    breach: Option<String>,
    breaches: Vec<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Run,
    Off,
    End,
}

impl Life {
    /// A plugin that shall not run.
    pub fn new(deadline: Duration) -> Self {
        Self {
            state: State::Disabled,
            reasons: Vec::new(),
            goal: Goal::Off,
            attempt: 0,
            last: 0,
            swap: None,
            deadline,
            has_thread: false,
            apart: BTreeSet::new(),
            busy: None,
            retry_at: None,
            patient_until: None,
            row: Row::default(),
            late: 0,
            last_late: None,
            active_since: None,
            missing: Vec::new(),
            unwell: Vec::new(),
            left_behind: BTreeSet::new(),
            settled: true,
            breach: None,
            breaches: Vec::new(),
        }
    }

    pub fn state(&self) -> State {
        self.state
    }
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }
    pub fn is_current(&self, attempt: u64) -> bool {
        self.attempt == attempt
    }
    #[cfg(test)]
    pub fn attempt(&self) -> u64 {
        self.attempt
    }
    /// What is wrong with it by its own word since it was activated, or because
    /// it is late: not what its probe said was missing.
    pub fn complaints(&self) -> Vec<String> {
        self.reasons.iter().filter(|why| !self.missing.contains(why)).cloned().collect()
    }
    pub fn failures(&self) -> u32 {
        self.row.len()
    }
    pub fn left_behind(&self) -> usize {
        self.left_behind.len()
    }
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }
    /// What this node lacks may be there by then: it is tried again at that time
    /// where it would be later.
    pub fn be_patient_until(&mut self, until: Instant) {
        self.patient_until = Some(until);
    }
    /// An attempt runs in a process of its own.
    pub fn runs_apart(&mut self, attempt: u64) {
        self.apart.insert(attempt);
    }
    /// The thread of an attempt ended, perhaps one that was left behind.
    pub fn returned(&mut self, attempt: u64) {
        self.left_behind.remove(&attempt);
        self.apart.remove(&attempt);
    }
    /// Whether how it is was found out once since somebody last wished for
    /// something. What it does by itself later does not change that.
    pub fn is_settled(&self) -> bool {
        self.settled
    }
    /// When it is tried again by itself.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
    /// When [`Event::Time`] may change something.
    pub fn next(&self) -> Option<Instant> {
        let tried = self.swap.as_ref().and_then(|swap| swap.busy);
        let overdue = self.busy.into_iter().chain(tried).map(|(_, since, limit)| since + limit);
        overdue.chain(self.retry_at).min()
    }
    /// Whether a call lasts longer than a collection may.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.busy.is_some_and(|(_, since, _)| now.saturating_duration_since(since) > self.deadline)
    }

    /// Takes an event.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Do> {
        match event {
            // Nothing leads back from the end of the agent: a reload that is
            // under way must start nothing that nobody would stop.
            Event::Enable | Event::Disable if self.goal == Goal::End => Vec::new(),
            Event::Enable => {
                let off = self.goal == Goal::Off;
                (self.goal, self.settled) = (Goal::Run, self.settled && !off);
                if self.state == State::Disabled { self.begin(now) } else { Vec::new() }
            }
            Event::Disable => self.leave(Goal::Off, STOP_WITHIN, now),
            Event::End { within } => self.leave(Goal::End, within, now),
            Event::Restart if self.goal == Goal::Run => {
                self.row.end();
                self.breaches.clear();
                self.settled = false;
                if self.state == State::Stopping || self.has_thread {
                    self.leave(Goal::Run, STOP_WITHIN, now)
                } else {
                    self.begin(now)
                }
            }
            Event::Restart => Vec::new(),
            Event::Breach(why) if self.state.collects() && self.swap.is_none() => {
                self.breach = Some(why);
                self.leave(self.goal, STOP_WITHIN, now)
            }
            // It ends anyhow, or another generation comes.
            Event::Breach(_) => Vec::new(),
            Event::Swap { exclusive } => self.swap(exclusive),
            Event::Of(attempt, progress) if self.is_current(attempt) => {
                self.progress(progress.bounded(), now)
            }
            Event::Of(attempt, progress) if self.is_tried(attempt) => self.tried(progress.bounded(), now),
            Event::Of(..) => Vec::new(),
            Event::InTime => {
                (self.late, self.last_late) = (0, None);
                self.settle();
                Vec::new()
            }
            Event::Late => {
                // Scrapes that wait side by side miss the same collection.
                let another =
                    self.last_late.is_none_or(|at| now.saturating_duration_since(at) >= self.deadline);
                if self.state.collects() && another {
                    (self.late, self.last_late) = (self.late.saturating_add(1), Some(now));
                    self.settle();
                }
                Vec::new()
            }
            Event::Time => self.time(now),
        }
    }

    fn progress(&mut self, progress: Progress, now: Instant) -> Vec<Do> {
        if self.state == State::Stopping {
            return match progress {
                Progress::Stopped(problem) => self.stopped(problem, now),
                Progress::Failed(Failure::Fault(why) | Failure::Unsupported(why)) => {
                    self.stopped(Some(why), now)
                }
                // It was asked to stop meanwhile: that is what is waited for.
                _ => Vec::new(),
            };
        }
        let progress = match self.swapping(progress, now) {
            Ok(todo) => return todo,
            Err(progress) => progress,
        };
        match progress {
            Progress::Verified => self.enter(State::Verified, Vec::new()),
            Progress::Probed => self.enter(State::Probed, Vec::new()),
            Progress::Created => self.enter(State::Created, Vec::new()),
            Progress::Started => self.enter(State::Started, Vec::new()),
            Progress::Ready => self.enter(State::Ready, Vec::new()),
            Progress::Began(call) => {
                self.has_thread = true;
                self.busy = Some((call, now, self.deadline * HUNG_AFTER));
            }
            Progress::Ended => self.busy = None,
            Progress::Activated(missing) => {
                (self.missing, self.unwell, self.busy) = (missing, Vec::new(), None);
                (self.late, self.last_late, self.active_since) = (0, None, Some(now));
                self.state = State::Running;
                self.settle();
            }
            Progress::Collected(unwell) => {
                self.unwell = unwell;
                if self.active_since.is_some_and(|since| now.saturating_duration_since(since) >= STABLE) {
                    self.row.end();
                }
                self.settle();
            }
            Progress::Failed(Failure::Unsupported(why)) => {
                let todo = self.no_swap(&format!("the generation that runs failed meanwhile: {why}"));
                self.let_go();
                let patience = self.patient_until.filter(|until| now < *until);
                self.retry_at = Some(patience.unwrap_or(now + TRY_AGAIN));
                self.enter(State::Unsupported, vec![why]);
                return todo;
            }
            Progress::Failed(Failure::Fault(why)) => {
                let todo = self.no_swap(&format!("the generation that runs failed meanwhile: {why}"));
                self.failed(State::Failed, why, now);
                return todo;
            }
            // Nobody asked it to: an instance that ends by itself has failed.
            Progress::Stopped(problem) => {
                let why = problem.unwrap_or_else(|| "it ended by itself".to_owned());
                let todo = self.no_swap(&format!("the generation that runs failed meanwhile: {why}"));
                self.failed(State::Failed, why, now);
                return todo;
            }
        }
        Vec::new()
    }

    fn time(&mut self, now: Instant) -> Vec<Do> {
        let todo = self.tried_too_long(now);
        if !todo.is_empty() {
            return todo;
        }
        if let Some((call, since, limit)) = self.busy
            && now >= since + limit
        {
            let attempt = self.attempt;
            let why = format!("{} did not come back within {limit:?}", call.as_str());
            if call == Call::Load {
                self.failed(State::Failed, format!("{why}; is its disk there?"), now);
                return Vec::new();
            }
            let why = if self.apart.contains(&attempt) {
                format!("{why}; its process was killed")
            } else {
                self.left_behind.insert(attempt);
                format!("{why}; its thread was left behind")
            };
            let mut todo = vec![Do::Abandon { attempt }];
            if self.state == State::Stopping {
                todo.extend(self.stopped(Some(why), now));
            } else if self.swap.as_ref().is_some_and(|swap| swap.phase != Phase::Trying) {
                todo.extend(self.ended_in_swap(why, State::Hung, now));
            } else {
                todo.extend(self.no_swap(&format!("the generation that runs hangs: {why}")));
                self.failed(State::Hung, why, now);
            }
            return todo;
        }
        if self.retry_at.is_some_and(|at| now >= at) { self.begin(now) } else { Vec::new() }
    }

    /// A new attempt.
    fn begin(&mut self, now: Instant) -> Vec<Do> {
        self.let_go();
        self.busy = Some((Call::Load, now, LOAD_WITHIN));
        self.enter(State::Discovered, Vec::new());
        vec![Do::Launch { attempt: self.attempt }]
    }

    /// Towards a goal for which its thread must end.
    fn leave(&mut self, goal: Goal, within: Duration, now: Instant) -> Vec<Do> {
        self.goal = goal;
        self.retry_at = None;
        // In a swap it was asked to stop already.
        let parting = self.swap.as_ref().is_some_and(|swap| swap.phase == Phase::Parting);
        let mut todo = self.no_swap("it was stopped meanwhile");
        if !self.has_thread {
            todo.extend(self.stopped(None, now));
            return todo;
        }
        let waited = self.state == State::Stopping;
        if !waited || goal == Goal::End {
            self.busy = Some((Call::Stop, now, within));
        }
        self.enter(State::Stopping, Vec::new());
        if !waited && !parting {
            todo.push(Do::Stop { attempt: self.attempt, within });
        }
        todo
    }

    fn stopped(&mut self, problem: Option<String>, now: Instant) -> Vec<Do> {
        let hung = self.busy.is_some_and(|(call, since, limit)| call == Call::Stop && now >= since + limit);
        self.let_go();
        let reasons: Vec<String> = problem.into_iter().collect();
        let breach = self.breach.take();
        match self.goal {
            Goal::Run if breach.is_some() => self.breached(&breach.unwrap_or_default(), now),
            Goal::Run if hung && self.left_behind.len() >= MOST_LEFT_BEHIND => {
                self.quarantine(reasons.join("; "), now);
            }
            Goal::Run => {
                let todo = self.begin(now);
                // It would not be seen otherwise.
                self.reasons = reasons;
                return todo;
            }
            Goal::Off => {
                self.row.end();
                self.enter(State::Disabled, reasons);
            }
            // Nothing was left to stop of what never ran.
            Goal::End if self.state == State::Disabled => {}
            Goal::End => self.enter(if hung { State::Hung } else { State::Stopped }, reasons),
        }
        Vec::new()
    }

    /// It took more than it may, and has ended.
    fn breached(&mut self, why: &str, now: Instant) {
        self.breaches.retain(|at| now.saturating_duration_since(*at) < TRY_AGAIN);
        self.breaches.push(now);
        self.failed(State::Failed, format!("over its budget: {why}"), now);
        if self.breaches.len() >= MOST_BREACHES && self.state != State::Quarantined {
            let why = self.reasons.join("; ");
            self.quarantine(why, now);
        }
    }

    fn failed(&mut self, state: State, why: String, now: Instant) {
        self.let_go();
        if let Some(wait) = self.row.failed().filter(|_| self.left_behind.len() < MOST_LEFT_BEHIND) {
            self.retry_at = Some(now + wait);
            return self.enter(state, vec![why]);
        }
        self.quarantine(why, now);
    }

    fn quarantine(&mut self, why: String, now: Instant) {
        self.retry_at = Some(now + TRY_AGAIN);
        let record = if self.left_behind.len() >= MOST_LEFT_BEHIND {
            format!("{} of its threads hang", self.left_behind.len())
        } else if self.breaches.len() >= MOST_BREACHES {
            format!("that was so {MOST_BREACHES} times within an hour")
        } else {
            format!("it failed {MOST} times in a row or more")
        };
        let remedy = "restart it, or change its section or its file; it is tried again in an hour";
        self.enter(State::Quarantined, vec![why, format!("{record}; {remedy}")]);
    }

    /// Of the present attempt nothing more is expected.
    fn let_go(&mut self) {
        self.attempt = self.number();
        self.has_thread = false;
        (self.busy, self.retry_at, self.active_since) = (None, None, None);
    }

    /// The number of a new attempt.
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Running or degraded, by all that is known.
    fn settle(&mut self) {
        if !self.state.collects() {
            return;
        }
        let mut reasons = self.missing.clone();
        // Many a plugin says the same of itself as its probe did.
        reasons.extend(self.unwell.iter().filter(|one| !self.missing.contains(one)).cloned());
        if self.late >= LATE_DEGRADES {
            // No number of its own: each further one would be news.
            reasons.push(format!(
                "its collections are late: {LATE_DEGRADES} or more in a row took longer than {:?}",
                self.deadline
            ));
        }
        let state = if reasons.is_empty() { State::Running } else { State::Degraded };
        self.enter(state, reasons);
    }

    fn enter(&mut self, state: State, reasons: Vec<String>) {
        self.settled |= state.settled();
        (self.state, self.reasons) = (state, reasons);
    }
}
