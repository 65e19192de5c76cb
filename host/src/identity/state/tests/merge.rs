//! Containers that turn out to be one that was there before.

use super::*;

/// Of the container `nginx` of a pod.
pub fn of_pod(letter: char) -> Metadata {
    let mut metadata = named(letter, "/k8s_nginx_web-0");
    for (label, value) in [("namespace", "shop"), ("name", "web-0")] {
        metadata.container.labels.insert(format!("io.kubernetes.pod.{label}"), value.to_owned());
    }
    metadata.container.labels.insert("io.kubernetes.container.name".to_owned(), "nginx".to_owned());
    metadata
}

const ID: &str = "/k8s/shop/web-0/nginx";

/// One that is shown, and whose first life is over.
fn lingers() -> (Machine, u64) {
    let mut machine = Machine::new().provider("containers", 0);
    let first = machine.start(10, &docker('a'));
    machine.provide("containers", of_pod('a'));
    machine.after(60);
    machine.exit(10);
    machine.remove(&docker('a'));
    machine.told(first);
    (machine, first)
}

#[test]
fn one_that_is_gone_brings_nothing_back() {
    let (mut machine, first) = lingers();
    let second = machine.live(20, &docker('b'));
    machine.told(second);
    machine.provide("containers", of_pod('b'));
    assert_eq!((machine.told(first), machine.state.living()), (vec![], vec![]));
    assert_eq!(machine.presence(first), Some(Presence::Lingering));
    assert_eq!(machine.group(second).as_deref(), Some("/docker/~short-lived"), "where it was counted");
    (0..5).for_each(|_| machine.after(300));
    let groups = machine.state.snapshot().groups.len();
    assert_eq!((machine.state.records.len(), groups), (0, 1), "the fold alone stays");
}

/// A container of a pod's, by its path.
fn pod(letter: char) -> Placement {
    let pod = "8d1a1f0e-5c1e-4f0a-9d5a-0a1b2c3d4e5f";
    place(4, &format!("/kubepods/besteffort/pod{pod}/{}", raw(letter)), u64::from(u32::from(letter)))
}

#[test]
fn a_pod_s_that_is_gone_before_its_name_is_folded_with_its_namespace() {
    let mut machine = Machine::new().provider("containers", 0);
    let first = machine.live(10, &pod('a'));
    assert_eq!((machine.presence(first), machine.group(first)), (Some(Presence::Held), None), "it waits");
    machine.provide("containers", of_pod('a'));
    assert_eq!(machine.group(first).as_deref(), Some("/k8s/shop/~short-lived"));
    let second = machine.live(11, &pod('b'));
    machine.state.advance(machine.now + SECOND - 1);
    assert_eq!(machine.group(second), None);
    machine.state.advance(machine.now + SECOND);
    assert_eq!(machine.group(second).as_deref(), Some("/kubernetes/~short-lived"), "not for ever");
    machine.provide("containers", of_pod('b'));
    assert_eq!(machine.group(second).as_deref(), Some("/kubernetes/~short-lived"), "where it was counted");
    // One that comes back while it waits goes on.
    let third = machine.live(12, &pod('c'));
    assert_eq!(machine.start(13, &pod('c')), third);
    assert_eq!(machine.state.late.len(), 0);
    let docker = machine.live(14, &docker('d'));
    assert_eq!(machine.group(docker).as_deref(), Some("/docker/~short-lived"), "of no pod");
    assert_eq!(machine.state.counts.folded, 3);
}

#[test]
fn so_many_wait_for_their_names_after_their_end_and_each_is_served_twice() {
    let mut machine = Machine::new().provider("containers", 0);
    let all: Vec<u64> =
        ('\u{4e00}'..).take(1100).zip(10..).map(|(letter, pid)| machine.live(pid, &pod(letter))).collect();
    assert_eq!((machine.state.late.len(), machine.state.counts.folded), (1024, 76));
    // Collected while it waits, and when it waits no more.
    (0..3).for_each(|_| machine.state.collected());
    machine.after(70);
    assert_eq!((machine.state.late.len(), machine.state.counts.folded), (0, 1100));
    machine.after(0);
    assert!(all.iter().take(1024).all(|handle| machine.group(*handle).is_some()), "it is served once more");
    machine.after(0);
    assert_eq!(machine.state.snapshot().containers.len(), 0);
}

#[test]
fn its_end_is_told_once() {
    let (mut machine, first) = lingers();
    let second = machine.start(20, &docker('b'));
    machine.provide("containers", of_pod('b'));
    let gone = machine.told(second).into_iter().filter(|kind| *kind == EventKind::ContainerGone).count();
    assert_eq!(gone, 1);
    machine.exit(20);
    machine.remove(&docker('b'));
    assert_eq!(machine.told(second), []);
    assert_eq!(machine.presence(first), Some(Presence::Lingering));
}

#[test]
fn one_that_was_shown_under_its_raw_id_leaves_that() {
    let (mut machine, first) = lingers();
    let second = machine.start(20, &docker('b'));
    machine.after(40);
    assert_eq!(
        (machine.presence(second), machine.id(second)),
        (Some(Presence::Shown), format!("/docker/{}", raw('b')))
    );
    machine.provide("containers", of_pod('b'));
    assert_eq!(
        (machine.group(first).as_deref(), machine.group(second).as_deref()),
        (Some(ID), Some(ID)),
        "its counts are the first one's"
    );
    machine.exit(20);
    machine.remove(&docker('b'));
    (0..5).for_each(|_| machine.after(300));
    assert_eq!((machine.state.records.len(), machine.state.snapshot().groups.len()), (0, 0));
}

#[test]
fn what_is_not_shown_yet_is_shown_with_the_one_that_goes_on() {
    let mut machine = Machine::new().provider("containers", 0);
    let first = machine.start(10, &docker('a'));
    machine.provide("containers", of_pod('a'));
    let second = machine.start(11, &docker('b'));
    machine.provide("containers", of_pod('b'));
    assert_eq!(machine.state.living(), [first]);
    assert_eq!(
        (machine.presence(first), machine.presence(second)),
        (Some(Presence::Held), Some(Presence::Held)),
        "and not under its own id"
    );
    machine.after(40);
    assert_eq!((machine.group(first).as_deref(), machine.group(second).as_deref()), (Some(ID), Some(ID)));
    machine.rules(&IdentityConfig { deny: vec!["nginx".to_owned()], ..IdentityConfig::default() });
    assert_eq!(machine.state.snapshot().groups.len(), 0, "a rule is about all of it");
    assert_eq!(machine.presence(second).unwrap_or(Presence::Held), Presence::Held);
}

#[test]
fn one_that_is_left_out_is_none_for_plugins() {
    let mut machine = Machine::new();
    let (hidden, other) = (machine.start(10, &docker('a')), machine.start(11, &docker('b')));
    machine.sees(hidden, 10, &docker('a'), in_namespace(5));
    machine.sees(other, 11, &docker('b'), in_namespace(5));
    machine.rules(&IdentityConfig { deny: vec![raw('a')], ..IdentityConfig::default() });
    machine.told(hidden);
    let start = machine.now / 10_000_000;
    assert_eq!(machine.state.process_was(12, start, &docker('a'), 0, machine.now), 0);
    machine.state.process_executed(12, start, &docker('a'), machine.now);
    machine.exit(12);
    assert_eq!(machine.told(hidden), []);
    assert_eq!(machine.state.of_namespace(5), Some(other), "the next one in it");
    assert!(machine.state.public(hidden).is_none() && machine.state.processes_of(hidden).is_empty());
}

#[test]
fn of_two_that_are_early_the_first_in_the_file_is_believed() {
    let mut machine = Machine::new().provider("second", 1).provider("first", 0);
    machine.provide("first", named('a', "/one"));
    assert_eq!(machine.provide("second", named('a', "/two")), 1, "lost, and counted");
    machine.provide("second", named('b', "/two"));
    let (one, two) = (machine.start(10, &docker('a')), machine.start(11, &docker('b')));
    assert_eq!((machine.id(one), machine.id(two)), ("/docker/one".to_owned(), "/docker/two".to_owned()));
    let wanted = |told: Vec<EventKind>| told.contains(&EventKind::MetadataWanted);
    assert!(!wanted(machine.told(one)));
    machine.cursor = 1;
    assert!(wanted(machine.told(two)), "the first one is asked for it");
    for letter in ('\u{4e00}'..).take(1024) {
        machine.provide("first", named(letter, "/never"));
    }
    let told = machine.state.provided("first", vec![named('z', "/one more")], machine.now);
    assert_eq!((told.forgotten, machine.state.pending.len()), (1, 1024));
}
