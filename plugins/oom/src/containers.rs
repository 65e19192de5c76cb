//! The containers, and what was counted of each.

use crate::counted::{Counted, Place, Use};
use crate::counters::{self, Counters};
use gantry_plugin_api::identity::{Container, Cursor, EventKind};
use gantry_plugin_api::{ContainerRef, Host};
use std::collections::{HashMap, HashSet};

/// Events that are taken over at once.
const EVENTS: u32 = 4096;

/// Collections for which a container is kept that the host does not know: what says
/// that it is there may be on its way.
const UNKNOWN: u32 = 3;

/// Collections for which one that is gone is shown: after that the host shows what it
/// had last.
const GONE: u32 = 3;

/// Collections after which it is asked again whether one that is gone is forgotten. A
/// machine may have thousands of them.
const EVERY: u32 = 32;

/// One container.
#[derive(Debug, Default)]
pub struct Known {
    /// Its id, for people.
    pub id: String,
    /// What was counted.
    pub counted: Counted,
    /// It asked to be left alone.
    pub left_alone: bool,
    /// How far below the root its cgroup is in each hierarchy.
    levels: Vec<(u32, u32)>,
    /// Its cgroups that have a counter.
    files: Vec<(Place, counters::Place)>,
    /// The host was asked.
    is_asked: bool,
    /// Collections since it was there, or since something of it counted.
    gone: u32,
    /// Collections since the host knew it.
    unknown: u32,
}

impl Known {
    /// How far below the root of a hierarchy its cgroup is.
    pub fn level(&self, hierarchy: u32) -> Option<u32> {
        self.levels.iter().filter(|(of, _)| *of == hierarchy).map(|(_, level)| *level).min()
    }

    /// It is shown.
    pub fn is_shown(&self) -> bool {
        !self.left_alone && self.unknown == 0 && self.gone <= GONE
    }

    fn is(&mut self, container: &Container, counters: Option<&mut Counters>) {
        (self.is_asked, self.unknown) = (true, 0);
        self.id.clone_from(&container.id);
        self.left_alone = container.opted_out.iter().any(|name| name == "oom");
        let level = |path: &str| path.split('/').filter(|part| !part.is_empty()).count();
        let levels = container
            .cgroups
            .iter()
            .map(|cgroup| (cgroup.hierarchy, u32::try_from(level(&cgroup.path)).unwrap_or(u32::MAX)));
        self.levels = levels.collect();
        let Some(counters) = counters else { return };
        let mut before = std::mem::take(&mut self.files);
        for cgroup in &container.cgroups {
            if cgroup.hierarchy != counters.number() || cgroup.id == 0 {
                continue;
            }
            let place = (cgroup.hierarchy, cgroup.id);
            let same = before.iter().position(|(at, _)| *at == place);
            let file = same.map(|index| before.swap_remove(index).1).or_else(|| counters.place(&cgroup.path));
            self.files.extend(file.map(|file| (place, file)));
        }
        before.iter_mut().for_each(|(_, file)| counters.forget(file));
    }

    fn forget(&mut self, counters: Option<&mut Counters>) {
        if let Some(counters) = counters {
            self.files.iter_mut().for_each(|(_, file)| counters.forget(file));
        }
    }

    /// Looks at its counters; how many kills are known by them alone.
    fn look(
        &mut self,
        counters: &mut Counters,
        young_from: Option<u64>,
        is_for: Use,
        waiting: &HashSet<Place>,
        trouble: &mut Option<String>,
    ) -> u64 {
        let mut found = 0;
        for (place, file) in self.files.iter_mut().filter(|(place, _)| !waiting.contains(place)) {
            let number = match counters.read(file) {
                Ok(Some(number)) => number,
                Ok(None) => continue,
                Err(error) => {
                    *trouble = Some(error);
                    continue;
                }
            };
            if number.anew {
                self.counted.forget(*place);
            }
            let young = number.anew || young_from.is_some_and(|youngest| place.1 > youngest);
            found += self.counted.look(*place, number.kills, young, is_for);
        }
        found
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Containers {
    cursor: Option<Cursor>,
    known: HashMap<ContainerRef, Known>,
}

impl Containers {
    /// Those that were counted before, by another instance.
    pub fn restore(&mut self, counted: Vec<(u64, Counted)>) {
        for (handle, counted) in counted {
            let Some(container) = ContainerRef::from_handle(handle) else { continue };
            self.known.entry(container).or_default().counted = counted;
        }
    }

    /// What the next instance needs.
    pub fn counted(&self) -> Vec<(u64, Counted)> {
        self.known.iter().map(|(container, known)| (container.handle(), known.counted.clone())).collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (ContainerRef, &Known)> {
        self.known.iter().map(|(container, known)| (*container, known))
    }

    /// One, of which the host is asked where that was not done yet.
    pub fn get(
        &mut self,
        host: &Host,
        container: ContainerRef,
        counters: Option<&mut Counters>,
    ) -> &mut Known {
        let known = self.known.entry(container).or_default();
        known.gone = 0;
        if !known.is_asked
            && let Some(found) = host.container(container)
        {
            known.is(&found, counters);
        }
        known
    }

    /// Brings them up to date.
    pub fn refresh(&mut self, host: &Host, mut counters: Option<&mut Counters>) {
        for container in self.changed(host) {
            if let Some(known) = self.known.get_mut(&container) {
                known.is_asked = false;
            }
        }
        let living: HashSet<ContainerRef> = host.containers().into_iter().collect();
        for container in &living {
            self.get(host, *container, counters.as_deref_mut()).unknown = 0;
        }
        self.known.retain(|container, known| {
            if !living.contains(container) {
                known.gone = known.gone.saturating_add(1);
                if known.gone <= GONE || known.unknown > 0 || known.gone.is_multiple_of(EVERY) {
                    match host.container(*container) {
                        Some(found) if known.is_asked => (known.unknown, known.id) = (0, found.id),
                        Some(found) => known.is(&found, counters.as_deref_mut()),
                        None => known.unknown += 1,
                    }
                }
            }
            let stays = known.unknown < UNKNOWN;
            if !stays {
                known.forget(counters.as_deref_mut());
            }
            stays
        });
    }

    /// Those that are others than they were.
    fn changed(&mut self, host: &Host) -> HashSet<ContainerRef> {
        let mut changed = HashSet::new();
        let mut cursor = self.cursor.unwrap_or_default();
        loop {
            let batch = host.events(cursor, EVENTS);
            if batch.lost > 0 {
                changed.extend(self.known.keys());
            }
            let of_containers = batch.events.iter().filter(|event| event.kind == EventKind::ContainerChanged);
            changed.extend(of_containers.filter_map(|event| event.container));
            let is_last = batch.next == cursor || batch.events.is_empty();
            cursor = batch.next;
            if is_last {
                break;
            }
        }
        self.cursor = Some(cursor);
        changed
    }

    /// The container that has a cgroup, by what was known of it when it was asked last.
    pub fn of(&self, place: Place) -> Option<ContainerRef> {
        let has = |known: &Known| known.files.iter().any(|(at, _)| *at == place);
        self.known.iter().find(|(_, known)| has(known)).map(|(container, _)| *container)
    }

    /// Looks at the counters of all, but for cgroups of which a victim waits to be
    /// counted; how many kills are known by them alone.
    pub fn look(
        &mut self,
        counters: &mut Counters,
        young_from: Option<u64>,
        is_for: Use,
        waiting: &HashSet<Place>,
        trouble: &mut Option<String>,
    ) -> u64 {
        counters.begin();
        // What is left of one that is gone is found in the first of these.
        let those = self.known.values_mut().filter(|known| known.gone <= GONE);
        those.map(|known| known.look(counters, young_from, is_for, waiting, trouble)).sum()
    }

    /// The counters are others from now on: their numbers say nothing of those before.
    pub fn forget_numbers(&mut self) {
        self.known.values_mut().for_each(|known| known.counted.forget_numbers());
    }
}
