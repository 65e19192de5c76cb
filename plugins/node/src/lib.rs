//! Metrics of the node itself: CPU, memory, disks, file systems, network, pressure.
//!
//! # Layout
//! * [`metrics`]: what is shown; [`config`]: what can be set.
//! * [`sources`]: what is read and how that went; [`reader`]: with which bounds.
//! * [`cpu`], [`memory`], [`load`], [`pressure`], [`disks`], [`network`] (and
//!   [`class_net`]), [`filesystems`] (with [`mounts`]),
//!   [`identity`]: one subject each, over roots that they are given.
//! * [`namespaces`]: whether the node's namespaces are the agent's own.
#![forbid(unsafe_code)]

pub mod class_net;
pub mod config;
pub mod cpu;
pub mod disks;
pub mod filesystems;
pub mod identity;
pub mod load;
pub mod memory;
pub mod metrics;
pub mod mounts;
pub mod namespaces;
pub mod network;
pub mod pressure;
pub mod probe;
pub mod reader;
pub mod sources;

use config::{Config, Settings};
use gantry_mounts::statfs;
use gantry_plugin_api::host::Clock;
use gantry_plugin_api::{
    Column, Error, Family, Handover, Health, Host, Manifest, Need, Plugin, Probe, Reconfigured, Rows, Sink,
    View, tracing,
};
use sources::{Out, Roots, Run, Sources};
use std::time::Duration;

/// The plugin.
#[derive(Debug)]
pub struct Node {
    host: Host,
    roots: Roots,
    settings: Settings,
    sources: Sources,
    buffer: Vec<u8>,
    page: u64,
    cpu: cpu::Cpu,
    disks: disks::Disks,
    filesystems: filesystems::Filesystems,
    network: network::Network,
    identity: identity::Identity,
}

static VIEWS: [View; 3] = [
    View::new(
        "sources",
        "What is read, and how that went the last time",
        &[
            Column::text("path"),
            Column::text("gives"),
            Column::text("state"),
            Column::number("samples", ""),
            Column::number("took", "seconds"),
            Column::time("last_read"),
        ],
    ),
    View::new(
        "filesystems",
        "The file systems that are shown",
        &[
            Column::text("mount_point"),
            Column::text("device"),
            Column::text("fs_type"),
            Column::number("size", "bytes"),
            Column::number("used", "bytes"),
            Column::text("state"),
        ],
    ),
    View::new(
        "interfaces",
        "The network interfaces that are shown",
        &[
            Column::text("interface"),
            Column::text("kind"),
            Column::text("state"),
            Column::text("addresses"),
            Column::number("received", "bytes"),
            Column::number("transmitted", "bytes"),
        ],
    ),
];

fn roots(host: &Host) -> Roots {
    Roots { proc: host.proc(), sys: host.sys(), root: host.root() }
}

impl Plugin for Node {
    const MANIFEST: Manifest = Manifest::new(
        "node",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_DESCRIPTION"),
    )
    .claims(&["node_resources_", "node_net_"])
    .needs(&[
        Need::path("/proc", "CPU time, memory, load, pressure, disks and mounts are read there"),
        Need::path("/sys/block", "it says which block devices there are").optional(),
        Need::path("/proc/1/ns/net", "the node's network interfaces are read in its namespace").optional(),
        Need::capability(
            "CAP_SYS_ADMIN",
            "to enter the node's network and UTS namespaces where the agent has others; without it the \
                     interfaces and the host name are the agent's own",
        )
        .optional(),
        Need::capability(
            "CAP_SYS_PTRACE",
            "to read /proc/1/mountinfo and /proc/1/ns; without it the \
                     mounts are those that the agent itself sees",
        )
        .optional(),
    ]);
    type Config = Config;

    fn families() -> &'static [&'static Family] {
        metrics::ALL
    }

    fn views() -> &'static [View] {
        &VIEWS
    }

    fn probe(config: &Config, host: &Host) -> Probe {
        match Settings::of(config) {
            Ok(settings) => probe::probe(&roots(host), &settings),
            Err(error) => Probe::unsupported(error.message()),
        }
    }

    fn start(config: Config, host: Host) -> Result<Self, Error> {
        let roots = roots(&host);
        Ok(Self {
            settings: Settings::of(&config)?,
            sources: Sources::new(&roots),
            buffer: Vec::new(),
            page: rustix::param::page_size() as u64,
            cpu: cpu::Cpu::new(rustix::param::clock_ticks_per_second()),
            disks: disks::Disks::default(),
            filesystems: filesystems::Filesystems::new(statfs::beneath(roots.root.clone())),
            network: network::Network::new(&roots),
            identity: identity::Identity::new(&roots),
            host,
            roots,
        })
    }

    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut run = Run {
            roots: &self.roots,
            sources: &mut self.sources,
            out: Out::new(sink),
            buffer: &mut self.buffer,
            at: self.host.now(Clock::Realtime),
        };
        self.identity.collect(&mut run);
        load::collect(&mut run);
        self.cpu.collect(&mut run);
        memory::collect(&mut run, self.page);
        pressure::collect(&mut run);
        self.disks.collect(&mut run, &self.settings.devices);
        self.network.collect(&mut run, &self.settings.interfaces);
        // Last: it alone may have to wait.
        self.filesystems.collect(&mut run, &self.settings);
        Ok(())
    }

    fn view(&mut self, name: &str, rows: &mut Rows<'_>) -> Result<(), Error> {
        match name {
            "sources" => self.sources.view(rows),
            "filesystems" => self.filesystems.view(rows),
            "interfaces" => self.network.view(rows),
            _ => return Err(Error::unknown(format!("there is no view {name:?}"))),
        }
        Ok(())
    }

    fn reconfigure(&mut self, config: Config) -> Result<Reconfigured, Error> {
        self.settings = Settings::of(&config)?;
        self.filesystems.forget();
        Ok(Reconfigured::Applied)
    }

    fn health(&self) -> Health {
        let troubles = self.sources.troubles();
        if troubles.is_empty() { Health::Good } else { Health::Degraded(troubles) }
    }

    fn stop(&mut self, deadline: Duration) -> Result<Option<Handover>, Error> {
        // Half of it: the host must get its answer within the whole.
        let left = self.filesystems.stop(deadline / 2);
        if left > 0 {
            tracing::warn!("{left} threads are stuck in statfs and are left behind");
        }
        Ok(None)
    }
}

gantry_plugin_api::export_plugin!(Node);
