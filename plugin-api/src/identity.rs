//! Containers and processes, as the host's identity service knows them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// A container's handle: what plugins key by. It stays the same for as long as
/// the container is the same one, also across a restart of the host within a
/// boot. The container's id is a label, not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerRef(NonZeroU64);

impl ContainerRef {
    /// The number that crosses.
    pub fn handle(self) -> u64 {
        self.0.get()
    }
    /// From the number that crossed; 0 is none.
    pub fn from_handle(handle: u64) -> Option<Self> {
        NonZeroU64::new(handle).map(Self)
    }
}

/// A process: a pid alone is not enough, since pids are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its pid in the host's pid namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start: u64,
}

/// What is known of a container. Fields are added over time; texts come from
/// the container and may hold anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Container {
    /// The label `container_id`: `/docker/web-1`, `/k8s/default/web-0/nginx`.
    pub id: String,
    /// The label `app_id`.
    pub app_id: String,
    /// `docker`, `containerd`, `crio`, `podman`, `systemd`, `lxc`, …
    pub runtime: String,
    /// The runtime's own id, usually 64 hexadecimal digits.
    pub runtime_id: String,
    /// Names that the runtime or the orchestrator gave it, by kind
    /// (`name`, `pod`, `namespace`, …). One with a `sandbox` does nothing but hold
    /// the namespaces of the pod of that name, and is not shown.
    pub names: BTreeMap<String, String>,
    /// The image's name.
    pub image: String,
    /// The runtime's labels.
    pub labels: BTreeMap<String, String>,
    /// The environment that the runtime was told to give it.
    pub environment: BTreeMap<String, String>,
    /// Where it lies in each cgroup hierarchy.
    pub cgroups: Vec<Cgroup>,
    /// The file of its standard output and error, if there is one.
    pub log_path: String,
    /// The runtime's log driver (`json-file`, `local`, `journald`, …).
    pub log_driver: String,
    /// Its mounted volumes.
    pub volumes: Vec<Volume>,
    /// Ports that the runtime published.
    pub ports: Vec<PublishedPort>,
    /// Inode number of its network namespace; 0 when unknown.
    pub network_namespace: u64,
    /// The names of the networks that its runtime attached it to.
    pub networks: Vec<String>,
    /// It shares the node's network namespace because its runtime was told so.
    pub host_network: bool,
    /// The process it began with.
    pub init: Option<Process>,
    /// When it started, in seconds since the epoch; 0 when unknown.
    pub started_at: u64,
    /// Collectors that its environment asks to leave it alone.
    pub opted_out: Vec<String>,
    /// How often it began anew since the host knows it: all of its processes
    /// were gone, and another came.
    pub restarts: u64,
    /// It is gone; its last values are shown for a while.
    pub gone: bool,
}

/// A container's place in one cgroup hierarchy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Cgroup {
    /// The hierarchy's number; 0 is cgroup v2.
    pub hierarchy: u32,
    /// The controllers of a v1 hierarchy.
    pub controllers: Vec<String>,
    /// The path below the hierarchy's root.
    pub path: String,
    /// The cgroup's id in its hierarchy (the inode number of its directory).
    pub id: u64,
}

/// A volume of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Volume {
    /// Where the container sees it.
    pub mount_point: String,
    /// Where it lies on the host.
    pub source: String,
    /// The runtime's or orchestrator's name for it: of a Kubernetes volume
    /// `pvc-UUID`, otherwise the runtime's own; empty for a plain directory.
    pub name: String,
    /// `bind`, `volume`, `tmpfs`, … in the runtime's words.
    pub kind: String,
    /// The container cannot write to it.
    pub read_only: bool,
}

/// A port that the runtime published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct PublishedPort {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The host's address.
    pub host_address: String,
    /// The host's port.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
}

/// Something that happened to a container or a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// To which container; `None` for a process of no container.
    pub container: Option<ContainerRef>,
    /// To which process, for events of processes.
    pub process: Option<Process>,
    /// When, in nanoseconds of `CLOCK_BOOTTIME`.
    pub at: u64,
}

/// What an [`Event`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A container is there.
    ContainerAppeared,
    /// Something in [`Container`] is different now.
    ContainerChanged,
    /// Its last process is gone and its cgroup too.
    ContainerGone,
    /// A container whose runtime's metadata are wanted, from whoever provides them.
    MetadataWanted,
    /// A process started.
    ProcessStarted,
    /// A process replaced its program.
    ProcessExecuted,
    /// A process exited.
    ProcessExited,
    /// One that this version does not know.
    Other(u32),
}

impl EventKind {
    pub(crate) fn from_code(code: u32) -> Self {
        match code {
            1 => Self::ContainerAppeared,
            2 => Self::ContainerChanged,
            3 => Self::ContainerGone,
            4 => Self::MetadataWanted,
            5 => Self::ProcessStarted,
            6 => Self::ProcessExecuted,
            7 => Self::ProcessExited,
            other => Self::Other(other),
        }
    }

    /// The number that crosses.
    pub fn code(self) -> u32 {
        match self {
            Self::ContainerAppeared => 1,
            Self::ContainerChanged => 2,
            Self::ContainerGone => 3,
            Self::MetadataWanted => 4,
            Self::ProcessStarted => 5,
            Self::ProcessExecuted => 6,
            Self::ProcessExited => 7,
            Self::Other(code) => code,
        }
    }
}

/// A place in the host's stream of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor(pub(crate) u64);

/// Some events, and where the next ones begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Events {
    /// In the order in which the host learned of them.
    pub events: Vec<Event>,
    /// Pass it to the next call.
    pub next: Cursor,
    /// How many were lost because this reader was too slow. After a loss, ask
    /// for all containers again.
    pub lost: u64,
}

/// What a provider knows of a container, by the runtime's own id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Which container: [`Container::runtime_id`].
    pub runtime_id: String,
    /// What is known; fields left empty are taken from nowhere.
    pub container: Container,
    /// The runtime no longer has it.
    pub removed: bool,
}

impl Metadata {
    /// The name in [`Container::names`] that holds the number of the user whose
    /// runtime tells ([`crate::Host::provide`]).
    pub const USER: &str = "user";

    /// The name, with any text, by which a provider says that it has told all that
    /// a runtime has at first ([`crate::Host::provide`]).
    pub const LISTED: &str = "listed";
}

/// What a plugin saw in the kernel, earlier and surer than `/proc` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// What happened.
    pub kind: EventKind,
    /// The process.
    pub process: Process,
    /// Its cgroup's hierarchy; 0 is v2.
    pub hierarchy: u32,
    /// Its cgroup's id in that hierarchy.
    pub cgroup: u64,
    /// Inode number of its network namespace; 0 when unknown.
    pub network_namespace: u64,
}
