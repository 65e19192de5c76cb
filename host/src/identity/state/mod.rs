//! What the identity service knows, and how each fact changes it. No fact is
//! read here and no clock: whoever watches the machine says what is, and when.
//!
//! # Layout
//! * [`record`]: one container. [`processes`]: who is in which. [`aliases`]: by
//!   what a container is found, [`names`] among it; [`newest`]: those that were just made.
//! * [`facts`]: processes and cgroups come and go. [`life`]: what that makes of
//!   a container; [`merge`]: it turns out to be another.
//! * [`observed`]: what plugins saw in the kernel.
//! * [`look`]: what its processes tell. [`provided`]: what plugins tell,
//!   [`pending`] while it is not there; [`packed`]: how that is kept.
//! * [`rules`]: its id, and whether a rule leaves it out.
//! * [`time`]: what time alone changes: shown, folded, forgotten; [`presence`]:
//!   the rules for that; [`opting`]: whether it may opt out; [`lives`]: what is remembered of those that died young;
//!   [`remembered`]: of those that an agent before showed.
//! * [`series`]: under which id its figures are. [`ids`]: who has which id.
//!   [`shown`]: what the exposition needs of it.

mod aliases;
mod directory;
mod facts;
mod handles;
mod ids;
mod life;
mod lives;
mod look;
mod merge;
mod names;
mod newest;
mod observed;
mod opting;
mod packed;
mod pending;
mod presence;
mod processes;
mod provided;
mod record;
mod remembered;
mod rules;
mod series;
mod shown;
#[cfg(test)]
mod tests;
mod time;

pub use directory::{Directory, Hierarchy};
use directory::{Lists, Place};
pub use facts::{Environment, Look, Placement, Seen};
pub use handles::Handles;
pub use presence::Phase;
pub use processes::same_start;
pub use provided::Provider;
pub use record::Record;
pub use remembered::ShownId;
pub use shown::{Shown, ShownGroup, Snapshot};

use super::filter::{Filter, SkipUnits};
use crate::config::IdentityConfig;
use ahash::RandomState;
use aliases::Aliases;
use gantry_events::Memory;
use gantry_plugin_api::abi::types::AbiEvent;
use gantry_plugin_api::identity::{ContainerRef, EventKind, Process};
use ids::Ids;
use lives::Lives;
use names::{Name, Names};
use newest::Newest;
use opting::Learned;
use pending::Pending;
use presence::Times;
use processes::Processes;
use remembered::Remembered;
use std::collections::{HashMap, HashSet};

/// How many events plugins may be behind: ten seconds of 3,000 events.
const EVENTS: usize = 32_768;

/// The most containers that are known, those that are gone included. A machine
/// with more is being flooded; what is over it is of no container, and counted.
const MAX_CONTAINERS: usize = 50_000;

/// A pod's container has another path and another id each time it is started.
const MAX_NAMES: usize = 16;

/// It has one in each hierarchy, a dozen, and others each time it is started.
const MAX_CGROUPS: usize = 128;

/// The most hierarchies in which cgroups are found by a table: no machine has as
/// many. In others they are looked for.
const MAX_INDEXED: usize = 64;

/// All that is known.
#[derive(Debug)]
pub struct State {
    times: Times,
    filter: Filter,
    skip_units: SkipUnits,
    handles: Handles,
    /// Boxed: a map has room for more than it holds.
    records: HashMap<u64, Box<Record>, RandomState>,
    /// What makes them the same: where they are, and what they are of.
    keys: Aliases<Name>,
    /// By hierarchy and id, in hierarchies in which somebody asked for one.
    cgroups: Aliases<Place>,
    /// These. Of a dozen hierarchies three are watched, and plugins ask in one.
    indexed: Vec<u32>,
    lists: Lists,
    /// As runtimes know them.
    raw_ids: Aliases<Name>,
    names: Names,
    by_namespace: HashMap<u64, Box<[u64]>, RandomState>,
    lives: Lives,
    newest: Newest,
    processes: Processes,
    ids: Ids,
    events: Memory,
    providers: Vec<Provider>,
    providers_are_known: bool,
    pending: Pending,
    remembered: Remembered,
    /// Held, or gone: time alone may change them.
    unsettled: HashSet<u64, RandomState>,
    /// Of them, those that are gone and wait for their names.
    late: HashSet<u64, RandomState>,
    /// Of those that are held, who opts out.
    opting: HashMap<u64, Learned, RandomState>,
    /// Somebody should look at their first process.
    looks: Vec<Look>,
    /// Processes whose end nobody will tell.
    rechecks: Vec<(u32, u64)>,
    /// The network namespace of the machine itself.
    host_namespace: u64,
    /// From nanoseconds since boot to those since the epoch.
    epoch_offset: i128,
    collections: u64,
    /// Changes with all that is shown.
    version: u64,
    /// The groups of folded ids.
    folds: HashSet<u64, RandomState>,
    pub counts: Counts,
}

/// What went wrong, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Processes and directories whose container was not taken, since there are
    /// too many.
    pub containers_refused: u64,
    /// Containers that were forgotten before their time, for the same reason.
    pub forgotten_early: u64,
    /// Containers that died young and are folded.
    pub folded: u64,
    /// Of them, those that are folded with all of their runtime, or of the
    /// machine, since there are too many folded ids.
    pub folds_refused: u64,
    /// Containers whose processes' environment could not be read.
    pub unread: u64,
}

impl State {
    pub fn new(config: &IdentityConfig, handles: Handles) -> Self {
        Self {
            times: Times::of(config),
            filter: filter(config),
            skip_units: config.skip_units.clone(),
            handles,
            records: HashMap::default(),
            keys: Aliases::new(MAX_NAMES),
            cgroups: Aliases::new(MAX_CGROUPS),
            indexed: Vec::new(),
            lists: Lists::default(),
            raw_ids: Aliases::new(MAX_NAMES),
            names: Names::default(),
            by_namespace: HashMap::default(),
            lives: Lives::default(),
            newest: Newest::default(),
            processes: Processes::default(),
            ids: Ids::default(),
            events: Memory::new(EVENTS),
            providers: Vec::new(),
            providers_are_known: false,
            pending: Pending::default(),
            remembered: Remembered::default(),
            unsettled: HashSet::default(),
            late: HashSet::default(),
            opting: HashMap::default(),
            looks: Vec::new(),
            rechecks: Vec::new(),
            host_namespace: 0,
            epoch_offset: 0,
            collections: 0,
            version: 1,
            folds: HashSet::default(),
            counts: Counts::default(),
        }
    }

    #[cfg(test)]
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    #[cfg(test)]
    pub fn record(&self, handle: u64) -> Option<&Record> {
        self.records.get(&handle).map(Box::as_ref)
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().map(Box::as_ref)
    }

    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    pub fn lives(&self) -> &Lives {
        &self.lives
    }

    pub fn events(&self) -> &Memory {
        &self.events
    }

    /// The container of a process; 0 is none, `None`: nothing is known of it.
    pub fn of_pid(&self, pid: u32, start: u64) -> Option<u64> {
        self.processes.container(pid, start).map(|handle| self.known(handle))
    }

    /// The container of a cgroup, also for a while after it is gone.
    pub fn of_cgroup(&self, hierarchy: u32, id: u64) -> Option<u64> {
        let handle = if self.is_indexed(hierarchy) {
            self.cgroups.get(Place::new(hierarchy, id))
        } else {
            let has = |record: &&Record| id != 0 && record.cgroups.has(hierarchy, id);
            self.records().find(has).map(|record| record.handle)
        };
        handle.map(|handle| self.known(handle))
    }

    /// Whether cgroups of this hierarchy are found without looking at all containers.
    pub fn is_indexed(&self, hierarchy: u32) -> bool {
        self.indexed.contains(&hierarchy)
    }

    /// Somebody asks for cgroups of this hierarchy, and will again.
    pub fn index(&mut self, hierarchy: u32) {
        if self.is_indexed(hierarchy) || self.indexed.len() >= MAX_INDEXED {
            return;
        }
        self.indexed.push(hierarchy);
        for record in self.records.values() {
            for id in record.cgroups.ids_in(hierarchy) {
                self.cgroups.give(Place::new(hierarchy, id), record.handle);
            }
        }
    }

    /// The container that owns a network namespace: the oldest of those that
    /// are in it, as others were started into the one that was there.
    pub fn of_namespace(&self, inode: u64) -> Option<u64> {
        let those = self.by_namespace.get(&inode)?.iter().filter_map(|handle| self.public(*handle));
        let oldest = those.min_by_key(|record| (record.gone.is_some(), record.started));
        Some(oldest.map_or(0, |record| record.handle))
    }

    /// Those that are there, and are not left out by a rule.
    pub fn living(&self) -> Vec<u64> {
        let those =
            self.records.values().filter(|record| record.gone.is_none() && record.phase != Phase::Hidden);
        those.map(|record| record.handle).collect()
    }

    /// The living processes of a container, by pid.
    pub fn processes_of(&self, handle: u64) -> Vec<Process> {
        let mut all: Vec<Process> = self.processes_in(self.known(handle)).collect();
        all.sort_unstable_by_key(|process| process.pid);
        all
    }

    fn processes_in(&self, handle: u64) -> impl Iterator<Item = Process> {
        let pids = self.records.get(&handle).into_iter().flat_map(|record| record.processes.all());
        pids.filter_map(|pid| Some(Process { pid: *pid, start: self.processes.living(*pid)?.start }))
    }

    /// What the machine's clock says at a time since boot; it may be set.
    pub fn set_clock(&mut self, boot: u64, epoch: u64) {
        self.epoch_offset = i128::from(epoch) - i128::from(boot);
    }

    /// Seconds since the epoch.
    fn epoch(&self, boot: u64) -> u64 {
        u64::try_from((i128::from(boot) + self.epoch_offset) / 1_000_000_000).unwrap_or_default()
    }

    /// A container as plugins may know it: none that a rule leaves out.
    pub fn public(&self, handle: u64) -> Option<&Record> {
        self.records.get(&handle).map(Box::as_ref).filter(|record| record.phase != Phase::Hidden)
    }

    /// 0 where plugins may not know it.
    fn known(&self, handle: u64) -> u64 {
        self.public(handle).map_or(0, |record| record.handle)
    }

    fn tell(&mut self, kind: EventKind, container: u64, process: Option<Process>, at: u64) {
        // Of a container that a rule leaves out nothing is told but that it is left out.
        let container = if process.is_some() { self.known(container) } else { container };
        let Process { pid, start } = process.unwrap_or(Process { pid: 0, start: 0 });
        let container = ContainerRef::from_handle(container).map_or(0, ContainerRef::handle);
        self.events.push(AbiEvent { container, at, start, pid, kind: kind.code() });
    }

    /// What plugins see of a container is brought up to date, and told.
    fn publish(&mut self, handle: u64, at: u64) {
        let Some(record) = self.records.get_mut(&handle) else { return };
        if record.publish() && record.phase != Phase::Hidden {
            self.tell(EventKind::ContainerChanged, handle, None, at);
        }
    }
}

/// The configuration was checked: an expression that is none has been refused.
fn filter(config: &IdentityConfig) -> Filter {
    Filter::new(&config.allow, &config.deny).unwrap_or_else(|error| {
        tracing::error!("host.identity: {error}; nothing is left out");
        Filter::default()
    })
}
