//! Asking a plugin for a collection.

use super::life::Event;
use super::lock;
use super::unit::Unit;
use super::worker::Command;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// A collection that was asked for and is not back.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    /// Whose thread was asked.
    pub attempt: u64,
    since: Instant,
    done: watch::Receiver<bool>,
}

impl Unit {
    /// Asks for a collection and waits for it, at most until its deadline. One
    /// that is under way is shared; one that is overdue is not waited for again.
    pub async fn collect(self: &Arc<Self>) {
        let begin = Instant::now();
        let in_time = loop {
            if !self.state().collects() {
                return;
            }
            let Some(mut flight) = self.join_or_begin() else { return };
            let deadline = self.config().deadline;
            let left = deadline.saturating_sub(flight.since.elapsed());
            // Samples that come just now are of a collection that took too long.
            let in_time = !left.is_zero();
            match tokio::time::timeout(left, flight.done.wait_for(|done| *done)).await {
                Ok(Ok(_)) => break in_time,
                // A sender that is gone belongs to a thread that has failed, and has
                // said so. Where that was in a swap, another thread serves already.
                Ok(Err(_)) if begin.elapsed() < deadline && !self.is_current(flight.attempt) => {}
                Ok(Err(_)) => return,
                Err(_) => break false,
            }
        };
        if !self.state().collects() {
            return;
        }
        self.series.asked(in_time);
        self.change(|status| status.up = in_time);
        if in_time {
            self.apply(Event::InTime);
        } else {
            self.parts.own.missed(self.name());
            self.apply(Event::Late);
        }
    }

    fn join_or_begin(&self) -> Option<InFlight> {
        // The thread first: it is let go of under the same order.
        let thread = lock(&self.thread);
        let mut in_flight = lock(&self.in_flight);
        if let Some(flight) = in_flight.as_ref() {
            return Some(flight.clone());
        }
        let (done, receiver) = watch::channel(false);
        let thread = thread.as_ref()?;
        thread.commands.send(Command::Collect { done }).ok()?;
        let flight = InFlight { attempt: thread.attempt, since: Instant::now(), done: receiver };
        *in_flight = Some(flight.clone());
        Some(flight)
    }

    /// The collection of an attempt is over, and the next may be asked for.
    pub(super) fn landed(&self, attempt: u64) {
        let _thread = lock(&self.thread);
        let mut in_flight = lock(&self.in_flight);
        if in_flight.as_ref().is_some_and(|flight| flight.attempt == attempt) {
            *in_flight = None;
        }
    }
}
