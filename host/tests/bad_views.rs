//! Views that are endless, slow, broken or not there: they are bounded and
//! answered or refused, and nobody but the one who asked notices.

mod support;

use serde_json::{Value, json};
use support::agent::Agent;
use support::day::{Day, fault};
use support::http::{Answer, get};
use support::watch::Rule;
use support::{copy_to, library, private_dir};

const DEADLINE: &str = "10s";

/// A view over both doors.
fn both(agent: &Agent, plugin: &str, view: &str) -> [Answer; 2] {
    [get(agent.address, &format!("/plugins/{plugin}/{view}")), agent.view(plugin, view)]
}

fn json(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Whatever is in a cell, it steers no terminal.
    let line = answer.body.strip_suffix(b"\n").unwrap_or(&answer.body);
    assert!(!line.iter().any(|byte| *byte < b' '), "control characters are escaped");
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[test]
fn a_million_rows_are_cut_and_that_is_said() {
    let mut day = Day::new(DEADLINE, "count = 1000000\n");
    for answer in both(&day.agent, "hostile", "state") {
        let view = json(&answer);
        assert_eq!(view["truncated"], true);
        let rows = view["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 10_000);
        assert_eq!(rows[9_999]["fault"], "None\u{1b}[31m");
        assert!(rows[9_999]["collections"].is_number());
    }
    assert_eq!(json(&day.agent.view("hostile", "cells"))["truncated"], false);
    day.ends_well();
}

#[test]
fn endless_texts_are_cut_and_that_is_said() {
    for (bytes, count) in [(64 << 20, 1), (1 << 20, 100), (100, 1_000_000)] {
        let mut day = Day::new(DEADLINE, &format!("bytes = {bytes}\ncount = {count}\n"));
        for answer in both(&day.agent, "hostile", "texts") {
            let size = answer.body.len();
            let view = json(&answer);
            assert_eq!(view["truncated"], true, "{count} of {bytes}");
            assert!(size < 12 << 20, "{count} of {bytes}: {size} bytes were answered");
            let first = &view["rows"][0];
            assert!(first["text"].as_str().is_some_and(|text| text.starts_with("yyy")), "{count} of {bytes}");
        }
        day.ends_well();
    }
}

#[test]
fn cells_that_do_not_fit_their_columns_are_empty() {
    let mut day = Day::new(DEADLINE, "");
    for answer in both(&day.agent, "hostile", "cells") {
        let view = json(&answer);
        let row = |text: Value, number: Value, time: Value| json!({"text": text, "number": number, "time": time, "container": null});
        let null = Value::Null;
        let numbers = |number: Value| row("numbers".into(), number.clone(), number);
        let mut expected = vec![
            row(null.clone(), null.clone(), null.clone()),
            row("too few".into(), null.clone(), null.clone()),
            row("too many".into(), null.clone(), null.clone()),
            numbers(null.clone()),
            numbers(null.clone()),
            numbers(null.clone()),
            numbers(f64::MAX.into()),
            numbers((-0.0).into()),
            row(null.clone(), null.clone(), null.clone()),
            row(null.clone(), null.clone(), null.clone()),
            row(null.clone(), null.clone(), null.clone()),
            row("last".into(), 2.5.into(), 3.5.into()),
        ];
        // A text stands where a container is expected: its id, as far as the host knows.
        expected[2]["container"] = "too many".into();
        expected[9]["container"] = "not a container".into();
        assert_eq!(view["rows"], Value::Array(expected), "{}", answer.text());
        let kinds: Vec<&Value> =
            view["columns"].as_array().expect("columns").iter().map(|column| &column["kind"]).collect();
        assert_eq!(kinds, ["text", "number", "time", "container"]);
    }
    day.ends_well();
}

#[test]
fn a_view_that_hangs_is_answered_in_its_deadline_and_holds_up_no_other_plugin() {
    let mut day = Day::new("300ms", &fault("hang", "view", ""));
    let asked: Vec<_> = (0..8)
        .map(|_| {
            let address = day.agent.address;
            std::thread::spawn(move || get(address, "/plugins/hostile/state"))
        })
        .collect();
    for answer in asked {
        let answer = answer.join().expect("no panic");
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert!(answer.text().contains("did not answer within 300ms"), "{}", answer.text());
    }
    // Long before it is given up.
    assert_ne!(day.agent.state("hostile").0, "hung");
    // It has a thread of its own: node's views are asked, and it has none of this name.
    for answer in both(&day.agent, "node", "state") {
        assert_eq!(answer.status, 404);
    }
    let reasons = day.agent.wait_for_state("hostile", "hung");
    assert!(reasons.contains("view did not come back within 3s"), "{reasons}");
    for answer in both(&day.agent, "hostile", "state") {
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("hostile is hung: view did not come back"), "{}", answer.text());
    }
    day.go_on();
    let before = day.collections();
    day.recovers_from(before);
    for answer in both(&day.agent, "hostile", "state") {
        json(&answer);
    }
    day.ends_well();
}

#[test]
fn a_view_that_fails_is_said_and_costs_nothing() {
    let mut day = Day::watched(DEADLINE, &fault("long_error", "view", ""), "/metrics", Rule::AlwaysThere);
    for answer in both(&day.agent, "hostile", "state") {
        assert_eq!(answer.status, 500);
        assert!(answer.text().contains("view state: "), "{}", answer.text());
        assert!(!answer.text().trim_end().contains(['\n', '\u{1b}']), "it stays one line");
        assert!(answer.body.len() < 64 << 10, "an error is for people: {} bytes", answer.body.len());
    }
    let row = day.agent.plugin("hostile");
    assert_eq!((&row["state"], &row["failures"]), (&"running".into(), &0.into()));
    day.ends_well();
}

#[test]
fn views_that_are_not_there_are_refused_by_name() {
    let mut day = Day::watched(DEADLINE, "", "/metrics", Rule::MayBeginAnew);
    let [http, control] = both(&day.agent, "hostile", "stat");
    assert_eq!((http.status, control.status), (404, 404));
    assert!(control.text().contains("there are: services, state, cells, texts"), "{}", control.text());
    let [http, control] = both(&day.agent, "hostil", "state");
    assert_eq!((http.status, control.status), (404, 404));
    assert!(control.text().contains("hostile"), "{}", control.text());
    for strange in ["%00", "..%2f..%2fnode", "state%0a", "stat%C3%A9"] {
        for answer in both(&day.agent, "hostile", strange) {
            assert!((400..500).contains(&answer.status), "{strange}: {}", answer.status);
        }
    }
    day.agent.command("plugins/hostile/disable?until_restart");
    for answer in both(&day.agent, "hostile", "state") {
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("hostile is disabled"), "{}", answer.text());
    }
    day.write(DEADLINE, &fault("error", "start", ""));
    day.reload();
    day.agent.wait_for_state("hostile", "failed");
    for answer in both(&day.agent, "hostile", "state") {
        assert_eq!(answer.status, 503);
        let why = "hostile is failed: an error on request in Start";
        assert!(answer.text().contains(why), "{}", answer.text());
    }
    day.ends_well();
}

#[test]
fn views_that_are_not_for_the_network_are_not_served_there() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let mut day = Day::of_file(dir, file, "views = \"never\"", DEADLINE, "", "/metrics", Rule::AlwaysThere);
    for path in ["/plugins/hostile/state", "/plugins/hostile/nothing", "/plugins/nothing/state"] {
        let answer = get(day.agent.address, path);
        assert_eq!(answer.status, 403);
        assert!(answer.text().contains("host.views"), "{}", answer.text());
    }
    json(&day.agent.view("hostile", "state"));
    day.ends_well();
}
