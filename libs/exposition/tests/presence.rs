//! Containers that wait and containers that are gone.

mod common;

use common::{Host, arena, family, plain, table, text};
use gantry_exposition::{Format, Reason};
use gantry_plugin_api::description::{FamilyInfo, Kind};

/// `c_total` is counted here, `g` a gauge, and `r_total` read from the kernel.
fn families() -> [FamilyInfo; 3] {
    let of = |name, kind| FamilyInfo { per_container: true, ..family(name, kind, &[]) };
    [
        FamilyInfo { counted_here: true, ..of("c_total", Kind::Counter) },
        of("g", Kind::Gauge),
        of("r_total", Kind::Counter),
    ]
}

#[test]
fn what_is_held_is_counted_and_not_shown() {
    let mut table = table(&families());
    let mut host = Host::new("").with(5, "id=\"x\"");
    host.of(5).held = true;
    for value in 1..4 {
        let value = f64::from(value);
        let all = arena(&[(0, 5, &[], value), (1, 5, &[], value), (2, 5, &[], value)]);
        let taken = table.take(&all, &host, 1.0, true);
        assert_eq!((taken.samples, taken.series, taken.kept, taken.refused), (3, 0, 3, vec![]));
        assert_eq!(text(&[&table], Format::Text), "", "no headers either");
    }
    host.of(5).held = false;
    let all = arena(&[(0, 5, &[], 4.0), (1, 5, &[], 4.0), (2, 5, &[], 4.0)]);
    for _ in 0..2 {
        assert_eq!(table.take(&all, &host, 1.0, true).series, 3);
    }
    let first = ["c_total{id=\"x\"} 0", "g{id=\"x\"} 4", "r_total{id=\"x\"} 4"];
    assert_eq!(plain(&table), first, "0 until that was written, though the table was written before");
    table.take(&all, &host, 1.0, true);
    assert_eq!(plain(&table), ["c_total{id=\"x\"} 4", "g{id=\"x\"} 4", "r_total{id=\"x\"} 4"]);
}

#[test]
fn what_waits_and_is_no_longer_emitted_goes_unless_it_is_gone() {
    let mut table = table(&families());
    let mut host = Host::new("").with(5, "id=\"x\"");
    host.of(5).held = true;
    table.take(&arena(&[(0, 5, &[], 3.0), (2, 5, &[], 3.0)]), &host, 1.0, true);
    assert_eq!(table.take(&arena(&[(2, 5, &[], 4.0)]), &host, 1.0, true).kept, 1);
    host.of(5).gone = true;
    assert_eq!(table.take(&arena(&[]), &host, 1.0, true).kept, 1);
    host.of(5).held = false;
    assert_eq!(table.take(&arena(&[]), &host, 1.0, true).series, 1);
    assert_eq!(plain(&table), ["r_total{id=\"x\"} 4"], "it waited for its name, and died meanwhile");
}

#[test]
fn last_values_stay_as_long_as_the_host_says() {
    let mut table = table(&families());
    let mut host = Host::new("").with(5, "id=\"x\"").with(6, "id=\"y\"");
    let all = [(0, 5, &[][..], 1.0), (1, 5, &[], 2.0), (0, 6, &[], 3.0), (1, 6, &[], 4.0)];
    table.take(&arena(&all), &host, 1.0, false);
    host.of(5).gone = true;
    for _ in 0..3 {
        let taken = table.take(&arena(&[(1, 5, &[], 7.0), (0, 6, &[], 5.0)]), &host, 1.0, false);
        assert_eq!((taken.samples, taken.series, taken.kept), (2, 3, 3));
        let lines = ["c_total{id=\"x\"} 1", "c_total{id=\"y\"} 5", "g{id=\"x\"} 7"];
        assert_eq!(plain(&table), lines, "of who is gone all stays, of who is there what is emitted");
    }
    host.containers.remove(&5);
    let taken = table.take(&arena(&[(1, 5, &[], 7.0), (0, 6, &[], 5.0)]), &host, 1.0, false);
    assert_eq!((taken.kept, taken.refused), (1, vec![(Reason::UnknownContainer, 1)]));
    assert_eq!(plain(&table), ["c_total{id=\"y\"} 5"]);
}

#[test]
fn what_was_counted_once_and_died_shows_0_and_then_its_last_value() {
    let mut table = table(&families());
    let mut host = Host::new("").with(5, "id=\"x\"");
    table.take(&arena(&[(0, 5, &[], 3.0)]), &host, 1.0, true);
    host.of(5).gone = true;
    table.take(&arena(&[]), &host, 1.0, true);
    assert_eq!(plain(&table), ["c_total{id=\"x\"} 0"]);
    table.take(&arena(&[]), &host, 1.0, true);
    assert_eq!(plain(&table), ["c_total{id=\"x\"} 3"]);
}
