//! From one generation to the next.

use super::*;
use crate::config::Config;
use crate::connections::Counted;
use crate::counts::{Group, Numbers, Whose};
use crate::destination::Destination;
use crate::record::{ADOPTED, ESTABLISHED, tests::some};

fn tracker() -> Tracker {
    Tracker::new(Settings::of(&Config::default(), None, 1).expect("good"))
}

fn total(tracker: &Tracker) -> Numbers {
    let mut all = Numbers::default();
    tracker.counts.all().for_each(|series| all.add(&series.numbers));
    all
}

fn closed(sock: u64, at: u64) -> Record {
    Record { sock, at, opened_at: at - 10, established_at: at - 5, ..some() }
}

fn live(sock: u64, at: u64) -> Record {
    Record { kind: Kind::Live, sent: 400, ..closed(sock, at) }
}

/// As the iterators tell it.
fn scan(tracker: &mut Tracker, open: &[Record]) {
    tracker.begin_scan();
    open.iter().for_each(|record| tracker.event(&Record { kind: Kind::Live, ..*record }));
}

fn look(tracker: &mut Tracker, listens: &[Record], adopted: &[Record]) {
    tracker.begin_listening();
    listens.iter().for_each(|record| tracker.event(&Record { kind: Kind::Listening, ..*record }));
    tracker.end_listening(listens.first().map_or(0, |record| record.at));
    adopted.iter().for_each(|record| tracker.event(&Record { kind: Kind::Adopted, ..*record }));
    tracker.looked();
}

fn activate(tracker: &mut Tracker, before: Option<State>, open: &[Record], now: u64) {
    // As another process reads it.
    let before = before.map(|before| State::decode(&before.encode()).expect("whole"));
    tracker.activate(before, now);
    scan(tracker, open);
    tracker.scanned(now);
}

fn begun() -> Tracker {
    let mut tracker = tracker();
    activate(&mut tracker, None, &[], 1);
    tracker
}

/// One that was there before it was found.
fn found(record: Record, at: u64) -> Record {
    Record { flags: ADOPTED | ESTABLISHED, opened_at: at, established_at: 0, at, ..record }
}

fn with_port(record: Record, port: u16) -> Record {
    Record { local: ([10, 0, 0, 1], port).into(), ..record }
}

#[test]
fn nothing_counts_before_counting_begins() {
    let mut tracker = tracker();
    let before = found(live(1, 20), 20);
    let gone = found(live(2, 20), 20);
    look(&mut tracker, &[], &[before, gone]);
    tracker.event(&closed(3, 30));
    tracker.event(&Record { kind: Kind::Closed, sent: 500, ..gone });
    let since = live(4, 40);
    activate(&mut tracker, None, &[before, since], 50);
    assert_eq!(total(&tracker), Numbers::default());
    assert_eq!(tracker.connections.len(), 2);
    // What comes on top counts; what nobody adopted was taken where somebody listens.
    tracker.event(&Record { kind: Kind::Closed, sent: 500, ..before });
    tracker.event(&Record { kind: Kind::Closed, sent: 500, ..since });
    tracker.event(&Record { kind: Kind::Closed, sent: 500, ..found(live(5, 20), 20) });
    assert_eq!(total(&tracker), Numbers { sent: 200, ..Numbers::default() });
    // One that began before, and that the scan passed over.
    tracker.event(&Record { opened_at: 40, ..closed(6, 60) });
    assert_eq!(total(&tracker).connects, 0);
}

#[test]
fn all_that_looks_find_before_counting_begins_is_known() {
    let mut tracker = tracker();
    let (first, second) = (found(live(1, 20), 20), found(with_port(live(2, 20), 41_000), 30));
    look(&mut tracker, &[], &[first]);
    // What the first one found is not told again.
    look(&mut tracker, &[], &[second]);
    activate(&mut tracker, None, &[first, second], 50);
    assert_eq!((tracker.connections.len(), total(&tracker)), (2, Numbers::default()));
}

/// Both watch; the first ends at 1,000,000,000. Each connection must be counted
/// by one of them, with all of its bytes.
#[test]
fn each_connection_is_counted_by_one_of_two_generations() {
    let cut = 1_000_000_000;
    let mut old = begun();
    // Open all the time; opened before the next one came, and after.
    let (early, later) = (live(1, 100), live(2, 900_000_000));
    let mut new = tracker();
    look(&mut new, &[], &[Record { sent: 10, ..found(early, 500) }]);
    let both = [closed(3, cut - 300_000_000), closed(4, cut - 1_000), closed(5, cut + 10)];
    for record in &both {
        old.event(record);
        // The two programs run one after the other.
        new.event(&Record { at: record.at + 1, opened_at: record.opened_at + 1, ..*record });
    }
    // An event just before the cut by the one's clock and just after by the other's.
    old.event(&closed(6, cut - 1));
    new.event(&closed(6, cut + 1));
    scan(&mut old, &[early, later]);
    let state = old.state(cut);
    // The first one is gone: only the next one sees these.
    new.event(&closed(7, cut + 20_000));
    new.event(&Record { kind: Kind::Closed, sent: 1000, at: cut + 25_000, ..later });
    let on = Record { sent: 600, at: cut + 30_000, ..found(early, 500) };
    activate(&mut new, Some(state), &[on, live(8, cut + 30_000)], cut + 40_000);
    let all = total(&new);
    assert_eq!(all.connects, 8, "{all:?}");
    assert_eq!(all.sent, 6 * 1000 + 600 + 400, "{all:?}");
    assert_eq!((new.connections.len(), new.connections.corrected), (2, 0));
}

/// All have the same socket, and the same ports.
#[test]
fn connections_that_follow_each_other_across_a_cut_are_each_counted_once() {
    const MS: u64 = 1_000_000;
    let cut = 1_000 * MS;
    let each = |from: u64, to: u64| Record { opened_at: from, established_at: from + 5, ..closed(1, to) };
    let (mut old, mut new) = (begun(), tracker());
    // The first one was there when the next generation came, and ended before the cut.
    let first = each(10 * MS, 900 * MS);
    look(&mut new, &[], &[Record { sent: 10, ..found(first, 500 * MS) }]);
    old.event(&first);
    new.event(&Record { opened_at: 500 * MS, flags: ADOPTED | ESTABLISHED, ..first });
    // Two that ended around the cut.
    for end in [cut - 5 * MS, cut + 5] {
        old.event(&each(end - MS, end));
        new.event(&each(end - MS + 3, end + 3));
    }
    // One that is open at the cut, and is found after it; then one that only the next one sees.
    let last = Record { sent: 400, ..each(cut + 20, cut + 30) };
    scan(&mut old, &[last]);
    let state = old.state(cut + 40);
    assert_eq!(total(&old).connects, 4);
    new.event(&Record { opened_at: last.opened_at + 3, ..each(0, cut + MS) });
    new.event(&each(cut + 2 * MS, cut + 3 * MS));
    let on = Record { sent: 70, ..each(cut + 4 * MS, cut + 5 * MS) };
    activate(&mut new, Some(state), &[on], cut + 5 * MS);
    assert_eq!((total(&new).connects, total(&new).sent), (6, 5 * 1000 + 70));
    assert_eq!(new.connections.corrected, 0);
}

/// Those of which the next generation saw nothing, since it came after them, are none of
/// those that follow.
#[test]
fn an_end_before_the_next_generation_came_hides_none_that_follows() {
    const MS: u64 = 1_000_000;
    let cut = 1_000 * MS;
    let each = |to: u64| Record { opened_at: to - MS, established_at: to - 5, ..closed(1, to) };
    let (mut old, mut new) = (begun(), tracker());
    [cut - 50 * MS, cut - 20 * MS].iter().for_each(|end| old.event(&each(*end)));
    let state = old.state(cut);
    [cut + 5 * MS, cut + 30 * MS].iter().for_each(|end| new.event(&each(*end)));
    activate(&mut new, Some(state), &[], cut + 40 * MS);
    assert_eq!(total(&new).connects, 4);
}

#[test]
fn after_a_crash_what_was_counted_goes_on() {
    let mut old = begun();
    old.event(&closed(1, 100));
    scan(&mut old, &[live(2, 200)]);
    let state = old.state(300);
    let mut new = tracker();
    new.began = 1_000_000;
    let still = Record { sent: 700, ..found(live(2, 200), 1_000_900) };
    let since = Record { sock: 3, ..with_port(still, 41_000) };
    look(&mut new, &[], &[still, since]);
    activate(&mut new, Some(state), &[still, since], 1_001_000);
    // What was opened while nobody looked is open, and all of it counts.
    assert_eq!((total(&new).connects, total(&new).sent), (3, 1700 + 700));
    assert_eq!(new.connections.len(), 2);
}

/// It was known all the time, and not counted.
#[test]
fn under_wider_rules_what_was_left_out_is_not_new() {
    let narrow = || {
        let mut tracker = tracker();
        tracker.settings.rules.ephemeral = 80..=80;
        activate(&mut tracker, None, &[], 1);
        tracker
    };
    let at = 1_000_000;
    // A restart.
    let mut old = narrow();
    scan(&mut old, &[live(1, 100)]);
    let state = old.state(1_000);
    let mut new = tracker();
    new.began = at;
    let known = found(live(1, 100), at);
    let unseen = found(Record { sent: 7, ..with_port(live(2, 100), 41_000) }, at);
    look(&mut new, &[], &[known, unseen]);
    activate(&mut new, Some(state.clone()), &[known, unseen], at + 1);
    assert_eq!((total(&new).connects, total(&new).sent), (1, 7));
    scan(&mut new, &[Record { sent: 500, ..known }]);
    assert_eq!((total(&new).connects, total(&new).sent), (1, 107));
    // Where not all was remembered none can be told from one that was left out.
    let mut new = tracker();
    new.began = at;
    look(&mut new, &[], &[known, unseen]);
    activate(&mut new, Some(State { is_partial: true, ..state.clone() }), &[known, unseen], at + 1);
    assert_eq!((total(&new).connects, total(&new).sent), (0, 0));
    // An upgrade, at which the next one saw it begin.
    let mut new = tracker();
    activate(&mut new, Some(state), &[Record { opened_at: live(1, 100).opened_at + 1, ..live(1, 100) }], at);
    assert_eq!((total(&new).connects, total(&new).sent), (0, 0));
    // Other settings while it runs.
    let mut one = narrow();
    scan(&mut one, &[live(1, 100)]);
    one.reconfigure(tracker().settings);
    scan(&mut one, &[Record { sent: 500, at: 200, ..live(1, 100) }, with_port(live(2, 300), 41_000)]);
    assert_eq!((total(&one).connects, total(&one).sent), (1, 100 + 400));
}

#[test]
fn under_narrower_rules_what_is_open_adds_nothing_more() {
    let (mut one, wide) = (begun(), tracker().settings);
    scan(&mut one, &[live(1, 20)]);
    one.scanned(30);
    let mut narrow = wide.clone();
    narrow.rules.ephemeral = 80..=80;
    one.reconfigure(narrow);
    scan(&mut one, &[Record { sent: 500, at: 200, ..live(1, 20) }]);
    one.scanned(210);
    let active = |one: &Tracker| one.counts.all().map(|series| series.active).sum::<u32>();
    assert_eq!((total(&one).sent, active(&one), one.connections.len()), (400, 0, 0));
    assert_eq!(one.connections.corrected, 0, "it is there");
    // And goes on from there where it counts again.
    one.reconfigure(wide);
    scan(&mut one, &[Record { sent: 700, at: 300, ..live(1, 20) }]);
    assert_eq!((total(&one).connects, total(&one).sent, active(&one)), (1, 600, 1));
}

#[test]
fn what_is_handed_over_and_finds_no_room_is_told() {
    const MANY: u64 = 16_384 + 3;
    let numbers = Numbers { connects: 1, ..Numbers::default() };
    let group = |cgroup2| handover::Group {
        first: crate::record::Owner { cgroup2, ..some().owner },
        series: vec![(Destination::Other, numbers)],
    };
    let state = State { groups: (0..MANY).map(group).collect(), ..State::default() };
    let mut tracker = tracker();
    activate(&mut tracker, Some(state), &[], 1);
    assert_eq!((tracker.counts.refused, total(&tracker).connects), (3, MANY - 3));
}

#[test]
fn what_is_held_is_bounded() {
    let mut tracker = tracker();
    for sock in 0..MAX_HELD as u64 + 5 {
        tracker.event(&closed(sock, 100));
    }
    assert_eq!(tracker.overheld, 5);
}

#[test]
fn ends_are_remembered_for_a_moment() {
    let mut tracker = begun();
    for at in (0..10).map(|step| step * MARGIN / 2 + 1_000) {
        tracker.event(&closed(at, at));
    }
    assert!(tracker.recent.len() <= 4, "{}", tracker.recent.len());
    assert_eq!(Counted::all(&some()).sent, 1000);
}

/// Each with another destination, of containers that have more than one cgroup.
#[test]
fn destinations_without_end_are_bounded_by_container_and_in_all() {
    const DESTINATIONS: u32 = 100_000;
    let container = |handle| gantry_plugin_api::ContainerRef::from_handle(handle).expect("not 0");
    let mut tracker = begun();
    let each = tracker.settings.limits.each as usize;
    let connect = |tracker: &mut Tracker, number: u32, cgroup2: u64| {
        let owner = crate::record::Owner { cgroup2, ..some().owner };
        let remote = (std::net::Ipv4Addr::from(0x0a00_0000 + number), 80).into();
        let at = 1_000 + u64::from(number);
        tracker.event(&Record { owner, remote, ..closed(u64::from(number), at) });
    };
    let attribute = |tracker: &mut Tracker| {
        let whose = |group: &Group| Some(Whose::Cgroup(container(1 + group.cgroups.cgroup2 / 10)));
        tracker.attribute(2_000, whose, |_| true);
    };
    for number in 0..DESTINATIONS {
        connect(&mut tracker, number, u64::from(number % 3));
        if number % 1000 == 0 {
            attribute(&mut tracker);
        }
    }
    attribute(&mut tracker);
    let shown = crate::emit::shown(&tracker);
    assert_eq!(shown.len(), each + 1);
    let other = shown.last().expect("not empty");
    assert_eq!((other.0, other.1), (container(1), Destination::Other));
    assert_eq!(total(&tracker).connects, u64::from(DESTINATIONS), "each is counted somewhere");
    let mut labels = Vec::new();
    crate::emit::samples(&tracker, |_, _, of, _| labels.push(of.join(" ")));
    assert!(labels.contains(&"~other ~other".to_owned()), "in both labels");
    // Of a hundred containers.
    for number in 0..DESTINATIONS * 2 {
        connect(&mut tracker, number, 10 * u64::from(number % 100));
    }
    attribute(&mut tracker);
    let all = tracker.settings.limits.all as usize;
    // And one for all others of each, of which the first container had its own before.
    assert_eq!(tracker.counts.all().count(), all + 99);
    assert_eq!(total(&tracker).connects, u64::from(DESTINATIONS) * 3);
}

/// Programs that are taken away take their time: what they told meanwhile counts.
#[test]
fn all_ends_since_the_cut_are_handed_over() {
    let cut = 1_000_000_000;
    let mut old = begun();
    let mut new = tracker();
    old.ends_at(cut);
    let ends = [cut + 10, cut + 2 * MARGIN, cut + 5 * MARGIN];
    for (sock, at) in (0..).zip(ends) {
        old.event(&closed(sock, at));
        new.event(&closed(sock, at));
    }
    activate(&mut new, Some(old.state(cut)), &[], cut + 6 * MARGIN);
    assert_eq!(total(&new).connects, 3, "each is counted once");
}

/// A figure that cannot be known is absent, and no 0.
#[test]
fn what_is_open_is_not_shown_where_nobody_can_tell() {
    let whose = |_: &Group| gantry_plugin_api::ContainerRef::from_handle(7).map(Whose::Cgroup);
    let shows_active = |tracker: &mut Tracker| {
        tracker.attribute(100, whose, |_| true);
        let (mut active, mut connects) = (false, false);
        crate::emit::samples(tracker, |family, _, _, _| {
            active |= std::ptr::eq(family, &raw const crate::metrics::ACTIVE);
            connects |= std::ptr::eq(family, &raw const crate::metrics::CONNECTS);
        });
        assert!(connects);
        active
    };
    let mut tracker = begun();
    tracker.event(&closed(1, 20));
    assert!(!shows_active(&mut tracker), "there may be others of before");
    look(&mut tracker, &[], &[]);
    assert!(shows_active(&mut tracker));
    tracker.not_scanned();
    assert!(!shows_active(&mut tracker));
    scan(&mut tracker, &[]);
    assert!(shows_active(&mut tracker));
    // Without scans: what ended before counting began is not open.
    let mut tracker = self::tracker();
    let before = found(live(1, 20), 20);
    let other = found(with_port(live(2, 20), 41_000), 20);
    look(&mut tracker, &[], &[before, other]);
    tracker.event(&Record { kind: Kind::Closed, ..other });
    tracker.activate(None, 50);
    assert_eq!((tracker.connections.len(), tracker.knows_active()), (1, false), "the other ended");
}

#[test]
fn what_began_while_nobody_watched_counts_where_it_is_open_still() {
    let mut old = begun();
    scan(&mut old, &[live(1, 100)]);
    let before = total(&old);
    let state = old.state(1_000_000);
    let mut new = tracker();
    new.began = 5_000_000;
    let known = found(Record { sent: 500, ..live(1, 100) }, 6_000_000);
    let unseen = found(Record { sent: 7, ..with_port(live(2, 100), 41_000) }, 6_000_000);
    look(&mut new, &[], &[known, unseen]);
    activate(&mut new, Some(state), &[known, unseen], 7_000_000);
    let expected = Numbers {
        connects: 2,
        sent: 507,
        received: before.received + unseen.received,
        retransmits: before.retransmits + u64::from(unseen.retransmits),
        ..before
    };
    assert_eq!(total(&new), expected);
    assert_eq!((new.unwatched, new.connections.len()), (4_000_000, 2));
}

/// As many as a machine makes in some ten seconds; each tenth end is never told.
#[test]
fn a_million_events_with_losses_leave_the_numbers_of_what_is_open_right() {
    const MANY: u64 = 1_000_000;
    const KEPT: u64 = 500;
    let mut tracker = begun();
    let (mut open, mut told) = (std::collections::VecDeque::new(), 0);
    for sock in 0..MANY {
        let record = live(sock, 1_000 + sock);
        open.push_back(record);
        if open.len() as u64 > KEPT {
            let ended = open.pop_front().expect("just put");
            if ended.sock % 10 != 0 {
                tracker.event(&Record { kind: Kind::Closed, ..ended });
                told += 1;
            }
        }
        if sock % 100_000 == 0 {
            open.make_contiguous();
            scan(&mut tracker, open.as_slices().0);
            tracker.scanned(record.at);
        }
    }
    open.make_contiguous();
    for _ in 0..2 {
        scan(&mut tracker, open.as_slices().0);
        tracker.scanned(2 * MANY);
    }
    assert_eq!(tracker.events, told);
    let active: u64 = tracker.counts.all().map(|series| u64::from(series.active)).sum();
    assert_eq!((active, tracker.connections.len() as u64), (KEPT, KEPT));
    // Those whose end was lost and that no scan had found are not known to anybody.
    let connects = total(&tracker).connects;
    assert!(connects >= told + KEPT && connects <= MANY, "{connects}");
    assert!(tracker.connections.corrected > 0, "no scan had found one of them: nothing was tried");
}

/// It is there, and two scans passed over it: whoever comes next has what was counted.
#[test]
fn what_scans_passed_over_is_handed_over() {
    let mut old = begun();
    for open in [&[live(1, 20)][..], &[], &[]] {
        scan(&mut old, open);
        old.scanned(30);
    }
    assert_eq!((old.connections.len(), old.connections.corrected, total(&old).sent), (0, 1, 400));
    let (mut new, known) = (tracker(), found(live(1, 80), 80));
    new.began = 70;
    look(&mut new, &[], &[known]);
    activate(&mut new, Some(old.state(60)), &[known], 90);
    assert_eq!((total(&new).connects, total(&new).sent), (1, 400));
    // One that is gone was counted as that by the other one.
    let mut new = tracker();
    activate(&mut new, Some(old.state(60)), &[], 90);
    for _ in 0..3 {
        scan(&mut new, &[]);
        new.scanned(99);
    }
    assert_eq!(new.connections.corrected, 0);
}

#[test]
fn after_a_scan_that_failed_not_all_is_known() {
    let mut old = begun();
    assert!(!old.state(60).is_partial);
    scan(&mut old, &[live(1, 20)]);
    old.not_scanned();
    assert!(old.state(60).is_partial);
    scan(&mut old, &[live(1, 20)]);
    old.scanned(70);
    assert!(!old.state(80).is_partial);
}
