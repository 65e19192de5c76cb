//! What a collection does to the series of a table.

mod common;

use common::{Host, arena, declared, family, plain, sample, table, text};
use gantry_exposition::{Arena, Format, MAX_LABEL_BYTES, Reason, Registry, Table};
use gantry_plugin_api::description::{FamilyInfo, Kind};

#[test]
fn each_refusal_has_its_reason_and_costs_itself_alone() {
    let bad_name = family("bad name", Kind::Gauge, &[]);
    let of_container = FamilyInfo { per_container: true, ..family("of_container", Kind::Gauge, &[]) };
    let families = [
        family("fine", Kind::Gauge, &["a"]),
        family("count_total", Kind::Counter, &[]),
        bad_name,
        of_container,
        family("h", Kind::Histogram, &[]),
    ];
    let declared = Registry::new().register("demo", &[], &families).families;
    let host = Host::new("").with(5, "container_id=\"x\"");
    let long = "x".repeat(MAX_LABEL_BYTES + 1);
    for (reason, then) in [
        (Reason::UnknownFamily, (9, 0, &[][..], 1.0)),
        (Reason::UnknownFamily, (u32::MAX, 0, &[], 1.0)),
        (Reason::Name, (2, 0, &[], 1.0)),
        (Reason::Scope, (3, 0, &[], 1.0)),
        (Reason::Scope, (1, 5, &[], 1.0)),
        (Reason::UnknownContainer, (3, 6, &[], 1.0)),
        (Reason::Labels, (0, 0, &[], 1.0)),
        (Reason::Labels, (0, 0, &["a", "b"], 1.0)),
        (Reason::Labels, (0, 0, &["a"; 40], 1.0)),
        (Reason::LabelTooLong, (0, 0, &[&long], 1.0)),
        (Reason::Value, (1, 0, &[], f64::NAN)),
        (Reason::Value, (1, 0, &[], f64::INFINITY)),
        (Reason::Value, (1, 0, &[], -0.5)),
        (Reason::Histogram, (4, 0, &[], 1.0)),
        (Reason::Duplicate, (0, 0, &["good"], 2.0)),
    ] {
        let mut table = Table::new(declared.clone(), 100);
        let collection = arena(&[(0, 0, &["good"], 1.0), then, (3, 5, &[], 7.0)]);
        for _ in 0..2 {
            let taken = table.take(&collection, &host, 1.0, false);
            assert_eq!(
                (taken.samples, taken.series, &taken.refused[..]),
                (2, 2, &[(reason, 1)][..]),
                "{reason:?}"
            );
            assert!(taken.example.unwrap().starts_with(reason.as_str()));
            assert_eq!(plain(&table), ["fine{a=\"good\"} 1", "of_container{container_id=\"x\"} 7"]);
        }
    }
    let mut table = Table::new(declared, 100);
    let mut collection = Arena::with_limit(2);
    collection.sample(0, 0, [&b"\xff"[..]].into_iter(), 1.0);
    collection.histogram(0, 0, [&b"a"[..]].into_iter(), &[1.0], &[1], 1.0, 1);
    collection.sample(0, 0, [&b"b"[..]].into_iter(), 1.0);
    let taken = table.take(&collection, &host, 1.0, false);
    assert_eq!(taken.refused, [(Reason::Overflow, 1), (Reason::Histogram, 1), (Reason::Utf8, 1)]);
    assert!(taken.example.unwrap().contains("utf8: fine a=\"\\xff\""));
}

#[test]
fn series_vanish_and_come_back_in_order() {
    let mut table = table(&[family("m", Kind::Gauge, &["a"])]);
    let host = Host::new("machine_id=\"m\"");
    let mut take = |values: &[&str]| {
        let mut arena = Arena::with_limit(100);
        values.iter().enumerate().for_each(|(at, value)| sample(&mut arena, 0, 0, &[value], at as f64));
        let taken = table.take(&arena, &host, 1.0, false);
        assert_eq!(taken.series, values.len());
        plain(&table).join(" ").replace(",machine_id=\"m\"", "").replace("m{a=", "").replace('}', "")
    };
    assert_eq!(take(&["x", "y", "z"]), r#""x" 0 "y" 1 "z" 2"#);
    assert_eq!(take(&["z", "x"]), r#""x" 1 "z" 0"#, "the order is that of first appearance");
    assert_eq!(take(&["y", "x", "z", "a\"b\\", "a\\\"b"]), r#""x" 1 "z" 2 "y" 0 "a\"b\\" 3 "a\\\"b" 4"#);
    assert_eq!(take(&["a\\\"b", "a\"b\\"]), r#""a\"b\\" 1 "a\\\"b" 0"#);
    assert_eq!(take(&[]), "");
}

#[test]
fn over_the_cap_known_series_stay_and_the_gone_make_room() {
    let mut table =
        Table::new(declared(&[family("m", Kind::Gauge, &["a"]), family("h", Kind::Histogram, &[])]), 3);
    let host = Host::new("");
    table.take(&arena(&[(0, 0, &["a"], 1.0), (0, 0, &["b"], 1.0)]), &host, 1.0, false);
    let more = arena(&[(0, 0, &["c"], 2.0), (0, 0, &["d"], 2.0), (0, 0, &["a"], 2.0), (0, 0, &["b"], 2.0)]);
    let taken = table.take(&more, &host, 1.0, false);
    assert_eq!((taken.samples, taken.series, taken.refused), (3, 3, vec![(Reason::SeriesCap, 1)]));
    let others = arena(&[(0, 0, &["x"], 1.0), (0, 0, &["y"], 1.0), (0, 0, &["z"], 1.0)]);
    assert_eq!(table.take(&others, &host, 1.0, false).refused, [], "what is gone makes room at once");
    table.set_max_series(1);
    assert_eq!(table.take(&others, &host, 1.0, false).samples, 3, "a lower cap drops nothing");
    assert_eq!(table.take(&arena(&[(0, 0, &["n"], 1.0)]), &host, 1.0, false).samples, 1);
    table.set_max_series(4);
    let mut histogram = Arena::with_limit(9);
    histogram.histogram(1, 0, std::iter::empty(), &[1.0, 2.0], &[0, 0], 0.0, 0);
    assert_eq!(
        table.take(&histogram, &host, 1.0, false).refused,
        [(Reason::SeriesCap, 1)],
        "two bounds are five series"
    );
    histogram.clear();
    histogram.histogram(1, 0, std::iter::empty(), &[1.0], &[0], 0.0, 0);
    assert_eq!(table.take(&histogram, &host, 1.0, false).series, 4);
    histogram.clear();
    histogram.histogram(1, 0, std::iter::empty(), &[1.0, 2.0], &[0, 0], 0.0, 0);
    let taken = table.take(&histogram, &host, 1.0, false);
    assert_eq!(
        (taken.series, &taken.refused[..]),
        (0, &[(Reason::SeriesCap, 1)][..]),
        "nor may one grow over it"
    );
    table.set_max_series(5);
    assert_eq!(table.take(&histogram, &host, 1.0, false).series, 5);
    histogram.clear();
    histogram.histogram(1, 0, std::iter::empty(), &[], &[], 0.0, 0);
    assert_eq!(table.take(&histogram, &host, 1.0, false).series, 3);
}

#[test]
fn the_first_value_of_what_is_counted_here_is_zero() {
    let here = |name, kind| FamilyInfo { counted_here: true, ..family(name, kind, &[]) };
    let families = [
        here("a_total", Kind::Counter),
        family("b_total", Kind::Counter, &[]),
        here("c", Kind::Gauge),
        here("d", Kind::Histogram),
    ];
    let host = Host::new("");
    let mut collection = arena(&[(0, 0, &[], 5.0), (1, 0, &[], 5.0), (2, 0, &[], 5.0)]);
    collection.histogram(3, 0, std::iter::empty(), &[1.0], &[2], 5.0, 3);
    let full = [
        "a_total 5",
        "b_total 5",
        "c 5",
        "d_bucket{le=\"1\"} 2",
        "d_bucket{le=\"+Inf\"} 3",
        "d_sum 5",
        "d_count 3",
    ];
    let zero = [
        "a_total 0",
        "b_total 5",
        "c 5",
        "d_bucket{le=\"1\"} 0",
        "d_bucket{le=\"+Inf\"} 0",
        "d_sum 0",
        "d_count 0",
    ];
    let mut series = table(&families);
    for unseen in 0..3 {
        series.take(&collection, &host, f64::from(unseen), true);
    }
    assert_eq!(plain(&series), zero, "however many collections nobody saw");
    series.take(&collection, &host, 1.0, true);
    assert_eq!(plain(&series), full);
    series.clear();
    assert_eq!((plain(&series), series.series()), (vec![], 0));
    series.take(&collection, &host, 1.0, true);
    assert_eq!(plain(&series), full, "what was hidden for a while is not new");
    let mut handed_over = table(&families);
    handed_over.take(&collection, &host, 1.0, false);
    assert_eq!(plain(&handed_over), full);
}

#[test]
fn created_is_the_first_sight_or_what_was_said() {
    let here = FamilyInfo { counted_here: true, ..family("a_total", Kind::Counter, &[]) };
    let families = [here, family("b_total", Kind::Counter, &["l"]), family("plain", Kind::Counter, &[])];
    let host = Host::new("");
    let mut table = table(&families);
    let mut take = |now: f64, said: Option<f64>| {
        let mut arena = Arena::with_limit(9);
        sample(&mut arena, 0, 0, &[], 5.0);
        arena.created(said);
        sample(&mut arena, 1, 0, &["x"], 5.0);
        arena.created(Some(3.0));
        sample(&mut arena, 2, 0, &[], 5.0);
        table.take(&arena, &host, now, false);
        let open = text(&[&table], Format::OpenMetrics);
        open.lines().filter(|line| line.contains("_created")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(take(100.5, None), "a_created 100.5");
    assert_eq!(take(200.0, Some(7.25)), "a_created 100.5 b_created{l=\"x\"} 7.25");
    assert_eq!(take(300.0, Some(f64::INFINITY)), "a_created 100.5 b_created{l=\"x\"} 7.25");
}

#[test]
fn labels_of_the_host_change_with_their_epoch() {
    let of_container = FamilyInfo { per_container: true, ..family("m", Kind::Gauge, &["a"]) };
    let mut table = table(&[of_container, family("n", Kind::Gauge, &[])]);
    let mut host = Host::new("machine_id=\"1\"").with(5, "container_id=\"x\"").with(6, "container_id=\"y\"");
    let collection = arena(&[(0, 5, &["é"], 1.0), (0, 6, &["é"], 2.0), (1, 0, &[], 3.0)]);
    table.take(&collection, &host, 1.0, false);
    let before =
        [r#"m{a="é",container_id="x"} 1"#, r#"m{a="é",container_id="y"} 2"#, r#"n{machine_id="1"} 3"#];
    assert_eq!(plain(&table), before);
    host.name(5, "container_id=\"x\",az=\"z\"".to_owned(), 2);
    host.node = (String::new(), 2);
    table.take(&collection, &host, 1.0, false);
    assert_eq!(
        plain(&table),
        [r#"m{a="é",container_id="x",az="z"} 1"#, r#"m{a="é",container_id="y"} 2"#, "n 3"]
    );
}

#[test]
fn of_two_handles_with_the_same_labels_the_first_is_shown() {
    let of_container = |name| FamilyInfo { per_container: true, ..family(name, Kind::Gauge, &[]) };
    let mut table = table(&[of_container("m"), of_container("n")]);
    let mut host = Host::new("").with(5, "container_id=\"x\"").with(6, "container_id=\"x\"");
    let all = arena(&[(0, 5, &[], 1.0), (0, 6, &[], 2.0), (1, 6, &[], 3.0)]);
    for _ in 0..2 {
        assert_eq!(table.take(&all, &host, 1.0, false).refused, [(Reason::Duplicate, 2)]);
        assert_eq!(plain(&table), ["m{container_id=\"x\"} 1"]);
    }
    host.containers.remove(&5);
    assert_eq!(table.take(&all, &host, 1.0, false).refused, [(Reason::UnknownContainer, 1)]);
    let newcomer = ["m{container_id=\"x\"} 2", "n{container_id=\"x\"} 3"];
    assert_eq!(plain(&table), newcomer, "it takes the place at once");
    host.name(7, "container_id=\"y\"".to_owned(), 1);
    let all = arena(&[(0, 7, &[], 7.0), (0, 6, &[], 2.0)]);
    table.take(&all, &host, 1.0, false);
    host.name(7, "container_id=\"x\"".to_owned(), 2);
    assert_eq!(table.take(&all, &host, 1.0, false).refused, [(Reason::Duplicate, 1)], "renamed to another's");
    assert_eq!(plain(&table), ["m{container_id=\"x\"} 2"]);
}

#[test]
fn series_survive_a_generation_where_their_family_does() {
    let here =
        |name, labels: &[&str]| FamilyInfo { counted_here: true, ..family(name, Kind::Counter, labels) };
    let (a, b, c) = (here("a_total", &["l"]), here("b_total", &["l"]), here("c_total", &["l"]));
    let host = Host::new("");
    let mut table = table(&[a.clone(), b.clone(), c]);
    let all = arena(&[(0, 0, &["x"], 1.0), (1, 0, &["x"], 2.0), (2, 0, &["x"], 3.0)]);
    table.take(&all, &host, 10.0, false);
    table.set_families(declared(&[
        here("c_total", &["other"]),
        b,
        FamilyInfo { help: "New.".to_owned(), ..a },
    ]));
    assert_eq!(plain(&table), ["a_total{l=\"x\"} 1", "b_total{l=\"x\"} 2"]);
    assert_eq!(table.series(), 2);
    table.take(&all, &host, 20.0, true);
    let shown = ["a_total{l=\"x\"} 3", "b_total{l=\"x\"} 2", "c_total{other=\"x\"} 0"];
    assert_eq!(plain(&table), shown, "the families have changed places; what is new begins at 0");
    let mut registry = Registry::new();
    registry.register("other", &[], &[family("b_total", Kind::Gauge, &["l"])]);
    let refused = registry.register("demo", &[], &[here("b_total", &["l"])]);
    assert_eq!(refused.refusals.len(), 1);
    table.set_families(refused.families);
    assert_eq!(table.series(), 0);
}

#[test]
fn many_series_come_and_go_in_little_memory() {
    let mut table = table(&[family("m", Kind::Gauge, &["a"])]);
    let host = Host::new("");
    for round in 0..50_u32 {
        let values: Vec<String> = (0..2000).map(|at| format!("{:060}", at + round * 700)).collect();
        let mut arena = Arena::with_limit(2000);
        values.iter().for_each(|value| sample(&mut arena, 0, 0, &[value], f64::from(round)));
        let taken = table.take(&arena, &host, 1.0, false);
        assert_eq!((taken.samples, taken.refused.len()), (2000, 0));
        let mut lines = plain(&table);
        lines.sort();
        let expected: Vec<String> =
            values.iter().map(|value| format!("m{{a=\"{value}\"}} {round}")).collect();
        assert_eq!(lines, expected);
    }
}
