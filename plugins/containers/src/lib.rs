//! Containers: what their runtimes tell of them, for the host and all plugins,
//! and their metrics.
//!
//! # Layout
//! * `metrics`: what is shown; `config`: what can be set.
//! * `found`: what lies where they should listen. `known`: the containers that there are; `brief`: one of them; `follow`: the thread that keeps
//!   them up to date.
//! * `runtimes`: those that are asked; `workers`: by whom. `provider`: what is common to all;
//!   `docker`, `podman`; `cri`: Kubernetes', containerd and CRI-O;
//!   `containerd`: what that runs for others; `grpc`: what these two have in
//!   common; `systemd`.
//! * `collector`: all metrics of containers. `figures`: of their cgroups;
//!   `volumes`: of what is mounted in them; `application`: what runs in them;
//!   `restarts`, `info`: how often they began anew, and what each is.
#![forbid(unsafe_code)]

mod application;
pub mod brief;
mod collector;
pub mod config;
pub mod containerd;
pub mod cri;
pub mod docker;
mod figures;
mod follow;
mod found;
pub mod grpc;
mod info;
pub mod known;
pub mod metrics;
pub mod podman;
pub mod provider;
mod restarts;
mod runtimes;
pub mod systemd;
mod volumes;
mod workers;

use application::looks::Looks;
use collector::Collector;
use config::Config;
use follow::{Follower, State};
use gantry_plugin_api::{
    Error, Family, Handover, Health, Host, Manifest, Need, Plugin, Probe, Reconfigured, Sink, tracing,
};
use podman::users::{self, Finder};
use provider::bounds::Losses;
use provider::link;
use std::sync::Arc;
use std::time::{Duration, Instant};
use volumes::FileSystems;
use workers::Workers;

/// The plugin.
#[derive(Debug)]
pub struct Containers {
    config: Config,
    follower: Follower,
    workers: Arc<Workers>,
    finder: Option<Finder>,
    losses: Arc<Losses>,
    file_systems: FileSystems,
    programs: Looks,
    active: bool,
}

/// Of what is handed over.
const VERSION: u32 = 1;

/// Whether other users' processes may be looked at (ptrace(2), access checks).
fn may_trace() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE))
}

impl Plugin for Containers {
    const MANIFEST: Manifest = Manifest::new(
        "containers",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_DESCRIPTION"),
    )
    .claims(&[
        "container_runtime_",
        "container_resources_cpu_limit_",
        "container_resources_cpu_binding_limit_",
        "container_resources_cpu_usage_",
        "container_resources_cpu_throttled_",
        "container_resources_cpu_periods_",
        "container_resources_cpu_pressure_",
        "container_resources_memory_",
        "container_resources_io_",
        "container_resources_disk_size_",
        "container_resources_disk_used_",
        "container_resources_disk_reserved_",
        "container_resources_disk_reads_",
        "container_resources_disk_writes_",
        "container_resources_disk_read_",
        "container_resources_disk_written_",
    ])
    .provides_identity(&runtimes::ALL)
    .needs(&[
        Need::path("/proc", "processes, mounts and open files are read there"),
        Need::path("/sys/fs/cgroup", "what containers use is read there"),
        Need::path(
            "/run/docker.sock",
            "Docker says there what its containers are called; without it they are shown by their ids",
        )
        .optional(),
        Need::path(
            "/run/podman/podman.sock",
            "Podman says there what its containers are called; without it they are shown by their ids",
        )
        .optional(),
        Need::path(
            "/run/containerd/containerd.sock",
            "containerd says there what its containers and those of pods are called; without it they are shown by their ids",
        )
        .optional(),
        Need::path(
            "/run/crio/crio.sock",
            "CRI-O says there what the containers of pods are called; without it they are shown by their ids",
        )
        .optional(),
        Need::path(
            "/run/dbus/system_bus_socket",
            "systemd says there which services run once or on a timer; without it they are shown among the others",
        )
        .optional(),
        Need::capability(
            "CAP_SYS_PTRACE",
            "to read other users' /proc/PID/exe, /proc/PID/root and /proc/PID/fd; without it \
                     application types and volumes are missing",
        )
        .optional(),
    ]);
    type Config = Config;

    fn families() -> &'static [&'static Family] {
        metrics::ALL
    }

    fn probe(config: &Config, host: &Host) -> Probe {
        let mut probe = Probe::supported();
        if !may_trace() {
            probe = probe.degraded(
                "CAP_SYS_PTRACE: of other users' processes neither application types nor volumes are shown, and \
                 what their environment says is not heard (GANTRY_DISABLE)",
            );
        }
        let asked = runtimes::asked(config);
        let root = host.root();
        let mut looks: Vec<found::Look<String>> = Vec::new();
        for one in &asked {
            let path = one.path(&root);
            looks.push(Box::new(move || found::socket(&path).to_owned()));
        }
        if config.podman_users {
            looks.push(Box::new(move || format!("{} are there", users::sockets(&root).len())));
        }
        let mut found = match found::in_time(looks) {
            Ok(found) => found.into_iter(),
            Err(error) => return probe.note(format!("sockets are not looked for: a thread for it: {error}")),
        };
        let mut next = || found.next().flatten().unwrap_or_else(|| found::HANGS.to_owned());
        for one in &asked {
            let api = if one.api() == one.runtime() { String::new() } else { format!(" ({})", one.api()) };
            probe = probe.note(format!("{}{api}: {} {}", one.runtime(), one.socket, next()));
        }
        if config.podman_users {
            probe = probe.note(format!("podman: users' are looked for in /run/user: {}", next()));
        }
        if asked.is_empty() && !config.podman_users {
            probe = probe.note("no runtime is asked: containers are shown by the ids of their cgroups");
        }
        probe
    }

    fn start(config: Config, host: Host) -> Result<Self, Error> {
        let losses = Arc::new(Losses::default());
        let asked = runtimes::asked(&config);
        runtimes::tell(&asked, &host)?;
        let workers = Arc::new(Workers::start(&asked, &host, &losses)?);
        let finder = config.podman_users.then(|| {
            let deadline = config.podman.deadline.0;
            Finder::start(host.root(), deadline, Arc::clone(&workers))
        });
        let finder = finder.transpose()?;
        let collector = if config.metrics { Some(Collector::new(&host)?) } else { None };
        let follower = Follower::start(&host, Arc::clone(&workers), collector)?;
        let (file_systems, programs) = (FileSystems::new(&host.proc()), Looks::new(&host.proc()));
        Ok(Self { follower, config, workers, finder, losses, file_systems, programs, active: false })
    }

    fn activate(&mut self, handover: Option<Handover>) -> Result<(), Error> {
        let past = handover.filter(|handover| handover.version == VERSION);
        let past = past.and_then(|handover| serde_json::from_slice(&handover.bytes).ok());
        let mut state = self.follower.state();
        if let (Some(past), Some(collector)) = (past, &mut state.collector) {
            collector.set_past(past);
        }
        drop(state);
        self.active = true;
        Ok(())
    }

    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        let begun = {
            let State { known, collector } = &mut *self.follower.now();
            collector.as_mut().map(|collector| collector.begin(known))
        };
        if let Some((asked, questions)) = begun {
            // With nothing held: a file system that is slow must not keep the
            // other thread from hearing which containers end.
            let answers = self.file_systems.ask(asked);
            let looked = self.programs.look(questions);
            let State { known, collector } = &mut *self.follower.now();
            if let Some(collector) = collector {
                collector.collect(known, &answers, looked, sink);
            }
        }
        for link in self.workers.links() {
            let socket = link.socket().to_string_lossy();
            sink.node(
                &metrics::RUNTIME_UP,
                &[link.runtime(), link.api(), &socket],
                link.state() == link::State::Up,
            );
        }
        // What the trial collection tells is thrown away.
        if self.active {
            self.losses.report(sink);
        }
        Ok(())
    }

    fn reconfigure(&mut self, config: Config) -> Result<Reconfigured, Error> {
        if config != self.config {
            return Ok(Reconfigured::NeedsRestart);
        }
        Ok(Reconfigured::Applied)
    }

    fn health(&self) -> Health {
        let mut troubles: Vec<String> = Vec::new();
        // Users' Podmans, which nobody named, are theirs: what is wrong with them is in
        // the log and in `container_runtime_up`, and degrades nothing.
        for trouble in self.workers.configured().iter().filter_map(|link| link.trouble()) {
            // Of one socket that is asked over two APIs it is the same.
            if !troubles.contains(&trouble) {
                troubles.push(trouble);
            }
        }
        if troubles.is_empty() { Health::Good } else { Health::Degraded(troubles) }
    }

    fn stop(&mut self, deadline: Duration) -> Result<Option<Handover>, Error> {
        // Half of it: the host must get its answer within the whole.
        let until = Instant::now() + deadline / 2;
        let left = || until.saturating_duration_since(Instant::now());
        self.follower.end();
        self.finder.iter().for_each(Finder::end);
        self.workers.end();
        let stuck = self.workers.join(&left)
            + self.finder.iter().filter(|finder| !finder.join(left())).count()
            + usize::from(!self.follower.join(left()))
            + self.file_systems.stop(left())
            + self.programs.stop(left());
        if stuck > 0 {
            tracing::warn!("{stuck} threads did not end in time and are left behind");
        }
        self.snapshot()
    }

    fn snapshot(&mut self) -> Result<Option<Handover>, Error> {
        let mut state = self.follower.state();
        let Some(collector) = &mut state.collector else { return Ok(None) };
        let bytes = serde_json::to_vec(&collector.past()).map_err(Error::new)?;
        Ok(Some(Handover { version: VERSION, bytes }))
    }
}

gantry_plugin_api::export_plugin!(Containers);
