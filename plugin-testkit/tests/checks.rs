//! Each check of samples seen failing, with what it says.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::{Misbehaving, asked};
use gantry_plugin_testkit::{Check, Collected, Kit, NewContainer};
use serde_json::json;

/// What one collection of a plugin that was asked for this is told.
fn told(what: &str) -> Vec<String> {
    let kit = Kit::of::<Misbehaving>();
    kit.identity().declare(NewContainer::new("/docker/web").app_id("web"));
    let mut running = kit.start(asked(what)).unwrap();
    let collected = running.collect_unchecked().unwrap();
    assert_eq!(collected.get("bad_good"), 1.0, "{what}: the good sample is there whatever happens");
    collected.report().problems().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn is_told(what: &str, expected: &[&str]) {
    assert_eq!(told(what), expected, "{what}");
}

#[test]
fn a_good_collection_has_no_problem() {
    is_told("nothing", &[]);
}

#[test]
fn labels() {
    is_told(
        "too few labels",
        &[
            r#"bad_labelled{one="x"}: has 1 label values for the 2 labels [one, two]; give one for each, in that order"#,
        ],
    );
    is_told(
        "too many labels",
        &[
            r#"bad_labelled{one="x",two="y",?="z"}: has 3 label values for the 2 labels [one, two]; give one for each, in that order"#,
        ],
    );
    is_told(
        "utf8",
        &[
            r#"bad_labelled{one="x",two="\\xff"}: label values of ["two"] are not UTF-8; pass String::from_utf8_lossy"#,
        ],
    );
    let long = told("a long label");
    assert!(long[0].ends_with("a label value is longer than 16384 bytes; cut it"), "{long:?}");
    assert!(long[0].len() < 1000, "whatever a label holds, a problem is a line");
}

#[test]
fn values() {
    for (what, value) in [("negative", "-1"), ("nan", "NaN"), ("infinite", "inf")] {
        let expected = format!(
            "bad_read_total: is {value} and a counter; a counter is a finite number of at least 0: skip it"
        );
        is_told(what, &[&expected]);
    }
    is_told("info", &["bad_build_info: is 2 and says by its name that it is always 1; emit 1"]);
}

#[test]
fn duplicates() {
    is_told(
        "duplicates",
        &[
            r#"bad_labelled{one="a",two="b"}: was emitted more than once in one collection; emit each series once"#,
        ],
    );
}

#[test]
fn families_that_are_not_declared() {
    is_told("undeclared", &["family 4294967295: is none of the 6 declared; list it in Plugin::families()"]);
}

#[test]
fn containers() {
    is_told(
        "no container",
        &["bad_of_container: is per_container() and has no container; use sink.container"],
    );
    is_told(
        "a container too many",
        &[
            r#"bad_labelled{one="a",two="b",container_id="/docker/web",app_id="web"}: is a family of the node with a container; declare it per_container() or use sink.node"#,
        ],
    );
    is_told(
        "an unknown container",
        &["bad_of_container of container 7: the host knows no such container; take handles from the host"],
    );
}

#[test]
fn histograms() {
    let is = |what: &str, expected: &str| {
        is_told(what, &[&format!("bad_wait_seconds: makes no histogram: {expected}")]);
    };
    is("falling counts", "its counts [5, 3] fall; each counts what is at or below its bound");
    is("too few counts", "1 counts for 2 bounds; give one a bound, without +Inf");
    is("more than all", "[1, 9] are more than its count 2; count each observation once");
    is("a sum of nan", "its sum is NaN; leave NaN out of what is observed");
    is("falling bounds", "its bounds [1.0, 0.1] do not rise; sort them, each once");
    is_told(
        "a number for a histogram",
        &["bad_wait_seconds: is a histogram and was emitted as a number; use sink.histogram"],
    );
    is_told(
        "a histogram for a number",
        &["bad_read_total: is a counter and was emitted as a histogram; use sink.node"],
    );
}

#[test]
fn what_went_back() {
    let kit = Kit::of::<Misbehaving>();
    let config = |read: f64, waits: [u64; 3]| json!({ "read": read, "waits": waits });
    let mut running = kit.start(config(5.0, [1, 2, 3])).unwrap();
    let remedy = "keep it in host.metrics(), which hands it over, or hand its value over yourself";
    let mut then = |read: f64, waits: [u64; 3]| {
        running.reconfigure(config(read, waits)).unwrap();
        let collected = running.collect_unchecked().unwrap();
        collected.report().problems().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(then(5.0, [1, 2, 3]), [""; 0]);
    assert_eq!(
        then(4.5, [1, 2, 3]),
        ["bad_read_total: a counter that went back from 5 to 4.5; hold its last value where what it is \
             read from is corrected downwards"]
    );
    assert_eq!(then(4.5, [1, 2, 3]), [""; 0], "it is told once");
    assert_eq!(
        then(5.0, [0, 2, 3]),
        [format!("bad_wait_seconds: a histogram whose bucket le=0.1 went back from 1 to 0; {remedy}")]
    );
    assert_eq!(
        then(5.0, [0, 2, 2]),
        [format!("bad_wait_seconds: a histogram whose count went back from 3 to 2; {remedy}")]
    );
}

#[test]
fn what_is_skipped() {
    is_told(
        "skipped",
        &[
            "unreadable: the plugin skipped 2 under this reason; mend the fixture, or Kit::allow(Check::Skipped, \"\")",
        ],
    );
}

#[test]
fn caps() {
    let kit = Kit::of::<Misbehaving>().max_series(10);
    let mut running = kit.start(asked("a flood")).unwrap();
    let failure = running.collect().unwrap_err();
    assert_eq!(
        failure.to_string(),
        "the collection: 93 samples are over the cap of 10 series; use labels with fewer values"
    );
    assert_eq!(failure.problems()[0].check(), Check::Cap);
    let mut running = kit.start(json!({ "ask": "a flood", "count": 5000 })).unwrap();
    let failure = running.collect().unwrap_err().to_string();
    assert!(failure.ends_with("found no room in one collection; emit fewer"), "{failure}");
}

#[test]
fn many_problems_are_counted() {
    let told = told("many");
    assert_eq!(told.len(), 51);
    assert_eq!(told[50], "…: and 50 problems more; mend these first");
}

#[test]
fn what_is_allowed_is_noted() {
    let kit = Kit::of::<Misbehaving>().allow(Check::Skipped, "unread").allow(Check::Value, "other_");
    let collected = kit.start(asked("skipped")).unwrap().collect().unwrap();
    assert_eq!(collected.skipped()["unreadable"], 2);
    assert_eq!(collected.report().notes()[0].check(), Check::Skipped);
    let refused = kit.start(asked("info")).unwrap().collect().unwrap_err();
    assert_eq!(refused.problems()[0].subject(), "bad_build_info");
}

#[test]
fn samples_of_a_container_that_is_gone_are_noted() {
    let kit = Kit::of::<Misbehaving>();
    let web = kit.identity().declare(NewContainer::new("/docker/web"));
    let mut running = kit.start(asked("each container")).unwrap();
    assert_eq!(running.collect().unwrap().sum("bad_of_container"), 1.0);
    kit.identity().vanish(web);
    let collected = running.collect().unwrap();
    assert!(collected.report().notes().is_empty(), "it is gone from the list");
    let collected = kit.emitted(|sink| sink.container(&common::OF_CONTAINER, web, &[], 1));
    let note = collected.report().notes()[0].to_string();
    assert!(note.contains("is of a container that is gone; forget it"), "{note}");
}

/// The lines of containers.
fn of_containers(collected: &Collected) -> Vec<String> {
    let text = collected.text();
    text.lines().filter(|line| line.starts_with("bad_of_container{")).map(str::to_owned).collect()
}

#[test]
fn the_last_values_of_a_container_that_is_gone_stay_in_the_text() {
    let kit = Kit::of::<Misbehaving>();
    let [web, db] = ["/docker/web", "/docker/db"].map(|id| kit.identity().declare(NewContainer::new(id)));
    let mut running = kit.start(asked("each container")).unwrap();
    let line = |id: &str| format!("bad_of_container{{container_id=\"{id}\",app_id=\"{id}\"}} 1");
    let both = [line("/docker/db"), line("/docker/web")];
    assert_eq!(of_containers(&running.collect().unwrap()), both);
    kit.identity().vanish(db);
    for _ in 0..2 {
        let collected = running.collect().unwrap();
        assert_eq!(collected.of_family("bad_of_container").count(), 1, "one is emitted");
        assert_eq!(of_containers(&collected), both, "and both are shown");
    }
    kit.identity().forget(db);
    assert_eq!(of_containers(&running.collect().unwrap()), both[1..]);
    let refused = kit.emitted(|sink| sink.container(&common::OF_CONTAINER, db, &[], 1));
    assert!(refused.found(Check::UnknownContainer));
    kit.identity().vanish(web);
    kit.identity().declare(NewContainer::new("/docker/web"));
    assert_eq!(of_containers(&running.collect().unwrap()), both[1..], "the newcomer takes its place");
}

#[test]
fn containers_that_share_an_id_are_summed() {
    let kit = Kit::of::<Misbehaving>();
    for _ in 0..2 {
        kit.identity().declare(NewContainer::new("/docker/web"));
    }
    let collected = kit.start(asked("each container")).unwrap().collect().unwrap();
    assert_eq!(collected.of_family("bad_of_container").count(), 2);
    assert!(of_containers(&collected)[0].ends_with("app_id=\"/docker/web\"} 2"), "{collected:?}");
}

#[test]
fn families_that_never_came_are_listed() {
    let mut running = Kit::of::<Misbehaving>().start(asked("nothing")).unwrap();
    running.collect().unwrap();
    assert_eq!(running.never_emitted(), ["bad_labelled", "bad_of_container", "bad_build_info"]);
}
