//! What leads out of back-off before its time: an operator's word, another
//! section, another file.

mod support;

use support::agent::sample;
use support::day::{Day, fault};
use support::http::Answer;
use support::{library, write_library};

const DEADLINE: &str = "10s";

/// A plugin that fails, and waits to be tried again.
fn failing() -> (Day, String) {
    let config = fault("error", "start", "");
    let mut day = Day::new(DEADLINE, &config);
    let reasons = day.agent.wait_for_state("hostile", "failed");
    assert!(reasons.contains("an error on request in Start"), "{reasons}");
    let row = day.agent.plugin("hostile");
    assert!(row["failures"].as_u64() >= Some(1) && row["retry_at"].is_number(), "{row}");
    (day, config)
}

/// It runs, and with a clean record: had it come back by itself, its failures
/// would still be counted.
fn runs_anew(day: &mut Day, answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("hostile: running"), "{}", answer.text());
    let row = day.agent.plugin("hostile");
    assert_eq!((&row["state"], &row["failures"]), (&"running".into(), &0.into()), "{row}");
    assert!(row["retry_at"].is_null(), "{row}");
    day.collects(0.0);
    day.ends_well();
}

#[test]
fn a_restart_leads_out_of_back_off_at_once() {
    let (mut day, _) = failing();
    day.go_on();
    let answer = day.agent.command("plugins/hostile/restart");
    runs_anew(&mut day, &answer);
}

#[test]
fn a_restart_of_what_still_fails_says_so() {
    let (mut day, _) = failing();
    let answer = day.agent.command("plugins/hostile/restart");
    assert!(answer.text().contains("hostile: failed: an error on request in Start"), "{}", answer.text());
    day.ends_well();
}

#[test]
fn another_section_leads_out_of_back_off_at_once() {
    let (mut day, config) = failing();
    day.go_on();
    day.write("9s", &config);
    let answer = day.reload();
    runs_anew(&mut day, &answer);
    let (mut day, _) = failing();
    day.write(DEADLINE, "fault = \"none\"\n");
    let answer = day.reload();
    runs_anew(&mut day, &answer);
}

#[test]
fn another_file_leads_out_of_back_off_at_once() {
    let (mut day, _) = failing();
    let whole = std::fs::read(library("hostile")).expect("the built fixture");
    let (from, to) = (b"for the tests of the host ....", b"for the tests of the host: new");
    let mut other = whole.clone();
    let places: Vec<usize> =
        whole.windows(from.len()).enumerate().filter(|(_, part)| part == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the fixture's description has room");
    places.iter().for_each(|at| other[*at..at + to.len()].copy_from_slice(to));
    // As a package manager does: written beside, and renamed.
    let beside = day.agent.dir.path().join("beside");
    write_library(&beside, &other);
    std::fs::rename(beside, &day.file).expect("own directory");
    day.go_on();
    let answer = day.reload();
    assert_eq!(
        sample(&day.agent.scrape(), "gantry_plugin_generations{plugin=\"hostile\""),
        Some(2.0),
        "the other file was opened"
    );
    runs_anew(&mut day, &answer);
}

#[test]
fn a_reload_that_changes_nothing_leaves_back_off_as_it_is() {
    let (mut day, _) = failing();
    let answer = day.reload();
    assert_eq!(answer.text().trim_end(), "{\"lines\":[]}");
    assert!(day.agent.plugin("hostile")["failures"].as_u64() >= Some(1));
    // By itself it comes back all the same.
    day.go_on();
    day.collects(0.0);
    assert!(day.agent.plugin("hostile")["failures"].as_u64() >= Some(1), "no clean record yet");
    day.ends_well();
}

#[test]
fn a_hand_over_that_makes_activations_fail_is_given_up_and_that_is_said() {
    let mut day = Day::watched(DEADLINE, "", "/metrics", support::watch::Rule::MayBeginAnew);
    day.collects(2.0);
    // Taken while it runs: it is the next instance that cannot be activated.
    day.write(DEADLINE, &fault("error", "activate", "applies = true\n"));
    let answer = day.reload();
    assert!(answer.text().contains("took its new configuration while running"), "{}", answer.text());
    let said = day.agent.bad(1, &["restart", "hostile"]);
    assert!(said.contains("an error on request in Activate"), "{said}");
    day.agent.wait_for_log("that is given up, and its counters begin at 0");
    day.go_on();
    day.agent.wait_for_state("hostile", "running");
    day.ends_well();
}
