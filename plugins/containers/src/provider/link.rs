//! What a runtime's own part is given: the host, what it wants, and where to
//! note how it goes. Shared by its thread and the plugin's.

use super::Ended;
use super::bounds::{Loss, Losses};
use super::first::First;
use super::outcome::{Outcome, Requests};
use super::told::Told;
use super::wanted::Wanted;
use gantry_plugin_api::identity::Metadata;
use gantry_plugin_api::{Container, Host, tracing};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

/// What the host calls the runtime of a container whose cgroup's path tells only
/// that it has one: below `kubepods` with the cgroupfs driver, and in a scope
/// with a prefix that nobody knows.
pub const UNSAID: [&str; 2] = ["kubernetes", "oci"];

/// How it goes with one runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// Its socket is not there: it does not run, or not yet.
    #[default]
    Absent,
    /// It is there, and not for what it is asked.
    Unused,
    /// It answers.
    Up,
    /// Its socket is there and it does not answer as it should: why.
    Failing(String),
    /// What asks it is no more, after a panic.
    Dead,
}

/// See the module.
#[derive(Debug)]
pub struct Link {
    host: Host,
    socket: PathBuf,
    /// By which of its APIs it is asked.
    api: &'static str,
    /// The kinds of requests that are counted.
    requests: Vec<&'static str>,
    /// The user who runs it; `None` for root.
    user: Option<u32>,
    /// What an operator lacks while the runtime does not answer.
    lack: &'static str,
    /// As the host calls what may be this runtime's without its being said.
    unsaid: &'static [&'static str],
    proc: PathBuf,
    /// What the host asked for.
    pub wanted: Wanted,
    losses: Arc<Losses>,
    named: RwLock<Named>,
    told: Mutex<Told>,
    state: Mutex<State>,
    /// What is missing though it answers.
    degraded: Mutex<Option<String>>,
    /// All that it has was listed in this session.
    listed: AtomicBool,
    first: First,
}

/// Whose requests are counted.
#[derive(Debug)]
struct Named {
    runtime: &'static str,
    /// From its first contact on: of a runtime that is not there nothing is shown.
    requests: OnceLock<BTreeMap<&'static str, Requests>>,
}

impl Named {
    fn new(runtime: &'static str) -> Self {
        Self { runtime, requests: OnceLock::new() }
    }
}

impl Link {
    /// For a runtime at a socket, by one of its APIs, with the kinds of requests
    /// that are counted.
    pub fn new(
        host: Host,
        runtime: &'static str,
        api: &'static str,
        socket: PathBuf,
        requests: &[&'static str],
        losses: Arc<Losses>,
    ) -> Self {
        Self {
            named: RwLock::new(Named::new(runtime)),
            requests: requests.to_vec(),
            proc: host.proc(),
            host,
            socket,
            api,
            user: None,
            lack: "new containers have no names until it answers",
            unsaid: &UNSAID,
            wanted: Wanted::default(),
            losses,
            told: Mutex::default(),
            state: Mutex::default(),
            degraded: Mutex::default(),
            listed: AtomicBool::new(false),
            first: First::default(),
        }
    }

    /// The same, where something else is lacking than names.
    #[must_use]
    pub fn lacking(self, lack: &'static str) -> Self {
        Self { lack, ..self }
    }

    /// The same, of a user's runtime.
    #[must_use]
    pub fn of_user(self, user: Option<u32>) -> Self {
        Self { user, ..self }
    }

    /// The same, where the host waits for what it has at first.
    #[must_use]
    pub fn with_first(self, first: First) -> Self {
        Self { first, ..self }
    }

    /// The same, where only of these it may know what its cgroup's path does not say.
    #[must_use]
    pub fn unsaid(self, unsaid: &'static [&'static str]) -> Self {
        Self { unsaid, ..self }
    }

    /// The runtime.
    pub fn runtime(&self) -> &'static str {
        self.named().runtime
    }

    /// By which of its APIs it is asked.
    pub fn api(&self) -> &'static str {
        self.api
    }

    /// The runtime says itself which one it is.
    pub fn rename(&self, runtime: &'static str) {
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        if named.runtime != runtime {
            *named = Named::new(runtime);
            self.counters(&named);
        }
    }

    /// It is about to be asked. All counters of its requests are there from now
    /// on, so that the first failure is an increase.
    pub fn tried(&self) {
        self.counters(&self.named());
    }

    fn counters<'a>(&self, named: &'a Named) -> &'a BTreeMap<&'static str, Requests> {
        let metrics = self.host.metrics();
        let counters =
            |request: &&'static str| (*request, Requests::new(metrics, [named.runtime, self.api, request]));
        named.requests.get_or_init(|| self.requests.iter().map(counters).collect())
    }

    /// Whether a container of this runtime, as the host knows it, may be one of
    /// this runtime's: the paths of many cgroups do not tell whose they are.
    pub fn may_know(&self, runtime: &str) -> bool {
        runtime == self.runtime() || self.unsaid.contains(&runtime)
    }

    fn named(&self) -> RwLockReadGuard<'_, Named> {
        self.named.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its socket, as an operator would look for it.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A path of the node's, in the agent's own view.
    pub fn of_node(&self, path: &str) -> PathBuf {
        self.host.root().join(path.trim_start_matches('/'))
    }

    /// The host's `/proc`.
    pub fn proc(&self) -> &Path {
        &self.proc
    }

    /// Where losses are counted.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Counts a request.
    pub fn count(&self, request: &str, outcome: Outcome) {
        if let Some(requests) = self.counters(&self.named()).get(request) {
            requests.count(outcome);
        }
    }

    /// Tells the host of a container, now or with others.
    pub fn tell(&self, mut container: Container) {
        container.names.extend(self.user.map(|uid| (Metadata::USER.to_owned(), uid.to_string())));
        let due = lock(&self.told).put(container);
        if due {
            self.flush();
        }
    }

    /// Tells the host, with others, that the runtime no longer has a container.
    pub fn tell_removed(&self, id: &str) {
        lock(&self.told).remove(id);
    }

    /// The containers of which the host was told, and not that they are removed.
    pub fn told(&self) -> HashSet<Box<str>> {
        lock(&self.told).ids()
    }

    /// Tells the host what it was not told yet.
    pub fn flush(&self) {
        let told = lock(&self.told).flush(&self.host, self.runtime(), self.user);
        if let Err(error) = told {
            self.losses.add(Loss::Container, 1);
            tracing::warn!("the host did not take what {} tells: {error}", self.runtime());
        }
    }

    /// All was told that it has now: after [`Self::flush`].
    pub fn first_is_over(&self) {
        self.first.is_over(&self.host);
    }

    /// The ids of the containers that the host knows by their cgroups alone.
    /// Asked for where a list does not tell of all.
    pub fn nameless(&self) -> Vec<String> {
        let known = self.host.containers().into_iter().filter_map(|container| self.host.container(container));
        let nameless = known.filter(|known| self.may_know(&known.runtime) && known.names.is_empty());
        nameless.map(|known| known.runtime_id).collect()
    }

    /// Whether the host sees containers of pods, whoever runs them.
    pub fn sees_pods(&self) -> bool {
        let known = self.host.containers().into_iter().filter_map(|container| self.host.container(container));
        known.flat_map(|known| known.cgroups).any(|cgroup| cgroup.path.contains("kubepods"))
    }

    /// How it goes.
    pub fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// The host wants a container. What waits for a runtime that does not answer
    /// is listed when it does, and no loss where it had to go.
    pub fn want(&self, id: &str) {
        if self.state() != State::Up {
            self.wanted.add_newest(id);
        } else if !self.wanted.add(id) {
            self.losses.add(Loss::Wanted, 1);
        }
    }

    /// All that the runtime has was listed; whether that was so is asked once.
    pub fn listed(&self) {
        self.listed.store(true, Relaxed);
        *lock(&self.degraded) = None;
    }

    /// Whether [`Self::listed`] was called since this was asked last.
    pub fn take_listed(&self) -> bool {
        self.listed.swap(false, Relaxed)
    }

    /// It answers, but not all that is asked. Logged once, until it goes otherwise.
    pub fn incomplete(&self, what: &str) {
        let before = lock(&self.degraded).replace(what.to_owned());
        if before.as_deref() != Some(what) {
            tracing::warn!("{} at {}: {what}", self.runtime(), self.socket.display());
        }
    }

    /// The runtime answers.
    pub fn up(&self) {
        *lock(&self.degraded) = None;
        if std::mem::replace(&mut *lock(&self.state), State::Up) != State::Up {
            tracing::info!("{} answers at {}", self.runtime(), self.socket.display());
        }
    }

    /// Its socket is not there.
    pub fn absent(&self) {
        if std::mem::replace(&mut *lock(&self.state), State::Absent) != State::Absent {
            tracing::info!("{} is gone from {}", self.runtime(), self.socket.display());
        }
    }

    /// It does not answer as it should. Logged once, until it goes otherwise.
    pub fn failing(&self, ended: &Ended) {
        let state = State::Failing(ended.to_string());
        if std::mem::replace(&mut *lock(&self.state), state.clone()) != state {
            tracing::warn!("{} at {}: {ended}", self.runtime(), self.socket.display());
        }
    }

    /// It is there for others. Logged once, until it goes otherwise.
    pub fn unused(&self, ended: &Ended) {
        if std::mem::replace(&mut *lock(&self.state), State::Unused) != State::Unused {
            tracing::info!("{} at {}: {ended}", self.runtime(), self.socket.display());
        }
    }

    /// It is asked no more.
    pub fn dead(&self) {
        *lock(&self.state) = State::Dead;
    }

    /// What an operator should know, if anything.
    pub fn trouble(&self) -> Option<String> {
        let (runtime, socket) = (self.runtime(), self.socket.display());
        match self.state() {
            State::Absent | State::Unused => None,
            State::Up => lock(&self.degraded).as_ref().map(|what| format!("{runtime} at {socket}: {what}")),
            State::Failing(why) => {
                Some(format!("{runtime} at {socket}: {why}{}; {}", remedy(&why), self.lack))
            }
            State::Dead => Some(format!(
                "{runtime} at {socket}: what asks it has ended, which a restart of this plugin mends; {}",
                self.lack
            )),
        }
    }
}

/// What to do where the socket may not be opened: the system's words for that are
/// the same, whichever library brings them.
fn remedy(why: &str) -> &'static str {
    // Of a directory on the way it was said already.
    if why.contains("Permission denied") && !why.contains("grant") {
        "; run as root or in the group of the socket, or add CAP_DAC_OVERRIDE to grant where this plugin runs in a \
         process of its own"
    } else {
        ""
    }
}

/// Each change under these locks is whole, also where a panic ends it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
