//! Processes that the kernel killed for want of memory: of which container, and whose
//! limit was reached.
//!
//! A program in the kernel tells of each victim while the kernel holds it, with its
//! cgroup, its memory and the limit. The counters of cgroups check that, and count alone
//! where no program can be loaded.
//!
//! # Layout
//! * [`metrics`], [`views`]: what is shown; [`config`]: what can be set.
//! * [`engine`]: the programs (`bpf/`). [`record`]: what they tell. [`counters`]: the files of cgroups.
//! * [`scope`]: whose limit. [`counted`]: what counts, and what is known already. [`kill`]: what people see of it.
//! * [`containers`]: all of them. [`state`]: what is known. [`watch`]: the thread that takes events over. [`handover`]:
//!   what the next generation needs. [`own`]: what the plugin counts of itself.
#![forbid(unsafe_code)]

pub mod config;
pub mod containers;
pub mod counted;
pub mod counters;
pub mod engine;
pub mod handover;
pub mod kill;
pub mod metrics;
pub mod own;
pub mod record;
pub mod scope;
pub mod state;
pub mod views;
pub mod watch;

use config::Config;
use engine::Engine;
use gantry_plugin_api::{
    Error, Family, Handover, Health, Host, Manifest, Need, Plugin, Probe, Reconfigured, Rows, Sink, View,
    tracing,
};
use handover::Handed;
use state::State;
use std::time::Duration;
use watch::Watch;

/// What is missing without programs.
pub const MISSING: &str = "kills are known by the cgroups' counters alone: without victim, memory and \
                           container_oom_events_total, and not of containers that are gone before the next collection";

/// The plugin.
#[derive(Debug)]
pub struct Oom {
    host: Host,
    config: Config,
    watch: Watch,
    /// Why there are no programs.
    without: Option<String>,
}

impl Plugin for Oom {
    const MANIFEST: Manifest = Manifest::new("oom", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
        .claims(&["container_oom_", "oom_"])
        .needs(&[
            Need::kernel("5.10", "older ones have no ring for events").optional(),
            Need::btf(
                "where fields of the kernel's structures lie is asked there; without it no program is loaded",
            )
            .optional(),
            Need::capability(
                "CAP_BPF",
                "to load a program; without it the cgroups' counters alone tell of kills",
            )
            .optional(),
            Need::capability("CAP_PERFMON", "to attach it to the kernel's tracepoint").optional(),
            Need::path("/sys/fs/cgroup", "the kernel's own count of kills is read there").optional(),
        ]);
    type Config = Config;

    fn families() -> &'static [&'static Family] {
        metrics::ALL
    }

    fn views() -> &'static [View] {
        &views::VIEWS
    }

    fn probe(config: &Config, host: &Host) -> Probe {
        let probe = match counters::Counters::of(host, false) {
            Ok(_) => Probe::supported().note("the kernel counts kills in each cgroup"),
            Err(why) if config.ebpf => {
                Probe::supported().degraded(format!("{why}; nothing checks the events"))
            }
            Err(why) => return Probe::unsupported(format!("ebpf = false, and {why}")),
        };
        if !config.ebpf {
            return probe.note("ebpf = false: no program is loaded");
        }
        if gantry_bpf::Kernel::has_btf(&host.sys()) {
            return probe.note("the kernel tells its types (BTF)");
        }
        let path = host.sys().join("kernel/btf/vmlinux");
        probe.degraded(format!("{} is not there: {MISSING}", path.display()))
    }

    fn start(config: Config, host: Host) -> Result<Self, Error> {
        let (engine, without) = match config.ebpf.then(|| Engine::start(&host.sys())) {
            Some(Ok(engine)) => (Some(engine), None),
            Some(Err(why)) => {
                tracing::warn!("no programs: {why}; {MISSING}");
                (None, Some(why))
            }
            None => (None, Some("ebpf = false".to_owned())),
        };
        let state = State::new(&host, config, engine);
        let watch = Watch::start(&host, state).map_err(Error::new)?;
        Ok(Self { host, config, watch, without })
    }

    fn activate(&mut self, handover: Option<Handover>) -> Result<(), Error> {
        let before = handover.as_ref().and_then(Handed::decode);
        if handover.is_some() && before.is_none() {
            tracing::warn!("the hand-over is of another version, or damaged: counting begins anew");
        }
        self.watch.lock().activate(&self.host, before);
        Ok(())
    }

    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        self.watch.lock().collect(&self.host, sink);
        Ok(())
    }

    fn view(&mut self, name: &str, rows: &mut Rows<'_>) -> Result<(), Error> {
        let mut state = self.watch.lock();
        match (name, &state.engine, &self.without) {
            ("kills", None, Some(why)) => {
                return Err(Error::new(format!("no program runs here: {why}; {MISSING}")));
            }
            ("kills", ..) => {
                state.take(&self.host);
                views::kills(state.kills(), rows);
            }
            ("programs", Some(engine), _) => views::programs(&engine.programs(), rows),
            ("programs", None, why) => views::no_programs(why.as_deref().unwrap_or_default(), rows),
            _ => return Err(Error::unknown(format!("there is no view {name:?}"))),
        }
        Ok(())
    }

    fn reconfigure(&mut self, config: Config) -> Result<Reconfigured, Error> {
        if config.ebpf != self.config.ebpf {
            return Ok(Reconfigured::NeedsRestart);
        }
        self.watch.lock().reconfigure(config);
        self.config = config;
        Ok(Reconfigured::Applied)
    }

    fn health(&self) -> Health {
        // Who wants no programs knows what is missing.
        let without = self.without.as_ref().filter(|_| self.config.ebpf);
        let without = without.map(|why| format!("{why}; {MISSING}"));
        let trouble = self.watch.lock().trouble().cloned();
        let reasons: Vec<String> = without.into_iter().chain(trouble).collect();
        if reasons.is_empty() { Health::Good } else { Health::Degraded(reasons) }
    }

    fn stop(&mut self, _deadline: Duration) -> Result<Option<Handover>, Error> {
        self.watch.join();
        let mut state = self.watch.lock();
        state.stop(&self.host);
        Ok(state.handed().encode())
    }

    fn snapshot(&mut self) -> Result<Option<Handover>, Error> {
        Ok(self.watch.lock().handed().encode())
    }
}

gantry_plugin_api::export_plugin!(Oom);
