//! One generation takes the place of another: what [`super::life`] asks for is
//! done here.

use super::life::{Event, Failure, Progress};
use super::lock;
use super::probation::{Before, Probation, Trouble};
use super::unit::{Thread, Unit};
use super::worker::{Command, Generation as Thereby, Turn};
use crate::config::PluginConfig;
use crate::loader::Loaded;
use crate::records::{Entry, File, OnProbation, What};
use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// A generation that is about to take the place of the one that serves.
#[derive(Debug)]
pub(super) struct Beside {
    loaded: Arc<Loaded>,
    config: Arc<PluginConfig>,
    apart: bool,
    stands_in: bool,
    /// What is asked of the plugin while neither runs waits in it.
    commands: mpsc::Sender<Command>,
    queue: Option<mpsc::Receiver<Command>>,
    /// Opens when it may begin to count.
    gate: mpsc::Sender<()>,
    told: Option<mpsc::Receiver<()>>,
    reply: oneshot::Sender<Result<(), String>>,
    reason: Reason,
    /// What it takes the place of.
    before: Option<Previous>,
}

/// What one generation ran.
#[derive(Debug, Clone)]
pub struct Previous {
    pub loaded: Arc<Loaded>,
    pub config: Arc<PluginConfig>,
    /// Its section named another file: it ran by an operator's word.
    pub apart: bool,
    /// It stood in for a file that was rolled back from.
    pub stands_in: bool,
}

/// Why one generation takes the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Another file.
    Upgrade,
    /// The file before, and why.
    Rollback(String),
    /// Another section.
    Reconfigure,
}

/// What to start: a file, and the section that it runs with.
#[derive(Debug)]
pub struct Generation {
    pub loaded: Arc<Loaded>,
    pub config: PluginConfig,
    /// Its section names another file: it runs by an operator's word.
    pub apart: bool,
    /// It stands in for a file that was rolled back from.
    pub stands_in: bool,
}

impl Unit {
    /// Puts another generation in the place of the one that runs. An error says
    /// why that one goes on.
    pub async fn swap(self: &Arc<Self>, next: Generation, reason: Reason) -> Result<(), String> {
        let Generation { loaded, config, apart, stands_in } = next;
        let exclusive = |loaded: &Loaded| loaded.verified.manifest.exclusive;
        let exclusive = exclusive(&loaded) || self.loaded().is_some_and(|loaded| exclusive(&loaded));
        let (reply, answer) = oneshot::channel();
        {
            let mut beside = lock(&self.beside);
            if beside.is_some() {
                return Err("another generation is about to take its place".to_owned());
            }
            let ((commands, queue), (gate, told)) = (mpsc::channel(), mpsc::channel());
            let (queue, told) = (Some(queue), Some(told));
            let config = Arc::new(config);
            *beside = Some(Beside {
                loaded,
                config,
                apart,
                stands_in,
                commands,
                queue,
                gate,
                told,
                reply,
                reason,
                before: None,
            });
        }
        self.apply(Event::Swap { exclusive });
        // What it asked for ends by its own time-outs.
        answer.await.unwrap_or_else(|_| Err("the agent ends".to_owned()))
    }

    /// Starts the thread of the one beside.
    pub(super) fn begin_trial(self: &Arc<Self>, attempt: u64) {
        let ready = lock(&self.beside).as_mut().and_then(|beside| {
            let (loaded, config) = (beside.loaded.clone(), beside.config.clone());
            let turn = Turn::Told(beside.told.take()?);
            Some((Thereby { attempt, loaded, config, turn }, beside.queue.take()?))
        });
        if let Some((generation, queue)) = ready {
            self.run(generation, queue);
        }
    }

    /// Behind what was asked of the one that serves it is asked to end; what
    /// comes later waits for the next.
    pub(super) fn part(&self, attempt: u64, next: u64, within: Duration) {
        let beside = lock(&self.beside);
        let mut thread = lock(&self.thread);
        let Some(serves) = thread.as_ref().filter(|thread| thread.attempt == attempt) else { return };
        // A thread that has ended says so itself.
        let _ = serves.commands.send(Command::Stop { within });
        if let Some(beside) = beside.as_ref() {
            *thread = Some(Thread { attempt: next, commands: beside.commands.clone() });
        }
    }

    pub(super) fn open_gate(&self, attempt: u64) {
        let beside = lock(&self.beside);
        let Some(beside) = beside.as_ref() else { return };
        let mut thread = lock(&self.thread);
        if thread.as_ref().is_none_or(|thread| thread.attempt != attempt) {
            *thread = Some(Thread { attempt, commands: beside.commands.clone() });
        }
        // One that has ended meanwhile says so itself.
        let _ = beside.gate.send(());
    }

    pub(super) fn drop_beside(&self, attempt: u64) {
        // The end of its queues tells its thread, wherever that is. Whoever
        // waits for the outcome is told next.
        if let Some(beside) = lock(&self.beside).as_mut() {
            (beside.gate, _) = mpsc::channel();
            (beside.commands, _) = mpsc::channel();
            (beside.queue, beside.told) = (None, None);
        }
        self.release_thread(attempt);
    }

    /// Makes the generation that served before anew.
    pub(super) fn restore(self: &Arc<Self>, attempt: u64) {
        let Some(loaded) = self.loaded() else {
            let why = "it is not known any more what ran; that is a fault of the host".to_owned();
            return self.apply(Event::Of(attempt, Progress::Failed(Failure::Fault(why))));
        };
        let (commands, queue) = mpsc::channel();
        {
            let life = lock(&self.life);
            if !life.is_current(attempt) {
                return;
            }
            *lock(&self.thread) = Some(Thread { attempt, commands });
        }
        self.run(Thereby { attempt, loaded, config: self.config(), turn: Turn::Again }, queue);
    }

    /// The one beside counts: its families and its section are in force. `false`
    /// where it was given up meanwhile.
    pub(super) fn take_place(&self, attempt: u64, loaded: &Arc<Loaded>, config: &Arc<PluginConfig>) -> bool {
        let span = self.parts.troubles.span();
        let complaints = self.complaints_now();
        let shown: BTreeSet<String> = {
            let table = self.series.table();
            table.iter().flat_map(|table| table.families_shown()).map(str::to_owned).collect()
        };
        if !self.register(attempt, loaded) {
            return false;
        }
        let previous = self.runs();
        let comes = lock(&self.beside).as_ref().map(|beside| (beside.apart, beside.stands_in));
        let (apart, stands_in) = comes.unwrap_or_default();
        if apart {
            // Before it is seen to serve: it is not written down as what served.
            self.set_apart(true);
        }
        self.set_config(config.as_ref().clone());
        self.set_loaded(Some(loaded.clone()), stands_in);
        let declared: BTreeSet<String> = {
            let table = self.series.table();
            table.iter().flat_map(|table| table.families_declared()).map(str::to_owned).collect()
        };
        // What the new one does not know any more has not vanished.
        let families = shown.intersection(&declared).cloned().collect();
        let mut beside = lock(&self.beside);
        let Some(beside) = beside.as_mut() else { return true };
        let losses = match beside.reason {
            // The same file with another section: what it loses stays its own.
            Reason::Reconfigure => BTreeSet::new(),
            // Of the one that served alone: what the new one loses is its own.
            _ => std::mem::take(&mut *lock(&self.losses)).since(Instant::now(), span),
        };
        let watched = beside.reason == Reason::Upgrade && !span.is_zero();
        let probation = watched.then(|| {
            let digest = &loaded.verified.bytes.digest;
            Probation::new(digest, (Instant::now(), span), Before { complaints, families, losses })
        });
        // In force before it says how it is.
        if beside.reason != Reason::Reconfigure {
            *lock(&self.probation) = probation;
        }
        beside.before = previous;
        true
    }

    pub(super) fn swapped(&self, outcome: Result<(), String>) {
        let Some(beside) = lock(&self.beside).take() else { return };
        let Beside { loaded, reason, before, reply, .. } = beside;
        let of = |loaded: &Loaded| {
            let (manifest, bytes) = (&loaded.verified.manifest, &loaded.verified.bytes);
            Some(File { version: manifest.version.clone(), digest: bytes.digest.clone() })
        };
        let from = before.as_ref().map(|before| before.loaded.clone()).or_else(|| self.loaded());
        let from = from.and_then(|loaded| of(&loaded));
        let (what, mut why) = match (&reason, outcome.is_ok()) {
            (Reason::Upgrade, true) => (What::Upgrade, ""),
            (Reason::Upgrade, false) => (What::UpgradeFailed, ""),
            (Reason::Rollback(why), true) => (What::Rollback, why.as_str()),
            (Reason::Rollback(why), false) => (What::RollbackFailed, why.as_str()),
            (Reason::Reconfigure, true) => (What::Reconfigure, ""),
            (Reason::Reconfigure, false) => (What::ReconfigureFailed, ""),
        };
        if let Err(error) = &outcome {
            why = error;
        }
        self.parts.records.happened(self.name(), Entry::now(what, from, of(&loaded), why));
        if outcome.is_ok() {
            match reason {
                Reason::Upgrade => *lock(&self.previous) = before,
                Reason::Rollback(_) => *lock(&self.previous) = None,
                Reason::Reconfigure => {}
            }
        }
        // Whoever asked may have gone.
        let _ = reply.send(outcome);
    }

    /// After each collection of an upgrade.
    pub(super) fn collected_on_probation(&self) {
        if lock(&self.probation).is_none() {
            return;
        }
        // What lasts is no news, of which it would hear otherwise.
        let complaints = {
            let life = lock(&self.life);
            if life.state().collects() { life.complaints() } else { Vec::new() }
        };
        let why = {
            let table = self.series.table();
            let mut probation = lock(&self.probation);
            let Some((table, probation)) = table.as_ref().zip(probation.as_mut()) else { return };
            let now = Instant::now();
            let vanished = probation.collected(table.families_shown(), now);
            let why = vanished.or_else(|| probation.on(Trouble::Complains(&complaints), now));
            why.map(|why| (probation.digest.clone(), why))
        };
        if let Some((digest, why)) = why {
            self.parts.troubles.tell(self.name(), &digest, why);
        }
    }

    /// A collection said by which reasons so many events are lost.
    pub(super) fn lost(&self, losses: &[(&str, u64)]) {
        let now = Instant::now();
        lock(&self.losses).note(losses, now);
        let mut probation = lock(&self.probation);
        let Some(watched) = probation.as_mut() else { return };
        if let Some(why) = watched.lost(losses, now) {
            self.parts.troubles.tell(self.name(), &watched.digest, why);
        }
    }

    /// What it runs, for whatever takes its place.
    pub fn runs(&self) -> Option<Previous> {
        let status = self.status();
        let (config, apart, stands_in) = (self.config(), self.is_apart(), status.stands_in);
        status.loaded.map(|loaded| Previous { loaded, config, apart, stands_in })
    }

    /// What ran before the last upgrade.
    pub fn previous(&self) -> Option<Previous> {
        lock(&self.previous).clone()
    }

    pub fn set_previous(&self, previous: Option<Previous>) {
        *lock(&self.previous) = previous;
    }

    /// For the next agent: the time after an upgrade, where it is not over.
    pub fn on_probation(&self) -> Option<OnProbation> {
        let now = (Instant::now(), SystemTime::now());
        lock(&self.probation).as_ref().map(|probation| probation.kept(now))
    }

    /// An upgrade of what did not serve just then, with nothing to compare with.
    pub fn probation_of(&self, loaded: &Loaded) -> Option<Probation> {
        let span = self.parts.troubles.span();
        let digest = &loaded.verified.bytes.digest;
        (!span.is_zero()).then(|| Probation::new(digest, (Instant::now(), span), Before::default()))
    }

    pub fn set_probation(&self, probation: Option<Probation>) {
        *lock(&self.probation) = probation;
    }

    /// What goes wrong from now on rolls nothing back.
    pub fn end_probation(&self) {
        *lock(&self.probation) = None;
    }
}
