//! What is read, and how that went: for the view, the health and the counts of
//! what is missing.

use crate::reader::{self, SourceError};
use gantry_plugin_api::tracing;
use gantry_plugin_api::{Cell, Family, Rows, Sink, Value};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the host's files are.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys`
    pub sys: PathBuf,
    /// `/`
    pub root: PathBuf,
}

/// One thing that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "SPECS says what each is for")]
pub enum Source {
    Uname,
    Uptime,
    Load,
    Stat,
    Meminfo,
    Vmstat,
    CpuPressure,
    MemoryPressure,
    IoPressure,
    IrqPressure,
    Block,
    Diskstats,
    Mountinfo,
    Statfs,
    Links,
    Addresses,
    ClassNet,
}

enum Place {
    Proc(&'static str),
    Sys(&'static str),
    Call(&'static str),
}

struct Spec {
    source: Source,
    place: Place,
    /// What is missing without it.
    gives: &'static str,
    remedy: &'static str,
    /// Its absence is ordinary.
    optional: bool,
}

const fn spec(source: Source, place: Place, gives: &'static str, remedy: &'static str) -> Spec {
    Spec { source, place, gives, remedy, optional: false }
}

const MOUNT_PROC: &str = "give the agent the node's /proc";
const PSI: &str = "the kernel needs CONFIG_PSI, and psi=1 where CONFIG_PSI_DEFAULT_DISABLED is set";
const NETLINK: &str = "the agent needs AF_NETLINK sockets; meanwhile interfaces are read from /sys/class/net";

/// In the order of [`Source`].
static SPECS: [Spec; 17] = [
    spec(
        Source::Uname,
        Place::Call("uname"),
        "node_info",
        "give the agent CAP_SYS_ADMIN, or the node's UTS namespace",
    ),
    spec(Source::Uptime, Place::Proc("uptime"), "node_uptime_seconds", MOUNT_PROC),
    spec(Source::Load, Place::Proc("loadavg"), "node_resources_load_average", MOUNT_PROC),
    spec(Source::Stat, Place::Proc("stat"), "node_resources_cpu_*", MOUNT_PROC),
    spec(
        Source::Meminfo,
        Place::Proc("meminfo"),
        "node_resources_memory_*, node_resources_swap_*",
        MOUNT_PROC,
    ),
    spec(Source::Vmstat, Place::Proc("vmstat"), "node_resources_swap_{in,out}_bytes_total", MOUNT_PROC),
    spec(Source::CpuPressure, Place::Proc("pressure/cpu"), "node_resources_cpu_pressure_*", PSI),
    spec(Source::MemoryPressure, Place::Proc("pressure/memory"), "node_resources_memory_pressure_*", PSI),
    spec(Source::IoPressure, Place::Proc("pressure/io"), "node_resources_io_pressure_*", PSI),
    // Since Linux 6.1, with CONFIG_IRQ_TIME_ACCOUNTING: few kernels have it.
    Spec {
        source: Source::IrqPressure,
        place: Place::Proc("pressure/irq"),
        gives: "node_resources_irq_pressure_*",
        remedy: PSI,
        optional: true,
    },
    spec(Source::Block, Place::Sys("block"), "node_resources_disk_*", "give the agent the node's /sys"),
    spec(Source::Diskstats, Place::Proc("diskstats"), "node_resources_disk_*", MOUNT_PROC),
    spec(Source::Mountinfo, Place::Proc("1/mountinfo"), "node_resources_filesystem_*", MOUNT_PROC),
    spec(
        Source::Statfs,
        Place::Call("statfs"),
        "values of node_resources_filesystem_*",
        "look at these mounts",
    ),
    spec(Source::Links, Place::Call("rtnetlink RTM_GETLINK"), "kinds and addresses for node_net_*", NETLINK),
    spec(Source::Addresses, Place::Call("rtnetlink RTM_GETADDR"), "node_net_interface_ip", NETLINK),
    spec(Source::ClassNet, Place::Sys("class/net"), "node_net_*", "give the agent the node's /sys"),
];

/// How the last read went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    /// It was not read.
    #[default]
    Unread,
    /// All of it was read.
    Good,
    /// All of it was read; something about it is worth knowing.
    Noted(String),
    /// It is not there, which is ordinary.
    Absent,
    /// Some of it is missing, or is not what it should be.
    Partly(String),
    /// It gave nothing.
    Failed(String),
}

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    state: State,
    samples: u64,
    took: Duration,
    at: Option<Duration>,
}

/// The state of each source.
#[derive(Debug)]
pub struct Sources {
    entries: Vec<Entry>,
    /// Changes are not logged.
    silent: bool,
}

impl Sources {
    /// None of them is read yet.
    pub fn new(roots: &Roots) -> Self {
        let path = |spec: &Spec| match spec.place {
            Place::Proc(path) => roots.proc.join(path),
            Place::Sys(path) => roots.sys.join(path),
            Place::Call(name) => PathBuf::from(name),
        };
        let entry = |spec| Entry {
            path: path(spec),
            state: State::Unread,
            samples: 0,
            took: Duration::ZERO,
            at: None,
        };
        debug_assert!((0..).zip(&SPECS).all(|(index, spec)| spec.source as usize == index));
        Self { entries: SPECS.iter().map(entry).collect(), silent: false }
    }

    /// For who tells what was found by other means than the log.
    pub fn silent(roots: &Roots) -> Self {
        Self { silent: true, ..Self::new(roots) }
    }

    /// Where a source is.
    pub fn path(&self, source: Source) -> &Path {
        &self.entries[source as usize].path
    }

    /// How its last read went.
    pub fn state(&self, source: Source) -> &State {
        &self.entries[source as usize].state
    }

    /// Says that a source was found elsewhere.
    pub fn moved(&mut self, source: Source, path: PathBuf) {
        self.entries[source as usize].path = path;
    }

    fn record(&mut self, source: Source, state: State, samples: u64, took: Duration, at: Duration) {
        let entry = &mut self.entries[source as usize];
        if entry.state != state && !self.silent {
            let (path, gives) = (entry.path.display(), SPECS[source as usize].gives);
            match &state {
                State::Failed(why) | State::Partly(why) => tracing::warn!("{path}: {why}; missing: {gives}"),
                State::Good if matches!(entry.state, State::Failed(_) | State::Partly(_)) => {
                    tracing::info!("{path}: can be read again");
                }
                _ => {}
            }
        }
        *entry = Entry { path: std::mem::take(&mut entry.path), state, samples, took, at: Some(at) };
    }

    /// What is missing, one sentence a source, with its remedy.
    pub fn troubles(&self) -> Vec<String> {
        let trouble = |(entry, spec): (&Entry, &Spec)| match &entry.state {
            State::Failed(why) | State::Partly(why) => {
                let path = entry.path.display();
                Some(format!("{path}: {why}; missing: {}; {}", spec.gives, spec.remedy))
            }
            _ => None,
        };
        self.entries.iter().zip(&SPECS).filter_map(trouble).collect()
    }

    /// What is missing on ordinary nodes too.
    pub fn absences(&self) -> Vec<String> {
        let absence = |(entry, spec): (&Entry, &Spec)| {
            let absent = entry.state == State::Absent;
            absent.then(|| {
                format!("{}: {}; missing: {}", entry.path.display(), SourceError::Missing, spec.gives)
            })
        };
        self.entries.iter().zip(&SPECS).filter_map(absence).collect()
    }

    /// Fills the view `sources`.
    pub fn view(&self, rows: &mut Rows<'_>) {
        for (entry, spec) in self.entries.iter().zip(&SPECS) {
            let path = entry.path.to_string_lossy();
            let state = match &entry.state {
                State::Unread => "not read",
                State::Good => "ok",
                State::Absent => "not there",
                State::Noted(text) | State::Partly(text) | State::Failed(text) => text,
            };
            let (took, at) = match entry.at {
                Some(at) => (Cell::Number(entry.took.as_secs_f64()), Cell::Time(at.as_secs_f64())),
                None => (Cell::Empty, Cell::Empty),
            };
            let samples = Cell::Number(entry.samples.as_f64());
            if !rows.push(&[Cell::Text(&path), Cell::Text(spec.gives), Cell::Text(state), samples, took, at])
            {
                return;
            }
        }
    }
}

/// The sink, with a count of what went into it.
#[derive(Debug)]
pub struct Out<'a, 's> {
    sink: Option<&'a mut Sink<'s>>,
    samples: u64,
}

impl<'a, 's> Out<'a, 's> {
    /// Over a sink.
    pub fn new(sink: &'a mut Sink<'s>) -> Self {
        Self { sink: Some(sink), samples: 0 }
    }
    /// Over nothing: to see what would be shown.
    pub fn nowhere() -> Self {
        Self { sink: None, samples: 0 }
    }
    /// A sample of the node.
    pub fn emit(&mut self, family: &Family, labels: &[&str], value: impl Value) {
        if let Some(sink) = &mut self.sink {
            sink.node(family, labels, value);
        }
        self.samples += 1;
    }
    /// Counts what could not be shown.
    pub fn skipped(&mut self, reason: &'static str, count: u64) {
        if count > 0
            && let Some(sink) = &mut self.sink
        {
            sink.skipped(reason, count);
        }
    }
}

/// One collection, as its parts see it.
#[derive(Debug)]
pub struct Run<'a, 's> {
    /// Where files are.
    pub roots: &'a Roots,
    /// Where states are noted.
    pub sources: &'a mut Sources,
    /// Where samples go.
    pub out: Out<'a, 's>,
    /// A buffer for files, used again and again.
    pub buffer: &'a mut Vec<u8>,
    /// When it began, since the epoch.
    pub at: Duration,
}

impl<'s> Run<'_, 's> {
    /// Reads a source's file and lets `body` make samples of it. Where that
    /// fails the loss is counted and noted, and nothing else happens.
    pub fn file(
        &mut self,
        source: Source,
        body: impl FnOnce(&[u8], &mut Out<'_, 's>) -> Result<State, SourceError>,
    ) {
        let mut buffer = std::mem::take(self.buffer);
        self.other(source, |run| {
            reader::read(run.sources.path(source), &mut buffer)?;
            body(&buffer, &mut run.out)
        });
        *self.buffer = buffer;
    }

    /// As [`Self::file`], for what is no file.
    pub fn other(&mut self, source: Source, body: impl FnOnce(&mut Self) -> Result<State, SourceError>) {
        let begun = Instant::now();
        let before = self.out.samples;
        let state = match body(self) {
            Ok(state) => state,
            Err(SourceError::Missing) if SPECS[source as usize].optional => State::Absent,
            Err(error) => {
                self.out.skipped(error.reason(), 1);
                State::Failed(error.to_string())
            }
        };
        self.sources.record(source, state, self.out.samples - before, begun.elapsed(), self.at);
    }
}

/// [`State::Good`], or [`State::Partly`] where lines made no sense; those are counted.
pub fn all_but(bad_lines: u64, out: &mut Out<'_, '_>) -> State {
    out.skipped("source_malformed", bad_lines);
    match bad_lines {
        0 => State::Good,
        1 => State::Partly("1 line is not of the kernel's form".to_owned()),
        many => State::Partly(format!("{many} lines are not of the kernel's form")),
    }
}
