//! Which container a process, a cgroup or a network namespace belongs to: one
//! service for all plugins. It begins to watch the machine when somebody first
//! asks, so that an agent whose plugins have nothing to do with containers
//! pays nothing for them.
//!
//! # Layout
//! * [`path`]: from a cgroup's path to a container. [`naming`]: its id.
//!   [`filter`]: which are left out; [`optout`]: which ask to be left alone.
//! * [`state`]: what is known, and how each fact changes it.
//! * [`watch`]: the thread that watches the machine. [`read`]: files of `/proc`.
//! * [`shared`]: the state between the thread and those who ask.
//! * [`files`]: what a process holds open. [`clock`]: the kernel's times.

pub mod clock;
#[cfg(test)]
mod cost;
mod files;
pub mod filter;
mod naming;
mod optout;
mod path;
mod read;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod watch;

pub use state::{Provider, Record, Shown, ShownGroup, ShownId, Snapshot};

use crate::config::{IdentityConfig, Paths};
use files::Files;
use gantry_plugin_api::abi::types::{AbiEvents, AbiProcess};
use gantry_plugin_api::identity::{Container, EventKind, Metadata, Observation, Process};
use path::UserSlices;
use read::Proc;
use rustix::pipe::{PipeFlags, pipe_with};
use shared::Shared;
use state::{Handles, State};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use watch::{Machine, Places, Watcher};

/// The identity service, one for all plugins.
#[derive(Debug)]
pub struct Identity {
    paths: Paths,
    config: Mutex<IdentityConfig>,
    files: Files,
    running: OnceLock<Running>,
    begins: Mutex<Begins>,
    /// What is to be told to the service when it begins.
    providers: Mutex<Vec<Provider>>,
    order: Mutex<Vec<Arc<str>>>,
    providers_are_known: AtomicBool,
    /// What an agent before showed, until there is somebody to tell.
    remembered: Mutex<Vec<ShownId>>,
    start_is_over: AtomicBool,
    lookups: [AtomicU64; 3],
    conflicts: Mutex<BTreeMap<Arc<str>, u64>>,
    untold: AtomicU64,
}

/// When it may be begun again, and how often it failed.
#[derive(Debug, Default)]
struct Begins {
    failed: u64,
    next: Option<Instant>,
}

/// Processes that are read of when a plugin tells of many: some 20 µs each, in
/// which the plugin waits.
const READS: usize = 64;

/// What is in the way of a begin, as descriptors that are missing, may go away.
const BEGIN_AGAIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    wake: OwnedFd,
    /// Until its thread runs.
    watcher: Mutex<Option<Watcher>>,
    /// The first look at everything: until it is done nobody is answered.
    first_look: Once,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// For processes that nothing is known of yet, on the thread of who asks.
    asked: Mutex<(Places, Proc)>,
}

/// What came of a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// It is of a container, or of none.
    Known,
    /// It had to be read from `/proc`.
    Read,
    /// There is no such process, cgroup or namespace.
    Unknown,
}

impl Lookup {
    pub const ALL: [(Lookup, &'static str); 3] =
        [(Lookup::Known, "known"), (Lookup::Read, "read"), (Lookup::Unknown, "unknown")];
}

/// What the service tells of itself.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub containers: usize,
    pub processes: usize,
    pub events: u64,
    pub looks: u64,
    pub folded: u64,
    pub lookups: Vec<(&'static str, u64)>,
    pub lost: BTreeMap<&'static str, u64>,
    pub conflicts: Vec<(Arc<str>, u64)>,
    /// Whether the kernel tells of processes as they start.
    pub is_watched: bool,
    /// The same of directories of cgroups.
    pub is_cgroups_watched: bool,
}

impl Identity {
    pub fn new(paths: &Paths, config: &IdentityConfig) -> Self {
        Self {
            paths: paths.clone(),
            config: Mutex::new(config.clone()),
            files: Files::new(&paths.proc),
            running: OnceLock::new(),
            begins: Mutex::default(),
            providers: Mutex::default(),
            order: Mutex::default(),
            providers_are_known: AtomicBool::new(false),
            remembered: Mutex::default(),
            start_is_over: AtomicBool::new(false),
            lookups: Default::default(),
            conflicts: Mutex::default(),
            untold: AtomicU64::new(0),
        }
    }

    /// What a generation on trial told was more than waits for it to serve.
    pub fn untold(&self) {
        self.untold.fetch_add(1, Relaxed);
    }

    /// Other rules, from now on.
    pub fn set_rules(&self, config: &IdentityConfig) {
        let mut known = lock(&self.config);
        *known = config.clone();
        // Under the lock, as below: the last one to be set is the last one to be told.
        if let Some(running) = self.begun() {
            running.set_rules(config);
        }
    }

    /// The container of a process; `start` may be 0. 0 is none.
    pub fn of_pid(&self, pid: u32, start: u64) -> u64 {
        let Some(running) = self.running() else { return 0 };
        let (lookup, handle) = match running.shared.read(|state| state.of_pid(pid, start)) {
            Some(handle) => (Lookup::Known, handle),
            None => running.read(pid, start).map_or((Lookup::Unknown, 0), |handle| (Lookup::Read, handle)),
        };
        self.count(lookup);
        handle
    }

    pub fn of_cgroup(&self, hierarchy: u32, id: u64) -> u64 {
        let mut is_indexed = true;
        let handle = self.look_up(|state| {
            is_indexed = state.is_indexed(hierarchy);
            state.of_cgroup(hierarchy, id)
        });
        if let Some(running) = self.running().filter(|_| !is_indexed) {
            running.shared.write(|state| state.index(hierarchy));
        }
        handle
    }

    pub fn of_network_namespace(&self, inode: u64) -> u64 {
        self.look_up(|state| state.of_namespace(inode))
    }

    fn look_up(&self, ask: impl FnOnce(&State) -> Option<u64>) -> u64 {
        let Some(running) = self.running() else { return 0 };
        let found = running.shared.read(ask);
        self.count(if found.is_some() { Lookup::Known } else { Lookup::Unknown });
        found.unwrap_or_default()
    }

    fn count(&self, lookup: Lookup) {
        self.lookups[lookup as usize].fetch_add(1, Relaxed);
    }

    pub fn containers(&self) -> Vec<u64> {
        self.running().map(|running| running.shared.read(State::living)).unwrap_or_default()
    }

    pub fn container(&self, handle: u64) -> Option<Container> {
        self.running()?.shared.read(|state| state.public(handle).map(Record::container))
    }

    pub fn processes(&self, handle: u64) -> Vec<AbiProcess> {
        let Some(running) = self.running() else { return Vec::new() };
        let processes = running.shared.read(|state| state.processes_of(handle));
        processes.into_iter().map(|Process { pid, start }| AbiProcess { start, pid }).collect()
    }

    pub fn open_files(&self, pid: u32, start: u64) -> Option<Vec<String>> {
        self.files.open_files(Process { pid, start })
    }

    pub fn listening(&self, pid: u32, start: u64) -> Option<Vec<String>> {
        self.files.listening(Process { pid, start })
    }

    pub fn events(&self, cursor: u64, max: u32) -> AbiEvents {
        match self.running() {
            Some(running) => running.shared.read(|state| state.events().read(cursor, max)),
            None => AbiEvents { events: Default::default(), next: cursor, lost: 0 },
        }
    }

    /// Waits until there is an event after the cursor, at most so long.
    pub fn wait(&self, cursor: u64, at_most: Duration) -> bool {
        match self.running() {
            Some(running) => running.shared.wait(cursor, at_most),
            None => {
                // Nothing ever happens; whoever waits must wait all the same.
                std::thread::park_timeout(at_most);
                false
            }
        }
    }

    /// The plugins in the order of the configuration: of two that tell of one
    /// container, the first is believed.
    pub fn set_order(&self, plugins: &[&str]) {
        *lock(&self.order) = plugins.iter().map(|&name| name.into()).collect();
        let known = lock(&self.providers).clone();
        known
            .into_iter()
            .for_each(|known| self.take_provider(Provider { order: self.place(&known.plugin), ..known }));
    }

    fn place(&self, plugin: &str) -> usize {
        lock(&self.order).iter().position(|name| **name == *plugin).unwrap_or(usize::MAX)
    }

    /// A plugin provides metadata of these runtimes from now on. It asks for
    /// nothing itself, so the service need not begin.
    pub fn set_provider(&self, plugin: &str, runtimes: &[String]) {
        let order = self.place(plugin);
        self.take_provider(Provider {
            plugin: plugin.into(),
            order,
            runtimes: runtimes.to_vec(),
            users: Vec::new(),
            listed: Vec::new(),
            active: true,
        });
    }

    /// It does so no more; what it told stays.
    pub fn provider_gone(&self, plugin: &str) {
        self.change_provider(plugin, |known| known.active = false);
    }

    /// Under the lock: a plugin tells from several threads.
    fn change_provider(&self, plugin: &str, change: impl FnOnce(&mut Provider)) {
        let mut providers = lock(&self.providers);
        let Some(known) = providers.iter_mut().find(|known| &*known.plugin == plugin) else { return };
        change(known);
        let provider = known.clone();
        if let Some(running) = self.begun() {
            running.shared.write(|state| state.set_provider(provider));
        }
    }

    fn take_provider(&self, provider: Provider) {
        let mut providers = lock(&self.providers);
        providers.retain(|known| known.plugin != provider.plugin);
        providers.push(provider.clone());
        if let Some(running) = self.begun() {
            running.shared.write(|state| state.set_provider(provider));
        }
    }

    /// All plugins have started, or failed to.
    pub fn providers_are_known(&self) {
        let _told_in_order = lock(&self.providers);
        self.providers_are_known.store(true, Relaxed);
        if let Some(running) = self.begun() {
            running.shared.write(|state| {
                state.providers_are_known();
                // Who waited for a name that nobody is asked for waits no more.
                state.advance(clock::boot());
            });
        }
    }

    /// What an agent before this one showed, in the same boot. Before the first question.
    pub fn remember(&self, ids: Vec<ShownId>) {
        *lock(&self.remembered) = ids;
    }

    /// The start is over: what was shown before waits for no name any more.
    pub fn start_is_over(&self) {
        let _told_in_order = lock(&self.providers);
        self.start_is_over.store(true, Relaxed);
        if let Some(running) = self.begun() {
            running.shared.write(|state| {
                state.start_is_over();
                state.advance(clock::boot());
            });
        }
    }

    /// What the next agent is to remember, with the version of what is shown;
    /// `None` where that is the known one, or nobody has asked for anything yet.
    pub fn shown_ids(&self, known: u64) -> Option<(u64, Vec<ShownId>)> {
        let running = self.begun().filter(|running| running.first_look.is_completed())?;
        running.shared.read(|state| {
            let version = state.version();
            (version != known).then(|| (version, state.shown_ids()))
        })
    }

    /// Waits until every container has the name that somebody is asked for, at
    /// most so long.
    pub async fn until_named(&self, at_most: Duration) {
        let waits = || self.begun().is_some_and(|running| running.shared.read(State::awaits_names));
        let until = tokio::time::Instant::now() + at_most;
        while waits() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What a provider tells of containers of a runtime, and of the runtime.
    pub fn provide(&self, plugin: &str, runtime: &str, metadata: Vec<Metadata>) {
        let (of_runtime, metadata): (Vec<_>, Vec<_>) =
            metadata.into_iter().partition(|told| told.runtime_id.is_empty());
        if !of_runtime.is_empty() {
            self.change_provider(plugin, |known| {
                of_runtime.iter().for_each(|told| known.is_asked(runtime, told));
            });
        }
        if metadata.is_empty() {
            return;
        }
        let Some(running) = self.running() else { return };
        let told = running.shared.write(|state| state.provided(plugin, metadata, clock::boot()));
        if told.lost > 0 {
            *lock(&self.conflicts).entry(plugin.into()).or_default() += told.lost;
        }
        running.shared.lost_many("early_metadata", told.forgotten);
    }

    /// What a plugin saw of processes in the kernel. Of those whose cgroup is
    /// not known yet some are read of; the rest is passed over, and counted.
    pub fn observe(&self, seen: &[Observation]) {
        let Some(running) = self.running() else { return };
        let now = clock::boot();
        let begins =
            |seen: &&Observation| matches!(seen.kind, EventKind::ProcessStarted | EventKind::ProcessExecuted);
        let mut unknown: Vec<Process> = running.shared.write(|state| {
            let mut is_unknown = |seen: &&Observation| {
                let Process { pid, start } = seen.process;
                !state.observed(seen, now) && state.of_pid(pid, start).is_none()
            };
            let those = seen.iter().filter(begins).filter(&mut is_unknown);
            those.map(|seen| seen.process).collect()
        });
        running.shared.lost_many("observed", unknown.len().saturating_sub(READS) as u64);
        unknown.truncate(READS);
        for process in unknown {
            // One that is gone by now is of no container that is known.
            let _ = running.read(process.pid, process.start);
        }
    }

    /// What is shown of all containers, up to date. `None` where nothing is
    /// different from what had the version that is `known`; that of nothing is 0.
    pub fn snapshot(&self, known: Option<u64>) -> Option<Snapshot> {
        let Some(running) = self.begun() else { return known.is_none().then(Snapshot::default) };
        running.shared.write(|state| state.advance(clock::boot()));
        running.shared.read(|state| (Some(state.version()) != known).then(|| state.snapshot()))
    }

    /// A whole collection was served.
    pub fn collected(&self) {
        if let Some(running) = self.begun() {
            running.shared.write(State::collected);
        }
    }

    /// For `gantry containers`: those that are there.
    pub fn list<T>(&self, row: impl Fn(&Record, String) -> T) -> Vec<T> {
        let Some(running) = self.running() else { return Vec::new() };
        let now = clock::boot();
        running.shared.read(|state| {
            let there = state.records().filter(|record| record.gone.is_none());
            there.map(|record| row(record, state.shown_as(record, now))).collect()
        })
    }

    /// `None`: nobody has asked for anything yet.
    pub fn figures(&self) -> Option<Figures> {
        let failed = lock(&self.begins).failed;
        let Some(Running { shared, .. }) = self.begun() else {
            let lost = BTreeMap::from([("begin", failed)]);
            return (failed > 0).then(|| Figures { lost, ..Figures::default() });
        };
        let mut lost = shared.losses();
        lost.insert("begin", failed);
        lost.insert("untold", self.untold.load(Relaxed));
        lost.extend(self.files.losses());
        let figures = shared.read(|state| {
            lost.insert("processes", state.processes().refused());
            lost.insert("containers", state.counts.containers_refused);
            lost.insert("gone_containers", state.counts.forgotten_early);
            lost.insert("environments", state.counts.unread);
            lost.insert("short_lived", state.lives().refused());
            lost.insert("folds", state.counts.folds_refused);
            Figures {
                containers: state.living().len(),
                processes: state.processes().len(),
                events: state.events().total(),
                folded: state.counts.folded,
                ..Figures::default()
            }
        });
        let lookups = Lookup::ALL.map(|(lookup, name)| (name, self.lookups[lookup as usize].load(Relaxed)));
        Some(Figures {
            looks: shared.looks(),
            lookups: lookups.to_vec(),
            lost,
            conflicts: lock(&self.conflicts).iter().map(|(plugin, count)| (plugin.clone(), *count)).collect(),
            is_watched: shared.is_watched(),
            is_cgroups_watched: shared.is_cgroups_watched(),
            ..figures
        })
    }

    /// Whether it has begun, and its loop does not come round any more.
    pub fn stands_still(&self) -> bool {
        self.begun().is_some_and(|running| running.shared.stands_still(shared::PATIENCE))
    }

    /// Where it has begun.
    fn begun(&self) -> Option<&Running> {
        self.running.get()
    }

    /// It begins where nobody asked before.
    fn running(&self) -> Option<&Running> {
        let running = match self.begun() {
            Some(running) => running,
            None => self.begin()?,
        };
        running.first_look.call_once(|| {
            self.catch_up(running);
            running.look();
        });
        Some(running)
    }

    fn begin(&self) -> Option<&Running> {
        let mut begins = lock(&self.begins);
        if let Some(running) = self.begun() {
            return Some(running);
        }
        if begins.next.is_some_and(|next| Instant::now() < next) {
            return None;
        }
        match self.make() {
            Ok(running) => Some(self.running.get_or_init(|| running)),
            Err(error) => {
                let again = BEGIN_AGAIN.as_secs();
                tracing::error!("identity: {error}; no container is known, it is tried again in {again} s");
                begins.failed += 1;
                begins.next = Some(Instant::now() + BEGIN_AGAIN);
                None
            }
        }
    }

    fn make(&self) -> std::io::Result<Running> {
        let boot_id = std::fs::read_to_string(self.paths.proc.join("sys/kernel/random/boot_id"));
        let config = lock(&self.config).clone();
        // Without the id of the boot, as in a tree of a test, handles are the same for ever.
        let state = State::new(&config, Handles::new(boot_id.unwrap_or_default().trim()));
        let shared = Arc::new(Shared::new(state));
        shared.set_users(users(&config));
        let (sleeper, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let places = || Places::read(&self.paths, users(&config)).map_err(std::io::Error::other);
        let asked = Mutex::new((places()?, Proc::open(&self.paths.proc)?));
        let machine = Machine { proc: Proc::open(&self.paths.proc)?, places: places()?, wake: sleeper };
        let watcher = Mutex::new(Some(Watcher::new(shared.clone(), machine)));
        Ok(Running { shared, wake, watcher, first_look: Once::new(), thread: Mutex::default(), asked })
    }

    /// What was set before there was anybody to tell. Whoever sets something
    /// from now on tells it as well; both do it under the lock.
    fn catch_up(&self, running: &Running) {
        running.set_rules(&lock(&self.config));
        let providers = lock(&self.providers);
        running.shared.write(|state| {
            providers.iter().for_each(|provider| state.set_provider(provider.clone()));
            if self.providers_are_known.load(Relaxed) {
                state.providers_are_known();
            }
            state.remember(std::mem::take(&mut *lock(&self.remembered)));
            if self.start_is_over.load(Relaxed) {
                state.start_is_over();
            }
        });
    }
}

fn users(config: &IdentityConfig) -> UserSlices {
    if config.user_slices { UserSlices::Shown } else { UserSlices::Hidden }
}

impl Running {
    /// Looks at everything, and goes on with that on a thread.
    fn look(&self) {
        let Some(mut watcher) = lock(&self.watcher).take() else { return };
        watcher.look_at_all();
        self.shared.write(State::all_were_seen);
        self.shared.beat();
        match std::thread::Builder::new().name("identity".to_owned()).spawn(move || watcher.run()) {
            Ok(thread) => *lock(&self.thread) = Some(thread),
            Err(error) => {
                self.shared.lost("begin");
                self.shared.set_watched(false);
                tracing::error!(
                    "identity: a thread: {error}; what begins from now on is known where a plugin asks for \
                     it, and what ends is not noticed until the agent is restarted"
                );
            }
        }
    }

    fn set_rules(&self, config: &IdentityConfig) {
        self.shared.set_users(users(config));
        self.shared.write(|state| state.set_rules(config, clock::boot()));
        self.wake();
    }

    fn wake(&self) {
        // A pipe that is full wakes as well.
        let _ = rustix::io::write(&self.wake, &[1]);
    }

    /// The container of a process that nothing is known of yet.
    fn read(&self, pid: u32, start: u64) -> Option<u64> {
        let mut asked = lock(&self.asked);
        let (places, proc) = &mut *asked;
        places.set_users(self.shared.users());
        let mut buffer = Vec::new();
        let began = clock::boot();
        let is = proc.start(pid, &mut buffer).ok()?;
        if start != 0 && !state::same_start(is, start) {
            return None;
        }
        proc.cgroup(pid, &mut buffer).ok()?;
        let placement = places.of(&buffer, |key| self.shared.has_directories(key));
        Some(self.shared.write(|state| state.process_was(pid, is, &placement, began, clock::boot())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.end();
        self.wake();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
