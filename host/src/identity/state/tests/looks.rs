//! What somebody sees at containers' processes.

use super::*;

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
