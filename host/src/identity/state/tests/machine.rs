//! What the tests play: a machine, and what is found on it.

use super::super::directory::Directory;
use super::super::*;
use crate::identity::path::{Found, Place, UserSlices};
use gantry_plugin_api::identity::{Container, Metadata};
use std::sync::Arc;

pub(super) const SECOND: u64 = 1_000_000_000;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Held,
    Shown,
    Lingering,
}

/// A machine that is told of, from its thousandth second on.
pub(super) struct Machine {
    pub(super) state: State,
    pub(super) now: u64,
    pub(super) cursor: u64,
}

pub(super) fn classify(path: &str) -> Option<Found> {
    match crate::identity::path::classify(path, UserSlices::Hidden) {
        Place::Container(found) => Some(found),
        Place::Nobody => None,
    }
}

pub(super) fn raw(letter: char) -> String {
    format!("{:064x}", u32::from(letter))
}

pub(super) fn place(hierarchy: u32, path: &str, id: u64) -> Placement {
    let hierarchy = Arc::new(Hierarchy { number: hierarchy, controllers: Vec::new() });
    let directory = Directory { hierarchy, path: path.into(), id };
    Placement { found: classify(path).map(Arc::new), cgroups: vec![directory] }
}

pub(super) fn docker(letter: char) -> Placement {
    place(4, &format!("/docker/{}", raw(letter)), u64::from(u32::from(letter)))
}

pub(super) fn service(name: &str) -> Placement {
    place(0, &format!("/system.slice/{name}.service"), 7)
}

pub(super) fn named(letter: char, name: &str) -> Metadata {
    let mut container = Container::default();
    container.names.insert("name".to_owned(), name.to_owned());
    Metadata { runtime_id: raw(letter), container, removed: false }
}

pub(super) fn in_namespace(inode: u64) -> Seen {
    Seen { namespace: inode, environment: Some(Environment::default()), sandbox: None }
}

impl Machine {
    pub(super) fn new() -> Self {
        let mut state = State::new(&IdentityConfig::default(), Handles::new("boot"));
        state.providers_are_known();
        Self { state, now: 1000 * SECOND, cursor: 1 }
    }

    pub(super) fn provider(mut self, plugin: &str, order: usize) -> Self {
        let runtimes = vec!["docker".to_owned()];
        self.state.set_provider(Provider {
            plugin: plugin.into(),
            order,
            runtimes,
            users: vec![],
            listed: vec![],
            active: true,
        });
        self
    }

    pub(super) fn rules(&mut self, rules: &IdentityConfig) {
        self.state.set_rules(rules, self.now);
    }

    /// Time passes, and somebody collects.
    pub(super) fn after(&mut self, seconds: u64) {
        self.now += seconds * SECOND;
        self.state.advance(self.now);
        self.state.collected();
    }

    pub(super) fn start(&mut self, pid: u32, placement: &Placement) -> u64 {
        self.state.process_is(pid, self.now / 10_000_000, placement, self.now)
    }

    /// Somebody looked at a process, which was at this place then.
    pub(super) fn sees(&mut self, handle: u64, pid: u32, placement: &Placement, seen: Seen) {
        self.state.looked(Look { handle, pid }, seen, placement, self.now);
    }

    pub(super) fn exit(&mut self, pid: u32) {
        self.state.process_exited(pid, self.now);
    }

    pub(super) fn remove(&mut self, placement: &Placement) {
        for cgroup in &placement.cgroups {
            self.state.directory_gone(cgroup.hierarchy.number, cgroup.id, self.now);
        }
    }

    /// It starts, and all of it goes.
    pub(super) fn live(&mut self, pid: u32, placement: &Placement) -> u64 {
        let handle = self.start(pid, placement);
        self.exit(pid);
        self.remove(placement);
        handle
    }

    pub(super) fn provide(&mut self, plugin: &str, metadata: Metadata) -> u64 {
        self.state.provided(plugin, vec![metadata], self.now).lost
    }

    pub(super) fn id(&self, handle: u64) -> String {
        self.state.record(handle).expect("known").container().id
    }

    pub(super) fn presence(&self, handle: u64) -> Option<Presence> {
        let snapshot = self.state.snapshot();
        let shown = snapshot.containers.get(&handle)?;
        Some(match (shown.held, shown.gone) {
            (true, _) => Presence::Held,
            (false, false) => Presence::Shown,
            (false, true) => Presence::Lingering,
        })
    }

    /// The id under which its series are, and whether that is its own.
    pub(super) fn group(&self, handle: u64) -> Option<String> {
        let snapshot = self.state.snapshot();
        let group = snapshot.containers.get(&handle)?.group?;
        Some(snapshot.groups.get(&group).expect("a member's group is there").id.to_string())
    }

    /// The kinds of what was told since the last time, of one container.
    pub(super) fn told(&mut self, handle: u64) -> Vec<EventKind> {
        let batch = self.state.events().read(self.cursor, u32::MAX);
        self.cursor = batch.next;
        let of_it = batch
            .events
            .iter()
            .map(AbiEvent::to_event)
            .filter(|event| event.container.map(ContainerRef::handle) == Some(handle));
        of_it.map(|event| event.kind).collect()
    }
}
