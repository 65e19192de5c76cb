//! SIGTERM in each state of a plugin's life: the agent ends in time and well,
//! and leaves nothing behind.

mod support;

use support::compiled::{HANGS, compiled};
use support::day::{Day, after, fault, side_by_side};
use support::http::raw;
use support::private_dir;
use support::process::children;
use support::watch::Rule;

/// So long that nothing is given up before the agent ends.
const PATIENT: &str = "20s";

/// With this one a call hangs after a second.
const SHORT: &str = "100ms";

/// An agent over a fault, in a state.
fn day(deadline: &str, config: &str, state: &str) -> Day {
    let mut day = Day::new(deadline, config);
    day.agent.wait_for_state("hostile", state);
    day
}

#[test]
fn sigterm_while_it_is_loaded() {
    let dir = private_dir();
    let Some(file) = compiled(dir.path(), HANGS) else { return };
    let mut day = Day::of_file(dir, file, "", PATIENT, "", "/metrics", Rule::NeverBack);
    assert_eq!(day.agent.state("hostile").0, "discovered");
    assert_eq!(children(day.agent.pid()).len(), 1, "the child that tries it");
    day.ends_well();
}

#[test]
fn sigterm_while_it_starts() {
    // An agent waits 5 s for each, and serves then: side by side.
    let cases = [("probe", "created"), ("start", "created"), ("collect", "started"), ("activate", "ready")];
    side_by_side(&cases, |(at, state)| {
        let mut day = day(PATIENT, &fault("hang", at, ""), state);
        day.ends_well();
        day.agent.wait_for_log("plugin node is stopped");
    });
}

#[test]
fn sigterm_while_it_runs() {
    let mut day = day(PATIENT, "", "running");
    day.recovers_from(2.0);
    day.ends_well();
    for plugin in ["node", "hostile"] {
        day.agent.wait_for_log(&format!("plugin {plugin} is stopped"));
    }
}

#[test]
fn sigterm_while_a_collection_is_under_way() {
    let config = fault("hang", "collect", after("collect"));
    let mut day = Day::watched(PATIENT, &config, "/metrics?exclude[]=hostile", Rule::NeverBack);
    let address = day.agent.address;
    let scraper = std::thread::spawn(move || {
        let scrape = b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        // The last one is answered or cut off; the end waits for none of them.
        std::iter::repeat_with(|| raw(address, scrape)).take_while(Result::is_ok).count()
    });
    day.agent.wait_for_log("hangs on request in Collect");
    day.ends_well();
    assert!(scraper.join().is_ok());
}

#[test]
fn sigterm_while_it_is_degraded() {
    let slow = "fault = \"slow\"\nat = \"collect\"\ndelay = \"150ms\"\n";
    let mut day = day(SHORT, slow, "degraded");
    day.ends_well();
    day.agent.wait_for_log("plugin hostile is stopped");
}

#[test]
fn sigterm_while_it_waits_to_be_tried_again() {
    for (deadline, fault, at, state) in [
        (PATIENT, "error", "start", "failed"),
        (SHORT, "hang", "start", "hung"),
        (PATIENT, "unsupported", "probe", "unsupported"),
    ] {
        let mut day = day(deadline, &support::day::fault(fault, at, ""), state);
        day.ends_well();
        day.agent.wait_for_log("plugin node is stopped");
    }
}

#[test]
fn sigterm_while_it_does_not_come_back_from_its_stop() {
    let mut day = Day::watched(PATIENT, &fault("hang", "stop", ""), "/metrics", Rule::MayBeginAnew);
    day.recovers_from(0.0);
    let socket = day.agent.socket();
    let disable = std::thread::spawn(move || {
        support::control::ask(&socket, "POST", "plugins/hostile/disable?until_restart")
    });
    day.agent.wait_for_state("hostile", "stopping");
    day.ends_well();
    day.agent.wait_for_log("plugin node is stopped");
    // Whoever waits is told by an answer or by the end of the connection.
    let _ = disable.join().expect("no panic");
}

#[test]
fn sigterm_while_it_is_disabled() {
    let mut day = Day::watched(PATIENT, "", "/metrics", Rule::MayBeginAnew);
    day.agent.command("plugins/hostile/disable?until_restart");
    assert_eq!(day.agent.state("hostile").0, "disabled");
    day.ends_well();
}

#[test]
fn sigterm_while_its_stop_and_its_threads_misbehave() {
    side_by_side(
        &[("hang", "stop"), ("hang", "drop"), ("panic", "stop"), ("leave_thread", "stop")],
        |(bad, at)| {
            let mut day = day(PATIENT, &fault(bad, at, ""), "running");
            day.recovers_from(0.0);
            day.ends_well();
            day.agent.wait_for_log("plugin node is stopped");
        },
    );
}

#[test]
fn sigterm_while_a_reload_starts_something() {
    let mut day = day(PATIENT, &fault("error", "start", ""), "failed");
    // The new section is loaded, and hangs in its start, while the reload waits.
    day.write(PATIENT, &fault("hang", "start", ""));
    let socket = day.agent.socket();
    let reload = std::thread::spawn(move || support::control::ask(&socket, "POST", "reload"));
    day.agent.wait_for_state("hostile", "created");
    day.ends_well();
    day.agent.wait_for_log("plugin node is stopped");
    let _ = reload.join().expect("no panic");
}
