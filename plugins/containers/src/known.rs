//! The containers that the host knows, kept up to date by its events.

use crate::brief::Brief;
use gantry_plugin_api::identity::{Cgroup, Cursor, EventKind, Process};
use gantry_plugin_api::{ContainerRef, Host};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Events that are asked for at once: 40 KiB.
const BATCH: u32 = 1024;

/// Events that are taken at once; in a longer storm the rest waits for the next
/// time, so that no caller is held.
const MAX_BATCHES: usize = 64;

/// All containers, by handle. A description is copied out of the host once for
/// all events of a batch that are about it; what is not asked for again is not
/// kept.
#[derive(Debug, Default)]
pub struct Known {
    cursor: Cursor,
    /// Boxed: a map has room for more than it holds.
    containers: HashMap<ContainerRef, Box<Brief>>,
    begun: bool,
}

/// What became of them since the last time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Containers that are new, different or gone.
    pub changed: BTreeSet<ContainerRef>,
    /// Those that are gone, as they were.
    pub gone: BTreeMap<ContainerRef, Brief>,
    /// Those of which a process exited.
    pub exited: BTreeSet<ContainerRef>,
    /// Processes that run another program now.
    pub executed: Vec<Process>,
    /// Those whose metadata the host wants.
    pub wanted: BTreeSet<ContainerRef>,
    /// Events were lost: others may be wanted too.
    pub lost: bool,
}

impl Known {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (ContainerRef, &Brief)> {
        self.containers.iter().map(|(container, known)| (*container, &**known))
    }

    /// One of them.
    pub fn get(&self, container: ContainerRef) -> Option<&Brief> {
        self.containers.get(&container).map(Box::as_ref)
    }

    /// Up to which event it knows them, for [`Host::wait_events`].
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Takes over what the host has to tell: the first time and after a loss
    /// all of it. `cgroups` hears of each container that is there and shown in
    /// which cgroups it is: those of all at once would be some KiB each, between
    /// which lies what is kept.
    pub fn catch_up(&mut self, host: &Host, mut cgroups: impl FnMut(ContainerRef, &[Cgroup])) -> News {
        let mut news = News::default();
        for _ in 0..MAX_BATCHES {
            let batch = host.events(self.cursor, BATCH);
            self.cursor = batch.next;
            news.lost |= batch.lost > 0;
            let is_last = batch.events.len() < BATCH as usize;
            for event in batch.events {
                let Some(container) = event.container else { continue };
                if let (EventKind::ProcessExecuted, Some(process)) = (event.kind, event.process) {
                    news.executed.push(process);
                    continue;
                }
                match event.kind {
                    EventKind::ContainerAppeared | EventKind::ContainerChanged | EventKind::ContainerGone => {
                        news.changed.insert(container)
                    }
                    EventKind::MetadataWanted => news.wanted.insert(container),
                    EventKind::ProcessExited => news.exited.insert(container),
                    _ => continue,
                };
            }
            if is_last {
                break;
            }
        }
        if news.lost || !self.begun {
            self.begun = true;
            news.changed.extend(host.containers());
            // Also those that went while nobody listened.
            news.changed.extend(self.containers.keys());
        }
        for container in &news.changed {
            match host.container(*container) {
                Some(known) if known.gone => {
                    self.containers.remove(container);
                    news.gone.insert(*container, Brief::of(&known));
                }
                Some(known) => {
                    let brief = Brief::of(&known);
                    if brief.is_shown() {
                        cgroups(*container, &known.cgroups);
                    }
                    self.containers.insert(*container, Box::new(brief));
                }
                None => drop(self.containers.remove(container)),
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Containers;
    use gantry_plugin_testkit::{Kit, NewContainer};

    fn ids(known: &Known, host: &Host) -> Vec<String> {
        let all = known.all().filter_map(|(container, _)| host.container(container));
        let mut ids: Vec<String> = all.map(|container| container.id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn follows_what_happens() {
        let kit = Kit::of::<Containers>();
        let (host, identity) = (kit.host(), kit.identity());
        let old = identity.declare(NewContainer::new("/docker/old"));
        let mut known = Known::default();
        assert!(!known.catch_up(&host, |_, _| ()).lost);
        assert_eq!(ids(&known, &host), ["/docker/old"]);
        let new = identity.appear(NewContainer::new("/docker/new"));
        identity.change(old, |old| old.image = "nginx".to_owned());
        identity.want_metadata(new);
        let news = known.catch_up(&host, |_, _| ());
        assert_eq!(news.changed, BTreeSet::from([old, new]));
        assert_eq!(news.wanted, BTreeSet::from([new]));
        assert_eq!(ids(&known, &host), ["/docker/new", "/docker/old"]);
        assert_eq!(known.get(old).map(Brief::image), Some("nginx"));
        identity.change(new, |new| new.gone = true);
        known.catch_up(&host, |_, _| ());
        assert_eq!(ids(&known, &host), ["/docker/old"]);
        assert_eq!(known.catch_up(&host, |_, _| ()), News::default());
    }

    #[test]
    fn after_a_loss_all_is_asked_anew() {
        let kit = Kit::of::<Containers>();
        let (host, identity) = (kit.host(), kit.identity());
        let old = identity.appear(NewContainer::new("/docker/old"));
        let mut known = Known::default();
        known.catch_up(&host, |_, _| ());
        identity.remember(1);
        identity.change(old, |old| old.gone = true);
        identity.appear(NewContainer::new("/docker/one"));
        identity.appear(NewContainer::new("/docker/two"));
        assert!(known.catch_up(&host, |_, _| ()).lost);
        assert_eq!(ids(&known, &host), ["/docker/one", "/docker/two"]);
    }

    #[test]
    fn a_long_storm_holds_nobody() {
        let kit = Kit::of::<Containers>();
        let (host, identity) = (kit.host(), kit.identity());
        let container = identity.appear(NewContainer::new("/docker/a"));
        let mut known = Known::default();
        known.catch_up(&host, |_, _| ());
        let before = known.cursor();
        (0..3000).for_each(|_| identity.want_metadata(container));
        assert_eq!(known.catch_up(&host, |_, _| ()).wanted.len(), 1);
        assert_ne!(known.cursor(), before);
        assert_eq!(known.catch_up(&host, |_, _| ()), News::default());
    }
}
