//! Containers that are one in the text.

mod common;

use common::{Host, arena, declared, family, plain, table};
use gantry_exposition::{Arena, Reason, Table};
use gantry_plugin_api::description::{FamilyInfo, Kind, Merge};

/// `c_total` is counted here, `r_total` read from the kernel, `g` a gauge that
/// is summed, `i` one of which the largest is shown, and `h` a histogram. Each
/// has a label, but for `r_total`.
fn families() -> [FamilyInfo; 5] {
    let of = |name, kind, labels| FamilyInfo { per_container: true, ..family(name, kind, labels) };
    [
        FamilyInfo { counted_here: true, ..of("c_total", Kind::Counter, &["l"]) },
        of("r_total", Kind::Counter, &[]),
        of("g", Kind::Gauge, &["l"]),
        FamilyInfo { merge: Merge::Largest, ..of("i", Kind::Gauge, &["l"]) },
        of("h", Kind::Histogram, &["l"]),
    ]
}

const L: &[&str] = &["\"1\""];

/// The containers 1 to 4 by themselves, and the groups 1 (of the id that
/// container 1 has) and 2 (the fold).
fn host() -> Host {
    let host = Host::new("").with(1, "id=\"1\"").with(2, "id=\"2\"").with(3, "id=\"3\"").with(4, "id=\"4\"");
    host.with_group(1, "id=\"1\"").with_group(2, "id=\"~\"")
}

fn put(host: &mut Host, group: u64, members: &[u64]) {
    members.iter().for_each(|&member| host.of(member).group = Some(group));
}

/// Lines without what all of them have.
fn short(table: &Table) -> String {
    plain(table).join(" ").replace("l=\"\\\"1\\\"\"", "").replace("{,id=", "{id=").replace("id=", "")
}

#[test]
fn members_are_summed_and_leave_what_they_counted() {
    let (mut table, mut host) = (table(&families()), host());
    put(&mut host, 1, &[2, 3]);
    let of = |member, value| {
        [(0, member, L, value), (1, member, &[][..], value), (2, member, L, value), (3, member, L, value)]
    };
    let all = arena(&[of(2, 10.0), of(3, 1.0)].concat());
    for _ in 0..3 {
        let taken = table.take(&all, &host, 1.0, false);
        assert_eq!((taken.samples, taken.series, taken.kept, taken.refused), (8, 4, 12, vec![]));
        assert_eq!(short(&table), r#"c_total{"1"} 11 g{"1"} 11 i{"1"} 10 r_total{"1"} 11"#);
    }
    table.take(&arena(&of(3, 2.0)), &host, 1.0, false);
    assert_eq!(short(&table), r#"c_total{"1"} 12 g{"1"} 2 i{"1"} 2 r_total{"1"} 12"#);
    host.containers.remove(&3);
    assert_eq!(table.take(&arena(&[]), &host, 1.0, false).kept, 4, "gauges go, counts stay, and those of 2");
    assert_eq!(short(&table), r#"c_total{"1"} 12 r_total{"1"} 12"#);
    host.containers.remove(&2);
    assert_eq!(table.take(&arena(&[]), &host, 1.0, false).kept, 2);
    assert_eq!(short(&table), r#"c_total{"1"} 12 r_total{"1"} 12"#);
    put(&mut host, 1, &[4]);
    table.take(&arena(&of(4, 5.0)), &host, 1.0, false);
    assert_eq!(short(&table), r#"c_total{"1"} 17 g{"1"} 5 i{"1"} 5 r_total{"1"} 17"#);
    host.groups.remove(&1);
    let taken = table.take(&arena(&of(4, 5.0)), &host, 1.0, false);
    assert_eq!((taken.kept, taken.refused), (0, vec![(Reason::UnknownContainer, 4)]));
}

#[test]
fn a_group_that_is_gone_keeps_its_gauges() {
    let (mut table, mut host) = (table(&families()), host());
    put(&mut host, 1, &[1, 2]);
    table.take(&arena(&[(2, 1, L, 3.0), (2, 2, L, 4.0), (0, 2, L, 1.0)]), &host, 1.0, false);
    table.take(&arena(&[(2, 2, L, 5.0), (0, 2, L, 1.0)]), &host, 1.0, false);
    host.groups.insert(1, ("id=\"1\"".to_owned(), true));
    host.of(2).gone = true;
    for _ in 0..2 {
        table.take(&arena(&[]), &host, 1.0, false);
        assert_eq!(short(&table), r#"c_total{"1"} 1 g{"1"} 5"#);
    }
}

#[test]
fn a_member_that_begins_anew_takes_nothing_back() {
    let (mut table, mut host) = (table(&families()), host());
    put(&mut host, 1, &[1, 2]);
    for (one, two, sum) in [(5.0, 7.0, 12), (1.0, 8.0, 14), (2.0, 0.0, 15), (2.0, 1.0, 16)] {
        table.take(&arena(&[(1, 1, &[], one), (1, 2, &[], two)]), &host, 1.0, false);
        assert_eq!(short(&table), format!(r#"r_total{{"1"}} {sum}"#));
    }
}

#[test]
fn a_member_that_pauses_goes_on_where_it_was() {
    let (mut table, mut host) = (table(&families()), host());
    put(&mut host, 1, &[1, 2]);
    let histogram = |arena: &mut Arena, container, count| {
        arena.histogram(4, container, [&b"x"[..]].into_iter(), &[1.0], &[count], 1.0, count);
    };
    for (one, sum) in
        [(Some(5), 7), (None, 7), (Some(5), 7), (None, 7), (None, 7), (Some(9), 11), (Some(1), 12)]
    {
        let mut all = arena(&[(0, 2, L, 2.0), (1, 2, &[], 2.0)]);
        histogram(&mut all, 2, 2);
        if let Some(one) = one {
            common::sample(&mut all, 0, 1, L, one as f64);
            common::sample(&mut all, 1, 1, &[], one as f64);
            histogram(&mut all, 1, one);
        }
        table.take(&all, &host, 1.0, false);
        let lines = short(&table);
        for line in [format!(r#"c_total{{"1"}} {sum}"#), format!(r#"r_total{{"1"}} {sum}"#)] {
            assert!(lines.contains(&line), "{line}: {lines}");
        }
        assert!(lines.contains(&format!("h_count{{l=\"x\",\"1\"}} {sum}")), "{sum}: {lines}");
    }
    // One that is gone has left: it begins anew where it comes again.
    host.of(1).gone = true;
    table.take(&arena(&[(1, 2, &[], 2.0)]), &host, 1.0, false);
    host.of(1).gone = false;
    table.take(&arena(&[(1, 2, &[], 2.0), (1, 1, &[], 4.0)]), &host, 1.0, false);
    assert!(short(&table).contains(r#"r_total{"1"} 16"#), "{}", short(&table));
}

#[test]
fn members_that_pause_take_half_of_the_room_at_most() {
    let mut host = host();
    let mut table = Table::new(declared(&families()), 100);
    put(&mut host, 2, &[1]);
    let mut refused = 0;
    for round in 0..1000 {
        // Ten labels, new ones each time.
        let mut all = Arena::with_limit(10);
        for label in 0..10 {
            common::sample(&mut all, 0, 1, &[&format!("{}", round * 10 + label)], 1.0);
        }
        host.groups.insert(2 + round, ("id=\"~\"".to_owned(), false));
        host.groups.remove(&(1 + round));
        put(&mut host, 2 + round, &[1]);
        let taken = table.take(&all, &host, 1.0, false);
        refused += taken.refused.len();
        assert!(taken.kept <= 100, "{}", taken.kept);
    }
    assert_eq!(refused, 0, "who comes finds room");
}

#[test]
fn what_began_at_zero_shows_it_first() {
    let (mut table, mut host) = (table(&families()), host());
    host.from_zero = vec![2];
    host.of(1).held = true;
    table.take(&arena(&[(1, 1, &[], 7.0), (2, 1, L, 7.0)]), &host, 1.0, true);
    (host.of(1).held, host.of(1).gone) = (false, true);
    put(&mut host, 2, &[1]);
    table.take(&arena(&[(1, 1, &[], 8.0), (2, 1, L, 8.0)]), &host, 1.0, false);
    assert_eq!(short(&table), r#"g{"~"} 8 r_total{"~"} 0"#, "the kernel's count is an increase too");
    for _ in 0..2 {
        table.take(&arena(&[]), &host, 1.0, false);
        assert_eq!(short(&table), r#"r_total{"~"} 8"#);
    }
}

#[test]
fn the_order_of_adding_takes_no_digit_back() {
    let (mut table, mut host) = (table(&families()), host());
    put(&mut host, 2, &[1, 2, 3]);
    table.take(&arena(&[(1, 1, &[], 0.1), (1, 2, &[], 0.2), (1, 3, &[], 0.3)]), &host, 1.0, false);
    assert_eq!(short(&table), r#"r_total{"~"} 0.6000000000000001"#);
    table.take(&arena(&[(1, 2, &[], 0.2), (1, 3, &[], 0.3)]), &host, 1.0, false);
    assert_eq!(short(&table), r#"r_total{"~"} 0.6000000000000001"#, "0.1 and 0.5 are 0.6");
}

#[test]
fn one_that_is_joined_by_another_of_its_id_goes_on_where_it_was() {
    for written in [true, false] {
        let (mut table, mut host) = (table(&families()), host());
        let direct = arena(&[(0, 1, L, 5.0), (1, 1, &[], 5.0), (2, 1, L, 5.0)]);
        table.take(&direct, &host, 1.0, true);
        if written {
            assert_eq!(short(&table), r#"c_total{"1"} 0 g{"1"} 5 r_total{"1"} 5"#);
            table.take(&direct, &host, 1.0, true);
            assert_eq!(short(&table), r#"c_total{"1"} 5 g{"1"} 5 r_total{"1"} 5"#);
        }
        put(&mut host, 1, &[1, 2]);
        // Its own counter is no longer emitted.
        let both = arena(&[(0, 2, L, 1.0), (1, 2, &[], 1.0), (1, 1, &[], 6.0), (2, 2, L, 1.0)]);
        table.take(&both, &host, 1.0, true);
        let count = if written { 6 } else { 0 };
        assert_eq!(short(&table), format!(r#"c_total{{"1"}} {count} g{{"1"}} 1 r_total{{"1"}} 7"#));
        table.take(&both, &host, 1.0, true);
        assert_eq!(short(&table), r#"c_total{"1"} 6 g{"1"} 1 r_total{"1"} 7"#);
    }
}

#[test]
fn what_dies_young_is_folded_and_counted_once() {
    let (mut table, mut host) = (table(&families()), host());
    for held in [2, 3, 4] {
        host.of(held).held = true;
    }
    let young = arena(&[(0, 1, L, 100.0), (0, 2, L, 2.0), (0, 3, L, 3.0), (1, 3, &[], 3.0), (0, 4, L, 4.0)]);
    table.take(&young, &host, 1.0, true);
    assert_eq!(short(&table), r#"c_total{"1"} 0"#);
    // 2 died, 3 is emitted once more, 4 lives.
    for dead in [2, 3] {
        put(&mut host, 2, &[dead]);
        (host.of(dead).held, host.of(dead).gone) = (false, true);
    }
    table.take(&arena(&[(0, 1, L, 100.0), (0, 3, L, 30.0), (0, 4, L, 4.0)]), &host, 1.0, true);
    assert_eq!(short(&table), r#"c_total{"1"} 100 c_total{"~"} 0 r_total{"~"} 3"#, "new: 0 comes first");
    let rest = arena(&[(0, 1, L, 100.0), (0, 4, L, 4.0)]);
    for _ in 0..2 {
        assert_eq!(table.take(&rest, &host, 1.0, true).kept, 4);
        assert_eq!(short(&table), r#"c_total{"1"} 100 c_total{"~"} 32 r_total{"~"} 3"#);
    }
    put(&mut host, 2, &[4]);
    (host.of(4).held, host.of(4).gone) = (false, true);
    table.take(&arena(&[(0, 1, L, 100.0)]), &host, 1.0, true);
    assert_eq!(short(&table), r#"c_total{"1"} 100 c_total{"~"} 36 r_total{"~"} 3"#, "what is known grows");
    // One that was shown by itself dies.
    put(&mut host, 2, &[1]);
    host.of(1).gone = true;
    for _ in 0..2 {
        assert_eq!(table.take(&arena(&[]), &host, 1.0, true).kept, 2);
        assert_eq!(short(&table), r#"c_total{"~"} 136 r_total{"~"} 3"#);
    }
}

#[test]
fn held_members_are_not_in_the_sum() {
    let (mut table, mut host) = (table(&families()), host());
    put(&mut host, 2, &[1, 2]);
    host.of(2).held = true;
    let both = arena(&[(1, 1, &[], 1.0), (1, 2, &[], 10.0), (0, 2, L, 10.0)]);
    let taken = table.take(&both, &host, 1.0, true);
    assert_eq!((taken.series, taken.kept), (1, 4));
    assert_eq!(short(&table), r#"r_total{"~"} 1"#);
    host.of(2).held = false;
    assert_eq!(table.take(&both, &host, 1.0, true).kept, 5);
    assert_eq!(short(&table), r#"c_total{"~"} 0 r_total{"~"} 11"#);
}

#[test]
fn histograms_are_summed_by_bucket() {
    let (mut table, mut host) = (table(&families()), host());
    put(&mut host, 2, &[1, 2]);
    let collection = |histograms: &[(u64, &[f64], &[u64], u64)]| {
        let mut arena = Arena::with_limit(9);
        for &(container, bounds, cumulative, count) in histograms {
            arena.histogram(4, container, [&b"x"[..]].into_iter(), bounds, cumulative, 2.5, count);
        }
        arena
    };
    let lines = |table: &Table| {
        let values = plain(table).into_iter().map(|line| line.replace("h_", "").replace(",id=\"~\"", ""));
        values.collect::<Vec<_>>().join(" ").replace("{l=\"x\",le=", "{").replace("{l=\"x\"}", "")
    };
    let both = [(1, &[1.0, 2.0][..], &[1, 2][..], 3), (2, &[1.0, 2.0], &[10, 20], 30)];
    let taken = table.take(&collection(&both), &host, 1.0, true);
    assert_eq!((taken.series, taken.kept), (5, 15));
    assert_eq!(lines(&table), r#"bucket{"1"} 11 bucket{"2"} 22 bucket{"+Inf"} 33 sum 5 count 33"#);
    table.take(&collection(&[(2, &[1.0, 2.0], &[5, 6], 7)]), &host, 1.0, true);
    assert_eq!(lines(&table), r#"bucket{"1"} 16 bucket{"2"} 28 bucket{"+Inf"} 40 sum 7.5 count 40"#);
    let taken = table.take(&collection(&[(2, &[1.0, 3.0], &[5, 6], 7)]), &host, 1.0, true);
    assert_eq!(
        lines(&table),
        r#"bucket{"1"} 16 bucket{"+Inf"} 40 sum 7.5 count 40"#,
        "bounds that both have"
    );
    assert_eq!((taken.series, taken.kept), (4, 14), "one that lives keeps what it has");
    table.take(&collection(&[]), &host, 1.0, true);
    assert_eq!(lines(&table), r#"bucket{"1"} 16 bucket{"+Inf"} 40 sum 7.5 count 40"#);
}

#[test]
fn the_cap_bounds_members_and_groups() {
    let mut host = host();
    let mut table = Table::new(declared(&families()), 3);
    put(&mut host, 2, &[1, 2, 3]);
    let all = arena(&[(1, 1, &[], 1.0), (1, 2, &[], 2.0), (1, 3, &[], 4.0)]);
    let taken = table.take(&all, &host, 1.0, false);
    assert_eq!((taken.samples, taken.series, taken.kept), (2, 1, 3));
    assert_eq!(taken.refused, [(Reason::SeriesCap, 1)]);
    let others = arena(&[(1, 3, &[], 4.0), (0, 3, L, 4.0)]);
    let taken = table.take(&others, &host, 1.0, false);
    assert_eq!((taken.kept, taken.refused), (2, vec![(Reason::SeriesCap, 1)]), "neither half may stay");
    assert_eq!(short(&table), r#"r_total{"~"} 7"#);
    // What joins needs room for the sum beside it; what has ended does not.
    let mut table = Table::new(declared(&families()), 2);
    host.containers.values_mut().for_each(|container| container.group = None);
    let direct = arena(&[(1, 1, &[], 1.0), (1, 2, &[], 2.0)]);
    assert_eq!(table.take(&direct, &host, 1.0, false).kept, 2);
    put(&mut host, 1, &[1]);
    put(&mut host, 2, &[2]);
    let taken = table.take(&arena(&[(1, 1, &[], 1.0)]), &host, 1.0, false);
    assert_eq!((taken.samples, taken.refused), (0, vec![(Reason::SeriesCap, 1)]));
    assert_eq!((taken.kept, short(&table)), (1, r#"r_total{"~"} 2"#.to_owned()));
}

#[test]
fn a_group_and_a_container_of_the_same_number_are_two() {
    let (mut table, mut host) = (table(&families()), host());
    put(&mut host, 1, &[2]);
    host.name(1, "id=\"one\"".to_owned(), 2);
    table.take(&arena(&[(1, 1, &[], 1.0), (1, 2, &[], 2.0)]), &host, 1.0, false);
    assert_eq!(short(&table), r#"r_total{"one"} 1 r_total{"1"} 2"#);
    host.name(1, "id=\"1\"".to_owned(), 3);
    let taken = table.take(&arena(&[(1, 1, &[], 1.0), (1, 2, &[], 2.0)]), &host, 1.0, false);
    assert_eq!(taken.refused, [(Reason::Duplicate, 1)], "a container with the labels of a group");
    assert_eq!(short(&table), r#"r_total{"1"} 2"#);
}

#[test]
fn ten_thousand_short_lives_are_few_series() {
    let (mut table, mut host) = (table(&families()), host());
    for round in 0..20_u64 {
        let first = 1000 + round * 500;
        let mut arena = Arena::with_limit(1000);
        for handle in first..first + 500 {
            host.name(handle, format!("id=\"{handle}\""), 1);
            host.of(handle).gone = true;
            put(&mut host, 2, &[handle]);
            common::sample(&mut arena, 0, handle, L, 1.0);
            common::sample(&mut arena, 1, handle, &[], 1.0);
        }
        assert_eq!(table.take(&arena, &host, 1.0, false).samples, 1000);
        assert_eq!(short(&table), format!(r#"c_total{{"~"}} {0} r_total{{"~"}} {0}"#, (round + 1) * 500));
        (first..first + 500).for_each(|handle| drop(host.containers.remove(&handle)));
    }
    let taken = table.take(&arena(&[]), &host, 1.0, false);
    assert_eq!((taken.kept, short(&table).contains("10000")), (2, true));
}
