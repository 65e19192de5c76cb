//! TCP connections of containers: who talks to whom, and what fails.
//!
//! Programs in the kernel follow each socket that a process opens; user space
//! is told when it ends, and asks for what is open when somebody collects.
//!
//! # Layout
//! * [`metrics`], [`views`]: what is shown; [`config`]: what can be set.
//! * [`engine`]: the programs (`bpf/`). [`record`]: what they tell. [`asks`]: those that are asked; [`looks`]: when.
//! * [`tracker`]: what that makes of what is known: [`connections`], [`counts`],
//!   [`listens`]; [`destination`] and [`reason`] give the names.
//! * [`shared`]: all of it, under two locks. [`watch`]: the thread that takes events over; [`waiter`]: when. [`clock`]: the programs' own. [`own`]: what is lost. [`handover`]: what the next
//!   generation needs. [`observed`]: what the identity service is told.
//! * [`refresh`]: whose everything is. [`addresses`]: those of namespaces. [`published`]: ports of the machine that
//!   are a container's. [`emit`]: samples.
//! * [`actual`]: where connections really go that are translated.
//! * [`latency`]: how far away destinations are.
//! * [`asked`]: what can be known where there are no programs.
#![forbid(unsafe_code)]

pub mod actual;
pub mod addresses;
pub mod asked;
pub mod asks;
pub mod clock;
pub mod config;
pub mod connections;
pub mod counts;
pub mod destination;
pub mod emit;
pub mod engine;
pub mod handover;
pub mod latency;
pub mod listens;
pub mod looks;
pub mod metrics;
pub mod observed;
pub mod own;
pub mod published;
pub mod reason;
pub mod record;
pub mod refresh;
pub mod shared;
pub mod tracker;
pub mod views;
pub mod waiter;
pub mod watch;

use addresses::Addresses;
use asked::Asked;
use config::{Config, Settings};
use gantry_plugin_api::{
    Error, Family, Handover, Health, Host, Manifest, Need, Plugin, Probe, Reconfigured, Rows, Sink, View,
    tracing,
};
use handover::State;
use latency::Latency;
use own::{Own, Totals};
use published::Published;
use std::time::{Duration, Instant};
use watch::Watch;

/// The plugin.
#[derive(Debug)]
pub struct TcpEbpf {
    host: Host,
    settings: Settings,
    source: Source,
    addresses: Addresses,
    published: Published,
    own: Own,
    translations: actual::own::Own,
    /// Where somebody tells whom containers connect to.
    latency: Option<Latency>,
    last: Option<Instant>,
}

/// Where it all comes from.
#[derive(Debug)]
enum Source {
    /// Programs tell it.
    Told(Watch),
    /// It is asked for, and this is why.
    Asked(Asked, String),
}

fn settings(config: &Config, host: &Host) -> Result<Settings, Error> {
    let ports = std::fs::read_to_string(host.proc().join("sys/net/ipv4/ip_local_port_range"));
    let netns =
        addresses::namespace_of(&host.proc(), 1).map_or_else(|| own_namespace(host), |(netns, _)| netns);
    Settings::of(config, ports.ok().as_deref(), netns)
}

/// Where the first process may not be looked at, the agent is taken to be in
/// the machine's own namespace, as it is meant to be.
fn own_namespace(host: &Host) -> u32 {
    addresses::namespace_of(&host.proc(), std::process::id()).map_or(0, |(netns, _)| netns)
}

impl Plugin for TcpEbpf {
    const MANIFEST: Manifest = Manifest::new(
        "tcp-ebpf",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_DESCRIPTION"),
    )
    .claims(&["container_net_tcp_", "container_net_latency_", "tcp_ebpf_"])
    .needs(&[
        Need::kernel("5.10", "older ones have no iterators over sockets").optional(),
        Need::btf(
            "where fields of the kernel's structures lie is asked there; without it no program is loaded",
        )
        .optional(),
        Need::capability("CAP_BPF", "to load programs; without it open connections alone are shown")
            .optional(),
        Need::capability("CAP_PERFMON", "to attach programs to the kernel's tracepoints").optional(),
        Need::capability("CAP_NET_ADMIN", "to ask for the sockets of all network namespaces").optional(),
        Need::capability("CAP_SYS_ADMIN", "to enter the network namespaces of containers").optional(),
        Need::capability(
            "CAP_NET_RAW",
            "to send echoes from namespaces whose net.ipv4.ping_group_range allows none",
        )
        .optional(),
        Need::capability("CAP_SYS_PTRACE", "to find the network namespaces of processes").optional(),
    ]);
    type Config = Config;

    fn families() -> &'static [&'static Family] {
        metrics::ALL
    }

    fn views() -> &'static [View] {
        &views::VIEWS
    }

    fn probe(config: &Config, host: &Host) -> Probe {
        let probe = Probe::supported();
        if !config.ebpf {
            return probe.note("ebpf = false: no program is loaded");
        }
        if gantry_bpf::Kernel::has_btf(&host.sys()) {
            return probe.note("the kernel tells its types (BTF)");
        }
        let path = host.sys().join("kernel/btf/vmlinux");
        probe.degraded(format!("{} is not there: {}", path.display(), asked::MISSING))
    }

    fn start(config: Config, host: Host) -> Result<Self, Error> {
        let settings = settings(&config, &host)?;
        let source = if settings.ebpf {
            match Watch::start(&host, settings.clone()) {
                Ok(watch) => Source::Told(watch),
                Err(why) => {
                    tracing::warn!("no programs: {why}; {}", asked::MISSING);
                    Source::Asked(Asked::default(), why)
                }
            }
        } else {
            Source::Asked(Asked::default(), "ebpf = false".to_owned())
        };
        Ok(Self {
            own: Own::new(&host),
            translations: actual::own::Own::new(&host),
            settings,
            source,
            addresses: Addresses::default(),
            published: Published::default(),
            latency: None,
            last: None,
            host,
        })
    }

    fn activate(&mut self, handover: Option<Handover>) -> Result<(), Error> {
        let before = handover.as_ref().and_then(State::decode);
        if handover.is_some() && before.is_none() {
            tracing::warn!("the hand-over is of another version, or damaged: counting begins anew");
        }
        if let Source::Told(watch) = &self.source {
            watch.activate(before);
        }
        self.ask_for_latency();
        Ok(())
    }

    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        let Self { host, source, addresses, published, own, translations, latency, last, settings } = self;
        published.refresh(host);
        let watch = match source {
            Source::Told(watch) => watch,
            Source::Asked(asked, _) => {
                asked.collect(host, &settings.rules, addresses, published, sink);
                return Ok(());
            }
        };
        if let Some(latency) = latency {
            latency.tally().tell(|reason, count| sink.skipped(reason, count));
        }
        watch.scan();
        refresh::refresh(host, published, watch, addresses, addresses::ask);
        let mut inner = watch.lock();
        let begun = Instant::now();
        if let Some(before) = last.replace(begun) {
            inner.tracker.counts.look_at_rates(begun.duration_since(before).as_secs_f64());
        }
        if inner.tracker.is_active() {
            own.take(Totals::of(&inner), |reason, count| sink.skipped(reason, count));
        }
        let tracked = inner.tracker.connections.len();
        // Also of what is followed and does not count.
        let bytes = inner.engine.map_bytes(inner.tracker.connections.found.max(tracked));
        host.report("bpf_map_bytes", bytes as f64);
        if inner.tracker.is_scanned() {
            sink.node(&metrics::TRACKED, &[], tracked);
        }
        sink.node(&metrics::MAP_BYTES, &[], bytes);
        for program in inner.engine.programs() {
            let is_loaded = program.outcome == gantry_bpf::Outcome::Loaded;
            sink.node(&metrics::PROGRAM, &[program.program], is_loaded);
        }
        emit::connections(&inner.tracker, sink);
        let listens = emit::listens(&inner.tracker, addresses);
        let actual = inner.actual.clone();
        drop(inner);
        if let Some(actual) = actual {
            translations.show(&actual.lock(), sink);
        }
        own.hides(listens.hidden, |reason, count| sink.skipped(reason, count));
        asked::emit_listens(published, &listens.at, addresses, settings.rules.host_netns, sink);
        Ok(())
    }

    fn view(&mut self, name: &str, rows: &mut Rows<'_>) -> Result<(), Error> {
        let Self { host, source, addresses, published, .. } = self;
        published.refresh(host);
        let watch = match source {
            Source::Told(watch) => watch,
            Source::Asked(_, why) if name == "programs" => {
                views::no_programs(why, rows);
                return Ok(());
            }
            Source::Asked(_, why) => {
                return Err(Error::new(format!("no programs run here: {why}; {}", asked::MISSING)));
            }
        };
        match name {
            "connections" | "listens" => {
                watch.scan();
                refresh::refresh(host, published, watch, addresses, addresses::ask);
                let inner = watch.lock();
                if name == "connections" {
                    views::connections(&inner.tracker, rows);
                } else {
                    views::listens(&inner.tracker, addresses, rows);
                }
            }
            "programs" => views::programs(&watch.lock().engine.programs(), rows),
            _ => return Err(Error::unknown(format!("there is no view {name:?}"))),
        }
        Ok(())
    }

    fn reconfigure(&mut self, config: Config) -> Result<Reconfigured, Error> {
        let settings = settings(&config, &self.host)?;
        let is_same = |of: fn(&Settings) -> (u32, bool, bool, bool)| of(&settings) == of(&self.settings);
        if !is_same(|settings| (settings.ring, settings.measure, settings.ebpf, settings.translations)) {
            return Ok(Reconfigured::NeedsRestart);
        }
        if let Source::Told(watch) = &self.source {
            watch.reconfigure(settings.clone());
        }
        self.settings = settings;
        self.ask_for_latency();
        Ok(Reconfigured::Applied)
    }

    fn health(&self) -> Health {
        let reasons: Vec<String> = match &self.source {
            Source::Asked(asked, why) => {
                let without = self.settings.ebpf.then(|| format!("{why}; {}", asked::MISSING));
                without.into_iter().chain(asked.trouble.clone()).collect()
            }
            Source::Told(watch) => {
                let inner = watch.lock();
                let translations = inner.actual.as_ref().and_then(|actual| actual.lock().trouble());
                inner.engine.missing().iter().chain(inner.troubles()).cloned().chain(translations).collect()
            }
        };
        if reasons.is_empty() { Health::Good } else { Health::Degraded(reasons) }
    }

    fn stop(&mut self, _deadline: Duration) -> Result<Option<Handover>, Error> {
        // What it counts is handed over with the rest.
        self.latency = None;
        match &mut self.source {
            Source::Told(watch) => {
                let state = watch.stop();
                // What was lost since the last collection is in no other's count.
                let inner = watch.lock();
                if inner.tracker.is_active() {
                    self.own.take(Totals::of(&inner), |_, _| ());
                }
                Ok(Some(state.encode()))
            }
            Source::Asked(..) => Ok(None),
        }
    }

    fn snapshot(&mut self) -> Result<Option<Handover>, Error> {
        match &self.source {
            Source::Told(watch) => Ok(Some(watch.lock().tracker.state(watch.now()).encode())),
            Source::Asked(..) => Ok(None),
        }
    }
}

impl TcpEbpf {
    /// As the settings say.
    fn ask_for_latency(&mut self) {
        let (Source::Told(watch), Some(settings)) = (&self.source, self.settings.latency) else {
            self.latency = None;
            latency::forget(&self.host);
            return;
        };
        if let Some(latency) = &self.latency {
            latency.reconfigure(settings);
            return;
        }
        match Latency::start(&self.host, settings, watch.pairs()) {
            Ok(latency) => self.latency = Some(latency),
            Err(error) => tracing::warn!("clone: {error}; latency is not known"),
        }
    }
}

gantry_plugin_api::export_plugin!(TcpEbpf);
