//! Checks of what a plugin declares: families, manifest, views.

use gantry_plugin_api::{
    Cell, Column, ContainerRef, Error, Family, Host, Manifest, Need, NoConfig, Plugin, Rows, Sink, Unit,
    View, families,
};
use gantry_plugin_testkit::{Cell as Given, Check, Kit};
use serde_json::json;

families! { ALL:
    GOOD = Family::counter("odd_good_bytes_total", "Fine.").unit(Unit::Bytes);
    NO_TOTAL = Family::counter("odd_events", "A counter.");
    TOTAL = Family::gauge("odd_total", "A gauge.");
    CAMEL = Family::gauge("odd_queueLength", "Camels.").labels(&["queueName"]);
    TYPED = Family::gauge("odd_gauge", "Its type.");
    LINE = Family::gauge("odd_things_count", "As of a histogram.");
    INFO = Family::counter_read("odd_info_total", "Fine: ends in _total.");
    MILLIS = Family::gauge("odd_latency_ms", "Milliseconds.");
    PERCENT = Family::gauge("odd_used_percent", "Percent.");
    UNSAID = Family::gauge("odd_age", "A unit that the name does not say.").unit(Unit::Seconds);
    UNSAID_TOTAL = Family::counter("odd_slept_total", "The same for a counter.").unit(Unit::Seconds);
    UNDECLARED = Family::gauge("odd_size_bytes", "A unit that is not declared.");
    NO_HELP = Family::gauge("odd_helpless", " ");
    BAD = Family::gauge("odd name", "No name.");
    HOST_S = Family::gauge("gantry_odd", "The host's.");
    LABEL = Family::gauge("odd_labelled", "A label of the host.").labels(&["machine_id"]);
    TWICE = Family::gauge("odd_twice", "One label twice.").labels(&["a", "a"]);
    HISTOGRAM = Family::histogram("odd_wait", "Waits.", &[1.0]);
    CLASH = Family::gauge("odd_wait_sum", "A line of the histogram.");
    ELSEWHERE = Family::gauge("elsewhere", "Under no claim.");
}

static VIEWS: [View; 4] = [
    View::new(
        "fine",
        "Rows.",
        &[
            Column::text("name"),
            Column::number("rtt", "seconds"),
            Column::time("at"),
            Column::container("of"),
        ],
    ),
    View::new("Bad View", "", &[]),
    View::new("columns", "Rows.", &[Column::text("A"), Column::number("b", "ms"), Column::text("b")]),
    View::new("odd", "Rows that are wrong.", &[Column::text("text"), Column::number("number", "")]),
];

struct Odd;

impl Plugin for Odd {
    const MANIFEST: Manifest =
        Manifest::new("odd", "1.0.0", "").min_host_api("1.9").claims(&["odd_", "nothing_", "odd"]).needs(&[
            Need::capability("SYS_ADMIN", " "),
            Need::path("proc", "to read"),
            Need::btf("for offsets"),
            Need::btf("for offsets"),
        ]);
    type Config = NoConfig;

    fn families() -> &'static [&'static Family] {
        ALL
    }
    fn views() -> &'static [View] {
        &VIEWS
    }
    fn start(_: NoConfig, _: Host) -> Result<Self, Error> {
        Ok(Self)
    }
    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        sink.node(&LABEL, &["x"], 1);
        Ok(())
    }
    fn view(&mut self, name: &str, rows: &mut Rows<'_>) -> Result<(), Error> {
        let unknown = ContainerRef::from_handle(7).expect("the number is not 0");
        match name {
            "fine" => {
                let row = [Cell::Text("a"), Cell::Number(0.5), Cell::Time(1.0), Cell::Empty];
                // Goes on whatever it is told.
                (0..5).for_each(|_| _ = rows.push(&row));
            }
            _ => {
                rows.push(&[Cell::Text("a")]);
                rows.push(&[Cell::Number(1.0), Cell::Number(f64::NAN)]);
                rows.push(&[Cell::Empty, Cell::Container(unknown)]);
            }
        }
        Ok(())
    }
}

fn lines(report: &gantry_plugin_testkit::Report) -> Vec<String> {
    report.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn families_are_told_by_their_names() {
    let expected = [
        r#"odd: claim "odd" is no prefix of names; use letters, digits and a `_` at the end"#,
        r#"odd name: family name "odd name" is not valid; use at most 200 letters, digits and `_`, no digit first"#,
        r#"gantry_odd: family name "gantry_odd" belongs to the host (gantry); rename it"#,
        r#"odd_labelled: label "machine_id" of family "odd_labelled" is written by the host (gantry); rename it"#,
        r#"odd_twice: label "a" of family "odd_twice" is declared twice; declare it once"#,
        r#"odd_wait_sum: family "odd_wait_sum" would use the name "odd_wait_sum", which family "odd_wait" of odd uses; rename one"#,
        "odd_events: is a counter without _total at its end; name it odd_events_total",
        "odd_total: is a gauge that ends in _total; name it odd, or declare a counter",
        "odd_queueLength: is not in snake_case; name it odd_queuelength",
        r#"odd_queueLength: has a label "queueName", not in snake_case; write it so"#,
        "odd_gauge: says gauge in its name; leave the word out: the type line says it",
        "odd_things_count: ends in _count, as the lines of a histogram or counter do; choose another last word",
        "odd_latency_ms: has the unit ms in its name; give it in seconds, and name it so",
        "odd_used_percent: has the unit percent in its name; give it in ratio, and name it so",
        "odd_age: is declared in seconds and does not say so; name it odd_age_seconds, or declare no unit",
        "odd_slept_total: is declared in seconds and does not say so; name it odd_slept_seconds_total, or declare no unit",
        "odd_size_bytes: ends in bytes and declares no unit; add .unit(Unit::Bytes)",
        "odd_helpless: has no help text; say in one sentence what it shows",
    ];
    let kit = Kit::of::<Odd>();
    assert_eq!(lines(&kit.check_families()), expected);
    let mut running = kit.start("").unwrap();
    let collected = running.collect_unchecked().unwrap();
    assert_eq!(lines(collected.report()), expected, "each collection says so, and no sample repeats it");
    assert!(collected.is_empty());
    assert!(running.collect().is_err());
    assert!(kit.allow(Check::Help, "odd_helpless").check_families().notes()[0].to_string().contains("help"));
}

#[test]
fn the_manifest_is_told_by_its_parts() {
    let report = Kit::of::<Odd>().check_manifest();
    assert_eq!(
        lines(&report),
        [
            "manifest: description: is empty; say in one line what the plugin shows",
            "manifest: min_host_api: 1.9 is newer than the 1.0 it was built with; lower it",
            "manifest: needs: capability \"SYS_ADMIN\" has no reason; say what it is for: an operator reads it",
            "manifest: needs: capability \"SYS_ADMIN\" is none; write CAP_NAME",
            "manifest: needs: path \"proc\" is none; write an absolute path",
            "manifest: needs: btf \"vmlinux\" is named twice; name it once",
            "manifest: claims: \"odd\" does not end in _; claim \"odd_\"",
            "elsewhere: lies under none of the claims odd_, nothing_, odd; name it odd_elsewhere, or claim its \
             prefix too: another plugin may claim it, and the family is refused then",
        ]
    );
    let notes: Vec<String> = report.notes().iter().map(ToString::to_string).collect();
    assert!(notes.iter().any(|note| note == "manifest: claims: \"nothing_\" covers no declared family"));
    let all = Kit::of::<Odd>().check().unwrap_err().problems().len();
    assert_eq!(all, 8 + 18 + 6);
}

#[test]
fn views_are_told_by_their_columns() {
    assert_eq!(
        lines(&Kit::of::<Odd>().check_views()),
        [
            "view Bad View: is no name for a command line; use a-z, 0-9, _ and -",
            "view Bad View: has no help; say in one line what its rows are",
            "view Bad View: has no columns; declare some",
            "view columns, column A: is not in snake_case; it is a key of the JSON",
            "view columns, column b: has the unit \"ms\"; give it in a base unit: [\"seconds\", \"bytes\", \"ratio\", \"cores\", \"celsius\"]",
            "view columns, column b: is there twice; the JSON has each key once",
        ]
    );
}

#[test]
fn rows_are_bounded_and_typed() {
    let kit = Kit::of::<Odd>();
    let mut running = kit.start("").unwrap();
    let table = running.view("fine").unwrap();
    assert_eq!((table.rows().len(), table.columns().len()), (5, 4));
    assert_eq!(table.cell(1, "rtt"), &Given::Number(0.5));
    assert_eq!((table.text(0, "name"), table.text(0, "of")), ("a".to_owned(), String::new()));
    assert_eq!(table.row_where("rtt", "0.5"), Some(0));
    assert_eq!(table.to_json()["rows"][0], json!({ "name": "a", "rtt": 0.5, "at": 1.0, "of": null }));
    assert_eq!(table.to_json()["columns"][1], json!({ "name": "rtt", "kind": "number", "unit": "seconds" }));
    let bounded = running.view_unchecked("fine", 2).unwrap();
    assert_eq!(bounded.rows().len(), 2);
    assert_eq!(
        bounded.report().notes()[0].to_string(),
        "view fine: 3 rows came after the host wanted no more; stop where Rows::push gives false"
    );
    let unknown = running.view("nothing").unwrap_err().to_string();
    assert!(unknown.starts_with("view: no view \"nothing\" is declared; there are [\"fine\""), "{unknown}");
}

#[test]
fn rows_that_are_wrong_are_told_by_their_place() {
    let failure = Kit::of::<Odd>().start("").unwrap().view("odd").unwrap_err();
    assert_eq!(
        failure.to_string().lines().collect::<Vec<_>>(),
        [
            "view odd, row 0: has 1 cells for 2 columns; give one for each",
            "view odd, column text, row 1: is a number in a column of kind text; make both alike",
            "view odd, column number, row 1: is NaN, which JSON has not; use Cell::Empty",
            "view odd, column number, row 2: is a container in a column of kind number; make both alike",
            "view odd, column number, row 2: is container 7, which the host does not know",
        ]
    );
}
