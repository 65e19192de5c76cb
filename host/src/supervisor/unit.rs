//! One plugin, as the rest of the agent sees it.

use super::state::{State, Status};
use super::worker::{self, Command};
use crate::config::PluginConfig;
use crate::metrics::own::Own;
use gantry_exposition::Table;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// A plugin: its status and its series. Its thread alone calls it.
#[derive(Debug)]
pub struct Unit {
    pub config: PluginConfig,
    status: Mutex<Status>,
    /// The series of the last good collection; locked while they are taken
    /// over and while they are exposed, never while the plugin runs.
    table: Mutex<Option<Table>>,
    last_good: Mutex<Option<Instant>>,
    /// Counts collections that were taken over, so that an exposition that
    /// was made of the same ones can be used again.
    version: AtomicU64,
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    in_flight: Mutex<Option<InFlight>>,
    /// Whether the last collection that was asked for did not come in time.
    missed: AtomicBool,
}

/// A collection that was asked for and is not back.
#[derive(Debug, Clone)]
struct InFlight {
    since: Instant,
    done: watch::Receiver<bool>,
}

/// How current a plugin's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Of this collection.
    Fresh,
    /// Of one before; still shown.
    Stale,
    /// There are none to show.
    Nothing,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after each statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Unit {
    pub fn new(config: PluginConfig) -> Self {
        let state = if config.enabled { State::Discovered } else { State::Disabled };
        Self {
            config,
            status: Mutex::new(Status::new(state)),
            table: Mutex::default(),
            last_good: Mutex::default(),
            version: AtomicU64::new(0),
            commands: Mutex::default(),
            in_flight: Mutex::default(),
            missed: AtomicBool::new(false),
        }
    }

    pub fn name(&self) -> &str {
        &self.config.name
    }

    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    pub fn state(&self) -> State {
        lock(&self.status).state
    }

    pub fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut lock(&self.status));
    }

    /// Enters a state, and logs what an operator should know of it.
    pub fn enter(&self, state: State, reasons: Vec<String>) {
        let why = {
            let mut status = lock(&self.status);
            if !status.enter(state, reasons) {
                return;
            }
            crate::logging::printable(&status.reasons.join("; "))
        };
        let name = self.name();
        match state {
            State::Failed | State::Hung | State::Quarantined => {
                tracing::error!("plugin {name} is {}: {why}", state.as_str());
            }
            State::Degraded | State::Unsupported => {
                tracing::warn!("plugin {name} is {}: {why}", state.as_str());
            }
            State::Running | State::Stopped => tracing::info!("plugin {name} is {}", state.as_str()),
            _ => tracing::debug!("plugin {name} is {}", state.as_str()),
        }
    }

    /// Its series, while nobody changes them.
    pub fn table(&self) -> MutexGuard<'_, Option<Table>> {
        lock(&self.table)
    }

    pub fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }

    pub(super) fn good_collection(&self) {
        *lock(&self.last_good) = Some(Instant::now());
        self.version.fetch_add(1, Relaxed);
    }

    /// Starts its thread, which starts the plugin. The answer comes when the
    /// start is over, for better or worse.
    pub(super) fn launch(
        self: &Arc<Self>,
        job: worker::Job,
        own: Own,
    ) -> std::io::Result<oneshot::Receiver<()>> {
        let (commands, receiver) = mpsc::channel();
        let (started, answer) = oneshot::channel();
        let unit = self.clone();
        // Before the thread runs: a scrape may ask as soon as it says that it is running.
        *lock(&self.commands) = Some(commands);
        // 15 characters are what the kernel keeps of a thread's name.
        let name = format!("p:{}", self.name());
        std::thread::Builder::new()
            .name(name[..name.len().min(15)].to_owned())
            .spawn(move || worker::run(&unit, job, &own, &receiver, started))?;
        Ok(answer)
    }

    /// Asks for a collection and waits for it, at most until its deadline. One
    /// that is under way is shared; one that is overdue is not waited for again.
    pub async fn collect(&self, own: &Own) {
        if !self.state().collects() {
            return;
        }
        let back = match self.join_or_begin() {
            Some(mut flight) => {
                let left = self.config.deadline.saturating_sub(flight.since.elapsed());
                match tokio::time::timeout(left, flight.done.wait_for(|done| *done)).await {
                    Ok(Ok(_)) => Some(true),
                    Ok(Err(_)) => None,
                    Err(_) => Some(false),
                }
            }
            None => None,
        };
        let Some(in_time) = back else {
            self.enter(State::Failed, vec!["its thread ended; that is a fault of the host".to_owned()]);
            self.change(|status| status.up = false);
            return;
        };
        self.missed.store(!in_time, Relaxed);
        self.change(|status| status.up = in_time && status.state.collects());
        if !in_time {
            own.missed(self.name());
        }
    }

    fn join_or_begin(&self) -> Option<InFlight> {
        let mut in_flight = lock(&self.in_flight);
        if let Some(flight) = in_flight.as_ref() {
            return Some(flight.clone());
        }
        let (done, receiver) = watch::channel(false);
        lock(&self.commands).as_ref()?.send(Command::Collect { done }).ok()?;
        let flight = InFlight { since: Instant::now(), done: receiver };
        *in_flight = Some(flight.clone());
        Some(flight)
    }

    /// Whether it does not come back from its start or from a collection.
    pub(super) fn overdue(&self) -> bool {
        let deadline = self.config.deadline;
        !self.state().settled()
            || lock(&self.in_flight).as_ref().is_some_and(|flight| flight.since.elapsed() > deadline)
    }

    pub(super) fn landed(&self) {
        *lock(&self.in_flight) = None;
    }

    /// How current its samples are.
    pub fn freshness(&self, stale: Duration) -> Freshness {
        let missed = self.missed.load(Relaxed);
        match *lock(&self.last_good) {
            None => Freshness::Nothing,
            Some(_) if !missed && self.state().collects() => Freshness::Fresh,
            Some(at) if at.elapsed() <= stale => Freshness::Stale,
            Some(_) => Freshness::Nothing,
        }
    }

    /// Asks it to end, and waits for that.
    pub async fn stop(&self, deadline: Duration) {
        let Some(commands) = lock(&self.commands).take() else { return };
        let (done, answer) = oneshot::channel();
        if commands.send(Command::Stop { deadline, done }).is_err() {
            return;
        }
        if tokio::time::timeout(deadline, answer).await.is_err() {
            self.enter(
                State::Hung,
                vec![format!("stop took longer than {} ms; it was left behind", deadline.as_millis())],
            );
        }
    }
}
