//! The host's own metrics: the same families, sink and table as a plugin's.

use super::labels::HostLabels;
use crate::config::Isolation;
use crate::identity::Figures;
use crate::supervisor::{ArenaSink, Freshness, State, Unit};
use gantry_exposition::{Arena, Registry, Table};
use gantry_plugin_api::description::Description;
use gantry_plugin_api::{API_VERSION, Family, Manifest, Metrics, Sink, Unit as BaseUnit, families};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The owner of these names.
pub const OWNER: &str = "gantry";

/// The version of the host.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// 1 ms to 10 s: a collection of the node takes 1 to 5 ms, and the longest
/// deadline that makes sense is Prometheus' own of 10 s.
const COLLECT_BOUNDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

families! { FAMILIES:
    AGENT_INFO = Family::gauge("node_agent_info", "The agent; always 1.").labels(&["version"]);
    BUILD_INFO = Family::gauge("gantry_build_info", "How the host was built; always 1.")
        .labels(&["version", "api", "arch"]);
    PLUGIN_INFO = Family::gauge("gantry_plugin_info", "Each plugin that was verified; always 1.")
        .labels(&["plugin", "version", "api", "digest", "isolation"]);
    PLUGIN_STATE = Family::gauge("gantry_plugin_state", "1 for the state that a plugin is in, 0 for the others.")
        .labels(&["plugin", "state"]);
    PLUGIN_UP = Family::gauge("gantry_plugin_up", "Whether the plugin's collection of this scrape came in time and good.")
        .labels(&["plugin"]);
    PLUGIN_STALE = Family::gauge("gantry_plugin_stale", "Whether samples of an earlier collection are shown.")
        .labels(&["plugin"]);
    COLLECT_SECONDS = Family::histogram(
        "gantry_plugin_collect_seconds", "How long collections took.", COLLECT_BOUNDS)
        .labels(&["plugin"]).unit(BaseUnit::Seconds);
    PLUGIN_SAMPLES = Family::gauge("gantry_plugin_samples", "Samples of the plugin's last good collection.")
        .labels(&["plugin"]);
    PLUGIN_SERIES = Family::gauge("gantry_plugin_series", "Series that are kept of the plugin, which max_series bounds; a histogram has one a bucket.")
        .labels(&["plugin"]);
    PLUGIN_HEAP = Family::gauge("gantry_plugin_heap_bytes",
        "Live bytes of the allocator of the plugin's library. C libraries and mappings are not in it.")
        .labels(&["plugin"]).unit(BaseUnit::Bytes);
    PANICS = Family::counter("gantry_plugin_panics_total", "Panics that were caught in calls of the plugin.")
        .labels(&["plugin"]);
    HANDLERS = Family::counter("gantry_plugin_fault_handlers_replaced_total",
        "Calls behind which handlers of faults were others than the agent's, by the plugin that replaced them, empty where several were at work and it is not known; the agent's are put back in front of them, of at most 64 different ones.")
        .labels(&["plugin"]);
    RESTARTS = Family::counter("gantry_plugin_restarts_total",
        "Instances that were made after the first one: after a failure, a hang, a restart, a change of file or configuration.")
        .labels(&["plugin"]);
    CPU = Family::counter("gantry_plugin_cpu_seconds_total",
        "CPU time of the thread that calls the plugin, and of its process where it has one. In the agent's own process its own threads are in it where they allocate in Rust.")
        .labels(&["plugin"]).unit(BaseUnit::Seconds);
    LEFT_BEHIND = Family::gauge("gantry_plugin_hung_threads",
        "Threads of the plugin that did not come back, were left behind, and still hang.")
        .labels(&["plugin"]);
    MISSED = Family::counter("gantry_plugin_deadlines_missed_total", "Scrapes that did not get the plugin's collection in time.")
        .labels(&["plugin"]);
    GENERATIONS = Family::gauge("gantry_plugin_generations", "Libraries of this plugin that are mapped; none is ever unmapped.")
        .labels(&["plugin"]);
    HANDOVERS = Family::counter("gantry_plugin_handovers_total",
        "Instances of the plugin that began, by what they went on with: of an orderly end (stop), of the last snapshot, so that some is missing (snapshot), or nothing (none, damaged, other_boot).")
        .labels(&["plugin", "source"]);
    HANDOVERS_LOST = Family::counter("gantry_plugin_handovers_lost_total",
        "Hand-overs and snapshots of the plugin that were not kept: larger than what can be read again (too_large), the state directory cannot be written (disk), or two activations failed with it (refused).")
        .labels(&["plugin", "reason"]);
    REFUSED = Family::counter("gantry_samples_refused_total", "Samples that were dropped because something was wrong with them.")
        .labels(&["plugin", "reason"]);
    SKIPPED = Family::counter("gantry_samples_skipped_total", "Samples that a plugin could not make, in its own words.")
        .labels(&["plugin", "reason"]);
    LOG_LOST = Family::counter("gantry_log_lines_lost_total", "Lines of the agent's log that could not be written.");
    LOG_DROPPED = Family::counter("gantry_plugin_log_lines_dropped_total",
        "Lines of the plugin's log that were dropped: it logged more than the host takes.").labels(&["plugin"]);
    SCRAPES = Family::counter("gantry_scrapes_total", "Scrapes that were answered.").labels(&["format"]);
    IDENTITY_CONTAINERS = Family::gauge("gantry_identity_containers", "Containers that are there.");
    IDENTITY_PROCESSES = Family::gauge("gantry_identity_processes", "Processes of the machine that are known.");
    IDENTITY_WATCHED = Family::gauge("gantry_identity_watched",
        "Whether the kernel tells of processes as they start; without that those that live shorter than some seconds are missed.");
    IDENTITY_CGROUPS_WATCHED = Family::gauge("gantry_identity_cgroups_watched",
        "Whether the kernel tells of cgroups as they come and go; without that containers are known by their processes alone.");
    IDENTITY_LOOKUPS = Family::counter("gantry_identity_lookups_total",
        "Questions of plugins, by what came of them: known, read (from /proc, just then) or unknown.").labels(&["result"]);
    IDENTITY_EVENTS = Family::counter("gantry_identity_events_total", "Events of containers and processes that plugins could read.");
    IDENTITY_LOST = Family::counter("gantry_identity_lost_total",
        "What the identity service could not take or see, by reason.").labels(&["reason"]);
    IDENTITY_RESYNCS = Family::counter("gantry_identity_resyncs_total", "Looks at all processes and cgroups, the first one included.");
    IDENTITY_FOLDED = Family::counter("gantry_identity_folded_total",
        "Containers that died younger than min_container_age; what they counted is in the series of ~short-lived.");
    IDENTITY_CONFLICTS = Family::counter("gantry_identity_conflicts_total",
        "Containers of which the plugin told something that was not taken: another provider comes first in the configuration, or two of its runtimes have the container.")
        .labels(&["plugin"]);
    FACT_CONFLICTS = Family::counter("gantry_node_fact_conflicts_total",
        "Values of a node fact that were not taken: another plugin that sets it comes first in the configuration.")
        .labels(&["plugin", "fact"]);
    CLOSED = Family::counter("gantry_connections_closed_total",
        "Connections that the agent closed: for a new one (room), without a whole request (late), read too slowly (slow).")
        .labels(&["door", "reason"]);
}

/// The host's own metrics; clones are the same thing.
#[derive(Debug, Clone)]
pub struct Own {
    kept: Metrics,
    exposed: Arc<Mutex<Exposed>>,
}

#[derive(Debug)]
struct Exposed {
    arena: Arena,
    table: Option<Table>,
}

/// Why hand-overs are lost.
const LOST_BY: [&str; 2] = ["too_large", "disk"];

/// The host has some 40 series a plugin.
const MAX_SERIES: usize = 20_000;

impl Own {
    pub fn new() -> Self {
        gantry_plugin_api::metrics::number(FAMILIES);
        let exposed = Exposed { arena: Arena::with_limit(MAX_SERIES), table: None };
        Self { kept: Metrics::default(), exposed: Arc::new(Mutex::new(exposed)) }
    }

    /// Takes the host's names before any plugin can.
    pub fn register(&self, registry: &mut Registry) {
        let infos: Vec<_> = FAMILIES.iter().map(|family| family.info()).collect();
        let registered = registry.register(OWNER, &["gantry_".to_owned()], &infos);
        debug_assert!(registered.refusals.is_empty(), "{:?}", registered.refusals);
        self.lock().table = Some(Table::new(registered.families, MAX_SERIES));
    }

    pub fn collected(&self, plugin: &str, took: Duration) {
        self.kept.histogram(&COLLECT_SECONDS, None, &[plugin]).observe(took.as_secs_f64());
    }
    pub fn missed(&self, plugin: &str) {
        self.kept.counter(&MISSED, None, &[plugin]).inc();
    }
    pub fn panicked(&self, plugin: &str) {
        self.kept.counter(&PANICS, None, &[plugin]).inc();
    }
    pub fn handlers_replaced(&self, plugin: &str) {
        self.kept.counter(&HANDLERS, None, &[plugin]).inc();
    }
    pub fn restarted(&self, plugin: &str) {
        self.kept.counter(&RESTARTS, None, &[plugin]).inc();
    }
    pub fn spent(&self, plugin: &str, cpu: Duration) {
        self.kept.counter(&CPU, None, &[plugin]).add(cpu.as_secs_f64());
    }
    /// CPU time that was counted of a plugin.
    pub fn cpu(&self, plugin: &str) -> Duration {
        Duration::try_from_secs_f64(self.kept.counter(&CPU, None, &[plugin]).get()).unwrap_or_default()
    }
    pub fn refused(&self, plugin: &str, reason: &str, count: u64) {
        self.kept.counter(&REFUSED, None, &[plugin, reason]).add(count as f64);
    }
    pub fn skipped(&self, plugin: &str, reason: &str, count: u64) {
        self.kept.counter(&SKIPPED, None, &[plugin, reason]).add(count as f64);
    }
    pub fn generation(&self, plugin: &str) {
        self.kept.gauge(&GENERATIONS, None, &[plugin]).add(1.0);
    }
    pub fn handed_over(&self, plugin: &str, source: &str) {
        self.kept.counter(&HANDOVERS, None, &[plugin, source]).inc();
    }
    pub fn handover_lost(&self, plugin: &str, reason: &str) {
        self.kept.counter(&HANDOVERS_LOST, None, &[plugin, reason]).inc();
    }
    pub fn scraped(&self, format: &str) {
        self.kept.counter(&SCRAPES, None, &[format]).inc();
    }

    /// A door, `http` or `control`, is open; its connections are counted from 0,
    /// so that the first that is closed is an increase.
    pub fn opened<'a>(&self, door: &str, reasons: impl Iterator<Item = &'a str>) {
        reasons.for_each(|why| drop(self.kept.counter(&CLOSED, None, &[door, why])));
    }
    pub fn closed(&self, door: &str, why: &str) {
        self.kept.counter(&CLOSED, None, &[door, why]).inc();
    }

    /// Takes a collection of the host's own samples. `plugins` are all there
    /// are, with the freshness of what is shown of each.
    pub fn collect(&self, plugins: &[(Arc<Unit>, Freshness)], labels: &HostLabels) {
        let mut exposed = self.lock();
        let Exposed { arena, table } = &mut *exposed;
        let Some(table) = table else { return };
        arena.clear();
        {
            let mut sink = ArenaSink(arena);
            let mut sink = Sink::new(sink.crossing());
            sink.node(&AGENT_INFO, &[VERSION], 1);
            sink.node(&BUILD_INFO, &[VERSION, API_VERSION, std::env::consts::ARCH], 1);
            sink.node(&LOG_LOST, &[], crate::logging::lost());
            for (unit, freshness) in plugins {
                self.emit_plugin(&mut sink, unit, *freshness);
            }
            if let Some(figures) = labels.identity().figures() {
                emit_identity(&mut sink, &figures);
            }
            for ((plugin, fact), count) in labels.facts().conflicts() {
                sink.node(&FACT_CONFLICTS, &[&plugin, &fact], count);
            }
            self.kept.emit(&mut sink);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let taken = table.take(arena, &*labels.now(), now.as_secs_f64(), true);
        for (reason, count) in taken.refused {
            self.refused(OWNER, reason.as_str(), count);
        }
    }

    fn emit_plugin(&self, sink: &mut Sink<'_>, unit: &Unit, freshness: Freshness) {
        let (name, status) = (unit.name(), unit.status());
        for state in State::ALL {
            sink.node(&PLUGIN_STATE, &[name, state.as_str()], state == status.state);
        }
        if status.left_behind > 0 || status.state != State::Disabled {
            // A stop that hangs is why many a one is disabled.
            sink.node(&LEFT_BEHIND, &[name], status.left_behind);
        }
        if status.state == State::Disabled {
            return;
        }
        // Baselines, so that the first of each is an increase.
        self.kept.counter(&PANICS, None, &[name]);
        self.kept.counter(&HANDLERS, None, &[name]);
        self.kept.counter(&HANDLERS, None, &[""]);
        self.kept.counter(&MISSED, None, &[name]);
        self.kept.counter(&RESTARTS, None, &[name]);
        for reason in LOST_BY {
            self.kept.counter(&HANDOVERS_LOST, None, &[name, reason]);
        }
        sink.node(&LOG_DROPPED, &[name], crate::logging::dropped(name));
        sink.node(&PLUGIN_UP, &[name], status.up && freshness == Freshness::Fresh);
        sink.node(&PLUGIN_STALE, &[name], freshness == Freshness::Stale);
        if let (Some(manifest), Some(digest)) = (status.manifest(), status.digest()) {
            let isolation = status.isolation().map_or("none", Isolation::as_str);
            sink.node(&PLUGIN_INFO, &[name, &manifest.version, &manifest.api, digest, isolation], 1);
        }
        if freshness != Freshness::Nothing {
            sink.node(&PLUGIN_SAMPLES, &[name], status.samples);
            sink.node(&PLUGIN_SERIES, &[name], status.series.unwrap_or_default());
        }
        if let Some(heap) = status.heap_bytes {
            sink.node(&PLUGIN_HEAP, &[name], heap);
        }
    }

    /// The host's series, while nobody changes them.
    pub fn with_table<T>(&self, read: impl FnOnce(Option<&Table>) -> T) -> T {
        read(self.lock().table.as_ref())
    }

    fn lock(&self) -> MutexGuard<'_, Exposed> {
        self.exposed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the identity service tells of itself.
fn emit_identity(sink: &mut Sink<'_>, figures: &Figures) {
    sink.node(&IDENTITY_CONTAINERS, &[], figures.containers);
    sink.node(&IDENTITY_PROCESSES, &[], figures.processes);
    sink.node(&IDENTITY_WATCHED, &[], figures.is_watched);
    sink.node(&IDENTITY_CGROUPS_WATCHED, &[], figures.is_cgroups_watched);
    sink.node(&IDENTITY_EVENTS, &[], figures.events);
    sink.node(&IDENTITY_RESYNCS, &[], figures.looks);
    sink.node(&IDENTITY_FOLDED, &[], figures.folded);
    for (result, count) in &figures.lookups {
        sink.node(&IDENTITY_LOOKUPS, &[result], *count);
    }
    for (reason, count) in &figures.lost {
        sink.node(&IDENTITY_LOST, &[reason], *count);
    }
    for (plugin, count) in &figures.conflicts {
        sink.node(&IDENTITY_CONFLICTS, &[plugin], *count);
    }
}

/// The host's families in the form in which plugins give theirs.
pub fn describe() -> Description {
    const MANIFEST: Manifest = Manifest::new(OWNER, VERSION, "The host itself").claims(&["gantry_"]);
    let encoded = MANIFEST.encode(false);
    let json = encoded.to_array::<{ gantry_plugin_api::manifest::MAX_ENCODED }>();
    let manifest = serde_json::from_slice(&json[..encoded.len()])
        .expect("the encoder of manifests writes what it reads");
    let families = FAMILIES.iter().map(|family| family.info()).collect();
    Description::new(manifest, serde_json::Value::Null, families, Vec::new())
}
