//! The thread of one plugin: the only one that calls it.

use super::services::Services;
use super::sink::ArenaSink;
use super::state::State;
use super::unit::Unit;
use crate::loader::Loaded;
use crate::metrics::HostLabels;
use crate::metrics::own::Own;
use gantry_exposition::{Arena, Taken};
use gantry_plugin_api::error::ErrorKind;
use gantry_plugin_api::{Error, Health};
use gantry_pluginfile::{Instance, Library};
use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{oneshot, watch};

/// What a thread is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Collect; says `true` when it is over, well or not.
    Collect { done: watch::Sender<bool> },
    /// End.
    Stop { deadline: Duration, done: oneshot::Sender<()> },
}

/// What a thread begins with.
#[derive(Debug)]
pub struct Job {
    pub loaded: Loaded,
    pub services: Services,
    pub labels: Arc<HostLabels>,
    pub log_level: u32,
}

/// A collection may emit more samples than it may have series (duplicates,
/// refusals), but not without bound.
const SAMPLES_PER_SERIES: usize = 2;

struct Worker<'a> {
    unit: &'a Unit,
    own: &'a Own,
    labels: Arc<HostLabels>,
    instance: Option<Instance>,
    arena: Arena,
    /// What the probe found missing; true for as long as it runs.
    degraded: Vec<String>,
    /// The plugin's own words for what it skips, which become label values.
    reasons: BTreeSet<String>,
}

/// More reasons than these are counted together.
const MAX_REASONS: usize = 32;

/// The thread's body.
pub fn run(
    unit: &Arc<Unit>,
    job: Job,
    own: &Own,
    commands: &mpsc::Receiver<Command>,
    started: oneshot::Sender<()>,
) {
    let limit = unit.config.max_series.saturating_mul(SAMPLES_PER_SERIES).saturating_add(1024);
    let mut worker = Worker {
        unit,
        own,
        labels: job.labels.clone(),
        instance: None,
        arena: Arena::with_limit(limit),
        degraded: Vec::new(),
        reasons: BTreeSet::new(),
    };
    if let Err(error) = worker.start(&job) {
        worker.fail(&error);
    }
    drop(job);
    // Nobody waits any more when the agent ends during the start.
    let _ = started.send(());
    while let Ok(command) = commands.recv() {
        match command {
            Command::Collect { done } => {
                worker.collect();
                unit.landed();
                // Whoever asked may have gone.
                let _ = done.send(true);
            }
            Command::Stop { deadline, done } => {
                worker.stop(deadline);
                let _ = done.send(());
                return;
            }
        }
    }
}

impl Worker<'_> {
    fn start(&mut self, job: &Job) -> Result<(), Error> {
        let unit = self.unit;
        let library = Library::open(job.loaded.place.path()).map_err(|error| {
            if let gantry_pluginfile::OpenError::Layout { report, .. } = &error {
                tracing::debug!("plugin {}: {report}", unit.name());
            }
            Error::new(error)
        })?;
        self.own.generation(unit.name());
        let host = job.services.for_plugin(&job.loaded.verified.manifest);
        let mut instance = library.create(host, job.log_level)?;
        unit.enter(State::Created, Vec::new());
        let config = unit.config.table.to_json();
        let probe = instance.probe(&config)?;
        if !probe.unsupported.is_empty() {
            return Err(Error::unsupported(probe.unsupported.join("; ")));
        }
        instance.start(&config)?;
        self.instance = Some(instance);
        unit.enter(State::Started, Vec::new());
        self.trial()?;
        unit.enter(State::Ready, Vec::new());
        self.instance()?.activate(None)?;
        self.degraded = probe.degraded;
        self.settle();
        Ok(())
    }

    fn instance(&mut self) -> Result<&mut Instance, Error> {
        self.instance.as_mut().ok_or_else(|| Error::new("it is not started"))
    }

    /// A collection that is thrown away: whether it works is all that counts.
    fn trial(&mut self) -> Result<(), Error> {
        let (arena, collected) = self.filled();
        self.arena = arena;
        collected
    }

    /// The arena with what one collection of the plugin's put into it.
    fn filled(&mut self) -> (Arena, Result<(), Error>) {
        let mut arena = std::mem::replace(&mut self.arena, Arena::with_limit(0));
        arena.clear();
        let collected =
            self.instance().and_then(|instance| instance.collect(ArenaSink(&mut arena).crossing()));
        (arena, collected)
    }

    fn collect(&mut self) {
        let begin = Instant::now();
        let (arena, collected) = self.filled();
        match collected {
            Ok(()) => self.take_over(&arena),
            Err(error) => self.fail(&error),
        }
        self.arena = arena;
        self.own.collected(self.unit.name(), begin.elapsed());
    }

    fn take_over(&mut self, arena: &Arena) {
        let unit = self.unit;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let taken = {
            let mut table = unit.table();
            let Some(table) = table.as_mut() else { return };
            let taken = table.take(arena, &*self.labels, now, true);
            unit.good_collection();
            taken
        };
        self.count(arena, &taken);
        let heap = self.instance.as_ref().map(Instance::heap_bytes);
        unit.change(|status| {
            status.samples = taken.samples;
            status.series = taken.series;
            status.heap_bytes = heap;
        });
        self.settle();
    }

    fn count(&mut self, arena: &Arena, taken: &Taken) {
        for (reason, count) in &taken.refused {
            self.own.refused(self.unit.name(), reason.as_str(), *count);
        }
        for (reason, count) in arena.skipped_by_reason() {
            let known = self.reasons.contains(reason)
                || (self.reasons.len() < MAX_REASONS && self.reasons.insert(reason.to_owned()));
            self.own.skipped(self.unit.name(), if known { reason } else { "other" }, count);
        }
        if let Some(example) = &taken.example {
            tracing::debug!("plugin {}: refused samples, the first: {example}", self.unit.name());
        }
    }

    /// Running or degraded, as its probe found and as the plugin itself says.
    fn settle(&mut self) {
        let mut reasons = self.degraded.clone();
        match self.instance().and_then(|instance| instance.health()) {
            Ok(Health::Degraded(more)) => reasons.extend(more),
            Ok(_) => {}
            Err(error) => return self.fail(&error),
        }
        let state = if reasons.is_empty() { State::Running } else { State::Degraded };
        self.unit.enter(state, reasons);
    }

    fn fail(&mut self, error: &Error) {
        let state = match error.kind() {
            ErrorKind::Unsupported => State::Unsupported,
            _ => State::Failed,
        };
        if error.kind() == ErrorKind::Panicked {
            self.own.panicked(self.unit.name());
        }
        self.unit.enter(state, vec![error.message().to_owned()]);
        self.unit.change(|status| status.up = false);
        // A poisoned instance is asked nothing more; one that failed ends.
        if let Some(mut instance) = self.instance.take()
            && error.kind() != ErrorKind::Panicked
        {
            // The state says already that it failed.
            let _ = instance.stop(Duration::from_secs(1));
        }
    }

    fn stop(&mut self, deadline: Duration) {
        if let Some(mut instance) = self.instance.take() {
            self.unit.enter(State::Stopping, Vec::new());
            match instance.stop(deadline) {
                Ok(_) => self.unit.enter(State::Stopped, Vec::new()),
                Err(error) => self.unit.enter(State::Failed, vec![format!("stop: {error}")]),
            }
        }
    }
}
