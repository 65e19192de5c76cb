//! One container, as the service keeps it.

use super::super::clock;
use super::super::naming::{self, Named};
use super::super::optout::opted_out;
use super::super::path::Found;
use super::directory::{Directories, Directory};
use super::facts::Environment;
use super::lives::Life;
use super::packed::Packed;
use super::presence::Phase;
use ahash::RandomState;
use gantry_plugin_api::identity::{Container, Process};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::{Arc, LazyLock};

/// A container. What few have is boxed.
#[derive(Debug)]
pub struct Record {
    pub handle: u64,
    pub found: Arc<Found>,
    pub processes: Pids,
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
    /// The process that it began with executed a program in it.
    pub has_executed: bool,
    /// The environment of none of its processes could be read.
    pub is_unreadable: bool,
    /// How many processes somebody has tried to read for that.
    pub tries: u8,
    /// How often it began anew.
    pub restarts: u64,
    /// The latest end of a process of it; 0 before the first one.
    pub ended: u64,
    /// When the first process of its present life was born, where that is not its first life.
    pub anew: u64,
    pub network_namespace: u64,
    /// What its processes' environment says. Boxed, as mostly it says nothing.
    pub environment: Option<Box<Environment>>,
    /// What a provider told.
    pub metadata: Option<Box<Provided>>,
    pub named: Label,
    pub phase: Phase,
    /// The id that it has in what is shown.
    pub member: Option<Arc<str>>,
    /// With whom it is one in what is shown.
    pub group: Option<NonZeroU64>,
    /// Those that turned out to be this one, while something of them is there.
    pub parts: Box<[u64]>,
    /// The one that this turned out to be.
    pub into: Option<NonZeroU64>,
    /// Since when it is gone.
    pub gone: Option<Box<Gone>>,
    /// What plugins were told of last.
    pub published: Option<Published>,
}

/// Who told what.
#[derive(Debug, Clone)]
pub struct Provided {
    /// The provider's place in the order; lower goes before.
    pub order: usize,
    pub plugin: Arc<str>,
    pub container: Packed,
    runtime: Box<str>,
}

impl Provided {
    pub fn new(order: usize, plugin: Arc<str>, container: &Container) -> Self {
        let runtime = container.runtime.as_str().into();
        Self { order, plugin, container: Packed::of(container), runtime }
    }

    /// Whether one plugin had both of different runtimes of its own: of CRI-O and
    /// a Podman that share a store, say.
    pub fn is_rival_of(&self, other: &Self) -> bool {
        self.plugin == other.plugin && self.runtime != other.runtime
    }

    /// Its place among rivals: the one whose cgroup it is, then one that knows
    /// its pod. Which of them told first says nothing, and must not decide.
    pub fn rank(&self, found: &Found) -> impl Ord + use<> {
        let is_another_s = *self.runtime != *found.runtime.as_str();
        (is_another_s, !self.container.container().names.contains_key("pod"), self.runtime.clone())
    }
}

/// How a container is shown, as [`Named`]. Its id is one text with what is shown.
#[derive(Debug, Clone, Default)]
pub struct Label {
    pub id: Arc<str>,
    pub app_id: Arc<str>,
    pub shared: bool,
    pub skipped: Option<&'static str>,
}

impl Label {
    fn of(named: Named) -> Self {
        let Named { id, app_id, shared, skipped } = named;
        // That which is empty is one for all.
        let text = |text: String| if text.is_empty() { Arc::default() } else { text.into() };
        Self { id: text(id), app_id: text(app_id), shared, skipped }
    }
}

/// Pids in their order: mostly there are few.
#[derive(Debug, Default)]
pub struct Pids(Vec<u32>);

impl Pids {
    /// Whether it is one more.
    pub fn insert(&mut self, pid: u32) -> bool {
        let Err(at) = self.0.binary_search(&pid) else { return false };
        if self.0.is_empty() {
            self.0.reserve_exact(1);
        }
        self.0.insert(at, pid);
        true
    }

    /// Whether it was there.
    pub fn remove(&mut self, pid: u32) -> bool {
        let Ok(at) = self.0.binary_search(&pid) else { return false };
        self.0.remove(at);
        true
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest first.
    pub fn all(&self) -> &[u32] {
        &self.0
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
            processes: Pids::default(),
            cgroups: Directories::default(),
            made: now,
            first_seen: life.map_or(now, |life| life.first_seen),
            started: now,
            init: None,
            is_seen: false,
            has_executed: false,
            is_unreadable: false,
            tries: 0,
            restarts: u64::from(life.is_some()),
            ended: 0,
            anew: 0,
            network_namespace: 0,
            environment: None,
            metadata: None,
            named: Label::default(),
            phase: Phase::Held,
            member: None,
            group: None,
            parts: Box::default(),
            into: None,
            gone: None,
            published: None,
        }
    }

    /// Its oldest process was born at this time: whether it began anew with it,
    /// which is counted. One that was born before the last one exited has moved in:
    /// runc's own steps come and go before the container's program is executed.
    /// Ends and births are heard of in any order, so this is asked after each of
    /// them, and a life is counted once.
    pub fn begins_anew(&mut self, born: u64) -> bool {
        let is_anew = self.ended != 0 && born > self.ended && self.ended >= self.anew;
        if is_anew {
            self.restarts += 1;
            self.anew = born;
        }
        is_anew
    }

    /// Whether nothing of it is left.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.cgroups.are_gone()
    }

    /// For how long it is or was there.
    pub fn age(&self, now: u64) -> u64 {
        self.gone.as_ref().map_or(now, |gone| gone.at).saturating_sub(self.first_seen.min(self.started))
    }

    /// Collectors that its processes' environment asks to leave it alone.
    fn opted_out(&self) -> &[String] {
        self.environment.as_ref().map_or(&[], |environment| &environment.opted_out)
    }

    /// Whether it asks any collector to leave it alone.
    pub fn opts_out(&self) -> bool {
        !self.opted_out().is_empty() || self.told().is_some_and(|told| !told_to_opt_out(&told).is_empty())
    }

    /// Whether no other environment is to be expected: its program's was read, or
    /// that of one that was there at a time (`before`) when it had long begun.
    pub fn knows_environment(&self, before: u64) -> bool {
        let has_begun = self.has_executed
            || self.init.is_some_and(|init| init.start.saturating_mul(clock::TICK) <= before);
        self.is_unreadable || (self.is_seen && has_begun)
    }

    /// Takes what its processes' environment says instead of what another's said.
    pub fn set_environment(&mut self, environment: Environment) {
        let says_something = !environment.opted_out.is_empty() || !environment.nomad.is_empty();
        self.environment = says_something.then(|| Box::new(environment));
    }

    /// Gives it the name that follows from what is known.
    pub fn name(&mut self, now: u64) {
        self.named = Label::of(self.name_by(self.told().as_ref(), now));
    }

    /// Whether its id is another than the one that it has without a provider.
    pub fn is_named(&self) -> bool {
        *self.name_by(None, 0).id != *self.named.id
    }

    fn name_by(&self, metadata: Option<&Container>, now: u64) -> Named {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let environment = self.nomad().unwrap_or(&NONE);
        naming::name(&self.found, naming::Known { metadata, environment, now })
    }

    /// What a provider told.
    pub fn told(&self) -> Option<Container> {
        self.metadata.as_ref().map(|provided| provided.container.container())
    }

    /// What a task of Nomad is named by.
    pub fn nomad(&self) -> Option<&BTreeMap<String, String>> {
        self.environment.as_ref().map(|environment| &environment.nomad)
    }

    /// As plugins see it. Made when somebody asks: labels and environment are
    /// the provider's own, and long.
    pub fn container(&self) -> Container {
        let mut all = self.told().unwrap_or_default();
        // What the runtime was told counts also where no process can be read.
        all.opted_out.extend(told_to_opt_out(&all));
        all.id = self.named.id.to_string();
        all.app_id = self.named.app_id.to_string();
        all.runtime = self.found.runtime_of(&all.runtime).to_owned();
        all.runtime_id = self.found.raw_id.to_string();
        all.cgroups = self.cgroups.all().iter().map(Directory::cgroup).collect();
        all.network_namespace = self.network_namespace;
        all.init = self.init.or(all.init);
        all.restarts = self.restarts;
        all.gone = self.gone.is_some();
        for name in self.opted_out() {
            if !all.opted_out.contains(name) {
                all.opted_out.push(name.clone());
            }
        }
        all
    }

    /// Whether plugins see it otherwise than they were told last; then they
    /// are told, and this is what they were told.
    pub fn publish(&mut self) -> bool {
        let now = Published { digest: self.digest(), has_id: !self.named.id.is_empty() };
        let changed = self.published != Some(now);
        self.published = Some(now);
        changed
    }

    /// Of all that plugins see of it. Nobody can choose names that have the same.
    fn digest(&self) -> u64 {
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mut digest = SECRET.build_hasher();
        self.metadata.as_ref().map(|provided| &provided.container).hash(&mut digest);
        (&self.named.id, &self.named.app_id, &self.found.raw_id).hash(&mut digest);
        for (hierarchy, path, id) in self.cgroups.each() {
            (hierarchy.number, path, id).hash(&mut digest);
        }
        let init = self.init.map(|init| (init.pid, init.start));
        (self.network_namespace, init, self.restarts, self.opted_out(), self.gone.is_some())
            .hash(&mut digest);
        digest.finish()
    }

    /// Whether plugins were told of it under an id.
    pub fn is_told(&self) -> bool {
        self.published.as_ref().is_some_and(|told| told.has_id)
    }
}

/// What the runtime was told to run it with.
fn told_to_opt_out(told: &Container) -> Vec<String> {
    opted_out(told.environment.iter().map(|(name, value)| (&**name, &**value)))
}

/// What plugins were told of a container: enough to see whether it is
/// different, as the whole of it would be there twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    digest: u64,
    has_id: bool,
}
