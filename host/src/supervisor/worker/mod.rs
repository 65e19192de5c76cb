//! The thread of one attempt: the only one that calls the instance.

mod collection;
mod requests;

use super::life::{Call, Failure, Progress};
use super::life::{Event, STOP_WITHIN};
use super::lock;
use super::own_threads::OwnThreads;
use super::services::Speaker;
use super::state::State;
use super::unit::Unit;
use super::views::{Rows, ViewError};
use super::voice::Voice;
use crate::capabilities::dropped_need;
use crate::config::{Isolation, PluginConfig};
use crate::isolation::{self, Process};
use crate::loader::Loaded;
use gantry_crash::Stamp;
use gantry_exposition::Arena;
use gantry_plugin_api::Error;
use gantry_plugin_api::abi::HostBox;
use gantry_plugin_api::error::ErrorKind;
use gantry_pluginfile::{Instance, Library, OpenError};
use rustix::time::{ClockId, clock_gettime};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// What a thread is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Collect; says `true` when it is over, well or not.
    Collect { done: watch::Sender<bool> },
    /// Fill a view.
    View { name: String, reply: oneshot::Sender<Result<Rows, ViewError>> },
    /// Take a configuration (JSON): `true` when it is in force, `false` when
    /// a new instance must be made for it.
    Reconfigure { config: String, reply: oneshot::Sender<Result<bool, String>> },
    /// Say how many bytes of heap it has, and let its threads be counted.
    Taken { reply: oneshot::Sender<Option<u64>> },
    /// Log from this level on.
    LogLevel(u32),
    /// Its process is no more, unasked.
    Gone,
    /// End.
    Stop { within: Duration },
}

/// What a thread runs.
#[derive(Debug)]
pub struct Generation {
    pub attempt: u64,
    pub loaded: Arc<Loaded>,
    pub config: Arc<PluginConfig>,
    pub turn: Turn,
}

/// When an instance may begin to count.
#[derive(Debug)]
pub enum Turn {
    /// When it is ready: its families are registered.
    Now,
    /// When it is ready, in the place of one that could not go on.
    Again,
    /// When it is told; the end of this queue says never.
    Told(mpsc::Receiver<()>),
}

impl Turn {
    /// Another one serves meanwhile: what this one says waits, and what is said
    /// of it holds when it takes the place. Of every other one it holds from
    /// before its start on, in which it says whom it does not ask.
    fn on_trial(&self) -> bool {
        matches!(self, Self::Told(_))
    }
}

struct Worker {
    unit: Arc<Unit>,
    attempt: u64,
    config: Arc<PluginConfig>,
    turn: Turn,
    instance: Option<Instance>,
    /// Through which it tells the host what it knows.
    speaker: Option<Speaker>,
    /// Where it runs, if not here, and how much of its CPU time was counted.
    process: Option<(Arc<Process>, Duration)>,
    arena: Arena,
    max_series: usize,
    /// There is something of the author's to stop.
    started: bool,
    /// It counts: what it hands over is worth keeping.
    activated: bool,
    /// When it was last asked for a snapshot.
    snapshot_at: Option<Instant>,
    /// It was said once that no snapshot can be had.
    snapshot_complained: bool,
    /// Where it is noted that this thread is in a call of the plugin's; none
    /// where the plugin is in a process of its own.
    stamp: Option<Stamp>,
    own_threads: OwnThreads,
}

/// Starts the thread, which starts the plugin.
pub fn spawn(
    unit: Arc<Unit>,
    generation: Generation,
    commands: mpsc::Receiver<Command>,
) -> std::io::Result<()> {
    // 15 characters are what the kernel keeps of a thread's name.
    let name = format!("p:{}", unit.name());
    std::thread::Builder::new()
        .name(name[..name.len().min(15)].to_owned())
        .spawn(move || run(unit, generation, &commands))
        .map(drop)
}

fn run(unit: Arc<Unit>, generation: Generation, commands: &mpsc::Receiver<Command>) {
    let Generation { attempt, loaded, config, turn } = generation;
    unit.parts.works(true);
    let _end = End { unit: unit.clone(), attempt };
    let mut worker = Worker {
        unit,
        attempt,
        config,
        turn,
        instance: None,
        speaker: None,
        process: None,
        arena: Arena::with_limit(0),
        max_series: 0,
        started: false,
        activated: false,
        snapshot_at: None,
        snapshot_complained: false,
        stamp: None,
        own_threads: OwnThreads::default(),
    };
    if worker.unit.state() == State::Stopping {
        return worker.say(Progress::Stopped(None));
    }
    let before = worker.cpu();
    let started = worker.start(&loaded);
    // What it holds of the file is the placed copy's path and the description.
    drop(loaded);
    if let Err(error) = started {
        worker.fail(&error);
    }
    worker.spent(before);
    worker.meet_threads();
    while worker.instance.is_some() {
        let Ok(command) = commands.recv() else {
            // It was left behind, and has come back: it ends quietly.
            worker.stop_quietly();
            return;
        };
        let before = worker.cpu();
        worker.serve(command);
        worker.spent(before);
        worker.meet_threads();
    }
}

/// Calls the plugin, in sight of the next start of the agent: should this end
/// the process, it is known whose call it was.
fn stamped<T>(unit: &Unit, stamp: Option<&Stamp>, call: Call, body: impl FnOnce() -> T) -> T {
    if let Some(stamp) = stamp {
        stamp.enter(call.number());
    }
    let done = body();
    if let Some(stamp) = stamp {
        // Who looks at the same time has to see that this one may have set some.
        if let Some(who) = unit.parts.crashes.mind_handlers(unit.name(), call.as_str()) {
            unit.parts.own.handlers_replaced(&who);
        }
        stamp.leave();
    }
    done
}

/// Says how the thread ended where it could not say it itself.
struct End {
    unit: Arc<Unit>,
    attempt: u64,
}

impl Drop for End {
    fn drop(&mut self) {
        let why = "its thread ended; that is a fault of the host".to_owned();
        // Passed over after an orderly end.
        self.unit.apply(Event::Of(self.attempt, Progress::Failed(Failure::Fault(why))));
        self.unit.thread_ended(self.attempt);
        self.unit.parts.works(false);
    }
}

impl Worker {
    fn serve(&mut self, command: Command) {
        match command {
            Command::Collect { done } => {
                self.collect();
                self.unit.landed(self.attempt);
                // Whoever asked may have gone.
                let _ = done.send(true);
            }
            // Nobody waits any more for what was asked of a plugin that was busy.
            Command::View { reply, .. } if reply.is_closed() => {}
            Command::View { name, reply } => drop(reply.send(self.view(&name))),
            Command::Reconfigure { reply, .. } if reply.is_closed() => {}
            Command::Reconfigure { config, reply } => drop(reply.send(self.reconfigure(&config))),
            Command::LogLevel(level) => {
                // The level cannot be refused.
                let _ = self.call(Call::LogLevel, |instance| {
                    instance.set_log_level(level);
                    Ok(())
                });
                self.say(Progress::Ended);
            }
            Command::Gone => {
                let how = self.process.as_ref().map(|(process, _)| process.how_it_ended());
                self.fail(&Error::new(how.unwrap_or_default()));
            }
            Command::Taken { reply } if reply.is_closed() => {}
            Command::Taken { reply } => drop(reply.send(self.taken())),
            Command::Stop { within } => self.stop(within),
        }
    }

    fn say(&self, progress: Progress) {
        self.unit.apply(Event::Of(self.attempt, progress));
    }

    /// Whether this attempt still counts.
    fn is_current(&self) -> bool {
        self.unit.is_current(self.attempt)
    }

    /// Asks the instance, in sight of the supervisor.
    fn call<T>(
        &mut self,
        call: Call,
        body: impl FnOnce(&mut Instance) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let instance = self.instance.as_mut().ok_or_else(|| Error::new("it is not started"))?;
        if !self.unit.is_live(self.attempt) {
            // It was left behind and came back: another instance may run, and
            // this one must not attach or count anything beside it.
            return Err(Error::new("it was given up"));
        }
        self.unit.apply(Event::Of(self.attempt, Progress::Began(call)));
        stamped(&self.unit, self.stamp.as_ref(), call, || body(instance))
    }

    fn start(&mut self, loaded: &Arc<Loaded>) -> Result<(), Error> {
        let missing = self.prepare(loaded)?;
        if let Turn::Told(told) = &self.turn
            && told.recv().is_err()
        {
            self.stop_quietly();
            return Ok(());
        }
        self.activate(loaded, missing)
    }

    /// Creates, probes, starts and tries it; says what is missing.
    fn prepare(&mut self, loaded: &Loaded) -> Result<Vec<String>, Error> {
        let unit = self.unit.clone();
        if let Some(lacks) = dropped_need(&loaded.verified) {
            return Err(Error::unsupported(lacks));
        }
        let level = unit.parts.log_level(unit.name()) as u32;
        let on_trial = self.turn.on_trial();
        let voice = if on_trial { Voice::waiting() } else { Voice::heard() };
        let (host, speaker) = unit.parts.services.for_generation(&loaded.verified.manifest, voice);
        self.speaker = Some(speaker);
        if !on_trial {
            self.provide(loaded);
            self.forget_reports();
        }
        self.say(Progress::Began(Call::Create));
        self.instance = Some(match loaded.verified.isolation {
            Isolation::None => {
                self.stamp = unit.parts.crashes.thread(unit.name());
                let library = stamped(&self.unit, self.stamp.as_ref(), Call::Load, || self.open(loaded))?;
                stamped(&self.unit, self.stamp.as_ref(), Call::Create, || library.create(host, level))?
            }
            Isolation::Process => self.launch(loaded, level, host)?,
        });
        self.say(Progress::Created);
        let config = self.config.table.to_json();
        let probe = self.call(Call::Probe, |instance| instance.probe(&config))?;
        if !probe.unsupported.is_empty() {
            return Err(Error::unsupported(probe.unsupported.join("; ")));
        }
        self.call(Call::Start, |instance| instance.start(&config))?;
        self.started = true;
        self.say(Progress::Started);
        // Whether it works is all that counts of the trial.
        self.arena = self.filled()?;
        self.say(Progress::Ready);
        Ok(probe.degraded)
    }

    /// The identity service hears from it.
    fn provide(&self, loaded: &Loaded) {
        let manifest = &loaded.verified.manifest;
        let identity = &self.unit.parts.services.identity;
        if manifest.provides_identity.is_empty() {
            // The generation before may have been one.
            identity.provider_gone(&manifest.name);
        } else {
            identity.set_provider(&manifest.name, &manifest.provides_identity);
        }
    }

    /// What the instance before had is gone with it: one that reports nothing is
    /// not to be ended for that.
    fn forget_reports(&self) {
        self.unit.parts.services.reports.forget(self.unit.name());
    }

    /// From here on it counts, where the one before stopped.
    fn activate(&mut self, loaded: &Arc<Loaded>, missing: Vec<String>) -> Result<(), Error> {
        let unit = self.unit.clone();
        let (kept, whole) = {
            let kept = lock(&unit.kept);
            (kept.get(), kept.is_whole())
        };
        let activated = self.call(Call::Activate, |instance| instance.activate(kept.as_deref()));
        // One that does not get the place leaves the hand-over to the one before,
        // and whom somebody killed was not ended by it.
        let was_killed = self.process.as_ref().is_some_and(|(process, _)| process.was_killed());
        let gives_up = activated.is_err() && kept.is_some() && !was_killed && !self.turn.on_trial();
        if gives_up && self.is_current() && lock(&unit.kept).refused() {
            tracing::warn!(
                "plugin {}: it cannot be activated with what its last instance handed over; that is given up, and \
                 its counters begin at 0",
                unit.name()
            );
            unit.parts.own.handover_lost(unit.name(), "refused");
        }
        activated?;
        if !self.is_current() {
            // It came back too late: another one has the place, or will have it.
            return Err(Error::new("it was given up"));
        }
        *lock(&unit.served) = Some(loaded.verified.bytes.digest.clone());
        self.activated = true;
        if kept.is_some() && unit.instances() > 1 {
            let source = if whole { "stop" } else { "snapshot" };
            unit.parts.own.handed_over(unit.name(), source);
        }
        match self.turn {
            Turn::Now => {}
            Turn::Again => _ = unit.register(self.attempt, loaded),
            Turn::Told(_) => {
                if !unit.take_place(self.attempt, loaded, &self.config) {
                    return Err(Error::new("it was given up"));
                }
                self.provide(loaded);
                self.forget_reports();
                if let Some(speaker) = &self.speaker {
                    speaker.serves();
                }
            }
        }
        self.say(Progress::Activated(missing));
        self.settle();
        Ok(())
    }

    fn open(&self, loaded: &Loaded) -> Result<Library, Error> {
        let unit = &self.unit;
        let library = Library::open(loaded.place.path()).map_err(|error| {
            if let OpenError::Layout { report, .. } = &error {
                tracing::debug!("plugin {}: {report}", unit.name());
            }
            Error::new(error)
        })?;
        unit.parts.opened(unit.name(), loaded.place.path());
        Ok(library)
    }

    fn launch(&mut self, loaded: &Loaded, level: u32, host: HostBox) -> Result<Instance, Error> {
        let launched = isolation::launch(loaded, level, host)?;
        self.process = Some((launched.process.clone(), Duration::ZERO));
        if !self.unit.runs_in(self.attempt, &launched.process) {
            return Err(Error::new("it was given up"));
        }
        let (unit, attempt) = (Arc::downgrade(&self.unit), self.attempt);
        launched.process.when_gone(move || {
            if let Some(unit) = unit.upgrade() {
                // Behind a call that is under way, which finds out by itself.
                unit.send(attempt, Command::Gone);
            }
        });
        let (instance, lacks) = launched.create()?;
        self.unit.parts.confined_without(self.unit.name(), &lacks);
        Ok(instance)
    }

    /// The instance is given up.
    fn fail(&mut self, error: &Error) {
        let panicked = self.count_panic(error);
        if let Some(mut instance) = self.instance.take().filter(|_| self.started) {
            self.say(Progress::Began(Call::Stop));
            let kept = stamped(&self.unit, self.stamp.as_ref(), Call::Stop, || {
                if panicked {
                    // Asked nothing more; the SDK's own part is read without the
                    // author's code, where that is the whole of it.
                    instance.snapshot()
                } else {
                    instance.stop(STOP_WITHIN).inspect_err(|error| {
                        self.count_panic(error);
                    })
                }
            });
            if let Ok(kept) = kept
                && self.activated
            {
                self.unit.keep(self.attempt, &kept);
            }
        }
        let why = error.message().to_owned();
        self.say(Progress::Failed(match error.kind() {
            ErrorKind::Unsupported => Failure::Unsupported(why),
            _ => Failure::Fault(why),
        }));
    }

    fn stop(&mut self, within: Duration) {
        // Only what runs serves commands.
        let Some(mut instance) = self.instance.take() else { return };
        self.say(Progress::Began(Call::Stop));
        let problem = match stamped(&self.unit, self.stamp.as_ref(), Call::Stop, || instance.stop(within)) {
            Ok(kept) => {
                let put = self.unit.keep(self.attempt, &kept);
                if put == Some(true) {
                    lock(&self.unit.kept).whole();
                }
                let too_large = put == Some(false);
                if too_large {
                    self.unit.parts.own.handover_lost(self.unit.name(), "too_large");
                }
                too_large.then(|| "what it hands over is too large to be kept".to_owned())
            }
            Err(error) => {
                self.count_panic(&error);
                // Of the SDK's counters, where they are the whole of it, nothing is lost.
                if let Ok(kept) = instance.snapshot() {
                    self.unit.keep(self.attempt, &kept);
                }
                // The guard names the call where it panicked.
                let named = error.message().starts_with("stop: ");
                Some(format!("{}{}", if named { "" } else { "stop: " }, error.message()))
            }
        };
        stamped(&self.unit, self.stamp.as_ref(), Call::Stop, || drop(instance));
        self.say(Progress::Stopped(problem));
    }

    fn stop_quietly(&mut self) {
        if let Some(mut instance) = self.instance.take() {
            // Another instance runs meanwhile; nobody wants the hand-over.
            let _ = stamped(&self.unit, self.stamp.as_ref(), Call::Stop, || instance.stop(STOP_WITHIN));
        }
    }

    /// Whether it was one.
    fn count_panic(&self, error: &Error) -> bool {
        let panicked = error.kind() == ErrorKind::Panicked;
        if panicked {
            self.unit.parts.own.panicked(self.unit.name());
        }
        panicked
    }

    fn cpu(&self) -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
    }

    fn spent(&mut self, before: Duration) {
        let mut spent = self.cpu().saturating_sub(before);
        if let Some((process, counted)) = &mut self.process {
            let now = process.cpu();
            spent += now.saturating_sub(*counted);
            *counted = now;
        }
        self.unit.parts.own.spent(self.unit.name(), spent);
    }
}

impl Unit {
    /// Registers what a loaded plugin declares, and starts the thread of an
    /// attempt. Nothing happens where the attempt is no longer wanted.
    pub(super) fn start(self: &Arc<Self>, attempt: u64, loaded: Arc<Loaded>) {
        if !self.register(attempt, &loaded) {
            return;
        }
        let (commands, receiver) = mpsc::channel();
        {
            // Held throughout: the place may belong to the next attempt already.
            let life = lock(&self.life);
            if !life.is_current(attempt) {
                return;
            }
            *lock(&self.thread) = Some(super::unit::Thread { attempt, commands });
        }
        self.apply(Event::Of(attempt, Progress::Began(Call::Create)));
        if !self.is_current(attempt) {
            return self.release_thread(attempt);
        }
        self.run(Generation { attempt, loaded, config: self.config(), turn: Turn::Now }, receiver);
    }

    /// Starts the thread of an attempt.
    pub(super) fn run(self: &Arc<Self>, generation: Generation, receiver: mpsc::Receiver<Command>) {
        let attempt = generation.attempt;
        if let Err(error) = spawn(self.clone(), generation, receiver) {
            self.release_thread(attempt);
            let why = format!("its thread could not be started: {error}");
            self.apply(Event::Of(attempt, Progress::Failed(Failure::Fault(why))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_anew_in_its_old_place_is_heard_from_its_start() {
        // Else it would be forgotten again what its start says: whom it does not ask.
        assert!(!Turn::Now.on_trial() && !Turn::Again.on_trial());
        assert!(Turn::Told(mpsc::channel().1).on_trial());
    }
}
