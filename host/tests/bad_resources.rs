//! A plugin in the agent's own process that takes what belongs to all: what that
//! costs, as the guide for operators says it. The same in a process of its own is
//! in `isolated_bad.rs`; what ends the agent is in `crashes.rs`.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;
use support::agent::{Agent, gantry, sample};
use support::commands::hostile;
use support::day::{Day, after, fault};
use support::process::{children, lives, threads_named};
use support::watch::Rule;
use support::{copy_to, library, needs, private_dir};

const PATIENT: &str = "20s";

/// Ten of them are the second after which a call hangs.
const SHORT: &str = "100ms";

#[test]
fn programs_that_it_starts_are_the_agents_children_and_outlive_it() {
    let config = fault("fork", "view", "count = 20\n");
    let mut day = Day::watched(PATIENT, &config, "/metrics", Rule::AlwaysThere);
    day.collects(1.0);
    assert_eq!(day.agent.view("hostile", "state").status, 200);
    day.agent.wait_for_log("20 of 20 programs were started");
    let started = children(day.agent.pid());
    assert_eq!(started.len(), 20);
    let before = day.collections();
    day.recovers_from(before);
    day.rest();
    assert!(day.agent.terminate().success());
    // What a unit of systemd ends with the service is ended by the test here.
    for child in started {
        assert!(lives(child), "nobody ended it");
        let pid = Pid::from_raw(child.cast_signed()).expect("a number");
        kill_process(pid, Signal::KILL).expect("it runs");
    }
}

/// Without a program nothing that the agent has open is closed in the copy.
#[test]
fn copies_of_the_agent_that_it_forks_hold_the_agents_lock_when_that_has_ended() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let table = fault("raw_fork", "start", "count = 20\n");
    let mut agent = Agent::start_by(gantry(), dir, "", &hostile(&file, &table));
    agent.wait_for_log("20 of 20 forks went well; None");
    let copies = children(agent.pid());
    assert_eq!(copies.len(), 20);
    for _ in 0..5 {
        assert_eq!(sample(&agent.scrape(), "hostile_good{kind=\"last\""), Some(1.0));
    }
    let pid = agent.pid();
    assert!(agent.terminate().success());
    assert!(copies.iter().all(|copy| lives(*copy)), "nobody ended them");
    let refused = agent.bad(1, &["run"]);
    let words = format!("(pid {pid}) is not here: a process that it left behind has it still");
    assert!(refused.contains(&words), "{refused}");
    // What a unit of systemd ends with the service is ended by the test here.
    for copy in copies {
        let copy = Pid::from_raw(copy.cast_signed()).expect("a number");
        kill_process(copy, Signal::KILL).expect("it runs");
    }
    agent.wait_until("the lock is free", |agent| {
        let lock = std::fs::File::open(agent.dir.path().join("state/lock")).expect("it was made");
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
    });
    std::fs::write(agent.config(), Agent::configuration("", &hostile(&file, ""))).expect("own file");
    agent.again();
    assert_eq!(agent.state("hostile").0, "running");
}

#[test]
fn descriptors_that_it_leaks_are_the_agents_which_ends_in_order_all_the_same() {
    if !needs::program("prlimit") {
        return;
    }
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let mut command = Command::new("prlimit");
    command.arg("--nofile=300:300").arg(env!("CARGO_BIN_EXE_gantry"));
    let table = fault("leak_descriptors", "collect", "after = 2\n");
    let mut agent = Agent::start_by(command, dir, "", &hostile(&file, &table));
    agent.scrape();
    // This one is connected already when nobody can be any more.
    let _ = support::http::get(agent.address, "/metrics");
    let line = agent.wait_for_log("plugin hostile is failed: ");
    assert!(line.contains(" descriptors: Too many open files"), "{line}");
    let open = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("it runs").count();
    // Others may have been closed since.
    assert!(open > 280, "{open} of 300 are open");
    assert!(agent.terminate().success());
    agent.wait_for_log("stopped");
}

#[test]
fn a_loop_without_end_costs_a_thread_and_its_processor_until_the_agent_ends() {
    let mut day = Day::new(SHORT, &fault("spin", "collect", after("collect")));
    day.agent.wait_for_log("collect did not come back within 1s; its thread was left behind");
    let before = day.collections();
    day.go_on();
    day.recovers_from(before);
    assert_eq!(sample(&day.agent.scrape(), "gantry_plugin_hung_threads{plugin=\"hostile\""), Some(1.0));
    assert_eq!(threads_named(day.agent.pid(), "p:hostile"), 2, "it spins on");
    day.ends_well();
}

#[test]
fn what_it_prints_is_on_the_agents_own_output() {
    let config = fault("output_flood", "view", "count = 5000\nbytes = 100\n");
    let mut day = Day::watched(PATIENT, &config, "/metrics", Rule::AlwaysThere);
    day.collects(1.0);
    assert_eq!(day.agent.view("hostile", "state").status, 200);
    let line = day.agent.wait_for_log("complained 4999 ");
    assert!(line.starts_with("complained 4999 xxx"), "as it was printed: {line}");
    let dropped = sample(&day.agent.scrape(), "gantry_plugin_log_lines_dropped_total{plugin=\"hostile\"");
    assert!(dropped.is_none_or(|dropped| dropped == 0.0), "it is no part of the log");
    let before = day.collections();
    day.recovers_from(before);
    day.ends_well();
}

#[test]
fn signal_handlers_that_it_replaces_are_the_agents_which_only_sigkill_ends_then() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let sections =
        format!("[plugins.node]\nenabled = true\n{}", hostile(&file, &fault("ignore_signals", "start", "")));
    let mut agent = Agent::start_by(gantry(), dir, "", &sections);
    agent.wait_for_state("hostile", "running");
    agent.signal(Signal::TERM);
    agent.signal(Signal::HUP);
    for _ in 0..10 {
        assert_eq!(sample(&agent.scrape(), "gantry_plugin_up{plugin=\"node\""), Some(1.0));
    }
    // What is asked over the socket is done as ever, and after SIGHUP nothing was.
    agent.good(&["reload"]);
    let said = agent.said_before("reloaded ");
    assert!(!said.contains("SIGTERM") && said.matches("reloaded ").count() == 1, "{said}");
    agent.kill();
}
