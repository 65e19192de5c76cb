//! One container, as the service keeps it.

use super::super::naming::Named;
use super::super::optout::opted_out;
use super::super::path::Found;
use super::directory::{Directories, Directory};
use super::lives::Life;
use super::presence::Phase;
use ahash::RandomState;
use gantry_plugin_api::identity::{Container, Process};
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// A container.
#[derive(Debug)]
pub struct Record {
    pub handle: u64,
    pub found: Arc<Found>,
    /// Its pids, living.
    pub processes: HashSet<u32>,
    pub cgroups: Directories,
    /// When this was made, in nanoseconds since boot.
    pub made: u64,
    /// The same, or that of its first life where it died young before.
    pub first_seen: u64,
    /// The start of its first process, where that was before.
    pub started: u64,
    /// The process that it began with, this time; the oldest of the others where
    /// that ended and they go on.
    pub init: Option<Process>,
    /// Somebody has read its processes' environment.
    pub is_seen: bool,
    /// How many processes somebody has tried to read for that.
    pub tries: u8,
    /// How often it began anew.
    pub restarts: u64,
    /// When its last process went; nothing before it had one.
    pub emptied: Option<u64>,
    pub network_namespace: u64,
    /// Collectors that its processes' environment asks to leave it alone.
    pub opted_out: Vec<String>,
    /// What a task of Nomad is named by.
    pub environment: BTreeMap<String, String>,
    /// What a provider told.
    pub metadata: Option<Provided>,
    pub named: Named,
    pub phase: Phase,
    /// The id that it has in what is shown.
    pub member: Option<Arc<str>>,
    /// With whom it is one in what is shown.
    pub group: Option<u64>,
    /// Those that turned out to be this one, while something of them is there.
    pub parts: Vec<u64>,
    /// The one that this turned out to be.
    pub into: Option<u64>,
    /// Since when it is gone.
    pub gone: Option<Gone>,
    /// What plugins were told of last.
    pub published: Option<Published>,
}

/// Who told what.
#[derive(Debug, Clone)]
pub struct Provided {
    /// The provider's place in the order; lower goes before.
    pub order: usize,
    pub plugin: Arc<str>,
    pub container: Arc<Container>,
}

impl Provided {
    /// Whether one plugin had both of different runtimes of its own: of CRI-O and
    /// a Podman that share a store, say.
    pub fn is_rival_of(&self, other: &Self) -> bool {
        self.plugin == other.plugin && self.container.runtime != other.container.runtime
    }

    /// Its place among rivals: the one whose cgroup it is, then one that knows
    /// its pod. Which of them told first says nothing, and must not decide.
    pub fn rank(&self, found: &Found) -> impl Ord + use<> {
        let container = &self.container;
        let is_another_s = container.runtime != found.runtime.as_str();
        (is_another_s, !container.names.contains_key("pod"), container.runtime.clone())
    }
}

/// A container that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// Nanoseconds since boot.
    pub at: u64,
    /// Collections at that time.
    pub collections: u64,
}

impl Record {
    /// One of which nothing is known but where it is, and whether it was there before.
    pub fn new(handle: u64, found: Arc<Found>, life: Option<Life>, now: u64) -> Self {
        Self {
            handle,
            found,
            processes: HashSet::new(),
            cgroups: Directories::default(),
            made: now,
            first_seen: life.map_or(now, |life| life.first_seen),
            started: now,
            init: None,
            is_seen: false,
            tries: 0,
            restarts: u64::from(life.is_some()),
            emptied: None,
            network_namespace: 0,
            opted_out: Vec::new(),
            environment: BTreeMap::new(),
            metadata: None,
            named: Named::default(),
            phase: Phase::Held,
            member: None,
            group: None,
            parts: Vec::new(),
            into: None,
            gone: None,
            published: None,
        }
    }

    /// Whether nothing of it is left.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.cgroups.are_gone()
    }

    /// For how long it is or was there.
    pub fn age(&self, now: u64) -> u64 {
        self.gone.map_or(now, |gone| gone.at).saturating_sub(self.first_seen.min(self.started))
    }

    /// As plugins see it. Made when somebody asks: labels and environment are
    /// the provider's own, and long.
    pub fn container(&self) -> Container {
        let mut all = match &self.metadata {
            Some(provided) => Container::clone(&provided.container),
            None => Container::default(),
        };
        // What the runtime was told counts also where no process can be read.
        all.opted_out.extend(opted_out(all.environment.iter().map(|(name, value)| (&**name, &**value))));
        all.id = self.named.id.clone();
        all.app_id = self.named.app_id.clone();
        all.runtime = self.found.runtime_of(&all.runtime).to_owned();
        all.runtime_id = self.found.raw_id.clone();
        all.cgroups = self.cgroups.all().iter().map(Directory::cgroup).collect();
        all.network_namespace = self.network_namespace;
        all.init = self.init.or(all.init);
        all.restarts = self.restarts;
        all.gone = self.gone.is_some();
        for name in &self.opted_out {
            if !all.opted_out.contains(name) {
                all.opted_out.push(name.clone());
            }
        }
        all
    }

    /// Whether plugins see it otherwise than they were told last; then they
    /// are told, and this is what they were told.
    pub fn publish(&mut self) -> bool {
        let now = Published {
            digest: self.digest(),
            has_id: !self.named.id.is_empty(),
            metadata: self.metadata.as_ref().map(|provided| provided.container.clone()),
        };
        let changed = self.published.as_ref() != Some(&now);
        self.published = Some(now);
        changed
    }

    /// Of all that plugins see of it besides what a provider told. Nobody can
    /// choose names that have the same.
    fn digest(&self) -> u64 {
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mut digest = SECRET.build_hasher();
        (&self.named.id, &self.named.app_id, &self.found.raw_id).hash(&mut digest);
        for one in self.cgroups.all() {
            (one.place(), &one.path).hash(&mut digest);
        }
        let init = self.init.map(|init| (init.pid, init.start));
        (self.network_namespace, init, self.restarts, &self.opted_out, self.gone.is_some()).hash(&mut digest);
        digest.finish()
    }

    /// Whether plugins were told of it under an id.
    pub fn is_told(&self) -> bool {
        self.published.as_ref().is_some_and(|told| told.has_id)
    }
}

/// What plugins were told of a container: enough to see whether it is
/// different, as the whole of it would be there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    digest: u64,
    has_id: bool,
    metadata: Option<Arc<Container>>,
}
