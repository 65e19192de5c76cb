//! Questions to a collection, and golden files.

use gantry_plugin_api::{
    ContainerRef, Error, Family, Host, Manifest, NoConfig, Plugin, Sink, Unit, families,
};
use gantry_plugin_testkit::{Kit, NewContainer};

families! { ALL:
    WAIT = Family::histogram("gold_wait_seconds", "Waits.", &[0.5, 1.0]).unit(Unit::Seconds).labels(&["kind"]);
    SIZE = Family::gauge("gold_size_bytes", "Sizes.").unit(Unit::Bytes).labels(&["path"]).per_container();
    HOST = Family::gauge("gold_host_info", "Another one's on each machine.").labels(&["name"]);
    EVENTS = Family::counter("gold_events_total", "Kept, in no order.").labels(&["kind"]);
}

struct Gold(Host);

impl Plugin for Gold {
    const MANIFEST: Manifest = Manifest::new("gold", "1.0.0", "Shines").claims(&["gold_"]);
    type Config = NoConfig;

    fn families() -> &'static [&'static Family] {
        ALL
    }
    fn start(_: NoConfig, host: Host) -> Result<Self, Error> {
        Ok(Self(host))
    }
    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        for kind in ["c", "a", "b"] {
            self.0.metrics().counter(&EVENTS, None, &[kind]).inc();
        }
        let mut containers: Vec<ContainerRef> = self.0.containers();
        containers.reverse();
        for container in containers {
            for path in ["/z", "/a \"b\"\n"] {
                sink.container(&SIZE, container, &[path], path.len());
            }
        }
        sink.histogram(&WAIT, None, &["x"], &[1, 2], 4.25, 3);
        sink.node(&HOST, &["here"], 1);
        Ok(())
    }
}

fn kit() -> Kit {
    let kit = Kit::of::<Gold>();
    kit.identity().declare(NewContainer::new("/docker/a").app_id("one"));
    kit.identity().declare(NewContainer::new("/docker/b").app_id("two"));
    kit
}

const GOLDEN: &str = "tests/golden/gold.prom";

#[test]
fn the_text_is_the_host_s_and_sorted() {
    let collected = kit().start("").unwrap().collect().unwrap().without(&["_host_"]);
    collected.assert_golden(GOLDEN);
    let second = kit().start("").unwrap().collect().unwrap().without(&["_host_"]);
    assert_eq!(collected.text(), second.text());
}

#[test]
fn a_difference_is_shown_by_its_lines() {
    let collected = kit().start("").unwrap().collect().unwrap();
    let failure = collected.compare_golden(GOLDEN).unwrap_err().to_string();
    let expected = "tests/golden/gold.prom differs from what was emitted; run the test with GANTRY_BLESS=1 \
                    where the change is meant\n";
    assert!(failure.starts_with(expected), "{failure}");
    assert!(failure.contains("\n+gold_host_info{name=\"here\"} 1\n"), "{failure}");
    let gone = failure.lines().filter(|line| line.starts_with('-') && !line.starts_with("---"));
    assert_eq!(gone.count(), 0, "{failure}");
    let missing = collected.compare_golden("tests/golden/none.prom").unwrap_err().to_string();
    assert!(missing.ends_with("run the test with GANTRY_BLESS=1 to write it"), "{missing}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("golden/new.prom");
    collected.write_golden(&file).unwrap();
    collected.compare_golden(&file).unwrap();
}

#[test]
fn series_are_asked_for_by_any_of_their_labels() {
    let collected = kit().start("").unwrap().collect().unwrap();
    assert_eq!(collected.get(r#"gold_size_bytes{container_id="/docker/a",path="/z"}"#), 2.0);
    assert_eq!(collected.get(r#"gold_size_bytes{path="/a \"b\"\n",app_id="two"}"#), 7.0);
    assert_eq!(collected.get("gold_wait_seconds_count"), 3.0);
    assert_eq!(collected.get("gold_wait_seconds_sum{kind=\"x\"}"), 4.25);
    assert_eq!(collected.get("gold_wait_seconds_bucket{le=\"1\"}"), 2.0);
    assert_eq!(collected.get("gold_wait_seconds_bucket{le=\"+Inf\"}"), 3.0);
    assert_eq!(collected.histogram("gold_wait_seconds").cumulative, [1, 2]);
    assert_eq!(collected.find("gold_size_bytes{path=\"/nothing\"}"), None);
    assert_eq!(collected.label_values("gold_events_total", "kind"), ["a", "b", "c"]);
    assert_eq!(
        collected.label_values("gold_size_bytes", "container_id"),
        ["/docker/a", "/docker/a", "/docker/b", "/docker/b"]
    );
    assert_eq!((collected.sum("gold_events_total"), collected.len()), (3.0, 9));
    assert!(collected.has_family("gold_host_info") && !collected.has_family("gold"));
}

#[test]
#[should_panic(
    expected = "no gold_events_total{kind=\"z\"}; the family has [\n    \"gold_events_total{kind=\\\"a\\\"}\""
)]
fn a_missing_series_is_shown_its_kin() {
    kit().start("").unwrap().collect().unwrap().get("gold_events_total{kind=\"z\"}");
}

#[test]
#[should_panic(expected = "gold_events_total names 3 series; name more labels of one")]
fn a_series_is_named_by_enough_labels() {
    kit().start("").unwrap().collect().unwrap().get("gold_events_total");
}

#[test]
#[should_panic(expected = "names no series: a value has no quotes")]
fn what_is_no_series_is_said() {
    kit().start("").unwrap().collect().unwrap().get("gold_events_total{kind=a}");
}
