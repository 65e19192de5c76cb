//! From the paths of a process, one a hierarchy, to the one that counts.
//!
//! Hierarchies may disagree. On a hybrid machine a runtime that uses v1 leaves
//! its containers in the service of its daemon in v2; a tool may move a process
//! in a single hierarchy (Nomad its cpusets, a sandbox its memory). So a
//! runtime's container wins over a service wherever it is seen, and what one
//! controller alone says against all others does not count.

use super::{Found, Place, UserSlices, classify};

/// A line of `/proc/PID/cgroup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// `cpu,cpuacct`, `name=systemd`; empty for cgroup v2.
    pub controllers: &'a str,
    pub path: &'a str,
}

/// The kernel has fourteen controllers, and named hierarchies are few.
const MAX_ENTRIES: usize = 64;

/// The path that counts, and what it stands for.
pub fn identify<'a>(entries: &[Entry<'a>], users: UserSlices) -> (&'a str, Place) {
    let mut sightings = sightings(entries, users);
    sightings.sort_by_key(|one| one.rank);
    let controllers = entries.iter().filter(|entry| !Hierarchy::of(entry.controllers).is_managers()).count();
    // A manager's word on services is final where it says anything.
    let managed = sightings.iter().any(|one| one.managers);
    // Whether one controller says what no other hierarchy says, and others there are.
    let alone = |one: &Sighting<'_>, found: &Found| {
        let same = sightings.iter().filter(|other| other.found().is_some_and(|other| other.key == found.key));
        !one.managers && controllers > 1 && same.map(|other| other.hierarchies).sum::<usize>() < 2
    };
    let container = sightings
        .iter()
        .position(|one| one.found().is_some_and(|found| !found.runtime.is_service() && !alone(one, found)));
    let service = || {
        sightings.iter().position(|one| {
            let told = one.managers || !managed;
            told && one.found().is_some_and(|found| found.runtime.is_service() && !alone(one, found))
        })
    };
    match container.or_else(service) {
        Some(at) => {
            let one = sightings.swap_remove(at);
            (one.path, one.place)
        }
        None => (sightings.first().map_or("/", |one| one.path), Place::Nobody),
    }
}

/// What a hierarchy is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hierarchy {
    V2,
    /// `name=systemd` and its like, without controllers.
    Named,
    Cpu,
    Memory,
    Other,
}

impl Hierarchy {
    fn of(controllers: &str) -> Self {
        let has = |wanted: &str| controllers.split(',').any(|one| one == wanted);
        if controllers.is_empty() {
            Self::V2
        } else if controllers.starts_with("name=") {
            Self::Named
        } else if has("cpu") {
            Self::Cpu
        } else if has("memory") {
            Self::Memory
        } else {
            Self::Other
        }
    }

    /// Whether the node's manager keeps its services in it.
    fn is_managers(self) -> bool {
        matches!(self, Self::V2 | Self::Named)
    }
}

/// A path of a process, and the hierarchies that say it: most say the same.
struct Sighting<'a> {
    path: &'a str,
    place: Place,
    /// The lowest of its hierarchies'.
    rank: usize,
    hierarchies: usize,
    /// Whether one of them is a manager's.
    managers: bool,
}

impl Sighting<'_> {
    fn found(&self) -> Option<&Found> {
        match &self.place {
            Place::Container(found) => Some(found),
            Place::Nobody => None,
        }
    }
}

/// The paths of a process, without the root's.
fn sightings<'a>(entries: &[Entry<'a>], users: UserSlices) -> Vec<Sighting<'a>> {
    let mut seen: Vec<Sighting<'a>> = Vec::new();
    for entry in entries.iter().take(MAX_ENTRIES) {
        if matches!(entry.path, "" | "/" | "/init.scope") {
            continue;
        }
        let hierarchy = Hierarchy::of(entry.controllers);
        let rank = rank(hierarchy, entry.path);
        if let Some(known) = seen.iter_mut().find(|one| one.path == entry.path) {
            known.rank = known.rank.min(rank);
            known.hierarchies += 1;
            known.managers |= hierarchy.is_managers();
        } else {
            let place = classify(entry.path, users);
            let managers = hierarchy.is_managers();
            seen.push(Sighting { path: entry.path, place, rank, hierarchies: 1, managers });
        }
    }
    seen
}

/// Which of several good answers is taken; the kubelet's own first, as
/// coroot-node-agent does.
fn rank(hierarchy: Hierarchy, path: &str) -> usize {
    let pods = path.starts_with("/kubepods");
    match hierarchy {
        Hierarchy::Cpu if pods => 0,
        Hierarchy::Memory if pods => 1,
        Hierarchy::V2 => 2,
        Hierarchy::Cpu => 3,
        Hierarchy::Memory => 4,
        Hierarchy::Named => 5,
        Hierarchy::Other => 6,
    }
}
