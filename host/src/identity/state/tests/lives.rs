//! Containers that die young, again and again.

use super::merge::of_pod;
use super::*;

#[test]
fn a_pod_s_container_that_crashes_grows_old_under_its_name() {
    let mut machine = Machine::new().provider("containers", 0);
    for (pid, letter) in (10..).zip('a'..='d') {
        machine.start(pid, &docker(letter));
        machine.provide("containers", of_pod(letter));
        machine.after(9);
        machine.exit(pid);
        machine.remove(&docker(letter));
        machine.after(3);
    }
    assert_eq!(machine.state.counts.folded, 2, "the third one ended 33 s after the first began");
    let last = machine.start(20, &docker('e'));
    machine.provide("containers", of_pod('e'));
    machine.after(1);
    let shown = machine.state.living();
    assert_eq!(shown.len(), 1);
    assert_eq!(machine.presence(shown[0]), Some(Presence::Shown));
    assert!(machine.state.record(shown[0]).expect("there").restarts >= 1);
    assert_ne!(shown[0], last, "the third one goes on");
}

#[test]
fn a_name_that_comes_after_the_end_is_for_the_next_life() {
    let mut machine = Machine::new().provider("containers", 0);
    let first = machine.live(10, &docker('a'));
    machine.provide("containers", of_pod('a'));
    machine.after(25);
    let second = machine.start(11, &docker('b'));
    machine.provide("containers", of_pod('b'));
    machine.after(6);
    assert_ne!(first, second);
    assert_eq!(
        (machine.presence(second), machine.id(second)),
        (Some(Presence::Shown), "/k8s/shop/web-0/nginx".to_owned())
    );
}

#[test]
fn what_ran_yesterday_is_no_earlier_life() {
    let mut machine = Machine::new();
    let unit = service("backup");
    machine.live(10, &unit);
    machine.after(24 * 3600);
    let again = machine.start(11, &unit);
    machine.after(5);
    assert_eq!(
        (machine.presence(again), machine.state.record(again).expect("there").restarts),
        (Some(Presence::Held), 0)
    );
    machine.exit(11);
    machine.remove(&unit);
    assert_eq!(machine.state.counts.folded, 2);
}

#[test]
fn one_that_was_there_before_waits_for_its_name_all_the_same() {
    let mut machine = Machine::new().provider("containers", 0);
    machine.live(10, &docker('a'));
    machine.after(40);
    let again = machine.start(11, &docker('a'));
    machine.after(2);
    assert_eq!(machine.presence(again), Some(Presence::Held), "old, and without its name");
    machine.provide("containers", named('a', "/web"));
    assert_eq!(
        (machine.presence(again), machine.id(again)),
        (Some(Presence::Shown), "/docker/web".to_owned())
    );
}

#[test]
fn nothing_is_left_of_one_that_came_and_went_again_and_again() {
    let mut machine = Machine::new().provider("containers", 0);
    for number in 0..200_u32 {
        let letter = char::from_u32(0x4e00 + number).expect("a letter");
        machine.start(number + 1, &docker(letter));
        machine.provide("containers", of_pod(letter));
        machine.after(40);
        machine.exit(number + 1);
        machine.remove(&docker(letter));
        machine.after(1);
    }
    assert!(machine.state.keys.len() <= 2 * MAX_NAMES, "{}", machine.state.keys.len());
    assert!(machine.state.raw_ids.len() <= 2 * MAX_NAMES);
    assert!(machine.state.cgroups.len() <= MAX_CGROUPS + 8);
    assert!(machine.state.records.len() < 8);
    (0..5).for_each(|_| machine.after(300));
    let state = &machine.state;
    assert_eq!(
        (state.records.len(), state.keys.len(), state.raw_ids.len(), state.cgroups.len()),
        (0, 0, 0, 0)
    );
    assert_eq!((state.snapshot().groups.len(), state.unsettled.len(), state.lives.len()), (0, 0, 0));
}
