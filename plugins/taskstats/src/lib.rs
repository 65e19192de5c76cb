//! How long containers wait: for a CPU, for disks, for memory.
//!
//! The kernel counts that for each thread. It is asked for all processes of
//! containers when somebody collects, and tells what a process waited in all when
//! that ends.
//!
//! # Layout
//! * [`metrics`], [`views`]: what is shown; [`config`]: what can be set; [`emit`]: samples.
//! * [`source`]: where numbers come from; [`accounting`]: whether the kernel counts all of them.
//! * [`counts`]: what is made of them; [`waiting`]: ends whose container is not known yet.
//! * [`engine`]: both, under two locks; [`watch`]: the thread that takes ends over. [`handover`]: what the next
//!   generation needs. [`own`]: what is lost. [`left_alone`]: containers that are not looked at.
#![forbid(unsafe_code)]

pub mod accounting;
pub mod config;
pub mod counts;
pub mod emit;
pub mod engine;
pub mod handover;
pub mod left_alone;
pub mod metrics;
pub mod own;
pub mod source;
pub mod views;
pub mod waiting;
pub mod watch;

use accounting::{Accounting, State};
use config::Config;
use engine::Engine;
use gantry_netlink::Kind;
use gantry_plugin_api::{
    Error, Family, Handover, Health, Host, Manifest, Need, Plugin, Probe, Reconfigured, Rows, Sink, View,
    tracing,
};
use left_alone::LeftAlone;
use own::Own;
use source::Source;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;
use watch::Watch;

/// What is missing without it.
const UNCOUNTED: &str = "disk delay needs kernel.task_delayacct=1";

const MISSING: &str =
    "missing: container_resources_disk_delay_seconds_total, container_resources_delay_seconds_total";

/// The plugin.
#[derive(Debug)]
pub struct Taskstats {
    host: Host,
    config: Config,
    source: Source,
    /// Why it is not the kernel.
    fallback: Option<String>,
    engine: Arc<Engine>,
    watch: Option<Watch>,
    accounting: Accounting,
    /// Why it could not be set.
    unset: Option<String>,
    left_alone: LeftAlone,
    own: Own,
}

/// The kernel's answers, or else files.
type Opened = (Source, Option<gantry_netlink::Exits>, Option<String>);

fn open(config: &Config, host: &Host) -> Result<Opened, Error> {
    let why = if config.netlink {
        match Source::kernel(&host.proc(), &host.sys(), config.bytes()) {
            Ok((source, exits)) => return Ok((source, Some(exits), None)),
            Err(why) => why,
        }
    } else {
        "netlink = false".to_owned()
    };
    if source::has_files(&host.proc()) {
        return Ok((Source::Files(host.proc()), None, Some(why)));
    }
    Err(Error::unsupported(format!("{why}; and there is no /proc/PID/schedstat (CONFIG_SCHED_INFO)")))
}

impl Taskstats {
    fn is_counted(&self) -> impl Fn(Kind) -> bool + use<'_> {
        let is_on = self.accounting.state() == State::On;
        move |kind| self.source.has(kind) && (kind == Kind::Cpu || is_on)
    }

    fn set_accounting(&mut self, enable: bool) {
        self.unset = self.accounting.set(enable).err();
        if let Some(why) = &self.unset {
            tracing::warn!("{why}");
        }
    }

    /// What the kernel does not count, and why.
    fn uncounted(&self) -> Option<String> {
        if self.fallback.is_some() {
            return None;
        }
        let remedy = match (self.accounting.state(), self.config.enable_delay_accounting) {
            (State::On, _) => return None,
            (State::Never, _) => "the kernel was booted with nodelayacct".to_owned(),
            (State::Off, false) => "set it, or enable_delay_accounting = true".to_owned(),
            (State::Off, true) => {
                self.unset.clone().unwrap_or_else(|| "somebody set it back to 0".to_owned())
            }
        };
        Some(format!("{UNCOUNTED}; {MISSING}; {remedy}"))
    }
}

impl Plugin for Taskstats {
    const MANIFEST: Manifest = Manifest::new(
        "taskstats",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_DESCRIPTION"),
    )
    .claims(&[
        "container_resources_cpu_delay_",
        "container_resources_disk_delay_",
        "container_resources_delay_",
        "taskstats_",
    ])
    .needs(&[
        Need::path("/proc", "without netlink the delays of threads are read there"),
        Need::path("/sys/devices/system/cpu/possible", "it says on which CPUs processes may end").optional(),
        Need::capability(
            "CAP_NET_ADMIN",
            "to ask the kernel for delays, and to hear of ends of processes; without it delays of a CPU alone are \
             shown, without those of threads and processes that ended",
        )
        .optional(),
        Need::capability(
            "CAP_SYS_ADMIN",
            "to set kernel.task_delayacct where enable_delay_accounting says so, and to enter the node's network \
             namespace where the agent has another",
        )
        .optional(),
    ]);
    type Config = Config;

    fn families() -> &'static [&'static Family] {
        metrics::ALL
    }

    fn views() -> &'static [View] {
        &views::VIEWS
    }

    fn probe(config: &Config, host: &Host) -> Probe {
        let (source, _, fallback) = match open(config, host) {
            Ok(opened) => opened,
            Err(error) => return Probe::unsupported(error.message()),
        };
        let probe = Probe::supported();
        if let Some(why) = fallback {
            return probe.degraded(format!("{why}; {}", source::FILES));
        }
        let form = source.form().map_or(0, |form| form.version);
        let probe = probe.note(format!("struct taskstats is of version {form}"));
        match Accounting::new(&host.proc(), None).state() {
            State::On => probe.note("the kernel counts all delays"),
            State::Off if config.enable_delay_accounting => {
                probe.note("kernel.task_delayacct is 0, and will be set")
            }
            _ => probe.degraded(format!("{UNCOUNTED}; {MISSING}")),
        }
    }

    fn start(config: Config, host: Host) -> Result<Self, Error> {
        let (source, exits, fallback) = open(&config, &host)?;
        if let Some(why) = &fallback {
            tracing::warn!("{why}; {}", source::FILES);
        }
        let ends = exits.as_ref().map(|exits| exits.as_fd().try_clone_to_owned());
        let ends = ends.transpose().map_err(|error| Error::new(format!("dup: {error}")))?;
        let engine = Arc::new(Engine::new(&host, exits));
        let watch = ends.map(|ends| Watch::start(&engine, ends)).transpose().map_err(Error::new)?;
        let mut accounting = Accounting::new(&host.proc(), host.state_dir());
        if config.enable_delay_accounting {
            accounting.take_over();
        }
        let own = Own::new(&host);
        Ok(Self {
            host,
            config,
            source,
            fallback,
            engine,
            watch,
            accounting,
            unset: None,
            left_alone: LeftAlone::default(),
            own,
        })
    }

    fn activate(&mut self, handover: Option<Handover>) -> Result<(), Error> {
        self.set_accounting(self.config.enable_delay_accounting);
        let before = handover.as_ref().and_then(handover::decode);
        if handover.is_some() && before.is_none() {
            tracing::warn!("the hand-over is of another version, or damaged: counting begins anew");
        }
        self.left_alone.refresh(&self.host);
        self.engine.activate(before, &self.left_alone, &mut self.source);
        Ok(())
    }

    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        if !self.engine.counted().is_active {
            return Ok(());
        }
        self.left_alone.refresh(&self.host);
        self.engine.look(&self.left_alone, &mut self.source);
        let is_counted = self.is_counted();
        let counted = self.engine.counted();
        emit::containers(&counted.counts, &self.left_alone, &is_counted, sink);
        sink.node(&metrics::PROCESSES, &[], counted.asked);
        sink.node(&metrics::ACCOUNTING, &[], self.accounting.state() == State::On);
        drop(is_counted);
        self.own.take(&counted, |reason, count| sink.skipped(reason, count));
        Ok(())
    }

    fn view(&mut self, name: &str, rows: &mut Rows<'_>) -> Result<(), Error> {
        if name != "processes" {
            return Err(Error::unknown(format!("there is no view {name:?}")));
        }
        let (all, interval) = {
            let counted = self.engine.counted();
            (views::rows(&counted, &self.left_alone), counted.interval)
        };
        views::processes(&all, interval, &self.host.proc(), self.is_counted(), rows);
        Ok(())
    }

    fn reconfigure(&mut self, config: Config) -> Result<Reconfigured, Error> {
        let others = |config: &Config| Config { enable_delay_accounting: false, ..config.clone() };
        if others(&config) != others(&self.config) {
            return Ok(Reconfigured::NeedsRestart);
        }
        self.config = config;
        self.set_accounting(self.config.enable_delay_accounting);
        Ok(Reconfigured::Applied)
    }

    fn health(&self) -> Health {
        let fallback = self.fallback.iter().map(|why| format!("{why}; {}", source::FILES));
        let trouble = self.engine.counted().trouble.clone();
        let reasons: Vec<String> = fallback.chain(self.uncounted()).chain(trouble).collect();
        if reasons.is_empty() { Health::Good } else { Health::Degraded(reasons) }
    }

    fn stop(&mut self, _deadline: Duration) -> Result<Option<Handover>, Error> {
        self.watch = None;
        self.engine.end();
        if let Err(why) = self.accounting.end() {
            tracing::warn!("kernel.task_delayacct is not put back: {why}");
        }
        let counted = self.engine.counted();
        // What was lost since the last collection is in no other's count.
        self.own.take(&counted, |_, _| ());
        Ok(counted.is_active.then(|| handover::encode(&counted.counts, true)))
    }

    fn snapshot(&mut self) -> Result<Option<Handover>, Error> {
        let counted = self.engine.counted();
        Ok(counted.is_active.then(|| handover::encode(&counted.counts, false)))
    }
}

gantry_plugin_api::export_plugin!(Taskstats);
