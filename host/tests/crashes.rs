//! A plugin in the agent's own process ends it: the next start knows which it
//! was, and one that does it again runs apart.

mod support;

use support::agent::{Agent, gantry, sample};
use support::http::{get, raw};
use support::versions::build;
use support::{copy_to, library, private_dir};

/// The fixture alone, so that nobody else is in a call, in the agent's process.
fn section(file: &std::path::Path, fault: &str) -> String {
    format!(
        "[plugins.hostile]\nenabled = true\npath = {file:?}\nisolation = \"none\"\n\
         [plugins.hostile.config]\nfault = {fault:?}\nat = \"collect\"\nafter = 2\n"
    )
}

/// Starts an agent that runs into a fault, and waits for its end.
fn dies(fault: &str) -> Agent {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let mut agent = Agent::start_by(gantry(), dir, "", &section(&file, fault));
    scrape_to_death(&mut agent);
    agent
}

/// Before the kernel ends something else: a bound of the agent's memory, as a unit
/// of systemd may have one.
#[test]
fn memory_without_end_ends_the_agent_and_is_told_of() {
    if !support::needs::program("prlimit") {
        return;
    }
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let mut command = std::process::Command::new("prlimit");
    command.arg(format!("--data={}", 256 << 20)).arg(env!("CARGO_BIN_EXE_gantry"));
    let mut agent = Agent::start_by(command, dir, "", &section(&file, "grow"));
    scrape_to_death(&mut agent);
    agent.again();
    let line = agent.wait_for_log("did not end as it should");
    assert!(line.contains("plugin hostile, in its collect"), "{line}");
    agent.terminate();
}

fn scrape_to_death(agent: &mut Agent) {
    // The collection that has the fault is not answered.
    for _ in 0..3 {
        let _ = raw(agent.address, b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    }
    agent.ended();
}

/// Its signal's address lies in the C library, and nobody was in a call then.
#[test]
fn a_thread_of_a_plugin_s_own_is_known_from_the_first_call_after_its_birth() {
    let mut agent = dies("abort_thread");
    agent.again();
    let line = agent.wait_for_log("did not end as it should");
    assert!(line.contains("plugin hostile, on a thread of its own"), "{line}");
    assert!(agent.table(&["history", "hostile"]).iter().any(|row| row["what"] == "crash"));
    agent.terminate();
}

#[test]
fn the_next_start_names_the_plugin_and_what_it_was_at() {
    for (fault, words) in [
        ("null_write", "SEGV at address 0x1: plugin hostile, in its collect"),
        ("abort", "plugin hostile, in its collect"),
        ("write_own_code", "plugin hostile, in its collect"),
        ("stack_overflow", "plugin hostile, in its collect"),
        ("stack_overflow_thread", "plugin hostile, perhaps: it alone was at work, in its collect"),
        ("exit", "but by an exit that it did not call itself: plugin hostile, in its collect"),
    ] {
        let mut agent = dies(fault);
        agent.again();
        let line = agent.wait_for_log("did not end as it should");
        assert!(line.contains(words), "{fault}: {line}");
        assert_eq!(agent.plugin("hostile")["isolation"], "none", "once is no habit");
        let rows = agent.table(&["history", "hostile"]);
        let crash = rows.iter().any(|row| row["what"] == "crash");
        assert_eq!(crash, fault != "stack_overflow_thread", "a guess is not held against it: {rows:?}");
        agent.terminate();
    }
}

/// As a library with a crash reporter of its own does.
#[test]
fn handlers_that_a_plugin_puts_in_the_place_of_the_agents_leave_a_guess() {
    for more in ["", "count = 1\n"] {
        let dir = private_dir();
        let file = copy_to(dir.path(), &library("hostile"));
        let section = format!("{}{more}", section(&file, "own_handlers"));
        let mut agent = Agent::start_by(gantry(), dir, "", &section);
        scrape_to_death(&mut agent);
        agent.again();
        let line = agent.wait_for_log("did not end as it should");
        assert!(line.contains("something that no handler saw"), "{line}");
        assert!(line.contains("hostile, perhaps: it alone was at work, in its collect"), "{line}");
        let rows = agent.table(&["history", "hostile"]);
        assert!(!rows.iter().any(|row| row["what"] == "crash"), "a guess is not held against it: {rows:?}");
        agent.terminate();
    }
}

/// They are found at the end of the call, and a later fault is noted, then theirs.
#[test]
fn handlers_that_a_plugin_put_there_before_are_noticed_and_keep_nothing_from_being_told() {
    let replaced = "gantry_plugin_fault_handlers_replaced_total{plugin=\"hostile\"";
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let mut agent = Agent::start_by(gantry(), dir, "", &section(&file, "late_handlers"));
    let first = agent.scrape();
    assert_eq!(sample(&first, replaced), Some(0.0));
    let by_nobody_known = "gantry_plugin_fault_handlers_replaced_total{plugin=\"\"";
    assert_eq!(sample(&first, by_nobody_known), Some(0.0));
    assert!(sample(&agent.scrape(), "hostile_collections_total").is_some());
    let line = agent.wait_for_log("it put handlers of its own in the place of the agent's");
    assert!(line.contains("plugin hostile: ") && line.contains("for SIGSEGV, SIGBUS, SIGILL"), "{line}");
    assert!(line.contains("(they lie in its library); the agent's are in place again"), "{line}");
    scrape_to_death(&mut agent);
    assert_eq!(agent.ended().code(), Some(7), "its own handler had it then");
    agent.again();
    let line = agent.wait_for_log("did not end as it should");
    assert!(line.contains("SEGV at address 0x1: plugin hostile, in its collect"), "{line}");
    assert!(agent.table(&["history", "hostile"]).iter().any(|row| row["what"] == "crash"));
    agent.terminate();
}

#[test]
fn a_good_end_and_a_kill_between_calls_accuse_nobody() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let mut agent = Agent::start_by(gantry(), dir, "", &section(&file, "none"));
    agent.scrape();
    agent.kill();
    agent.again();
    let line = agent.wait_for_log("did not end as it should");
    assert!(line.contains("whose doing it was is not known; at work: no plugin"), "{line}");
    agent.terminate();
    agent.again();
    assert!(!agent.log.iter().any(|line| line.contains("did not end as it should")), "{:?}", agent.log);
}

#[test]
fn one_that_did_it_twice_runs_apart_until_it_is_restarted() {
    let mut agent = dies("null_write");
    agent.again();
    scrape_to_death(&mut agent);
    agent.again();
    agent.wait_for_log("it took the agent down 2 times in 10 min");
    let row = agent.plugin("hostile");
    assert_eq!(row["isolation"], "process");
    assert!(row["note"].as_str().is_some_and(|note| note.contains("it took the agent down")), "{row}");
    // The same fault costs it its own process, and nobody else anything.
    for _ in 0..6 {
        assert_eq!(get(agent.address, "/metrics").status, 200);
    }
    agent.wait_for_log("its process was ended by signal 11");
    // A reload of the same file changes nothing of that, a restart does.
    agent.good(&["reload"]);
    assert_eq!(agent.plugin("hostile")["isolation"], "process");
    agent.good(&["restart", "hostile"]);
    assert_eq!(agent.plugin("hostile")["isolation"], "none");
    agent.terminate();
}

#[test]
fn an_upgrade_that_takes_the_agent_down_is_rolled_back_by_the_next_start() {
    rolled_back("null_write");
}

/// No handler sees that one: on probation a guess is enough.
#[test]
fn an_upgrade_that_takes_the_agent_down_unseen_is_rolled_back_too() {
    rolled_back("stack_overflow_thread");
}

/// It is on probation before its first call.
#[test]
fn an_upgrade_that_comes_with_a_restart_and_takes_the_agent_down_is_rolled_back_too() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let new = build(dir.path(), "0.2.0");
    // At once, and before the agent serves anything.
    let sections = section(&file, "null_write").replace("after = 2", "in_version = \"0.2.0\"");
    let mut agent = Agent::start_by(gantry(), dir, "", &sections);
    agent.scrape();
    assert!(agent.terminate().success());
    std::fs::rename(&new, &file).expect("own directory");
    let state = agent.dir.path().join("state");
    let ended =
        gantry().arg("run").arg("--config").arg(agent.config()).arg("--state-dir").arg(state).output();
    let ended = ended.expect("it starts");
    assert!(!ended.status.success(), "{}", support::agent::said(&ended));
    agent.again();
    agent.wait_for_log("0.2.0 was on probation; 0.1.0 runs in its place");
    assert_eq!(agent.plugin("hostile")["version"], "0.1.0");
    agent.terminate();
}

fn rolled_back(fault: &str) {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let new = build(dir.path(), "0.2.0");
    let sections = format!("{}in_version = \"0.2.0\"\n", section(&file, fault));
    let mut agent = Agent::start_by(gantry(), dir, "", &sections);
    agent.scrape();
    agent.good(&["upgrade", "hostile", new.to_str().expect("UTF-8")]);
    assert_eq!(agent.plugin("hostile")["version"], "0.2.0");
    // A thread of its own writes it: an agent that dies before does not tell the next one.
    let state = agent.dir.path().join("state");
    let has = |file: &str, word: &str| {
        std::fs::read_to_string(state.join(file)).is_ok_and(|text| text.contains(word))
    };
    agent.wait_until("the upgrade is on the disk", |_| {
        has("lineage/hostile.json", "0.1.0") && has("history/hostile.jsonl", "upgrade")
    });
    scrape_to_death(&mut agent);
    agent.again();
    agent.wait_for_log("0.2.0 was on probation; 0.1.0 runs in its place");
    assert_eq!(agent.plugin("hostile")["version"], "0.1.0");
    for _ in 0..6 {
        assert_eq!(get(agent.address, "/metrics").status, 200);
    }
    // It stays so, also for whoever starts or reloads it, or edits something else.
    let text = std::fs::read_to_string(agent.config()).expect("own file");
    assert!(text.contains(&format!("path = {file:?}")), "{text}");
    assert_eq!(agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    std::fs::write(agent.config(), text.replace("enabled = true", "enabled = true\nmax_series = 77"))
        .expect("own file");
    agent.good(&["reload"]);
    assert_eq!(agent.plugin("hostile")["version"], "0.1.0");
    agent.terminate();
    agent.again();
    assert_eq!(agent.plugin("hostile")["version"], "0.1.0");
}
