//! Each order in which scans and ends may come.

use super::*;
use crate::counts::Numbers;
use crate::destination::tests::rules;
use crate::record::tests::some;

struct Rig {
    connections: Connections,
    counts: Counts,
    rules: Rules,
}

impl Rig {
    fn new() -> Self {
        Self { connections: Connections::default(), counts: Counts::default(), rules: rules() }
    }
    fn with<T>(&mut self, call: impl FnOnce(&mut Connections, &mut Context<'_>) -> T) -> T {
        let limits = Limits { each: 100, all: 1000 };
        let mut context = Context { rules: &self.rules, limits, counts: &mut self.counts, really: None };
        call(&mut self.connections, &mut context)
    }
    fn scan(&mut self, records: &[Record]) {
        self.connections.begin_scan(&mut self.counts);
        self.with(|connections, context| records.iter().for_each(|record| connections.live(record, context)));
        self.connections.end_scan(99, &mut self.counts);
    }
    fn closed(&mut self, record: &Record) {
        self.with(|connections, context| connections.closed(record, context));
    }
    fn total(&self) -> (Numbers, u32) {
        let mut all = Numbers::default();
        self.counts.all().for_each(|series| all.add(&series.numbers));
        (all, self.counts.all().map(|series| series.active).sum())
    }
}

fn live(sent: u64) -> Record {
    Record { kind: Kind::Live, sent, ..some() }
}

/// What the generation before knew of it.
fn known(counted: Counted) -> Known {
    Known { counted, at: 4_000_000, ..Known::of(&some()) }
}

/// One connection, with all its bytes.
fn one() -> Numbers {
    Numbers {
        connects: 1,
        connect_time: 2_000_000,
        sent: 1000,
        received: 2000,
        retransmits: 3,
        ..Numbers::default()
    }
}

#[test]
fn a_short_one_is_one_record() {
    let mut rig = Rig::new();
    rig.closed(&some());
    assert_eq!(rig.total(), (one(), 0));
    assert!(rig.connections.is_empty());
    rig.scan(&[]);
    assert_eq!(rig.total(), (one(), 0));
    assert_eq!(rig.connections.corrected, 0);
}

#[test]
fn a_long_one_is_counted_as_it_goes_on() {
    let mut rig = Rig::new();
    rig.scan(&[Record { flags: 0, established_at: 0, received: 0, retransmits: 0, ..live(0) }]);
    assert_eq!(rig.total(), (Numbers::default(), 0), "it is not there yet");
    rig.scan(&[live(400)]);
    assert_eq!(rig.total(), (Numbers { sent: 400, ..one() }, 1));
    rig.scan(&[live(400)]);
    assert_eq!(rig.total(), (Numbers { sent: 400, ..one() }, 1));
    rig.closed(&some());
    assert_eq!(rig.total().0, one());
    rig.scan(&[]);
    assert_eq!(rig.total(), (one(), 0));
    assert_eq!(rig.connections.corrected, 0);
}

#[test]
fn an_end_that_is_not_told_is_found_by_scans() {
    let mut rig = Rig::new();
    rig.scan(&[live(400)]);
    rig.scan(&[]);
    assert_eq!(rig.total(), (Numbers { sent: 400, ..one() }, 0));
    assert_eq!((rig.connections.corrected, rig.connections.len()), (0, 1), "it may come still");
    rig.scan(&[]);
    assert_eq!((rig.connections.corrected, rig.connections.len()), (1, 0));
}

#[test]
fn one_that_scans_missed_goes_on_when_it_is_found_again() {
    let mut rig = Rig::new();
    rig.scan(&[live(400)]);
    for _ in 0..3 {
        rig.scan(&[]);
    }
    assert_eq!((rig.connections.corrected, rig.connections.len()), (1, 0));
    rig.scan(&[live(700)]);
    assert_eq!(rig.total(), (Numbers { sent: 700, ..one() }, 1));
    rig.closed(&some());
    assert_eq!(rig.total().0, one());
    // Its end may come instead.
    let mut rig = Rig::new();
    rig.scan(&[live(400)]);
    for _ in 0..3 {
        rig.scan(&[]);
    }
    rig.closed(&some());
    assert_eq!(rig.total().0, one());
    // As one that the generation before counted.
    let counted = Counted { connect: true, sent: 400, received: 2000, retransmits: 3 };
    let mut rig = Rig::new();
    rig.connections.hand([(Ends::from(&some()), known(counted))]);
    for _ in 0..3 {
        rig.scan(&[]);
    }
    rig.scan(&[live(1000)]);
    assert_eq!(rig.total(), (Numbers { sent: 600, ..Numbers::default() }, 1));
}

#[test]
fn what_a_scan_passes_over_is_found_when_it_goes_through_all_once_more() {
    let other = Record { sock: 8, ..live(300) };
    let mut rig = Rig::new();
    rig.scan(&[live(400), other]);
    rig.connections.begin_scan(&mut rig.counts);
    let mut not_found = Vec::new();
    for _ in 0..2 {
        rig.with(|connections, context| connections.live(&live(400), context));
        not_found.push(rig.connections.not_found());
        rig.with(|connections, context| connections.live(&other, context));
        not_found.push(rig.connections.not_found());
    }
    assert_eq!((not_found, rig.total().1), (vec![1, 0, 0, 0], 2));
}

#[test]
fn one_that_a_scan_gives_twice_is_active_once() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        rig.scan(&[live(400), live(400)]);
        assert_eq!(rig.total(), (Numbers { sent: 400, ..one() }, 1));
    }
}

#[test]
fn the_next_connection_of_a_socket_may_be_found_before_the_end_of_the_one_before() {
    let mut rig = Rig::new();
    rig.scan(&[live(400)]);
    let next = Record { opened_at: 5_000_000, established_at: 5_500_000, ..live(10) };
    rig.scan(&[next]);
    assert_eq!((rig.total().0.connects, rig.total().0.sent, rig.total().1), (2, 410, 1));
    rig.closed(&some());
    assert_eq!((rig.total().0.connects, rig.total().0.sent), (2, 1010));
    assert_eq!((rig.connections.corrected, rig.connections.len()), (0, 1));
}

#[test]
fn one_that_was_there_before_adds_what_comes_on_top() {
    let mut rig = Rig::new();
    let before = Record { flags: ESTABLISHED | ADOPTED, established_at: 0, ..live(400) };
    rig.with(|connections, context| connections.adopt(&before, context));
    rig.scan(&[before]);
    assert_eq!(rig.total(), (Numbers::default(), 1));
    rig.closed(&Record { kind: Kind::Closed, sent: 500, ..before });
    assert_eq!(rig.total().0, Numbers { sent: 100, ..Numbers::default() });
    // One that is adopted by the programs and not here is of a listening socket.
    rig.closed(&Record { kind: Kind::Closed, sent: 500, sock: 8, ..before });
    rig.scan(&[Record { sock: 9, ..before }]);
    assert_eq!(rig.total(), (Numbers { sent: 100, ..Numbers::default() }, 0));
}

#[test]
fn what_the_generation_before_counted_is_not_counted_again() {
    let counted = Counted { connect: true, sent: 400, received: 2000, retransmits: 3 };
    let on_top = Numbers { sent: 600, ..Numbers::default() };
    // It opened before this one came, or after; it goes on, or ends.
    for flags in [ESTABLISHED, ESTABLISHED | ADOPTED] {
        let record = Record { flags, ..some() };
        let mut rig = Rig::new();
        rig.connections.hand([(Ends::from(&record), known(counted))]);
        rig.closed(&record);
        assert_eq!(rig.total().0, on_top);
        let mut rig = Rig::new();
        rig.connections.hand([(Ends::from(&record), known(counted))]);
        rig.scan(&[Record { kind: Kind::Live, ..record }]);
        assert_eq!(rig.total(), (on_top, 1));
        rig.closed(&record);
        assert_eq!(rig.total().0, on_top);
    }
    // Another connection of the same names, long after.
    let mut rig = Rig::new();
    let long_before = Known { opened_at: 500_000, at: 700_000, ..known(counted) };
    rig.connections.hand([(Ends::from(&some()), long_before)]);
    rig.closed(&some());
    assert_eq!(rig.total().0, one());
    // One that is gone without a word.
    let mut rig = Rig::new();
    rig.connections.hand([(Ends::from(&some()), known(counted))]);
    rig.scan(&[]);
    rig.scan(&[]);
    assert_eq!((rig.total().0, rig.connections.corrected), (Numbers::default(), 1));
}

#[test]
fn an_end_that_is_told_after_the_scan_that_missed_it_counts_what_is_left() {
    let mut rig = Rig::new();
    rig.scan(&[live(400)]);
    rig.scan(&[]);
    rig.closed(&some());
    assert_eq!((rig.total().0, rig.connections.corrected), (one(), 0));
}

#[test]
fn failures_have_their_reason() {
    let mut rig = Rig::new();
    for error in [111, 110, 0] {
        rig.closed(&Record {
            flags: 0,
            established_at: 0,
            error,
            sent: 0,
            received: 0,
            retransmits: 0,
            ..some()
        });
    }
    let (all, _) = rig.total();
    assert_eq!((all.connects, all.failures), (0, [1, 0, 1, 0, 1, 0, 0]));
    assert_eq!((all.failed(false), all.failed(true)), (2, 3));
}

#[test]
fn what_does_not_count_is_not_kept() {
    let mut rig = Rig::new();
    let elsewhere = Record { remote: "127.0.0.1:80".parse().expect("an address"), ..live(1) };
    rig.scan(&[elsewhere]);
    rig.closed(&elsewhere);
    assert_eq!((rig.total(), rig.connections.len()), ((Numbers::default(), 0), 0));
}

#[test]
fn one_without_a_process_is_not_active() {
    let mut rig = Rig::new();
    rig.scan(&[Record { flags: ESTABLISHED | ORPHAN, ..live(1000) }]);
    assert_eq!(rig.total(), (one(), 0));
}

#[test]
fn those_without_room_are_lost_once_and_not_with_each_scan() {
    const OVER: u64 = 5;
    let mut rig = Rig::new();
    // Of three containers.
    let of = |sock: u64| crate::record::Owner { cgroup2: 1 + sock % 3, ..some().owner };
    let each = |sock| Record { sock, owner: of(sock), ..live(1) };
    let all: Vec<Record> = (0..MAX_OPEN as u64 + OVER).map(each).collect();
    for _ in 0..3 {
        rig.scan(&all);
        assert_eq!((rig.connections.len(), rig.connections.refused), (MAX_OPEN, OVER));
    }
    // One that a scan gives twice is one.
    rig.scan(&[&all[..], &all[MAX_OPEN..]].concat());
    assert_eq!(rig.connections.refused, OVER);
    // What is not counted is told to whoever comes next.
    let left_out = rig.connections.known().filter(|(_, known)| !known.counts).count();
    assert_eq!((left_out as u64, rig.connections.is_partial()), (OVER, false));
}

#[test]
fn not_more_of_those_that_do_not_count_is_remembered_than_there_is_room_for() {
    let mut rig = Rig::new();
    let elsewhere: std::net::SocketAddr = "127.0.0.1:80".parse().expect("an address");
    let all = (0..MAX_UNCOUNTED as u64 + 1).map(|sock| Record { sock, remote: elsewhere, ..live(1) });
    let all: Vec<Record> = all.collect();
    rig.scan(&all[1..]);
    assert!(!rig.connections.is_partial());
    rig.scan(&all);
    assert!(rig.connections.is_partial());
    rig.connections.scan_failed();
    assert!(rig.connections.is_partial(), "of those that were not looked at nothing is known");
    rig.scan(&[]);
    assert!(!rig.connections.is_partial() && rig.connections.known().next().is_none());
}

#[test]
fn none_takes_the_room_of_all_others() {
    const OVER: u64 = 5;
    let mut rig = Rig::new();
    let mut all: Vec<Record> =
        (0..u64::from(MAX_EACH) + OVER).map(|sock| Record { sock, ..live(1) }).collect();
    let other = crate::record::Owner { cgroup2: 5, ..some().owner };
    all.push(Record { sock: 1 << 40, owner: other, ..live(1) });
    for _ in 0..2 {
        rig.scan(&all);
        assert_eq!((rig.connections.len(), rig.connections.refused), (MAX_EACH as usize + 1, OVER));
    }
    // Where some end there is room again.
    for record in &all[..OVER as usize] {
        rig.closed(&Record { kind: Kind::Closed, ..*record });
    }
    rig.scan(&all[OVER as usize..]);
    assert_eq!((rig.connections.len(), rig.connections.refused), (MAX_EACH as usize + 1, OVER));
}
