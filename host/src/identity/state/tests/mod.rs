//! Facts and time, played to the state.

mod lives;
mod looks;
mod machine;
mod merge;
mod observed;
mod processes;
mod providers;
mod remembered;
mod rules;

use super::*;
use crate::identity::path::{Place, UserSlices};
use gantry_plugin_api::identity::{Container, Metadata};
use machine::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_container_from_its_first_process_to_its_last_values() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    use EventKind::*;
    assert_eq!(machine.told(handle), [ContainerAppeared, ProcessStarted, ContainerChanged]);
    assert_eq!((machine.state.of_pid(10, 0), machine.state.of_cgroup(4, 97)), (Some(handle), Some(handle)));
    assert_eq!(machine.presence(handle), Some(Presence::Held), "too young");
    machine.after(29);
    assert_eq!(machine.presence(handle), Some(Presence::Held));
    machine.after(1);
    assert_eq!((machine.presence(handle), machine.group(handle)), (Some(Presence::Shown), None));
    machine.exit(10);
    assert_eq!(machine.state.record(handle).expect("there").gone, None, "its directory is there");
    machine.remove(&docker('a'));
    assert_eq!(machine.told(handle), [ProcessExited, ContainerGone]);
    assert_eq!(machine.presence(handle), Some(Presence::Lingering));
    assert!(machine.state.living().is_empty());
    assert_eq!(machine.state.of_pid(10, 0), Some(handle), "a plugin may still have something of it");
    machine.after(299);
    assert_eq!(
        (machine.presence(handle), machine.state.of_cgroup(4, 97)),
        (Some(Presence::Lingering), Some(handle))
    );
    machine.after(1);
    machine.after(1);
    assert_eq!((machine.presence(handle), machine.state.of_cgroup(4, 97)), (None, None));
}

#[test]
fn the_last_values_are_served_twice_however_rarely_somebody_asks() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    machine.after(60);
    machine.exit(10);
    machine.remove(&docker('a'));
    machine.after(3600);
    assert_eq!(machine.presence(handle), Some(Presence::Lingering));
    machine.after(3600);
    assert_eq!(machine.presence(handle), Some(Presence::Lingering), "that was the first collection with it");
    machine.after(3600);
    assert_eq!(machine.presence(handle), None);
}

#[test]
fn one_without_its_name_waits_for_it_and_not_for_ever() {
    let mut machine = Machine::new().provider("containers", 0);
    machine.rules(&IdentityConfig { min_container_age: Duration::ZERO, ..IdentityConfig::default() });
    let (one, two) = (machine.start(10, &docker('a')), machine.start(11, &docker('b')));
    assert!(machine.told(one).contains(&EventKind::MetadataWanted));
    machine.after(2);
    assert_eq!(machine.presence(one), Some(Presence::Held));
    machine.provide("containers", named('a', "/web"));
    assert_eq!((machine.presence(one), machine.id(one)), (Some(Presence::Shown), "/docker/web".to_owned()));
    machine.after(9);
    assert_eq!(
        (machine.presence(two), machine.id(two)),
        (Some(Presence::Shown), format!("/docker/{}", raw('b')))
    );
    machine.provide("containers", named('b', "/late"));
    machine.provide("containers", named('a', "/renamed"));
    assert_eq!(
        (machine.id(one), machine.id(two)),
        ("/docker/web".to_owned(), format!("/docker/{}", raw('b')))
    );
    let renamed = &machine.state.record(one).expect("there").container().names["name"];
    assert_eq!(renamed, "/renamed", "a shown id stays; what is known goes on");
    let unit = machine.start(12, &service("nginx"));
    assert_eq!(machine.presence(unit), Some(Presence::Held));
    machine.after(2);
    assert_eq!(machine.presence(unit), Some(Presence::Shown), "nobody provides names of units");
}

#[test]
fn a_task_of_nomad_waits_for_its_environment_and_not_for_ever() {
    let mut machine = Machine::new();
    machine.rules(&IdentityConfig { min_container_age: Duration::ZERO, ..IdentityConfig::default() });
    let allocation = "5b1c7a52-1f3e-4d53-9f0e-2e6d0d3a8f11";
    let task = |name: &str| place(0, &format!("/nomad.slice/share.slice/{allocation}.{name}.scope"), 5);
    let (named, other) = (machine.start(10, &task("web")), machine.start(11, &task("db")));
    machine.after(1);
    assert_eq!(machine.presence(named), Some(Presence::Held));
    let mut nomad = BTreeMap::from([("NOMAD_ALLOC_ID".to_owned(), allocation.to_owned())]);
    for (name, value) in
        [("NAMESPACE", "default"), ("JOB_NAME", "shop"), ("GROUP_NAME", "front"), ("TASK_NAME", "web")]
    {
        nomad.insert(format!("NOMAD_{name}"), value.to_owned());
    }
    let environment = Some(Environment { nomad, ..Environment::default() });
    machine.sees(named, 10, &task("web"), Seen { environment, ..Seen::default() });
    machine.after(1);
    let id = format!("/nomad/default/shop/front/{allocation}/web");
    assert_eq!((machine.presence(named), machine.id(named)), (Some(Presence::Shown), id));
    machine.after(10);
    assert_eq!(machine.presence(other), Some(Presence::Shown), "under its raw id");
}

#[test]
fn what_is_told_early_is_there_when_the_container_is() {
    let mut machine = Machine::new().provider("containers", 0);
    machine.provide("containers", named('a', "/web"));
    let handle = machine.start(10, &docker('a'));
    assert_eq!(machine.id(handle), "/docker/web");
    assert!(!machine.told(handle).contains(&EventKind::MetadataWanted));
    for letter in ('\u{4e00}'..).take(2000) {
        machine.provide("containers", named(letter, "/never"));
    }
    assert_eq!(machine.state.pending.len(), 1024);
}

#[test]
fn of_two_providers_the_first_in_the_file_is_believed() {
    let mut machine = Machine::new().provider("second", 1).provider("first", 0);
    let handle = machine.start(10, &docker('a'));
    assert_eq!(machine.provide("second", named('a', "/two")), 0);
    assert_eq!(machine.id(handle), "/docker/two");
    assert_eq!(machine.provide("first", named('a', "/one")), 0);
    assert_eq!(machine.id(handle), "/docker/one", "not shown yet");
    assert_eq!(machine.provide("second", named('a', "/two")), 1, "lost");
    assert_eq!(machine.id(handle), "/docker/one");
    machine.state.set_provider(Provider {
        plugin: "first".into(),
        order: 0,
        runtimes: vec![],
        users: vec![],
        listed: vec![],
        active: false,
    });
    machine.after(40);
    assert_eq!(
        (machine.id(handle), machine.presence(handle)),
        ("/docker/one".to_owned(), Some(Presence::Shown))
    );
    assert_eq!(machine.provide("second", named('a', "/two")), 0, "the first is disabled");
    assert_eq!(machine.id(handle), "/docker/one", "and what was shown stays");
}

#[test]
fn one_that_dies_young_is_folded_and_costs_no_series_of_its_own() {
    let mut machine = Machine::new();
    let mut handles = Vec::new();
    for letter in 'a'..='j' {
        let handle = machine.start(u32::from(letter), &docker(letter));
        machine.exit(u32::from(letter));
        machine.remove(&docker(letter));
        handles.push(handle);
    }
    let snapshot = machine.state.snapshot();
    assert_eq!(snapshot.groups.len(), 1);
    assert!(handles.iter().all(|handle| machine.group(*handle).as_deref() == Some("/docker/~short-lived")));
    assert_eq!(machine.state.counts.folded, 10);
    for _ in 0..3 {
        machine.after(30);
    }
    let snapshot = machine.state.snapshot();
    assert_eq!((snapshot.containers.len(), snapshot.groups.len()), (0, 1), "the fold itself stays");
    let fold = *snapshot.groups.keys().next().expect("the fold");
    (0..10).for_each(|_| machine.after(3600));
    let handle = machine.live(7, &docker('k'));
    let snapshot = machine.state.snapshot();
    assert_eq!(snapshot.containers[&handle].group, Some(fold), "it goes on where it was, hours later");
    assert!(snapshot.groups[&fold].folded && !snapshot.groups[&fold].gone);
}

#[test]
fn folded_ids_are_bounded_and_the_runtime_s_takes_what_is_beyond() {
    let mut machine = Machine::new();
    let pod = |number: u32| {
        let mut found = classify(&format!("/kubepods/pod{number:032}/{number:064}")).expect("a pod's");
        found.raw_id = format!("{number:064}").into();
        Placement { found: Some(Arc::new(found)), cgroups: Vec::new() }
    };
    let mut groups = HashSet::new();
    for number in 1..=time::MAX_FOLDS as u32 + 50 {
        let handle = machine.start(number, &pod(number));
        let container = {
            let mut container = Container::default();
            for (key, value) in
                [("namespace", format!("ns-{number}")), ("pod", "p".into()), ("container", "c".into())]
            {
                container.names.insert(key.to_owned(), value);
            }
            container
        };
        let told = Metadata { runtime_id: format!("{number:064}"), container, removed: false };
        machine.state.provided("containers", vec![told], machine.now);
        machine.exit(number);
        groups.insert(machine.group(handle).expect("folded"));
    }
    assert!(groups.contains("/k8s/ns-7/~short-lived"), "{:?}", groups.iter().take(9).collect::<Vec<_>>());
    assert!(groups.contains("/~short-lived"), "nobody has the runtime's own");
    assert_eq!((groups.len(), machine.state.counts.folds_refused), (time::MAX_FOLDS + 1, 50));
    assert_eq!(machine.state.counts.folded, time::MAX_FOLDS as u64 + 50);
}

#[test]
fn one_that_dies_again_and_again_grows_old_at_last() {
    let mut machine = Machine::new();
    let first = machine.start(10, &docker('a'));
    machine.exit(10);
    machine.remove(&docker('a'));
    machine.after(20);
    let second = machine.start(11, &docker('a'));
    assert_ne!(first, second, "what the first counted is in the fold");
    assert_eq!(machine.state.record(second).expect("there").restarts, 1);
    machine.exit(11);
    machine.remove(&docker('a'));
    machine.after(20);
    let third = machine.start(12, &docker('a'));
    assert_eq!(
        machine.state.record(third).expect("there").restarts,
        1,
        "the one before is counted in the fold"
    );
    machine.after(2);
    assert_eq!((machine.presence(third), machine.group(third)), (Some(Presence::Shown), None), "42 s old");
    machine.exit(12);
    machine.remove(&docker('a'));
    assert_eq!((machine.presence(third), machine.group(third)), (Some(Presence::Lingering), None));
    machine.after(10);
    assert_eq!(machine.start(13, &docker('a')), third, "it is the same again");
    let record = machine.state.record(third).expect("there");
    assert_eq!((record.restarts, record.gone.is_none()), (2, true));
}

#[test]
fn a_restart_is_counted_and_an_exec_into_it_is_none() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    machine.start(11, &docker('a'));
    machine.exit(11);
    let restarts = |machine: &Machine| machine.state.record(handle).expect("there").container().restarts;
    assert_eq!(restarts(&machine), 0);
    machine.after(60);
    machine.exit(10);
    machine.remove(&docker('a'));
    machine.start(20, &docker('a'));
    assert_eq!(restarts(&machine), 1);
    let init = machine.state.record(handle).expect("there").container().init;
    assert_eq!(init.map(|init| init.pid), Some(20));
    machine.exit(20);
    machine.after(1);
    machine.start(21, &docker('a'));
    assert_eq!(restarts(&machine), 2, "in the same cgroup");
}

#[test]
fn the_steps_in_which_a_runtime_starts_a_container_are_no_restart() {
    let mut machine = Machine::new();
    let at = machine.now / 10_000_000;
    // runc forks the one that becomes the container's program, moves both in, and the first one goes.
    machine.state.process_forked(10, 1, at, machine.now);
    machine.state.process_forked(11, 10, at, machine.now + 1);
    machine.state.process_executed(10, 0, &docker('a'), machine.now + 2);
    machine.state.process_exited(10, machine.now + 3);
    machine.now += SECOND;
    machine.state.process_executed(11, 0, &docker('a'), machine.now);
    let handle = machine.state.of_pid(11, 0).expect("known");
    let record = machine.state.record(handle).expect("there");
    assert_eq!((record.restarts, record.container().init.map(|init| init.pid)), (0, Some(11)));
}

#[test]
fn the_same_name_and_another_container_begins_at_zero() {
    let mut machine = Machine::new().provider("containers", 0);
    let old = machine.start(10, &docker('a'));
    machine.provide("containers", named('a', "/web"));
    machine.after(60);
    machine.exit(10);
    machine.remove(&docker('a'));
    let new = machine.start(20, &docker('b'));
    machine.provide("containers", named('b', "/web"));
    assert_eq!(machine.presence(old), Some(Presence::Lingering), "the new one is too young");
    machine.after(30);
    assert_eq!((machine.presence(old), machine.presence(new)), (None, Some(Presence::Shown)));
    assert_eq!((machine.group(new), machine.state.record(new).expect("there").restarts), (None, 0));
}

#[test]
fn two_that_live_with_one_id_are_summed() {
    let mut machine = Machine::new().provider("containers", 0);
    let (one, two) = (machine.start(10, &docker('a')), machine.start(11, &docker('b')));
    machine.provide("containers", named('a', "/web"));
    machine.provide("containers", named('b', "/web"));
    machine.after(30);
    assert_eq!(
        (machine.group(one), machine.group(two)),
        (Some("/docker/web".into()), Some("/docker/web".into()))
    );
    machine.exit(10);
    machine.remove(&docker('a'));
    machine.after(300);
    machine.after(1);
    machine.after(1);
    assert_eq!(
        (machine.presence(one), machine.group(two)),
        (None, Some("/docker/web".into())),
        "what one counted stays in"
    );
}

#[test]
fn processes_come_by_their_parents_and_move() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    machine.state.process_forked(11, 10, machine.now / 10_000_000, machine.now);
    assert_eq!(machine.state.of_pid(11, 0), Some(handle));
    machine.state.process_forked(12, 1, 5, machine.now);
    assert_eq!(machine.state.of_pid(12, 0), Some(0), "of nobody");
    machine.state.process_executed(12, 0, &docker('a'), machine.now);
    assert_eq!(machine.state.of_pid(12, 5), Some(handle), "moved before it executed");
    assert_eq!(machine.state.processes_of(handle).len(), 3);
    machine.state.process_executed(11, 0, &Placement::default(), machine.now);
    assert_eq!(machine.state.of_pid(11, 0), Some(0));
    machine.state.process_forked(12, 1, 900, machine.now);
    assert_eq!(machine.state.of_pid(12, 900), Some(0), "its exit was lost, and the pid is another's");
    assert_eq!(machine.state.of_pid(12, 5), Some(handle));
    machine.state.processes_are(&HashSet::from([10]), machine.now + SECOND, machine.now + SECOND);
    assert_eq!(machine.state.processes().len(), 1);
    assert_eq!(machine.state.processes_of(handle).len(), 1);
}

#[test]
fn the_oldest_in_a_network_namespace_owns_it() {
    let mut machine = Machine::new();
    let one = machine.start(10, &docker('a'));
    machine.after(1);
    let two = machine.start(11, &docker('b'));
    machine.state.set_host_namespace(1);
    machine.sees(two, 11, &docker('b'), in_namespace(5));
    machine.sees(one, 10, &docker('a'), in_namespace(5));
    assert_eq!(machine.state.of_namespace(5), Some(one));
    machine.exit(10);
    machine.remove(&docker('a'));
    assert_eq!(machine.state.of_namespace(5), Some(two));
    machine.sees(two, 11, &docker('b'), in_namespace(1));
    assert_eq!(machine.state.of_namespace(5), Some(one), "the other one moved out");
    assert_eq!(machine.state.of_namespace(1), None, "the machine's own is nobody's");
}

#[test]
fn a_flood_of_containers_is_bounded() {
    let mut machine = Machine::new();
    for number in 0..60_000_u32 {
        let path = format!("/docker/{number:064x}");
        let placement = Placement { found: classify(&path).map(Arc::new), cgroups: Vec::new() };
        machine.start(number + 1, &placement);
        machine.exit(number + 1);
    }
    assert!(machine.state.records.len() <= MAX_CONTAINERS);
    assert_eq!(machine.state.counts.containers_refused, 0, "those that are gone make room");
    assert!(machine.state.counts.forgotten_early >= 10_000);
    assert!(machine.state.keys.len() <= MAX_CONTAINERS && machine.state.raw_ids.len() <= MAX_CONTAINERS);
    assert!(machine.state.lives.len() <= 10_000);
}

#[test]
fn a_clock_that_is_set_changes_nothing() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    machine.state.set_clock(machine.now, 0);
    machine.after(29);
    machine.state.set_clock(machine.now, 4_000_000_000 * SECOND);
    machine.after(0);
    assert_eq!(machine.presence(handle), Some(Presence::Held));
}

#[test]
fn a_pod_s_container_that_is_started_again_is_the_same() {
    let of_pod = |letter| {
        let mut metadata = named(letter, "/k8s_nginx_web-0");
        for (label, value) in [("namespace", "shop"), ("name", "web-0")] {
            metadata.container.labels.insert(format!("io.kubernetes.pod.{label}"), value.to_owned());
        }
        metadata.container.labels.insert("io.kubernetes.container.name".to_owned(), "nginx".to_owned());
        metadata
    };
    let mut machine = Machine::new().provider("containers", 0);
    let first = machine.start(10, &docker('a'));
    machine.provide("containers", of_pod('a'));
    machine.after(60);
    assert_eq!(
        (machine.id(first), machine.presence(first)),
        ("/k8s/shop/web-0/nginx".to_owned(), Some(Presence::Shown))
    );
    machine.exit(10);
    machine.remove(&docker('a'));
    let second = machine.start(20, &docker('b'));
    assert_ne!(first, second, "nobody knows yet");
    machine.provide("containers", of_pod('b'));
    let record = machine.state.record(first).expect("there");
    assert_eq!((record.restarts, record.gone.is_none(), record.processes.len()), (1, true, 1));
    assert_eq!((machine.state.of_pid(20, 0), machine.state.of_cgroup(4, 98)), (Some(first), Some(first)));
    assert_eq!(record.container().cgroups.len(), 1, "the cgroup that is gone is not read");
    assert_eq!(
        machine.group(second),
        machine.group(first),
        "what the second counted until then is the first's"
    );
    assert_eq!(machine.start(21, &docker('b')), first);
    machine.provide("containers", of_pod('b'));
    machine.after(1);
    assert_eq!(machine.state.living(), [first]);
}

#[test]
fn a_sandbox_in_the_pod_s_own_cgroup_is_known_by_its_command() {
    let mut machine = Machine::new().provider("containers", 0);
    let pod = place(0, "/kubepods/besteffort/pod88bcf96e-7b92-4ce5-a3c0-2a6d098a1c33", 9);
    let handle = machine.start(7, &pod);
    let seen = Seen { sandbox: Some(raw('s')), ..Seen::default() };
    machine.sees(handle, 7, &pod, seen.clone());
    assert!(machine.told(handle).contains(&EventKind::MetadataWanted), "its id is known now");
    let mut metadata = named('s', "");
    for (label, value) in [("pod.namespace", "default"), ("pod.name", "web-0")] {
        metadata.container.labels.insert(format!("io.kubernetes.{label}"), value.to_owned());
    }
    machine.provide("containers", metadata);
    assert_eq!(machine.id(handle), "/k8s/default/web-0/sandbox");
    // Each look says it again, and another process of the pod's cgroup is of it too.
    machine.sees(handle, 7, &pod, seen);
    assert_eq!(
        (machine.start(8, &pod), machine.id(handle)),
        (handle, "/k8s/default/web-0/sandbox".to_owned())
    );
}

#[test]
fn one_that_was_gone_before_somebody_looked_is_counted_once() {
    let mut machine = Machine::new();
    // Each hierarchy tells of it.
    (0..3).for_each(|_| machine.state.directory_passed(&docker('a'), machine.now));
    assert_eq!(machine.state.counts.folded, 1);
    assert_eq!(machine.state.living(), [0_u64; 0]);
    // Of one that is known, one directory says nothing.
    let known = machine.start(10, &docker('b'));
    machine.state.directory_passed(&docker('b'), machine.now);
    assert_eq!((machine.state.counts.folded, machine.state.living()), (1, vec![known]));
}
