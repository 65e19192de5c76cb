//! What the host offers to a plugin. All calls may be made from any thread of
//! the plugin, cost at most microseconds, and never wait for another plugin.

use crate::abi::HostBox;
use crate::abi::types::{self, AbiObservation, AbiProcess};
use crate::error::Error;
use crate::identity::*;
use crate::metrics::Metrics;
use abi_stable::std_types::{ROption, RSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The host, as one instance of a plugin sees it. Clones are cheap.
#[derive(Clone)]
pub struct Host {
    abi: Arc<HostBox>,
    metrics: Metrics,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

/// A clock of the host. Test kits turn their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Since the epoch; may jump.
    Realtime,
    /// Since some start, without the time the machine slept.
    Monotonic,
    /// Since boot, with the time the machine slept.
    Boottime,
}

impl Host {
    /// Over what crossed; for the guard and for test kits.
    #[doc(hidden)]
    pub fn new(abi: HostBox) -> Self {
        Self { abi: Arc::new(abi), metrics: Metrics::default() }
    }

    /// Whether this host has a feature that came after 1.0.
    pub fn has(&self, feature: &str) -> bool {
        self.abi.has(feature.into())
    }

    /// The metrics that this instance keeps.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A clock's time.
    pub fn now(&self, clock: Clock) -> Duration {
        let number = match clock {
            Clock::Realtime => types::CLOCK_REALTIME,
            Clock::Monotonic => types::CLOCK_MONOTONIC,
            Clock::Boottime => types::CLOCK_BOOTTIME,
        };
        Duration::from_nanos(self.abi.clock_ns(number))
    }

    /// Where the host's `/proc` is. Readers must take it from here: the agent
    /// may run in a container, and tests have one of their own.
    pub fn proc(&self) -> PathBuf {
        self.path("proc")
    }
    /// Where the host's `/sys` is.
    pub fn sys(&self) -> PathBuf {
        self.path("sys")
    }
    /// Where the host's cgroup file systems are.
    pub fn cgroup(&self) -> PathBuf {
        self.path("cgroup")
    }
    /// The host's root directory.
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }
    /// A directory of this plugin's own, kept across restarts. It is made when
    /// it is first asked for; without one (a read-only system) there is `None`.
    pub fn state_dir(&self) -> Option<PathBuf> {
        self.named_path("state")
    }

    fn path(&self, which: &str) -> PathBuf {
        self.named_path(which).unwrap_or_else(|| PathBuf::from("/nonexistent").join(which))
    }

    fn named_path(&self, which: &str) -> Option<PathBuf> {
        self.abi.path(which.into()).into_option().map(|path| PathBuf::from(path.into_string()))
    }

    /// A fact about the node that some plugin set, as `region`.
    pub fn node_fact(&self, name: &str) -> Option<String> {
        self.abi.node_fact(name.into()).into_option().map(Into::into)
    }
    /// Sets a fact that the manifest names in `provides_facts`; `None` takes it away.
    pub fn set_node_fact(&self, name: &str, value: Option<&str>) -> Result<(), Error> {
        let value = value.map(Into::into);
        types::result(self.abi.set_node_fact(name.into(), ROption::from(value)))
    }
    /// Says that a fact will be set soon, so that series which carry it wait
    /// for it a little instead of changing their labels.
    pub fn expect_node_fact(&self, name: &str) -> Result<(), Error> {
        types::result(self.abi.expect_node_fact(name.into()))
    }

    /// The container of a process. `start` is the process's start time as in
    /// [`Process`], or 0 where it is not known.
    pub fn container_of_pid(&self, pid: u32, start: u64) -> Option<ContainerRef> {
        ContainerRef::from_handle(self.abi.container_of_pid(pid, start))
    }
    /// The container of a cgroup. `hierarchy` is 0 for cgroup v2.
    pub fn container_of_cgroup(&self, hierarchy: u32, id: u64) -> Option<ContainerRef> {
        ContainerRef::from_handle(self.abi.container_of_cgroup(hierarchy, id))
    }
    /// The container that owns a network namespace, by its inode number.
    pub fn container_of_network_namespace(&self, inode: u64) -> Option<ContainerRef> {
        ContainerRef::from_handle(self.abi.container_of_netns(inode))
    }
    /// All containers that are there.
    pub fn containers(&self) -> Vec<ContainerRef> {
        self.abi.containers().iter().filter_map(|handle| ContainerRef::from_handle(*handle)).collect()
    }
    /// What is known of a container. Keep it until an event says that it
    /// changed: the call copies all of it.
    pub fn container(&self, container: ContainerRef) -> Option<Container> {
        let json = self.abi.container(container.handle()).into_option()?;
        serde_json::from_str(&json).ok()
    }
    /// The processes of a container.
    pub fn processes(&self, container: ContainerRef) -> Vec<Process> {
        self.abi.processes(container.handle()).iter().map(AbiProcess::to_process).collect()
    }
    /// The regular files that a process holds open, as paths in its own root.
    pub fn open_files(&self, process: Process) -> Option<Vec<String>> {
        let json = self.abi.open_files(process.pid, process.start).into_option()?;
        serde_json::from_str(&json).ok()
    }
    /// The addresses a process listens at, as `ADDRESS:PORT`.
    pub fn listening(&self, process: Process) -> Option<Vec<String>> {
        let json = self.abi.listening(process.pid, process.start).into_option()?;
        serde_json::from_str(&json).ok()
    }

    /// At most `max` events from a place on. Begin with `Cursor::default()`,
    /// which is where the host's memory of events begins.
    pub fn events(&self, from: Cursor, max: u32) -> Events {
        let batch = self.abi.events(from.0, max);
        Events {
            events: batch.events.iter().map(types::AbiEvent::to_event).collect(),
            next: Cursor(batch.next),
            lost: batch.lost,
        }
    }
    /// Waits until there is an event of a container after `from`, at most so
    /// long; whether there is. Those of processes of no container, which are most
    /// on many machines, wake nobody by themselves, unless a quarter of the host's
    /// memory of events is theirs: [`Self::events`] has them all the same, so
    /// read after a time-out too. For a thread of the plugin's own, never inside a call of the host.
    pub fn wait_events(&self, from: Cursor, at_most: Duration) -> bool {
        let millis = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX);
        self.abi.wait_events(from.0, millis)
    }

    /// Hands over what this plugin learned of containers of a runtime that its
    /// manifest names in `provides_identity`.
    ///
    /// Of a runtime that a user runs, the name [`Metadata::USER`] holds the user's number:
    /// what it tells is believed of what lies in that user's slice alone.
    /// An empty id is about the runtime itself: `removed` says that it is not
    /// asked, as the configuration may have it, so that the host waits for none
    /// of its names; without, with that name, that this user's is asked too, or with
    /// [`Metadata::LISTED`], that all is told that it has at first, or that it is not there:
    /// at its start the host waits no longer for names that nobody is about to tell.
    pub fn provide(&self, runtime: &str, metadata: &[Metadata]) -> Result<(), Error> {
        let json = serde_json::to_string(metadata).map_err(Error::new)?;
        types::result(self.abi.provide(runtime.into(), json.as_str().into()))
    }
    /// Hands over what this plugin saw of processes in the kernel.
    pub fn observe(&self, observations: &[Observation]) {
        let crossing: Vec<AbiObservation> =
            observations.iter().map(AbiObservation::from_observation).collect();
        self.abi.observe(RSlice::from_slice(&crossing));
    }

    /// Reports a resource that only the plugin can tell, as `bpf_map_bytes`.
    pub fn report(&self, resource: &str, amount: f64) {
        self.abi.report(resource.into(), amount);
    }

    pub(crate) fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.abi, &other.abi)
    }

    pub(crate) fn log(&self, level: u32, target: &str, message: &str) {
        self.abi.log(level, target.into(), message.into());
    }
}
