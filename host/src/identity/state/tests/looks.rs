//! What somebody sees at containers' processes.

use super::*;
use std::time::Duration;

fn opted_out(names: &[&str]) -> Seen {
    let opted_out = names.iter().map(|&name| name.to_owned()).collect();
    Seen { environment: Some(Environment { opted_out, ..Environment::default() }), ..Seen::default() }
}

impl Machine {
    fn opted_out(&self, handle: u64) -> Vec<String> {
        self.state.record(handle).expect("there").container().opted_out
    }
}

#[test]
fn what_is_known_stays_where_a_process_is_gone_or_another_s() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    machine.sees(handle, 10, &docker('a'), opted_out(&["logs"]));
    machine.sees(handle, 11, &Placement::default(), Seen::default());
    machine.sees(handle, 11, &service("sshd"), opted_out(&[]));
    machine.sees(handle, 11, &docker('a'), Seen::default());
    assert_eq!(machine.opted_out(handle), ["logs"]);
}

#[test]
fn the_first_process_s_environment_counts_and_not_that_of_others() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    assert_eq!(machine.state.take_looks(), [Look { handle, pid: 10 }]);
    machine.sees(handle, 10, &docker('a'), opted_out(&["logs"]));
    let executed = |machine: &mut Machine, pid: u32| {
        machine.state.process_executed(pid, machine.now / 10_000_000, &docker('a'), machine.now);
        machine.state.take_looks()
    };
    assert_eq!(executed(&mut machine, 11), [], "a health check");
    assert_eq!(executed(&mut machine, 10), [Look { handle, pid: 10 }], "its program is another");
}

#[test]
fn another_process_is_read_where_one_cannot_be_and_not_for_ever() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    machine.start(11, &docker('a'));
    machine.start(12, &docker('a'));
    machine.state.take_looks();
    machine.sees(handle, 10, &docker('a'), Seen::default());
    assert_eq!(machine.state.take_looks(), [Look { handle, pid: 11 }]);
    machine.sees(handle, 11, &docker('a'), Seen::default());
    assert_eq!(
        (machine.state.take_looks(), machine.state.counts.unread),
        (vec![Look { handle, pid: 12 }], 0)
    );
    machine.sees(handle, 12, &docker('a'), Seen::default());
    assert_eq!((machine.state.take_looks(), machine.state.counts.unread), (vec![], 1));
}

#[test]
fn a_namespace_that_a_container_left_is_another_s() {
    let mut machine = Machine::new();
    let (one, two) = (machine.start(10, &docker('a')), machine.start(11, &docker('b')));
    machine.sees(one, 10, &docker('a'), in_namespace(5));
    machine.sees(one, 10, &docker('a'), in_namespace(6));
    // The kernel gives the number anew.
    machine.sees(two, 11, &docker('b'), in_namespace(5));
    assert_eq!((machine.state.of_namespace(5), machine.state.of_namespace(6)), (Some(two), Some(one)));
    for pid in [10, 11] {
        machine.exit(pid);
    }
    for letter in ['a', 'b'] {
        machine.remove(&docker(letter));
    }
    (0..4).for_each(|_| machine.after(300));
    assert!(machine.state.by_namespace.is_empty() && machine.state.records.is_empty());
}

/// A machine that shows containers at once.
fn at_once() -> Machine {
    let mut machine = Machine::new();
    machine.rules(&IdentityConfig { min_container_age: Duration::ZERO, ..IdentityConfig::default() });
    machine
}

#[test]
fn one_that_opts_out_is_not_shown_before_plugins_know_it() {
    let mut machine = at_once();
    let start = machine.now / 10_000_000;
    let (quiet, other) = (machine.start(10, &docker('a')), machine.start(11, &docker('b')));
    // The runtime's own step, whose environment says nothing.
    for (handle, pid, letter) in [(quiet, 10, 'a'), (other, 11, 'b')] {
        machine.sees(handle, pid, &docker(letter), opted_out(&[]));
        machine.after(0);
        assert_eq!(machine.presence(handle), Some(Presence::Held), "its program may say something else");
        machine.state.process_executed(pid, start, &docker(letter), machine.now);
        machine.after(0);
        assert_eq!(machine.presence(handle), Some(Presence::Held), "that was before");
    }
    let record = machine.state.record(quiet).expect("there");
    assert_eq!(machine.state.shown_as(record, machine.now), "not yet: may opt out");
    // It becomes known while somebody collects, who has figures of it already.
    machine.sees(quiet, 10, &docker('a'), opted_out(&["containers"]));
    machine.sees(other, 11, &docker('b'), opted_out(&[]));
    machine.after(0);
    assert_eq!(
        (machine.presence(quiet), machine.presence(other)),
        (Some(Presence::Held), Some(Presence::Shown))
    );
    machine.after(0);
    assert_eq!(machine.presence(quiet), Some(Presence::Shown), "to those that it does not name");
    assert!(machine.state.opting.is_empty());
}

#[test]
fn what_a_runtime_was_told_is_an_opt_out_as_well() {
    let mut machine = at_once().provider("containers", 0);
    let handle = machine.start(10, &docker('a'));
    machine.after(5);
    let mut told = named('a', "/web");
    told.container.environment.insert("GANTRY_DISABLE".to_owned(), "containers".to_owned());
    machine.provide("containers", told);
    machine.after(0);
    assert_eq!(
        (machine.id(handle).as_str(), machine.presence(handle)),
        ("/docker/web", Some(Presence::Held))
    );
    machine.after(0);
    assert_eq!(machine.presence(handle), Some(Presence::Shown));
}

#[test]
fn an_environment_is_not_waited_for_for_ever() {
    let mut machine = at_once();
    let old = machine.now / 10_000_000 - 300;
    let [long_there, silent, unreadable] = ['a', 'b', 'c'].map(docker);
    let there = machine.state.process_is(10, old, &long_there, machine.now);
    machine.sees(there, 10, &long_there, opted_out(&[]));
    let (waits, hidden) = (machine.start(11, &silent), machine.start(12, &unreadable));
    machine.sees(hidden, 12, &unreadable, Seen::default());
    machine.after(0);
    for (handle, presence) in [(there, Presence::Shown), (waits, Presence::Held), (hidden, Presence::Shown)] {
        assert_eq!(machine.presence(handle), Some(presence));
    }
    machine.after(2);
    assert_eq!(machine.presence(waits), Some(Presence::Shown), "it executes nothing");
}
