//! A plugin that panics, in each of its calls and in other ways: the instance
//! is lost, what it kept is not, and nobody else notices.

mod support;

use support::agent::sample;
use support::day::{Day, after, fault, side_by_side};
use support::watch::Rule;

/// Long enough that nothing here is late.
const DEADLINE: &str = "10s";

const PANICS: &str = "gantry_plugin_panics_total{plugin=\"hostile\"";

#[test]
fn a_panic_in_any_call_costs_one_instance() {
    let calls = [
        ("probe", "Probe"),
        ("start", "Start"),
        ("activate", "Activate"),
        ("collect", "Collect"),
        ("view", "View"),
        ("reconfigure", "Reconfigure"),
        ("health", "Health"),
        ("snapshot", "Snapshot"),
    ];
    side_by_side(&calls, |(at, call)| {
        let config = fault("panic", at, after(at));
        let mut day = Day::new(DEADLINE, &config);
        let answer = day.provoke(at, DEADLINE, &config);
        if let Some(answer) = answer.filter(|_| *at == "view") {
            assert_eq!(answer.status, 500);
            assert!(answer.text().contains("view: panicked"), "{}", answer.text());
        }
        // The state may be over already: a reload does not wait for the back-off.
        let line = day.agent.wait_for_log("plugin hostile is failed: ");
        assert!(line.contains(&format!("{at}: panicked: a fault on request in {call}")), "{line}");
        assert!(line.contains("it is tried again in 1 s"), "{line}");
        day.agent.wait_until("the panic is counted", |agent| {
            sample(&agent.scrape(), PANICS).is_some_and(|panics| panics >= 1.0)
        });
        let before = day.collections();
        day.go_on();
        day.recovers_from(before);
        assert!(
            sample(&day.agent.scrape(), "gantry_plugin_restarts_total{plugin=\"hostile\"")
                .is_some_and(|restarts| restarts >= 1.0),
            "{at}"
        );
        if *at == "reconfigure" {
            assert_eq!(day.rows(), 7, "the new instance has the configuration of the file");
        }
        day.ends_well();
    });
}

#[test]
fn a_panic_in_stop_or_drop_keeps_nothing_from_stopping() {
    side_by_side(&[("stop", "Stop", 1.0), ("drop", "Drop", 0.0)], |(at, call, panics)| {
        let config = fault("panic", at, "");
        let mut day = Day::new(DEADLINE, &config);
        day.collects(2.0);
        let answer = day.provoke(at, DEADLINE, &config).expect("an answer");
        assert!(answer.text().contains("hostile: running"), "{}", answer.text());
        day.agent.wait_for_log(&format!("panicked: a fault on request in {call}"));
        // What is caught while an instance is dropped is in the log alone.
        assert_eq!(sample(&day.agent.scrape(), PANICS), Some(*panics), "{at}");
        let before = day.collections();
        day.recovers_from(before);
        // At the end of the agent as well.
        day.ends_well();
    });
}

#[test]
fn a_panic_in_its_stop_is_why_a_disabled_plugin_says_so() {
    let config = fault("panic", "stop", "");
    let mut day = Day::watched(DEADLINE, &config, "/metrics", Rule::MayBeginAnew);
    day.collects(0.0);
    let answer = day.agent.command("plugins/hostile/disable?until_restart");
    assert!(answer.text().contains("stop: panicked"), "{}", answer.text());
    let (state, reasons) = day.agent.state("hostile");
    assert_eq!(state, "disabled");
    assert!(
        reasons.contains("stop: panicked: stop: panicked") || reasons.contains("a fault on request"),
        "{reasons}"
    );
    day.go_on();
    let answer = day.agent.command("plugins/hostile/enable?until_restart");
    assert!(answer.text().contains("hostile: running"), "{}", answer.text());
    day.ends_well();
}

#[test]
fn a_payload_that_panics_when_it_is_dropped_is_one_panic() {
    let mut day = Day::new(DEADLINE, &fault("panic_payload", "collect", after("collect")));
    let reasons = day.agent.wait_for_state("hostile", "failed");
    assert!(reasons.contains("collect: panicked"), "{reasons}");
    let before = day.collections();
    day.go_on();
    day.recovers_from(before);
    assert_eq!(sample(&day.agent.scrape(), PANICS), Some(1.0));
    day.ends_well();
}

#[test]
fn a_panic_on_a_thread_of_its_own_is_logged_and_nothing_else() {
    let mut day =
        Day::watched(DEADLINE, &fault("panic_thread", "collect", ""), "/metrics", Rule::AlwaysThere);
    day.agent.wait_for_log("thread \"hostile-worker\" panicked: a fault on request on a thread");
    let before = day.collections();
    day.recovers_from(before);
    assert_eq!(sample(&day.agent.scrape(), PANICS), Some(0.0));
    assert_eq!(day.agent.plugin("hostile")["failures"], 0);
    day.ends_well();
}

#[test]
fn a_panic_while_panicking_holds_its_thread_for_ever_and_nobody_else() {
    let mut day = Day::new("100ms", &fault("panic_twice", "collect", after("collect")));
    day.agent.wait_for_log("cannot be unwound; it is held for ever");
    let reasons = day.agent.wait_for_state("hostile", "hung");
    assert!(reasons.contains("collect did not come back within 1s"), "{reasons}");
    let before = day.collections();
    day.go_on();
    day.recovers_from(before);
    // A process of its own is killed, and holds nothing.
    let held = if support::isolation() == "process" { 0.0 } else { 1.0 };
    assert_eq!(sample(&day.agent.scrape(), "gantry_plugin_hung_threads{plugin=\"hostile\""), Some(held));
    day.ends_well();
}
