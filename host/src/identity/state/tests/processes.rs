//! Processes, and what the order of what is told of them says.

use super::*;

const TICK: u64 = 10_000_000;

#[test]
fn one_that_was_read_before_its_fork_is_told_is_the_same() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    let at = machine.now;
    machine.told(handle);
    assert_eq!(
        machine.state.process_was(11, at / TICK, &docker('b'), at, at),
        machine.state.of_pid(11, 0).unwrap()
    );
    let other = machine.state.of_pid(11, 0).expect("known");
    machine.state.process_forked(11, 10, at / TICK, at);
    assert_eq!(machine.state.of_pid(11, 0), Some(other), "it was read where it is");
    assert_eq!(machine.told(handle), []);
    assert_eq!(machine.state.record(other).expect("there").gone, None);
}

#[test]
fn one_that_ended_while_it_was_read_stays_ended() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    let at = machine.now;
    // What somebody read is written after the watcher heard of the whole life.
    machine.state.process_forked(11, 10, at / TICK, at);
    machine.exit(11);
    assert_eq!(machine.state.process_was(11, at / TICK, &docker('a'), at, at), handle);
    assert_eq!(machine.state.processes_of(handle).len(), 1);
    machine.exit(10);
    machine.remove(&docker('a'));
    assert!(machine.state.living().is_empty());
}

#[test]
fn one_whose_first_thread_alone_ended_is_found_again() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    let start = machine.now / TICK;
    machine.exit(10);
    machine.after(1);
    // Whoever asks for it reads that it is there, long after its end was told.
    let read = machine.state.process_was(10, start, &docker('a'), machine.now, machine.now);
    assert_eq!((read, machine.state.of_pid(10, start)), (handle, Some(handle)));
    assert_eq!(machine.state.take_rechecks(), [(10, start)], "nobody tells its end again");
    machine.state.process_ended(10, start + 100, None, machine.now);
    assert!(machine.state.is_living(10, start), "that was another one");
    machine.state.process_ended(10, start, None, machine.now);
    assert!(!machine.state.is_living(10, start));
    assert_eq!(machine.state.of_pid(10, start), Some(handle), "for a while");
}

#[test]
fn one_that_began_since_the_listing_is_not_taken_for_gone() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    machine.after(5);
    let began = machine.now;
    // Another thread reads of one that was forked behind the listing.
    machine.state.process_was(11, began / TICK, &docker('a'), began, began + 1);
    machine.state.processes_are(&HashSet::new(), began + 2, began + 3);
    let left = machine.state.processes_of(handle);
    assert_eq!(left.iter().map(|process| process.pid).collect::<Vec<_>>(), [11]);
    machine.state.processes_are(&HashSet::new(), began + SECOND, began + SECOND);
    assert_eq!(machine.state.processes_of(handle), [], "it was not among the next ones");
}

#[test]
fn an_exit_that_is_told_late_is_not_that_of_the_next_of_its_pid() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    machine.state.process_exited(10, machine.now - SECOND);
    assert_eq!(machine.state.of_pid(10, 0), Some(handle));
    assert_eq!(machine.state.processes().len(), 1);
}

#[test]
fn a_program_that_a_thread_executed_goes_on() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    let start = machine.now / TICK;
    machine.after(100);
    // The first thread's end was told in one batch, and what became of it in the next.
    machine.exit(10);
    machine.state.process_executed(10, start, &docker('a'), machine.now);
    let record = machine.state.record(handle).expect("there");
    assert_eq!((record.restarts, record.container().init.map(|init| init.start)), (0, Some(start)));
    assert_eq!(machine.presence(handle), Some(Presence::Shown));
    machine.state.process_executed(11, 0, &docker('b'), machine.now);
    assert_eq!(machine.state.of_pid(11, 0), None, "a process without a start is none");
}

#[test]
fn the_oldest_goes_on_where_the_first_one_ends() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    machine.after(1);
    machine.start(12, &docker('a'));
    machine.after(1);
    machine.start(11, &docker('a'));
    machine.state.take_looks();
    machine.exit(10);
    let record = machine.state.record(handle).expect("there");
    assert_eq!((record.init.map(|init| init.pid), record.restarts), (Some(12), 0));
    assert_eq!(machine.state.take_looks(), [Look { handle, pid: 12 }]);
}

#[test]
fn what_users_run_is_as_if_gone_when_it_does_not_count_any_more() {
    let mut machine = Machine::new();
    let path = "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service";
    let found = match crate::identity::path::classify(path, UserSlices::Shown) {
        Place::Container(found) => found,
        Place::Nobody => unreachable!("it is shown"),
    };
    let placement = Placement { found: Some(Arc::new(found)), ..place(0, path, 9) };
    let user = machine.start(10, &placement);
    let other = machine.start(11, &service("nginx"));
    machine.after(40);
    machine.state.leave_out_users(machine.now);
    assert_eq!(machine.state.living(), [other]);
    assert_eq!((machine.state.of_pid(10, 0), machine.presence(user)), (Some(0), Some(Presence::Lingering)));
    assert_eq!(machine.state.processes().len(), 2, "it lives on, as nobody's");
}

/// How often it began anew, after one process and another.
fn restarts(machine: &Machine, handle: u64) -> u64 {
    machine.state.record(handle).expect("there").restarts
}

#[test]
fn a_restart_is_counted_in_whatever_order_the_end_and_the_birth_are_heard() {
    for order in [[0, 1, 2], [1, 0, 2], [1, 2, 0]] {
        let mut machine = Machine::new();
        let handle = machine.start(10, &docker('a'));
        let (end, birth) = (machine.now + SECOND + 1, machine.now + SECOND + 5);
        for what in order {
            match what {
                0 => machine.state.process_exited(10, end),
                1 => machine.state.process_forked(11, 1, birth / TICK, birth),
                _ => machine.state.process_executed(11, 0, &docker('a'), birth + 2),
            }
        }
        assert_eq!(restarts(&machine, handle), 1, "{order:?}");
        let init = machine.state.record(handle).expect("there").init;
        assert_eq!(init.map(|init| init.pid), Some(11), "{order:?}");
    }
}

#[test]
fn a_restart_is_counted_where_the_second_one_was_read_before_its_birth_was_told() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    // Both in one tick, to which the read birth is cut.
    let (end, birth) = (machine.now + SECOND + 1, machine.now + SECOND + 5);
    machine.state.process_exited(10, end);
    machine.state.process_is(11, birth / TICK, &docker('a'), birth + 1);
    assert_eq!(restarts(&machine, handle), 0, "it may have been there");
    (0..2).for_each(|_| machine.state.process_forked(11, 1, birth / TICK, birth));
    assert_eq!(restarts(&machine, handle), 1, "once");
}

#[test]
fn ends_of_several_that_are_heard_late_are_one_restart() {
    for order in [[10, 11], [11, 10]] {
        let mut machine = Machine::new();
        let handle = machine.start(10, &docker('a'));
        machine.start(11, &docker('a'));
        let birth = machine.now + SECOND;
        machine.state.process_forked(12, 1, birth / TICK, birth);
        machine.state.process_executed(12, 0, &docker('a'), birth);
        for pid in order {
            machine.state.process_exited(pid, birth - u64::from(pid));
        }
        assert_eq!(restarts(&machine, handle), 1, "{order:?}");
        // Who was born of the others while one of them lived is none.
        machine.state.process_forked(13, 12, birth / TICK, birth + 1);
        machine.state.process_exited(12, birth + 2);
        assert_eq!(restarts(&machine, handle), 1, "{order:?}");
    }
}

#[test]
fn one_whose_threads_end_after_the_first_is_over_when_that_is() {
    let mut machine = Machine::new();
    let handle = machine.start(10, &docker('a'));
    let start = machine.now / TICK;
    let (end, birth) = (machine.now + SECOND, machine.now + SECOND + 5);
    machine.state.process_forked(11, 1, birth / TICK, birth);
    machine.state.process_executed(11, 0, &docker('a'), birth);
    machine.state.process_ended(10, start, Some(end), birth + SECOND);
    assert_eq!(restarts(&machine, handle), 1);
    // Of one that outlived its first thread for long nobody knows when it ended.
    machine.state.process_forked(12, 1, birth / TICK, birth + 1);
    machine.state.process_executed(12, 0, &docker('a'), birth + 1);
    machine.state.process_ended(11, birth / TICK, None, birth + SECOND);
    assert_eq!(restarts(&machine, handle), 1);
}

#[test]
fn where_it_is_is_kept_once_with_whoever_worked_it_out() {
    let mut machine = Machine::new();
    machine.state.directory_is(&docker('a'), machine.now);
    let placement = docker('a');
    let handle = machine.start(10, &placement);
    machine.state.directory_is(&docker('a'), machine.now);
    let kept = &machine.state.record(handle).expect("there").found;
    assert!(Arc::ptr_eq(kept, placement.found.as_ref().expect("a container")));
}
