//! What plugins saw in the kernel.

use super::*;
use gantry_plugin_api::identity::Observation;

impl Machine {
    /// A plugin saw a process in the container's cgroup.
    fn observes(&mut self, pid: u32, letter: char) -> bool {
        let process = Process { pid, start: self.now / 10_000_000 };
        let seen = Observation {
            kind: EventKind::ProcessStarted,
            process,
            hierarchy: 4,
            cgroup: u64::from(u32::from(letter)),
            network_namespace: 77,
        };
        self.state.observed(&seen, self.now)
    }
}

#[test]
fn a_process_that_nobody_told_of_is_known() {
    let mut machine = Machine::new();
    assert!(!machine.observes(10, 'a'), "no container has this cgroup");
    let handle = machine.start(1, &docker('a'));
    assert!(machine.observes(10, 'a'));
    assert_eq!(machine.state.of_pid(10, 0), Some(handle));
    assert_eq!(machine.state.of_namespace(77), Some(handle));
    assert_eq!(machine.state.take_rechecks().len(), 1, "its end may have been told before");
    assert!(machine.observes(10, 'a'));
    assert_eq!(machine.state.take_rechecks(), []);
}

#[test]
fn a_process_is_where_the_kernel_saw_it_and_not_where_its_parent_was() {
    let mut machine = Machine::new();
    let (shim, handle) = (machine.start(1, &service("shim")), machine.start(2, &docker('a')));
    let tick = machine.now / 10_000_000;
    machine.state.process_forked(10, 1, tick, machine.now);
    machine.state.process_forked(11, 1, tick, machine.now);
    assert_eq!(machine.state.of_pid(10, 0), Some(shim));
    machine.observes(10, 'a');
    assert_eq!(machine.state.of_pid(10, 0), Some(handle));
    // And one that is gone: it lived for some milliseconds.
    machine.exit(11);
    machine.observes(11, 'a');
    assert_eq!(machine.state.of_pid(11, tick), Some(handle));
    assert_eq!(machine.state.take_rechecks(), []);
}

#[test]
fn a_container_that_is_gone_stays_so() {
    let mut machine = Machine::new();
    let handle = machine.live(1, &docker('a'));
    assert!(machine.observes(10, 'a'));
    assert_eq!(machine.state.of_pid(10, 0), None);
    assert!(machine.state.record(handle).expect("remembered").gone.is_some());
    // Another process has the pid by now.
    let other = machine.start(2, &docker('b'));
    machine.after(5);
    let later = machine.start(10, &docker('b'));
    assert_eq!((later, machine.state.of_pid(10, 0)), (other, Some(other)));
    machine.now -= 3 * SECOND;
    machine.observes(10, 'b');
    assert_eq!(machine.state.of_pid(10, 0), Some(other));
}

#[test]
fn what_was_read_of_a_process_goes_before_what_was_seen_before() {
    let mut machine = Machine::new();
    let (one, other) = (machine.start(1, &docker('a')), machine.start(2, &docker('b')));
    let tick = machine.now / 10_000_000;
    // It connected, was moved, and executed; the first of these is told last.
    for pid in [10, 11] {
        machine.state.process_forked(pid, 1, tick, machine.now);
        machine.state.process_executed(pid, 0, &docker('b'), machine.now);
    }
    assert!(machine.observes(10, 'a'));
    assert_eq!(machine.state.of_pid(10, 0), Some(other));
    machine.exit(11);
    assert!(machine.observes(11, 'a'));
    assert_eq!(machine.state.of_pid(11, 0), Some(other), "also of one that is gone");
    // Where it was when it executed its last program nobody could read.
    machine.state.process_executed(12, tick, &docker('b'), machine.now);
    machine.state.process_unseen(12);
    machine.exit(12);
    assert!(machine.observes(12, 'a'));
    assert_eq!(machine.state.of_pid(12, 0), Some(one));
}
