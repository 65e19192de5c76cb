//! What is counted, with limits and owners that change.

use super::*;
use crate::counts::Whose::Cgroup;
use crate::record::tests::some;

fn at(port: u16) -> Destination {
    Destination::At(([10, 0, 0, 1], port).into())
}

fn few(each: u32) -> Limits {
    Limits { each, all: 100 }
}

/// Asks whose each group is, with a patience of 100.
fn attribute(counts: &mut Counts, now: u64, whose: impl Fn(&Group) -> Option<Whose>) -> Moved {
    counts.attribute(now, 100, few(9), whose, |_| false)
}

/// Connects to a destination, so many.
fn connects(counts: &mut Counts, cgroup2: u64, port: u16, times: u64, now: u64) -> u32 {
    let group = counts.group(&Owner { cgroup2, ..some().owner }, now).expect("room");
    let index = counts.hold(group, at(port), few(9), now).expect("a series");
    counts.series(index).expect("there").numbers.connects += times;
    counts.release(index, now);
    index
}

/// What is counted of a container.
fn of(counts: &Counts, container: ContainerRef) -> Vec<(Destination, u64)> {
    let own =
        |series: &&Series| counts.account(series.account).is_some_and(|own| own.container == Some(container));
    let mut all: Vec<_> =
        counts.all().filter(own).map(|series| (series.to, series.numbers.connects)).collect();
    all.sort();
    all
}

fn container(handle: u64) -> ContainerRef {
    ContainerRef::from_handle(handle).expect("not 0")
}

#[test]
fn too_many_destinations_are_one() {
    let mut counts = Counts::default();
    let group = counts.group(&some().owner, 0).expect("room");
    let first = counts.hold(group, at(1), few(2), 0).expect("a series");
    assert_eq!(counts.hold(group, at(1), few(2), 0), Some(first));
    counts.hold(group, at(2), few(2), 0).expect("a series");
    let other = counts.hold(group, at(3), few(2), 0).expect("a series");
    assert_eq!(counts.hold(group, at(4), few(2), 0), Some(other));
    assert_eq!(counts.series(other).map(|series| series.to), Some(Destination::Other));
    assert_eq!((counts.all().count(), counts.folded), (3, 2));
}

#[test]
fn what_is_idle_goes_and_what_is_held_stays() {
    let mut counts = Counts::default();
    let group = counts.group(&some().owner, 0).expect("room");
    let held = counts.hold(group, at(1), few(9), 0).expect("a series");
    let idle = counts.hold(group, at(2), few(9), 0).expect("a series");
    counts.release(idle, 10);
    counts.forget_idle(20, 10);
    assert_eq!(counts.all().count(), 2, "not yet");
    counts.forget_idle(21, 10);
    assert_eq!(counts.all().map(|series| series.to).collect::<Vec<_>>(), [at(1)]);
    assert_eq!(counts.hold(group, at(3), few(9), 30), Some(idle), "its place is used again");
    counts.release(held, 30);
    counts.forget_idle(41, 10);
    assert_eq!(counts.all().map(|series| series.to).collect::<Vec<_>>(), [at(3)]);
}

#[test]
fn a_group_waits_for_its_container_a_while() {
    let mut counts = Counts::default();
    let group = counts.group(&some().owner, 0).expect("room");
    let index = counts.hold(group, at(1), few(9), 0).expect("a series");
    counts.series(index).expect("there").numbers.connects = 5;
    counts.release(index, 0);
    attribute(&mut counts, 50, |_| None);
    assert_eq!(counts.all().count(), 1, "it may come still");
    attribute(&mut counts, 100, |_| Some(Cgroup(container(7))));
    assert_eq!(counts.of(group).and_then(|group| group.container), Some(container(7)));
    attribute(&mut counts, 200, |_| None);
    assert_eq!((counts.all().count(), counts.unattributed), (0, 0), "it was somebody's");
    assert_eq!(counts.of(group), None);
}

#[test]
fn nobody_s_are_not_counted_until_somebody_s() {
    let mut counts = Counts::default();
    let group = counts.group(&some().owner, 0).expect("room");
    attribute(&mut counts, 101, |_| None);
    assert_eq!(counts.hold(group, at(1), few(9), 101), None);
    attribute(&mut counts, 150, |_| Some(Cgroup(container(7))));
    assert!(counts.hold(group, at(1), few(9), 150).is_some());
    // One in which nothing happens any more is forgotten.
    let other = counts.group(&Owner { cgroup2: 9, ..some().owner }, 0).expect("room");
    attribute(&mut counts, 1001, |group| group.container.map(Cgroup));
    assert_eq!(counts.of(other), None);
}

#[test]
fn connects_of_nobody_are_counted_as_such() {
    let mut counts = Counts::default();
    connects(&mut counts, 1, 1, 5, 0);
    attribute(&mut counts, 101, |_| None);
    assert_eq!((counts.all().count(), counts.unattributed), (0, 5));
}

#[test]
fn a_container_that_restarts_in_another_cgroup_counts_on() {
    let mut counts = Counts::default();
    let own = container(7);
    connects(&mut counts, 1, 80, 5, 0);
    connects(&mut counts, 1, 81, 1, 0);
    attribute(&mut counts, 10, |_| Some(Cgroup(own)));
    // Its first cgroup is gone, and it is known still.
    counts.attribute(20, 100, few(9), |_| None, |known| known == own);
    assert_eq!(of(&counts, own), [(at(80), 5), (at(81), 1)]);
    let second = connects(&mut counts, 2, 80, 3, 30);
    let group = counts.group(&Owner { cgroup2: 2, ..some().owner }, 30).expect("known");
    assert_eq!(counts.hold(group, at(80), few(9), 30), Some(second));
    let moved = attribute(&mut counts, 40, |_| Some(Cgroup(own)));
    assert_eq!(of(&counts, own), [(at(80), 8), (at(81), 1)]);
    // Who holds the one that was moved holds the other.
    let into = moved[&second];
    assert_eq!(counts.series(into).map(|series| (series.held, series.numbers.connects)), Some((1, 8)));
    // What the first cgroup did long ago goes only with what the second does.
    counts.forget_idle(95, 60);
    assert_eq!(of(&counts, own), [(at(80), 8)], "what is held stays whole");
    counts.release(into, 95);
    attribute(&mut counts, 100, |_| None);
    assert_eq!((counts.all().count(), counts.unattributed, counts.accounts.len()), (0, 0, 0));
}

#[test]
fn the_cap_is_one_of_all_cgroups_of_a_container() {
    let mut counts = Counts::default();
    for cgroup in 1..=3_u16 {
        for port in 0..9 {
            connects(&mut counts, cgroup.into(), cgroup * 100 + port, 1, 0);
        }
    }
    attribute(&mut counts, 10, |_| Some(Cgroup(container(7))));
    let all = of(&counts, container(7));
    assert_eq!((all.len(), all.last().copied()), (10, Some((Destination::Other, 18))));
    assert_eq!(counts.folded, 18);
    connects(&mut counts, 4, 1, 1, 20);
    attribute(&mut counts, 30, |_| Some(Cgroup(container(7))));
    assert_eq!(of(&counts, container(7)).last().copied(), Some((Destination::Other, 19)));
}

#[test]
fn what_one_container_counted_is_not_another_s() {
    let mut counts = Counts::default();
    connects(&mut counts, 1, 80, 5, 0);
    attribute(&mut counts, 10, |_| Some(Whose::Process(container(6))));
    assert_eq!(of(&counts, container(6)), [(at(80), 5)]);
    // The cgroup knows better than a process.
    attribute(&mut counts, 20, |_| Some(Cgroup(container(7))));
    assert_eq!((of(&counts, container(6)).len(), of(&counts, container(7))), (0, vec![(at(80), 5)]));
    attribute(&mut counts, 30, |_| Some(Cgroup(container(8))));
    connects(&mut counts, 1, 80, 1, 40);
    assert_eq!(of(&counts, container(8)), [(at(80), 1)]);
    // Nor is it in the next generation, which knows an account by a cgroup.
    let handed = counts.all().filter(|series| counts.found_by(series.account).is_some());
    assert_eq!(handed.map(|series| series.numbers.connects).collect::<Vec<_>>(), [1]);
}

#[test]
fn cgroups_are_bounded() {
    let mut counts = Counts::default();
    let made = |counts: &mut Counts, cgroup2| counts.group(&Owner { cgroup2, ..some().owner }, 0);
    let some = (0..MAX_GROUPS as u64 + 9).filter(|cgroup| made(&mut counts, *cgroup).is_some()).count();
    assert_eq!(some, MAX_GROUPS);
}
