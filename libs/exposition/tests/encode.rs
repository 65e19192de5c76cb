//! What tables look like as text.

mod common;

use common::strict::parse;
use common::{Host, declared, family, sample, table, text};
use gantry_exposition::{Arena, Encoded, Format, Registry, Table, encode};
use gantry_plugin_api::description::{FamilyInfo, Kind};

fn example() -> Table {
    let info = |name, kind, unit: &str, help: &str| FamilyInfo {
        unit: unit.to_owned(),
        help: help.to_owned(),
        counted_here: true,
        ..family(name, kind, &["a"])
    };
    let families = [
        info("z_seconds_total", Kind::Counter, "seconds", "Say \"a\\b\"\nand more."),
        info("gc_seconds", Kind::Counter, "seconds", "Old name."),
        info("b", Kind::Gauge, "bytes", ""),
        info("u", Kind::Unknown, "", "Who knows."),
        info("requests_duration_seconds_total", Kind::Histogram, "seconds", "How long."),
        info("empty", Kind::Gauge, "", "Has no samples."),
    ];
    let mut table = table(&families);
    let mut arena = Arena::with_limit(10);
    (0..4).for_each(|family| sample(&mut arena, family, 0, &["x"], 1.5));
    arena.histogram(4, 0, [&b""[..]].into_iter(), &[1.0, f64::INFINITY], &[1, 2], 2.5, 2);
    table.take(&arena, &Host::new("machine_id=\"m\""), 99.0, false);
    table
}

#[test]
fn text_0_0_4() {
    let mut out = b"before\n".to_vec();
    let encoded = encode(&[&example()], Format::Text, &mut out);
    assert_eq!(encoded, Encoded { samples: 8, duplicates: vec![] });
    let expected = r#"before
# TYPE b gauge
b{a="x",machine_id="m"} 1.5
# HELP gc_seconds Old name.
# TYPE gc_seconds counter
gc_seconds{a="x",machine_id="m"} 1.5
# HELP requests_duration_seconds_total How long.
# TYPE requests_duration_seconds_total histogram
requests_duration_seconds_total_bucket{a="",machine_id="m",le="1"} 1
requests_duration_seconds_total_bucket{a="",machine_id="m",le="+Inf"} 2
requests_duration_seconds_total_sum{a="",machine_id="m"} 2.5
requests_duration_seconds_total_count{a="",machine_id="m"} 2
# HELP u Who knows.
# TYPE u untyped
u{a="x",machine_id="m"} 1.5
# HELP z_seconds_total Say "a\\b"\nand more.
# TYPE z_seconds_total counter
z_seconds_total{a="x",machine_id="m"} 1.5
"#;
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn openmetrics() {
    let mut out = Vec::new();
    assert_eq!(encode(&[&example()], Format::OpenMetrics, &mut out).samples, 10);
    let expected = r#"# TYPE b gauge
b{a="x",machine_id="m"} 1.5
# TYPE gc_seconds unknown
# UNIT gc_seconds seconds
# HELP gc_seconds Old name.
gc_seconds{a="x",machine_id="m"} 1.5
# TYPE requests_duration_seconds_total histogram
# HELP requests_duration_seconds_total How long.
requests_duration_seconds_total_bucket{a="",machine_id="m",le="1.0"} 1
requests_duration_seconds_total_bucket{a="",machine_id="m",le="+Inf"} 2
requests_duration_seconds_total_sum{a="",machine_id="m"} 2.5
requests_duration_seconds_total_count{a="",machine_id="m"} 2
requests_duration_seconds_total_created{a="",machine_id="m"} 99
# TYPE u unknown
# HELP u Who knows.
u{a="x",machine_id="m"} 1.5
# TYPE z_seconds counter
# UNIT z_seconds seconds
# HELP z_seconds Say \"a\\b\"\nand more.
z_seconds_total{a="x",machine_id="m"} 1.5
z_seconds_created{a="x",machine_id="m"} 99
# EOF
"#;
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn nothing_is_valid_too() {
    assert_eq!(text(&[], Format::Text), "");
    assert_eq!(text(&[&table(&[])], Format::OpenMetrics), "# EOF\n");
}

#[test]
fn families_of_several_owners_stand_under_one_header() {
    let mut registry = Registry::new();
    let shared = FamilyInfo { help: "First.".to_owned(), ..family("m", Kind::Gauge, &["a"]) };
    let then = FamilyInfo { help: "Then.".to_owned(), ..shared.clone() };
    let mut one = Table::new(registry.register("one", &[], &[shared]).families, 10);
    let mut two =
        Table::new(registry.register("two", &[], &[family("a", Kind::Gauge, &[]), then]).families, 10);
    let mut arena = Arena::with_limit(10);
    ["x", "y"].iter().for_each(|value| sample(&mut arena, 0, 0, &[value], 1.0));
    one.take(&arena, &Host::new(""), 1.0, false);
    arena.clear();
    ["y", "z"].iter().for_each(|value| sample(&mut arena, 1, 0, &[value], 2.0));
    two.take(&arena, &Host::new(""), 1.0, false);
    let mut out = Vec::new();
    let encoded = encode(&[&one, &two], Format::Text, &mut out);
    assert_eq!(encoded, Encoded { samples: 3, duplicates: vec![(1, 1)] });
    let expected = "# HELP m First.\n# TYPE m gauge\nm{a=\"x\"} 1\nm{a=\"y\"} 1\nm{a=\"z\"} 2\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    one.clear();
    assert_eq!(
        text(&[&one, &two], Format::Text),
        "# HELP m First.\n# TYPE m gauge\nm{a=\"y\"} 2\nm{a=\"z\"} 2\n",
        "the first owner's help also where it shows nothing"
    );
}

#[test]
fn a_stale_family_of_another_shape_is_left_out() {
    let of = |kind, value| {
        let mut table = table(&[family("m", kind, &["a"])]);
        let mut arena = Arena::with_limit(10);
        sample(&mut arena, 0, 0, &[value], 1.0);
        table.take(&arena, &Host::new(""), 1.0, false);
        table
    };
    let mut out = Vec::new();
    let tables = [&of(Kind::Gauge, "x"), &of(Kind::Counter, "y")];
    let encoded = encode(&tables, Format::OpenMetrics, &mut out);
    assert_eq!(encoded, Encoded { samples: 1, duplicates: vec![(1, 1)] });
    parse(&String::from_utf8(out).unwrap(), Format::OpenMetrics);
}

#[test]
fn a_refused_family_is_never_written() {
    let twice = [family("m", Kind::Gauge, &[]), family("m", Kind::Counter, &[])];
    let registered = Registry::new().register("demo", &[], &twice);
    let mut table = Table::new(registered.families, 10);
    let mut arena = Arena::with_limit(10);
    sample(&mut arena, 0, 0, &[], 1.0);
    sample(&mut arena, 1, 0, &[], 1.0);
    table.take(&arena, &Host::new(""), 1.0, false);
    assert_eq!(text(&[&table], Format::Text), "# TYPE m gauge\nm 1\n");
    assert_eq!(declared(&twice[..1]).len(), 1);
}
