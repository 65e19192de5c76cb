//! One plugin, as the rest of the agent sees it.

use super::handover::Kept;
use super::life::{Do, Event, Life};
use super::lock;
use super::parts::Parts;
use super::probation::{Probation, Trouble};
use super::series::{Freshness, Series};
use super::state::{State, Status};
use super::worker::Command;
use crate::config::PluginConfig;
use crate::isolation::Process;
use crate::loader::Loaded;
use crate::records::{Entry, What};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// A plugin: its life, its status and its series. Its thread alone calls it.
///
/// Of its locks, `life` comes first: whoever holds another takes it no more.
#[derive(Debug)]
pub struct Unit {
    name: String,
    pub(super) parts: Arc<Parts>,
    config: Mutex<Arc<PluginConfig>>,
    /// What an operator wished for until the agent ends, against the file.
    until_restart: Mutex<Option<bool>>,
    pub(super) life: Mutex<Life>,
    status: Mutex<Status>,
    changed: watch::Sender<()>,
    pub(super) series: Series,
    pub(super) thread: Mutex<Option<Thread>>,
    pub(super) in_flight: Mutex<Option<super::collect::InFlight>>,
    /// The state that was logged last, and when.
    said: Mutex<Option<(State, Instant)>>,
    pub(super) kept: Mutex<Kept>,
    pub(super) on_disk: Mutex<super::keepsake::OnDisk>,
    /// Which series an earlier agent showed, until there is a table.
    pub(super) marks: Mutex<Vec<(u64, f64)>>,
    pub(super) probation: Mutex<Option<Probation>>,
    /// The digest of the file that was activated last.
    pub(super) served: Mutex<Option<String>>,
    /// What ran before an upgrade.
    pub(super) previous: Mutex<Option<super::generation::Previous>>,
    /// It runs another file than its section names, by an operator's word.
    apart: std::sync::atomic::AtomicBool,
    /// A generation that is about to take the place of the one that serves.
    /// Comes before `thread`.
    pub(super) beside: Mutex<Option<super::generation::Beside>>,
    /// Instances since it was enabled.
    pub(super) instances: AtomicU32,
    /// Which of its declarations were refused, and that was logged.
    pub(super) refusals: Mutex<Vec<String>>,
    /// Its own words for what it skips, which become label values: of all its
    /// instances together.
    pub(super) skip_reasons: Mutex<BTreeSet<String>>,
    /// By which of them the present generation lost events, and when.
    pub(super) losses: Mutex<super::losses::Losses>,
    /// Questions for views that wait.
    pub(super) looking: AtomicU32,
    /// Whether its last collection had more series than it may.
    pub(super) over_cap: std::sync::atomic::AtomicBool,
    /// The processes of those attempts that run in one.
    processes: Mutex<HashMap<u64, Arc<Process>>>,
}

/// What is said of a plugin with too many series.
pub(super) const OVER_CAP: &str = "it has more series than max_series";

/// New reasons for the same state are logged once in so long.
const SAME_STATE: Duration = Duration::from_secs(10);

/// The reasons in a line of the log; all of them are in `/plugins`.
const MAX_LINE: usize = 1024;

/// A thread that serves the plugin, and the attempt it belongs to.
#[derive(Debug)]
pub(super) struct Thread {
    pub attempt: u64,
    pub commands: mpsc::Sender<Command>,
}

impl Unit {
    /// A plugin that does not run; [`Event::Enable`] begins.
    pub fn new(config: PluginConfig, parts: Arc<Parts>) -> Arc<Self> {
        Arc::new(Self {
            name: config.name.clone(),
            parts,
            life: Mutex::new(Life::new(config.deadline)),
            config: Mutex::new(Arc::new(config)),
            until_restart: Mutex::default(),
            status: Mutex::new(Status::new(State::Disabled)),
            changed: watch::Sender::new(()),
            series: Series::default(),
            thread: Mutex::default(),
            in_flight: Mutex::default(),
            kept: Mutex::default(),
            on_disk: Mutex::default(),
            marks: Mutex::default(),
            probation: Mutex::default(),
            served: Mutex::default(),
            previous: Mutex::default(),
            apart: Default::default(),
            beside: Mutex::default(),
            instances: AtomicU32::new(0),
            refusals: Mutex::default(),
            skip_reasons: Mutex::default(),
            losses: Mutex::default(),
            said: Mutex::default(),
            looking: AtomicU32::new(0),
            over_cap: Default::default(),
            processes: Mutex::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it shares with all others.
    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    pub fn config(&self) -> Arc<PluginConfig> {
        lock(&self.config).clone()
    }

    /// What the file says now. Deadline and bound of series hold from the next
    /// collection on; the rest from the next attempt.
    pub fn set_config(&self, config: PluginConfig) {
        lock(&self.life).set_deadline(config.deadline);
        if let Some(table) = self.series.table().as_mut() {
            table.set_max_series(config.max_series);
        }
        *lock(&self.config) = Arc::new(config);
    }

    /// Whether it shall run: by the operator's word, or by the file.
    pub fn wanted(&self) -> bool {
        lock(&self.until_restart).unwrap_or_else(|| self.config().enabled)
    }

    /// The operator's word against the file; `None` takes it back.
    pub fn set_until_restart(&self, wish: Option<bool>) {
        *lock(&self.until_restart) = wish;
    }

    pub fn until_restart(&self) -> Option<bool> {
        *lock(&self.until_restart)
    }

    /// See [`Parts::confined_without`].
    pub fn confinement_lacks(&self) -> Option<String> {
        self.parts.confinement_lacks()
    }

    /// Whether it runs another file than its section names until the agent ends.
    pub fn set_apart(&self, apart: bool) {
        self.apart.store(apart, Relaxed);
    }

    pub fn is_apart(&self) -> bool {
        self.apart.load(Relaxed)
    }

    /// Why it runs in a process of its own, whatever its section says.
    pub fn kept_apart(&self) -> Option<String> {
        self.parts.crashes.kept_apart(&self.name)
    }

    /// It may run as its section says again, from its next look at its file on,
    /// also in the next agent. Whether it was kept apart until now.
    pub fn forgive(&self) -> bool {
        let was_apart = self.parts.crashes.forgive(&self.name);
        if was_apart {
            self.parts.records.happened(&self.name, Entry::now(What::Forgiven, None, None, "on request"));
        }
        was_apart
    }

    /// Whether an operator's word holds against the file.
    pub fn differs(&self) -> bool {
        self.wanted() != self.config().enabled || self.is_apart()
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

    pub fn is_settled(&self) -> bool {
        lock(&self.life).is_settled()
    }

    pub(super) fn is_current(&self, attempt: u64) -> bool {
        lock(&self.life).is_current(attempt)
    }

    pub(super) fn is_live(&self, attempt: u64) -> bool {
        lock(&self.life).is_live(attempt)
    }

    /// When it must be looked at again.
    pub(super) fn next(&self) -> Option<Instant> {
        lock(&self.life).next()
    }

    pub fn series(&self) -> &Series {
        &self.series
    }

    /// How current what is shown of it is.
    pub fn freshness(&self, stale: Duration) -> Freshness {
        if matches!(self.state(), State::Unsupported | State::Disabled) {
            return Freshness::Nothing;
        }
        self.series.freshness(stale)
    }

    /// Waits until something holds of it; it is asked after each change of state.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        while !holds(self) {
            // The sender lives as long as this unit.
            let _ = changed.changed().await;
        }
    }

    /// Whether it tells the names of containers, on which others depend.
    pub fn names_containers(&self) -> bool {
        self.status().manifest().is_some_and(|manifest| !manifest.provides_identity.is_empty())
    }

    /// Whether the file that it runs, or tries to, never worked, or not any more:
    /// nobody wants that back after an upgrade.
    pub fn is_given_up(&self) -> bool {
        let status = self.status();
        matches!(status.state, State::Quarantined | State::Unsupported)
            || status.digest() != lock(&self.served).as_deref()
    }

    pub fn loaded(&self) -> Option<Arc<Loaded>> {
        lock(&self.status).loaded.clone()
    }

    /// Keeps what an attempt hands over, if it is the present one (else `None`):
    /// of an earlier one it would be older than what was shown since. `false`:
    /// it is too large.
    pub(super) fn keep(self: &Arc<Self>, attempt: u64, bytes: &[u8]) -> Option<bool> {
        // Held throughout: the attempt may be given up meanwhile.
        let life = lock(&self.life);
        let kept = life.is_current(attempt).then(|| lock(&self.kept).put(bytes));
        drop(life);
        self.keep_soon();
        kept
    }

    /// What the next attempt runs, and whether it stands in for a file that was
    /// rolled back from; with `None` it is looked for on the disk.
    pub fn set_loaded(&self, loaded: Option<Arc<Loaded>>, stands_in: bool) {
        let mut status = lock(&self.status);
        (status.loaded, status.stands_in, status.file_note) = (loaded, stands_in, None);
    }

    /// Lets something happen to it, and does what follows.
    pub fn apply(self: &Arc<Self>, event: Event) {
        let now = Instant::now();
        let (todo, is_news, next) = {
            let mut life = lock(&self.life);
            let before = (life.state(), life.failures(), life.reasons().to_vec(), life.left_behind());
            let todo = life.on(event, now);
            let says_more = before.0 != life.state() || before.2 != life.reasons();
            let is_news = says_more || (before.1, before.3) != (life.failures(), life.left_behind());
            if is_news {
                self.note(&life, now, says_more);
            }
            (todo, is_news, life.next())
        };
        if is_news {
            self.changed.send_replace(());
        }
        for one in todo {
            match one {
                Do::Launch { attempt } => self.parts.keeper.launch(self.clone(), attempt),
                Do::Stop { attempt, within } => self.send(attempt, Command::Stop { within }),
                Do::Abandon { attempt } => self.abandon(attempt),
                Do::Try { attempt } => self.begin_trial(attempt),
                Do::Part { attempt, next, within } => self.part(attempt, next, within),
                Do::Activate { attempt } => self.open_gate(attempt),
                Do::Drop { attempt } => self.drop_beside(attempt),
                Do::Restore { attempt } => self.restore(attempt),
                Do::Swapped(outcome) => self.swapped(outcome),
            }
        }
        self.parts.keeper.expect(next);
    }

    /// Takes over what its life says now, while nothing else can happen to it.
    fn note(&self, life: &Life, now: Instant, says_more: bool) {
        if !life.state().collects() {
            self.series.ended();
        }
        let mut status = lock(&self.status);
        let before = status.state;
        status.enter(life.state(), life.reasons());
        // With the file that it ran, which may be forgotten next.
        self.note_history(before, &status);
        self.forget_ran(before, &status);
        self.watch_probation(life, before, now);
        status.failures = life.failures();
        status.left_behind = life.left_behind();
        let wait = life.retry_at().map(|at| at.saturating_duration_since(now));
        status.retry_at = wait.map(|wait| SystemTime::now() + wait);
        if life.state() == State::Disabled {
            // Disabled means zero.
            status.forget_instance();
            self.series.forget();
            self.forget_kept();
            *lock(&self.probation) = None;
            *lock(&self.previous) = None;
            self.set_apart(false);
            lock(&self.refusals).clear();
            *lock(&self.losses) = Default::default();
            self.instances.store(0, Relaxed);
            self.parts.registry().release(&self.name);
            self.parts.services.identity.provider_gone(&self.name);
            self.parts.services.reports.forget(&self.name);
        }
        // Reasons may be others at each collection; a new state is always said.
        let mut said = lock(&self.said);
        let again = said.is_some_and(|(state, at)| {
            state == life.state() && now.saturating_duration_since(at) < SAME_STATE
        });
        if says_more && !again {
            *said = Some((life.state(), now));
            // Before anybody sees the state: the agent ends with the last one
            // that stops, and its line would be lost.
            self.log(&status);
        }
    }

    /// What is wrong with what serves, by which what takes its place is judged: also
    /// what its probe missed, as the next one may say the same of itself later.
    pub(super) fn complaints_now(&self) -> Vec<String> {
        let mut complaints = lock(&self.life).reasons().to_vec();
        if self.over_cap.load(Relaxed) {
            complaints.push(OVER_CAP.to_owned());
        }
        complaints
    }

    /// On probation, what goes wrong rolls it back.
    fn watch_probation(&self, life: &Life, before: State, now: Instant) {
        let mut probation = lock(&self.probation);
        let Some(watched) = probation.as_mut() else { return };
        let why = match life.state() {
            State::Failed | State::Hung | State::Quarantined | State::Unsupported
                if before != life.state() =>
            {
                let served = lock(&self.served).as_deref() == Some(&*watched.digest);
                let is_given_up = life.state() == State::Quarantined;
                let kind = if served || is_given_up { Trouble::Ended } else { Trouble::NeverBegan };
                watched.on(kind(&life.reasons().join("; ")), now)
            }
            // What is over is no trouble that lasts.
            State::Running | State::Degraded => watched.on(Trouble::Complains(&life.complaints()), now),
            _ => None,
        };
        if let Some(why) = why {
            self.parts.troubles.tell(&self.name, &watched.digest, why);
        }
    }

    /// It took more of something than it may: for whoever minds its budgets.
    /// Whether it is on probation, and is rolled back for that.
    pub fn breached(&self, what: &str) -> bool {
        let mut probation = lock(&self.probation);
        let Some(watched) = probation.as_mut() else { return false };
        let Some(why) = watched.on(Trouble::Breach(what), Instant::now()) else { return false };
        self.parts.troubles.tell(&self.name, &watched.digest, why);
        true
    }

    /// How many instances there were of it since it was enabled.
    pub fn instances(&self) -> u32 {
        self.instances.load(Relaxed)
    }

    fn log(&self, status: &Status) {
        let (name, state) = (&self.name, status.state.as_str());
        let mut why = crate::logging::printable(&status.reasons.join("; "));
        why.truncate(why.floor_char_boundary(MAX_LINE));
        let wait = status.retry_at.and_then(|at| at.duration_since(SystemTime::now()).ok());
        let again = match wait {
            Some(wait) if status.state != State::Quarantined => {
                format!("; it is tried again in {:.0} s", wait.as_secs_f64().ceil())
            }
            _ => String::new(),
        };
        match status.state {
            State::Failed | State::Hung | State::Quarantined => {
                tracing::error!("plugin {name} is {state}: {why}{again}");
            }
            State::Degraded | State::Unsupported => tracing::warn!("plugin {name} is {state}: {why}{again}"),
            State::Disabled | State::Stopped if !why.is_empty() => {
                tracing::warn!("plugin {name} is {state}: {why}");
            }
            State::Running | State::Stopped | State::Disabled => tracing::info!("plugin {name} is {state}"),
            State::Discovered if !why.is_empty() => {
                tracing::warn!("plugin {name} is made anew; its last instance: {why}");
            }
            _ => tracing::debug!("plugin {name} is {state}"),
        }
    }

    /// To the thread of an attempt, if it is the present one.
    pub(super) fn send(&self, attempt: u64, command: Command) {
        if let Some(thread) = lock(&self.thread).as_ref().filter(|thread| thread.attempt == attempt) {
            // A thread that has ended says so itself.
            let _ = thread.commands.send(command);
        }
    }

    /// To the thread that serves, or that will when a swap is over.
    pub(super) fn ask(&self, command: Command) {
        if let Some(thread) = lock(&self.thread).as_ref() {
            let _ = thread.commands.send(command);
        }
    }

    /// Lets go of a thread that does not come back. Where it waits for a process
    /// of the plugin's own, that is killed, and it does come back.
    fn abandon(&self, attempt: u64) {
        let process = lock(&self.processes).remove(&attempt);
        // First, so that its thread finds nobody waiting for it.
        self.release_thread(attempt);
        if let Some(process) = process {
            process.kill("it did not come back in time");
        }
    }

    /// The process that an attempt runs in. `false` where the attempt was given
    /// up meanwhile: then nobody would kill it.
    pub(super) fn runs_in(&self, attempt: u64, process: &Arc<Process>) -> bool {
        // Held throughout: it may be given up meanwhile.
        let mut life = lock(&self.life);
        let is_live = life.is_live(attempt);
        if is_live {
            life.runs_apart(attempt);
            lock(&self.processes).insert(attempt, process.clone());
        }
        is_live
    }

    /// Its queue ends, by which a thread that comes back late knows.
    pub(super) fn release_thread(&self, attempt: u64) {
        let mut thread = lock(&self.thread);
        if thread.as_ref().is_some_and(|thread| thread.attempt == attempt) {
            *thread = None;
        }
        // In a swap the collection that is under way is still the old one's.
        let mut in_flight = lock(&self.in_flight);
        if in_flight.as_ref().is_some_and(|flight| flight.attempt == attempt) {
            *in_flight = None;
        }
    }

    /// The thread of an attempt has ended.
    pub(super) fn thread_ended(&self, attempt: u64) {
        self.release_thread(attempt);
        let mut life = lock(&self.life);
        life.returned(attempt);
        lock(&self.processes).remove(&attempt);
        lock(&self.status).left_behind = life.left_behind();
    }

    /// Whether it does not come back from what it does.
    pub fn is_overdue(&self) -> bool {
        let life = lock(&self.life);
        !life.is_settled() || life.is_overdue(Instant::now())
    }
}
