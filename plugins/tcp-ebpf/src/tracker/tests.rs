//! From one generation to the next.

use super::*;
use crate::config::Config;
use crate::connections::Counted;
use crate::counts::{Group, Numbers, Whose};
use crate::destination::Destination;
use crate::record::{ESTABLISHED, tests::some};

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

fn begun(before: Option<State>) -> Tracker {
    let mut tracker = tracker();
    tracker.activate(before, Some(&[]), 1);
    tracker
}

#[test]
fn nothing_counts_before_counting_begins() {
    let mut tracker = tracker();
    let before = Record { flags: ADOPTED | ESTABLISHED, established_at: 0, ..live(1, 20) };
    let at: std::net::SocketAddr = "10.0.0.1:8080".parse().expect("an address");
    let inbound = Record { flags: ADOPTED | ESTABLISHED, local: at, ..live(2, 20) };
    let listens = Record { kind: Kind::Listens, ..inbound };
    tracker.sockets(&[before, inbound, listens], 20);
    tracker.event(&closed(3, 30));
    let since = live(4, 40);
    let open = [before, inbound, since];
    tracker.activate(None, Some(&open), 50);
    tracker.scanned(50);
    assert_eq!(total(&tracker), Numbers::default());
    assert_eq!(tracker.connections.len(), 2);
    // What comes on top counts.
    tracker.event(&Record { kind: Kind::Closed, sent: 500, ..before });
    tracker.event(&Record { kind: Kind::Closed, sent: 500, ..since });
    tracker.event(&Record { kind: Kind::Closed, sent: 500, ..inbound });
    assert_eq!(total(&tracker), Numbers { sent: 200, ..Numbers::default() });
}

/// Both watch; the first ends at 1,000,000,000. Each connection must be counted
/// by one of them, with all of its bytes.
#[test]
fn each_connection_is_counted_by_one_of_two_generations() {
    let cut = 1_000_000_000;
    let mut old = begun(None);
    // Open all the time; opened before the next one came, and after.
    let (early, later) = (live(1, 100), live(2, 900_000_000));
    let mut new = tracker();
    let then = Record { flags: ADOPTED | ESTABLISHED, opened_at: 500, established_at: 0, sent: 10, ..early };
    new.sockets(&[then], 500);
    let both = [closed(3, cut - 300_000_000), closed(4, cut - 1_000), closed(5, cut + 10)];
    for record in &both {
        old.event(record);
        // The two programs run one after the other.
        new.event(&Record { at: record.at + 1, opened_at: record.opened_at + 1, ..*record });
    }
    // An event just before the cut by the one's clock and just after by the other's.
    old.event(&closed(6, cut - 1));
    new.event(&closed(6, cut + 1));
    old.scan(&[early, later]);
    let state = old.state(cut);
    // The first one is gone: only the next one sees these.
    new.event(&closed(7, cut + 20_000));
    new.event(&Record { kind: Kind::Closed, sent: 1000, at: cut + 25_000, ..later });
    let on = Record { flags: ADOPTED | ESTABLISHED, opened_at: 500, established_at: 0, sent: 600, ..early };
    let state = State::decode(&state.encode()).expect("whole");
    new.activate(Some(state), Some(&[on, live(8, cut + 30_000)]), cut + 40_000);
    new.scanned(cut + 40_000);
    let all = total(&new);
    assert_eq!(all.connects, 8, "{all:?}");
    assert_eq!(all.sent, 6 * 1000 + 600 + 400, "{all:?}");
    assert_eq!((new.connections.len(), new.connections.corrected), (2, 0));
}

#[test]
fn after_a_crash_what_was_counted_goes_on() {
    let mut old = begun(None);
    old.event(&closed(1, 100));
    old.scan(&[live(2, 200)]);
    let state = old.state(300);
    let mut new = tracker();
    let still =
        Record { flags: ADOPTED | ESTABLISHED, opened_at: 900, established_at: 0, sent: 700, ..live(2, 200) };
    let since = Record { sock: 3, local: "10.0.0.1:41000".parse().expect("an address"), ..still };
    new.sockets(&[still, since], 900);
    new.activate(Some(state), Some(&[still, since]), 1000);
    new.scanned(1000);
    // What was opened while nobody looked is open, and is no connect.
    assert_eq!((total(&new).connects, total(&new).sent), (2, 1700));
    assert_eq!(new.connections.len(), 2);
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
    let mut tracker = begun(None);
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
    let mut tracker = begun(None);
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
    let mut old = begun(None);
    let mut new = tracker();
    old.ends_at(cut);
    let ends = [cut + 10, cut + 2 * MARGIN, cut + 5 * MARGIN];
    for (sock, at) in (0..).zip(ends) {
        old.event(&closed(sock, at));
        new.event(&closed(sock, at));
    }
    let state = State::decode(&old.state(cut).encode()).expect("whole");
    new.activate(Some(state), Some(&[]), cut + 6 * MARGIN);
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
    let mut tracker = begun(None);
    tracker.event(&closed(1, 20));
    assert!(!shows_active(&mut tracker), "there may be others of before");
    tracker.sockets(&[], 20);
    assert!(shows_active(&mut tracker));
    tracker.not_scanned();
    assert!(!shows_active(&mut tracker));
    tracker.scan(&[]);
    assert!(shows_active(&mut tracker));
    // Without scans: what ended before counting began is not open.
    let mut tracker = self::tracker();
    let before = Record { flags: ADOPTED | ESTABLISHED, established_at: 0, ..live(1, 20) };
    let other = Record { local: "10.0.0.1:41000".parse().expect("an address"), ..before };
    tracker.sockets(&[before, other], 20);
    tracker.event(&Record { kind: Kind::Closed, ..other });
    tracker.activate(None, None, 50);
    assert_eq!((tracker.connections.len(), tracker.knows_active()), (1, false), "the other ended");
}

#[test]
fn what_began_while_nobody_watched_counts_where_it_is_open_still() {
    let mut old = begun(None);
    old.scan(&[live(1, 100)]);
    let before = total(&old);
    let state = old.state(1_000);
    let mut new = tracker();
    new.began = 5_000;
    let found =
        |record| Record { flags: ADOPTED | ESTABLISHED, opened_at: 6_000, established_at: 0, ..record };
    let known = found(Record { sent: 500, ..live(1, 100) });
    let unseen = found(Record { sent: 7, local: "10.0.0.1:41000".parse().expect("one"), ..live(2, 100) });
    new.sockets(&[known, unseen], 6_000);
    new.activate(Some(state), Some(&[known, unseen]), 7_000);
    let expected = Numbers {
        connects: 2,
        sent: 507,
        received: before.received + unseen.received,
        retransmits: before.retransmits + u64::from(unseen.retransmits),
        ..before
    };
    assert_eq!(total(&new), expected);
    assert_eq!((new.unwatched, new.connections.len()), (4_000, 2));
}

/// As many as a machine makes in some ten seconds; each tenth end is never told.
#[test]
fn a_million_events_with_losses_leave_the_numbers_of_what_is_open_right() {
    const MANY: u64 = 1_000_000;
    const KEPT: u64 = 500;
    let mut tracker = begun(None);
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
            tracker.scan(open.as_slices().0);
            tracker.scanned(record.at);
        }
    }
    open.make_contiguous();
    for _ in 0..2 {
        tracker.scan(open.as_slices().0);
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
