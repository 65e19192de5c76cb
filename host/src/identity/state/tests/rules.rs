//! Rules that leave containers out.

use super::*;
use crate::identity::filter::SkipUnits;

fn lists(allow: &[&str], deny: &[&str]) -> IdentityConfig {
    let owned = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
    IdentityConfig { allow: owned(allow), deny: owned(deny), ..IdentityConfig::default() }
}

impl Machine {
    fn shown_as(&self, handle: u64) -> String {
        self.state.shown_as(self.state.record(handle).expect("there"), self.now)
    }
}

#[test]
fn the_lists_are_about_the_name_that_is_waited_for() {
    let mut machine = Machine::new().provider("containers", 0);
    machine.rules(&lists(&["^/docker/web"], &[]));
    let handles =
        [machine.start(10, &docker('a')), machine.start(11, &docker('b')), machine.start(12, &docker('c'))];
    let [web, db, nameless] = handles;
    for handle in handles {
        assert_eq!(machine.presence(handle), Some(Presence::Held));
    }
    assert!(machine.told(db).contains(&EventKind::MetadataWanted));
    machine.provide("containers", named('a', "/web-1"));
    machine.provide("containers", named('b', "/db"));
    assert_eq!(
        (machine.shown_as(web), machine.shown_as(db)),
        ("not yet: young".into(), "no: not allowed".into())
    );
    assert_eq!(machine.state.of_pid(11, 0), Some(0), "it is none for plugins");
    assert!(machine.told(db).contains(&EventKind::ContainerGone), "they knew it");
    machine.after(40);
    assert_eq!(machine.presence(web), Some(Presence::Shown));
    assert_eq!(machine.shown_as(nameless), "no: not allowed", "its name never came");
}

#[test]
fn other_rules_are_those_of_what_is_shown_too() {
    let mut machine = Machine::new();
    let (one, two) = (machine.start(10, &docker('a')), machine.start(11, &service("nginx")));
    machine.after(40);
    let id = machine.id(one);
    machine.told(one);
    machine.rules(&lists(&[], &["^/docker/"]));
    assert_eq!(machine.shown_as(one), "no: denied");
    assert_eq!(machine.presence(one), Some(Presence::Held), "what it counts is kept");
    assert_eq!(machine.told(one), [EventKind::ContainerGone]);
    assert_eq!(machine.shown_as(two), "yes");
    machine
        .rules(&IdentityConfig { skip_units: SkipUnits::Named(vec!["nginx".to_owned()]), ..lists(&[], &[]) });
    assert_eq!(machine.told(one), [EventKind::ContainerAppeared]);
    assert_eq!(machine.shown_as(two), "no: a unit that is skipped");
    machine.after(1);
    assert_eq!((machine.presence(one), machine.id(one)), (Some(Presence::Shown), id));
    machine.rules(&lists(&[], &[]));
    machine.after(1);
    assert_eq!(machine.presence(two), Some(Presence::Shown));
}

#[test]
fn one_of_two_of_one_name_leaves_the_other_where_it_was() {
    let mut machine = Machine::new().provider("containers", 0);
    let (one, two) = (machine.start(10, &docker('a')), machine.start(11, &docker('b')));
    machine.provide("containers", named('a', "/web"));
    machine.provide("containers", named('b', "/web"));
    machine.after(40);
    assert_eq!(machine.group(one), machine.group(two));
    assert!(machine.group(one).is_some());
    for _ in 0..2 {
        machine.rules(&lists(&[], &["web"]));
        assert_eq!((machine.group(one), machine.state.snapshot().groups.len()), (None, 0));
        machine.rules(&lists(&[], &[]));
        machine.after(1);
        assert!(machine.group(one).is_some() && machine.group(one) == machine.group(two));
    }
}

#[test]
fn one_that_is_left_out_while_it_goes_is_told_of_once() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    machine.after(40);
    machine.told(handle);
    machine.exit(10);
    machine.remove(&docker('a'));
    machine.rules(&lists(&[], &["docker"]));
    let gone = machine.told(handle).into_iter().filter(|kind| *kind == EventKind::ContainerGone);
    assert_eq!(gone.count(), 1);
    machine.rules(&lists(&[], &[]));
    assert_eq!(machine.told(handle), [], "it is gone");
    machine.after(1);
    assert_eq!(machine.presence(handle), Some(Presence::Lingering), "and lingers again");
}
