//! Reloads at the wrong time, and many of them: none is lost, all are answered,
//! and what the file said last is in force.

mod support;

use rustix::process::Signal;
use support::agent::{Agent, sample};
use support::control::ask;
use support::day::{Day, after, fault};
use support::http::{Answer, get};
use support::watch::Rule;

const DEADLINE: &str = "10s";
const SHORT: &str = "100ms";

/// A reload on a thread of its own.
fn begin(agent: &Agent) -> std::thread::JoinHandle<Answer> {
    let socket = agent.socket();
    std::thread::spawn(move || ask(&socket, "POST", "reload").expect("an answer"))
}

/// The fixture's view has as many rows as the table in force says.
fn in_force(day: &mut Day, rows: usize) {
    let until = std::time::Instant::now() + support::http::PATIENCE;
    while day.rows() != rows {
        assert!(std::time::Instant::now() < until, "{} rows, not {rows}", day.rows());
        day.agent.wait_for_state("hostile", "running");
    }
}

#[test]
fn hang_ups_that_come_all_at_once_end_in_what_the_file_says() {
    let mut day = Day::watched(DEADLINE, "applies = true\ncount = 1\n", "/metrics", Rule::AlwaysThere);
    for count in 2..=40 {
        day.write(DEADLINE, &format!("applies = true\ncount = {count}\n"));
        day.agent.signal(Signal::HUP);
    }
    in_force(&mut day, 40);
    assert_eq!(sample(&day.agent.scrape(), "gantry_plugin_restarts_total{plugin=\"hostile\""), Some(0.0));
    day.ends_well();
}

#[test]
fn reloads_side_by_side_are_all_answered() {
    // Each change needs a new instance, and the counters go on through all of them.
    let mut day = Day::new(DEADLINE, "count = 1\n");
    let mut asked = Vec::new();
    for count in 2..=12 {
        day.write(DEADLINE, &format!("count = {count}\n"));
        asked.push(begin(&day.agent));
        day.agent.signal(Signal::HUP);
    }
    for answer in asked {
        let answer = answer.join().expect("no panic");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("\"bad\":true"), "{}", answer.text());
    }
    in_force(&mut day, 12);
    let before = day.collections();
    day.recovers_from(before);
    day.ends_well();
}

#[test]
fn a_reload_during_a_collection_that_hangs_is_answered_and_in_force() {
    let config = fault("hang", "collect", after("collect"));
    let mut day = Day::new(SHORT, &config);
    day.agent.wait_for_sample("gantry_plugin_up{plugin=\"hostile\"", 0.0);
    day.write(SHORT, "count = 5\n");
    let answer = day.reload();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("hostile: running"), "{}", answer.text());
    in_force(&mut day, 5);
    let before = day.collections();
    day.recovers_from(before);
    day.go_on();
    day.agent.wait_for_sample("gantry_plugin_hung_threads{plugin=\"hostile\"", 0.0);
    day.ends_well();
}

#[test]
fn a_reload_during_a_start_that_hangs_is_answered_and_in_force() {
    let mut day = Day::new(SHORT, "count = 1\n");
    day.collects(0.0);
    day.write("10s", &fault("hang", "start", "count = 2\n"));
    let first = begin(&day.agent);
    day.agent.wait_for_log("hangs on request in Start");
    // This one waits for its turn; what it finds in the file is in force then.
    day.write(SHORT, "count = 3\n");
    let second = begin(&day.agent);
    day.agent.signal(Signal::HUP);
    let first = first.join().expect("no panic");
    assert!(first.text().contains("start did not come back within"), "{}", first.text());
    let second = second.join().expect("no panic");
    assert_eq!(second.status, 200, "{}", second.text());
    in_force(&mut day, 3);
    day.go_on();
    day.agent.wait_for_sample("gantry_plugin_hung_threads{plugin=\"hostile\"", 0.0);
    day.ends_well();
}

#[test]
fn a_reload_that_is_refused_changes_nothing() {
    let mut day = Day::watched(DEADLINE, "count = 4\n", "/metrics", Rule::AlwaysThere);
    for (config, words) in [
        ("colour = \"red\"\n", "colour"),
        ("fault = \"unheard_of\"\n", "config.fault"),
        ("count = -1\n", "count"),
        ("[plugins.hostile]\n", "duplicate key"),
    ] {
        day.write(DEADLINE, config);
        let answer = day.reload();
        assert_eq!(answer.status, 409, "{}", answer.text());
        assert!(answer.text().contains(words), "{}", answer.text());
        day.agent.signal(Signal::HUP);
        day.agent.wait_for_log("refused; everything goes on as before");
        assert_eq!(day.agent.state("hostile").0, "running");
        assert_eq!(day.rows(), 4);
    }
    day.ends_well();
}

#[test]
fn sections_that_come_and_go_in_a_storm_of_scrapes_disturb_nobody() {
    let mut day = Day::watched(DEADLINE, "count = 1\n", "/metrics", Rule::MayBeginAnew);
    let address = day.agent.address;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let storm = std::thread::spawn(move || {
        let mut good = 0;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let storm: Vec<_> =
                (0..8).map(|_| std::thread::spawn(move || get(address, "/metrics"))).collect();
            for one in storm {
                assert_eq!(one.join().expect("no panic").status, 200);
                good += 1;
            }
        }
        good
    });
    for _ in 0..5 {
        day.agent.rewrite("[plugins.node]\nenabled = true\ndeadline = \"20s\"\n");
        let answer = day.reload();
        assert!(answer.text().contains("hostile: disabled"), "{}", answer.text());
        day.write(DEADLINE, "count = 2\n");
        let answer = day.reload();
        assert!(answer.text().contains("hostile: running"), "{}", answer.text());
    }
    in_force(&mut day, 2);
    drop(stop);
    assert!(storm.join().expect("every scrape was answered") > 0);
    day.ends_well();
}

#[test]
fn a_reload_is_carried_out_though_nobody_waits_for_its_answer() {
    use std::io::Write;
    let mut day = Day::new(DEADLINE, &fault("hang", "stop", "count = 1\n"));
    day.collects(0.0);
    day.write(DEADLINE, "count = 4\n");
    let mut stream = std::os::unix::net::UnixStream::connect(day.agent.socket()).expect("the agent listens");
    stream.write_all(b"POST /v1/reload HTTP/1.1\r\nHost: test\r\n\r\n").expect("a request");
    // It is under way: the old instance hangs in its stop.
    day.agent.wait_for_log("hangs on request in Stop");
    drop(stream);
    day.go_on();
    day.agent.wait_for_log("reloaded ");
    in_force(&mut day, 4);
    day.ends_well();
}
