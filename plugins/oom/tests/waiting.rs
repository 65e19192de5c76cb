//! Victims by plain records: whose they are when that is known late, never, or of many.

mod support;

use gantry_oom::Oom;
use gantry_oom::config::Config;
use gantry_oom::record::{Limit, Mark, Memory};
use gantry_oom::state::State;
use gantry_plugin_testkit::{Check, Collected, Kit, NewContainer};
use std::time::Duration;
use support::{kills, scopes};

const ONE: &str = "/docker/one";

fn mark(pid: u32, cgroup: u64, kills: u64) -> Mark {
    Mark {
        pid,
        start: 1,
        thread: pid,
        exit_code: 9,
        comm: "hog".to_owned(),
        hierarchy: 0,
        cgroup,
        kills: Some(kills),
        groups: Some(0),
        in_group: false,
        limit: Some(Limit { of: cgroup, level: 2, bytes: 1 << 24, with_swap: false }),
        memory: Memory::default(),
    }
}

fn one() -> NewContainer {
    NewContainer::new(ONE).cgroup("/docker/one", 77)
}

/// Without a plugin around it, so that records of the test's own come in.
struct Site {
    kit: Kit,
    state: State,
}

impl Site {
    fn new() -> Self {
        let kit = Kit::of::<Oom>().allow(Check::Skipped, "");
        let mut state = State::new(&kit.host(), Config::default(), None);
        state.activate(&kit.host(), None);
        Self { kit, state }
    }

    fn mark(&mut self, mark: Mark) {
        self.state.mark(&self.kit.host(), mark);
    }

    fn collect(&mut self) -> Collected {
        let (kit, state) = (&self.kit, &mut self.state);
        kit.emitted(|sink| state.collect(&kit.host(), sink))
    }

    fn unattributed(&self, reason: &str) -> f64 {
        self.state.own().of_reason(reason)
    }
}

#[test]
fn who_is_of_no_container_is_counted_by_reason() {
    let mut site = Site::new();
    site.mark(mark(1, 1, 1));
    assert_eq!(site.unattributed("no_container"), 1.0, "in the root");
    site.mark(mark(2, 77, 1));
    site.mark(mark(3, 77, 2));
    site.kit.clock().advance(Duration::from_secs(29));
    site.collect();
    assert_eq!(site.unattributed("unknown_cgroup"), 0.0, "somebody may know it yet");
    site.kit.clock().advance(Duration::from_secs(2));
    site.collect();
    assert_eq!(site.unattributed("unknown_cgroup"), 2.0);
    for pid in 0..5000 {
        site.mark(mark(100 + pid, 78, 1 + u64::from(pid)));
    }
    assert_eq!(site.unattributed("waiting_full"), 5000.0 - 4096.0);
    let rows: Vec<_> = site.state.kills().map(|kill| kill.container).collect();
    assert_eq!((rows.len(), rows[0]), (256, 0));
}

#[test]
fn each_of_a_storm_counts_once() {
    let mut site = Site::new();
    site.kit.identity().declare(one());
    for number in 1..=1000_u32 {
        let mark = mark(number, 77, u64::from(number));
        site.mark(mark.clone());
        // Told twice, as by two generations; and marked again as it ends.
        site.mark(mark.clone());
        site.mark(Mark { pid: 100_000 + number, ..mark });
    }
    let collected = site.collect();
    assert_eq!(kills(&collected, ONE), Some(1000.0));
    assert_eq!(scopes(&collected, ONE), [1000.0, 0.0, 0.0, 0.0]);
}

/// The first of one cgroup waits, and so do those after it: their numbers rise.
#[test]
fn those_that_wait_count_in_their_order() {
    let mut site = Site::new();
    for number in 1..=3 {
        site.mark(mark(number, 77, u64::from(number)));
    }
    site.kit.identity().appear(one());
    site.mark(mark(4, 77, 4));
    let collected = site.collect();
    assert_eq!(scopes(&collected, ONE), [4.0, 0.0, 0.0, 0.0]);
    assert_eq!(site.kit.observed().all().len(), 4, "each process is told of, once");
}

/// No test has the machine itself run out of memory.
#[test]
fn a_node_without_memory_is_told_from_limits() {
    let mut site = Site::new();
    site.kit.identity().declare(one());
    site.mark(Mark { limit: None, ..mark(1, 77, 1) });
    site.mark(Mark { limit: Some(Limit { of: 5, level: 1, ..Limit::default() }), ..mark(2, 77, 2) });
    let collected = site.collect();
    assert_eq!(scopes(&collected, ONE), [0.0, 1.0, 1.0, 0.0]);
}
