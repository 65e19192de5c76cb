//! Whose everything is, and under which addresses it is reached.
//!
//! The host and the kernel are asked without the lock on what is known: an
//! answer may take its time, and events are taken over meanwhile.

use crate::addresses::Addresses;
use crate::clock::Clock;
use crate::counts::{Cgroups, Group, Whose};
use crate::published::Published;
use crate::record::ROOT;
use crate::tracker::Tracker;
use crate::watch::Watch;
use gantry_plugin_api::{ContainerRef, Host};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;

/// Processes of a namespace that are tried until one lets it be entered.
const MAX_PIDS: usize = 8;

/// Brings both up to date. `ask` gives the addresses of a namespace.
pub fn refresh(
    host: &Host,
    published: &Published,
    watch: &Watch,
    addresses: &mut Addresses,
    ask: impl FnMut(&Path) -> Option<Vec<IpAddr>>,
) {
    let (groups, containers) = {
        let counts = &watch.lock().tracker.counts;
        let groups: Vec<Group> = counts.groups().cloned().collect();
        (groups, counts.containers().collect::<HashSet<_>>())
    };
    let clock = watch.clock();
    let owners: HashMap<Cgroups, Whose> = groups
        .iter()
        .filter_map(|group| Some((group.cgroups, whose(host, published, clock, group)?)))
        .collect();
    let is_gone = |container: &ContainerRef| {
        host.container(*container).is_none() || published.is_left_alone(*container)
    };
    let gone: HashSet<ContainerRef> = containers.into_iter().filter(is_gone).collect();
    let listens = {
        let now = watch.now();
        let tracker = &mut watch.lock().tracker;
        // One that came meanwhile waits for the next time.
        let whose = |group: &Group| owners.get(&group.cgroups).copied();
        tracker.attribute(now, whose, |container| !gone.contains(&container));
        Listening::of(tracker)
    };
    addresses.refresh_by(&host.proc(), listens.wanted(host), ask);
}

/// Whose a group is: by its cgroup, and before that is known by its process.
pub fn whose(host: &Host, published: &Published, clock: Clock, group: &Group) -> Option<Whose> {
    let found = of_group(host, clock, group)?;
    let (Whose::Cgroup(container) | Whose::Process(container)) = found;
    (!published.is_left_alone(container)).then_some(found)
}

fn of_group(host: &Host, clock: Clock, group: &Group) -> Option<Whose> {
    let (hierarchy, cgroup) = group.first.cgroup();
    if let Some(container) = host.container_of_cgroup(hierarchy, cgroup) {
        return Some(Whose::Cgroup(container));
    }
    // Where the cgroup is not known yet, its process may be. Not of a root: all
    // that is in none is there.
    if cgroup <= ROOT || group.is_sure {
        return None;
    }
    host.container_of_pid(group.first.tgid, clock.ticks(group.first.start)).map(Whose::Process)
}

/// Who listens where.
struct Listening {
    /// Namespaces in which somebody listens at all addresses, with processes.
    wildcards: HashMap<u32, Vec<u32>>,
    containers: Vec<(u32, ContainerRef)>,
    host_netns: u32,
}

impl Listening {
    fn of(tracker: &Tracker) -> Self {
        let wildcards = tracker.listens.wildcards();
        let open = tracker.listens.all().filter(|listen| listen.ceased.is_none());
        let containers = open
            .filter(|listen| wildcards.contains_key(&listen.netns))
            .filter_map(|listen| Some((listen.netns, tracker.counts.of(listen.group)?.container?)))
            .collect();
        let wildcards = wildcards.into_iter().map(|(netns, pids)| (netns, pids.into_iter().collect()));
        Self { wildcards: wildcards.collect(), containers, host_netns: tracker.settings.rules.host_netns }
    }

    /// Namespaces whose addresses are to be known, and who may be in them.
    fn wanted(self, host: &Host) -> HashMap<u32, Vec<u32>> {
        let mut wanted = self.wildcards;
        for (netns, container) in self.containers {
            // The one that began to listen may be gone, and others serve.
            if let Some(pids) = wanted.get_mut(&netns).filter(|pids| pids.len() < MAX_PIDS) {
                pids.extend(host.processes(container).iter().take(4).map(|process| process.pid));
            }
        }
        // Ports that a runtime published are at the machine's own addresses.
        wanted.entry(self.host_netns).or_default().push(1);
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Counts;
    use crate::record::{Owner, tests::some};
    use gantry_plugin_testkit::{Kit, NewContainer};

    fn group(owner: Owner) -> Group {
        let mut counts = Counts::default();
        let index = counts.group(&owner, 0).expect("room");
        counts.of(index).expect("just made").clone()
    }

    #[test]
    fn on_a_hybrid_machine_the_runtime_s_own_cgroup_is_not_the_container_s() {
        let kit = Kit::of::<crate::TcpEbpf>();
        let host = kit.host();
        let service =
            NewContainer::new("/system.slice/docker.service").cgroup("/system.slice/docker.service", 50);
        let service = kit.identity().appear(service);
        let within = group(Owner { cgroup2: 50, cgroup1: 33, hierarchy: 4, ..some().owner });
        assert_eq!(of_group(&host, Clock::default(), &within), None, "its own is not known yet");
        let own = NewContainer::new("/docker/own").cgroup_v1(4, &["memory"], "/docker/own", 33);
        let own = kit.identity().appear(own);
        assert_eq!(of_group(&host, Clock::default(), &within), Some(Whose::Cgroup(own)));
        // In none of version 1.
        let beside = group(Owner { cgroup2: 50, cgroup1: ROOT, hierarchy: 4, ..some().owner });
        assert_eq!(of_group(&host, Clock::default(), &beside), Some(Whose::Cgroup(service)));
        let pure = group(Owner { cgroup2: 50, cgroup1: 0, hierarchy: 0, ..some().owner });
        assert_eq!(of_group(&host, Clock::default(), &pure), Some(Whose::Cgroup(service)));
    }

    #[test]
    fn a_process_tells_until_the_cgroup_is_known() {
        let kit = Kit::of::<crate::TcpEbpf>();
        let by_process = kit.identity().appear(NewContainer::new("/docker/own").process(4242, 0));
        let mut group = group(some().owner);
        assert_eq!(of_group(&kit.host(), Clock::default(), &group), Some(Whose::Process(by_process)));
        group.is_sure = true;
        assert_eq!(of_group(&kit.host(), Clock::default(), &group), None, "its cgroup is gone");
    }
}
