//! What containers use, from the files of their cgroups.
//!
//! # Layout
//! * [`kept`]: the counters of one container; [`total`]: one that never goes back.
//! * [`emit`]: the samples.

mod emit;
pub mod kept;
pub mod total;

use gantry_cgroupfs::{Entry, Group, Layout, Parts, Reader, Usage};
use gantry_plugin_api::identity::Cgroup;
use gantry_plugin_api::{ContainerRef, Sink};
use kept::Counters;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// The most cgroups of one container: an orchestrator that restarts it makes
/// another each time.
const MAX_GROUPS: usize = 16;

/// How long what is gone is kept, in collections: an event that says that it
/// is there again may be on its way.
const GONE: u32 = 3;

/// All containers' figures.
#[derive(Debug)]
pub struct Figures {
    layout: Layout,
    reader: Reader,
    containers: HashMap<ContainerRef, Watched>,
    usage: Usage,
    troubles: Troubles,
}

/// What went wrong, since the last collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Troubles {
    pub malformed: u64,
    pub unreadable: u64,
    pub too_large: u64,
    /// Cgroups that were gone before anything of them was read.
    pub unread: u64,
}

#[derive(Debug, Default)]
struct Watched {
    groups: Vec<Watch>,
    /// What its groups were made of: a hash.
    made_of: Option<u64>,
    /// Collections since it was gone.
    gone: u32,
}

/// One cgroup of a container.
#[derive(Debug)]
struct Watch {
    path: Box<str>,
    group: Group,
    counters: Counters,
    /// What it has now; nothing where it is gone.
    now: Option<Usage>,
    /// Nothing of it was read yet.
    is_unread: bool,
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
        let reader = &mut self.reader;
        self.containers.retain(|_, watched| {
            let stays = watched.gone <= GONE;
            if !stays {
                watched.groups.iter_mut().for_each(|watch| reader.forget(&mut watch.group));
            }
            stays
        });
    }

    /// A container is there, with these cgroups.
    pub fn container_is(&mut self, container: ContainerRef, cgroups: &[Cgroup]) {
        let watched = self.containers.entry(container).or_default();
        watched.gone = 0;
        let made_of = hash(cgroups);
        if watched.made_of.replace(made_of) == Some(made_of) {
            return;
        }
        let mut paths: Vec<&str> = cgroups.iter().map(|cgroup| cgroup.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        for path in paths.into_iter().take(MAX_GROUPS) {
            let controllers: Vec<(u32, String)> = cgroups
                .iter()
                .filter(|cgroup| cgroup.path == path)
                .map(|cgroup| (cgroup.hierarchy, cgroup.controllers.join(",")))
                .collect();
            let entries = controllers.iter().map(|(hierarchy, controllers)| Entry {
                hierarchy: *hierarchy,
                controllers,
                path: Path::new(path),
                deleted: false,
            });
            let group = Group::at_roots(&self.layout, entries);
            match watched.groups.iter_mut().find(|watch| *watch.path == *path) {
                // More hierarchies are known, or its directories were made anew.
                Some(watch) => {
                    self.reader.forget(&mut watch.group);
                    watch.group = group;
                }
                None => {
                    // One, mostly.
                    watched.groups.reserve_exact(1);
                    let counters = Counters::default();
                    watched.groups.push(Watch {
                        path: path.into(),
                        group,
                        counters,
                        now: None,
                        is_unread: true,
                    });
                }
            }
        }
    }

    /// What must outlive this instance: counters of cgroups that are gone. By
    /// the container's handle and the cgroup's path.
    pub fn past(&mut self) -> Vec<(u64, String, Counters)> {
        let mut past = Vec::new();
        for (container, watched) in &mut self.containers {
            for watch in &mut watched.groups {
                if watch.counters.has_past() {
                    past.push((container.handle(), watch.path.to_string(), watch.counters.clone()));
                }
            }
        }
        past
    }

    /// What the instance before knew.
    pub fn set_past(&mut self, past: Vec<(u64, String, Counters)>) {
        for (handle, path, counters) in past {
            let Some(container) = ContainerRef::from_handle(handle) else { continue };
            let watched = self.containers.entry(container).or_default();
            match watched.groups.iter_mut().find(|watch| *watch.path == *path) {
                Some(watch) => watch.counters.inherit(counters),
                None => {
                    let group = Group::of(&self.layout, std::iter::empty());
                    let path = path.into();
                    watched.groups.push(Watch { path, group, counters, now: None, is_unread: false });
                }
            }
        }
    }

    /// Reads one container now: its last process is gone, and its cgroup will be.
    pub fn read(&mut self, container: ContainerRef) {
        let Some(watched) = self.containers.get_mut(&container) else { return };
        for watch in &mut watched.groups {
            watch.read(&mut self.reader, &mut self.usage, &mut self.troubles);
        }
    }

    /// A container is gone. What nobody read of it is lost.
    pub fn container_goes(&mut self, container: ContainerRef) {
        match self.containers.get_mut(&container) {
            Some(watched) => {
                for watch in watched.groups.iter_mut().filter(|watch| watch.is_unread) {
                    watch.read(&mut self.reader, &mut self.usage, &mut self.troubles);
                }
            }
            None => self.troubles.unread += 1,
        }
    }

    /// Reads all that are there, and emits their samples. Of those that are
    /// gone, while they are known.
    pub fn collect(
        &mut self,
        sink: &mut Sink<'_>,
        traffic: &mut dyn Traffic,
        is_known: &dyn Fn(ContainerRef) -> bool,
    ) {
        self.reader.begin();
        for (container, watched) in &mut self.containers {
            if watched.gone > 0 && !is_known(*container) {
                continue;
            }
            if watched.gone == 0 {
                for watch in &mut watched.groups {
                    watch.read(&mut self.reader, &mut self.usage, &mut self.troubles);
                }
            }
            watched.emit(*container, sink);
            traffic.of(*container, &watched.devices(), sink);
        }
        let troubles = std::mem::take(&mut self.troubles);
        for (reason, count) in [
            ("cgroup_malformed", troubles.malformed),
            ("cgroup_unreadable", troubles.unreadable),
            ("cgroup_too_large", troubles.too_large),
            ("cgroup_gone_unread", troubles.unread),
        ] {
            if count > 0 {
                sink.skipped(reason, count);
            }
        }
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
        &mut self,
        container: ContainerRef,
        devices: &std::collections::BTreeMap<(u32, u32), [f64; 4]>,
        sink: &mut Sink<'_>,
    );
}

impl Watch {
    fn read(&mut self, reader: &mut Reader, usage: &mut Usage, troubles: &mut Troubles) {
        reader.read(&mut self.group, Parts { cpu_modes: false, pids: false, ..Parts::ALL }, usage);
        troubles.malformed += u64::from(usage.notes.malformed);
        troubles.unreadable += u64::from(usage.notes.unreadable);
        troubles.too_large += u64::from(usage.notes.too_large);
        if usage.notes.gone {
            // What was read before it went may be half; what was known stays.
            if std::mem::replace(&mut self.is_unread, false) {
                troubles.unread += 1;
            }
            self.counters.begin_anew();
            self.now = None;
            return;
        }
        self.is_unread = false;
        self.counters.take(usage);
        std::mem::swap(self.now.get_or_insert_default(), usage);
    }
}
