//! What containers use, from the files of their cgroups.
//!
//! # Layout
//! * [`watch`]: one cgroup of a container.
//! * [`kept`]: the counters of one container; [`total`]: one that never goes back.
//! * [`gauges`]: what it has just now; [`limits`]: what it may have.
//! * [`emit`]: the samples.

mod emit;
mod gauges;
pub mod kept;
mod limits;
#[cfg(test)]
mod tests;
pub mod total;
mod watch;

use gantry_cgroupfs::{Group, Layout, Reader, Usage};
use gantry_plugin_api::identity::Cgroup;
use gantry_plugin_api::{ContainerRef, Sink};
use gauges::Gauges;
use kept::Counters;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use watch::{Watch, When};

/// The most cgroups of one container: an orchestrator that restarts it makes
/// another each time, before the one of before is removed.
const MAX_GROUPS: usize = 16;

/// How long what is gone is kept, in collections: an event that says that it
/// is there again may be on its way.
const GONE: u32 = 3;

/// So many may be kept before it is asked, between collections, which of them
/// the host still knows.
const SWEEP_FROM: usize = 4096;

/// All containers' figures.
#[derive(Debug)]
pub struct Figures {
    layout: Layout,
    reader: Reader,
    /// Boxed: a map has room for more than it holds.
    containers: HashMap<ContainerRef, Box<Watched>>,
    usage: Usage,
    troubles: Troubles,
    /// See [`SWEEP_FROM`]; twice of what was left the last time.
    sweep_at: usize,
}

/// What went wrong, since the last collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Troubles {
    pub malformed: u64,
    pub unreadable: u64,
    pub too_large: u64,
    /// Cgroups that were gone before anything of them was read.
    pub unread: u64,
    /// Cgroups that were gone before they were read after their last process.
    pub unread_end: u64,
    /// Devices beyond those that are kept of one container.
    pub devices: u64,
}

#[derive(Debug, Default)]
struct Watched {
    groups: Vec<Watch>,
    /// What cgroups counted that are gone for good.
    past: Option<Box<Counters>>,
    /// What its groups were made of: a hash.
    made_of: Option<u64>,
    /// One of its cgroups, by which the host knows whose it is.
    key: Option<(u32, u64)>,
    /// Collections since it was gone.
    gone: u32,
    /// Cgroups of it that are not read: [`MAX_GROUPS`].
    beyond: u64,
}

impl Figures {
    /// `descriptors` are kept open at most.
    pub fn new(layout: Layout, descriptors: usize) -> Self {
        let reader = Reader::new(&layout, descriptors);
        Self {
            layout,
            reader,
            containers: HashMap::new(),
            usage: Usage::default(),
            troubles: Troubles::default(),
            sweep_at: SWEEP_FROM,
        }
    }

    /// These containers are there; figures of others are kept for a while.
    pub fn containers_are(&mut self, all: impl Iterator<Item = ContainerRef>) {
        for watched in self.containers.values_mut() {
            watched.gone += 1;
        }
        for container in all {
            self.containers.entry(container).or_default().gone = 0;
        }
        self.retain(|_, watched| watched.gone <= GONE);
    }

    fn retain(&mut self, stays: impl Fn(ContainerRef, &Watched) -> bool) {
        let reader = &mut self.reader;
        self.containers.retain(|container, watched| {
            let stays = stays(*container, watched);
            if !stays {
                watched.groups.iter_mut().for_each(|watch| watch.forget(reader));
            }
            stays
        });
    }

    /// Nothing of a container is shown any more.
    pub fn forget(&mut self, container: ContainerRef) {
        if let Some(mut watched) = self.containers.remove(&container) {
            watched.groups.iter_mut().for_each(|watch| watch.forget(&mut self.reader));
        }
    }

    /// A container is there, with these cgroups.
    pub fn container_is(&mut self, container: ContainerRef, cgroups: &[Cgroup]) {
        let watched = self.containers.entry(container).or_default();
        watched.gone = 0;
        let made_of = hash(cgroups);
        if watched.made_of.replace(made_of) == Some(made_of) {
            return;
        }
        watched.key =
            cgroups.iter().find(|cgroup| cgroup.id != 0).map(|cgroup| (cgroup.hierarchy, cgroup.id));
        let mut paths: Vec<&str> = cgroups.iter().map(|cgroup| cgroup.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        for watch in &mut watched.groups {
            watch.is_named = paths.contains(&watch.path());
        }
        watched.beyond = 0;
        for path in paths {
            let new = || watch::group(&self.layout, cgroups.iter().filter(|cgroup| cgroup.path == path));
            let full = watched.groups.len() >= MAX_GROUPS;
            match watched.groups.iter_mut().find(|watch| watch.path() == path) {
                // More hierarchies are known, or its directories were made anew.
                Some(watch) => watch.replace(&mut self.reader, new()),
                None if full => watched.beyond += 1,
                None => {
                    // One, mostly.
                    watched.groups.reserve_exact(1);
                    watched.groups.push(Watch::new(path, new()));
                }
            }
        }
    }

    /// What must outlive this instance: counters of cgroups that are gone. By
    /// the container's handle and the cgroup's path, which is empty for those
    /// that are gone for good.
    pub fn past(&mut self) -> Vec<(u64, String, Counters)> {
        let mut past = Vec::new();
        for (container, watched) in &mut self.containers {
            let gone = watched.past.iter().map(|counters| (String::new(), (**counters).clone()));
            let groups = watched.groups.iter_mut().filter_map(Watch::past);
            past.extend(groups.chain(gone).map(|(path, counters)| (container.handle(), path, counters)));
        }
        past
    }

    /// What the instance before knew.
    pub fn set_past(&mut self, past: Vec<(u64, String, Counters)>) {
        for (handle, path, counters) in past {
            let Some(container) = ContainerRef::from_handle(handle) else { continue };
            let watched = self.containers.entry(container).or_default();
            if path.is_empty() {
                watched.past.get_or_insert_default().add(&counters);
                continue;
            }
            match watched.groups.iter_mut().find(|watch| watch.path() == path) {
                Some(watch) => watch.inherit(&counters),
                None => {
                    let group = Group::of(&self.layout, std::iter::empty());
                    watched.groups.push(Watch::of_the_past(&path, group, counters));
                }
            }
        }
    }

    /// Reads one container now: its last process is gone, and its cgroup will be.
    pub fn read(&mut self, container: ContainerRef) {
        let Some(watched) = self.containers.get_mut(&container) else { return };
        watched.read((&mut self.reader, When::AtEnd), &mut self.usage, &mut self.troubles, None);
    }

    /// A container is gone. What nobody read of it is lost.
    pub fn container_goes(&mut self, container: ContainerRef) {
        match self.containers.get_mut(&container) {
            Some(watched) => {
                watched.read((&mut self.reader, When::AtEnd), &mut self.usage, &mut self.troubles, None);
            }
            None => self.troubles.unread += 1,
        }
    }

    /// Drops what the host does not know any more, where much has piled up
    /// without a collection.
    pub fn sweep(&mut self, is_known: &dyn Fn(ContainerRef, Option<(u32, u64)>) -> bool) {
        if self.containers.len() < self.sweep_at {
            return;
        }
        self.retain(|container, watched| is_known(container, watched.key));
        self.containers.shrink_to(SWEEP_FROM);
        self.sweep_at = (2 * self.containers.len()).max(SWEEP_FROM);
    }

    /// By which of its cgroups the host knows a container.
    pub fn key(&self, container: ContainerRef) -> Option<(u32, u64)> {
        self.containers.get(&container)?.key
    }

    /// Reads all that are there, and emits their samples. Of those that are
    /// gone, while they are known.
    pub fn collect(
        &mut self,
        sink: &mut Sink<'_>,
        traffic: &dyn Traffic,
        is_known: &dyn Fn(ContainerRef, Option<(u32, u64)>) -> bool,
    ) {
        self.reader.begin();
        let mut beyond = 0;
        for (container, watched) in &mut self.containers {
            if watched.gone > 0 && !is_known(*container, watched.key) {
                continue;
            }
            let mut gauges = Gauges::default();
            if watched.gone == 0 {
                beyond += watched.beyond;
                let reader = (&mut self.reader, When::Meanwhile);
                watched.read(reader, &mut self.usage, &mut self.troubles, Some(&mut gauges));
            }
            watched.emit(*container, &gauges, sink);
            traffic.of(*container, &watched.devices(), sink);
        }
        let troubles = std::mem::take(&mut self.troubles);
        for (reason, count) in [
            ("cgroup_malformed", troubles.malformed),
            ("cgroup_unreadable", troubles.unreadable),
            ("cgroup_too_large", troubles.too_large),
            ("cgroup_gone_unread", troubles.unread),
            ("cgroup_end_unread", troubles.unread_end),
            ("cgroups_beyond", beyond),
            ("devices_beyond", troubles.devices),
        ] {
            if count > 0 {
                sink.skipped(reason, count);
            }
        }
    }
}

impl Watched {
    /// Reads all its cgroups. Those that are gone, and that nobody names any
    /// more, are summed up and dropped: each restart of a pod's container
    /// leaves one.
    fn read(
        &mut self,
        (reader, when): (&mut Reader, When),
        usage: &mut Usage,
        troubles: &mut Troubles,
        mut gauges: Option<&mut Gauges>,
    ) {
        // That one cgroup is the container's needs no asking.
        let is_alone = self.groups.len() == 1;
        for watch in &mut self.groups {
            if watch.read((reader, when), usage, troubles)
                && let Some(gauges) = &mut gauges
            {
                gauges.add(usage, is_alone || watch.has_processes(reader));
            }
        }
        let past = &mut self.past;
        self.groups.retain_mut(|watch| {
            let ended = watch.is_gone && !watch.is_named;
            if ended {
                troubles.devices += past.get_or_insert_default().add(watch.counters());
                watch.forget(reader);
            }
            !ended
        });
    }
}

/// Tells cgroups apart that the host told at one time and at another.
fn hash(cgroups: &[Cgroup]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for cgroup in cgroups {
        (cgroup.hierarchy, &cgroup.controllers, &cgroup.path, cgroup.id).hash(&mut hasher);
    }
    hasher.finish()
}

/// Who shows a container's traffic of block devices: it is of mounts.
pub trait Traffic {
    fn of(
        &self,
        container: ContainerRef,
        devices: &std::collections::BTreeMap<(u32, u32), [f64; 4]>,
        sink: &mut Sink<'_>,
    );
}
