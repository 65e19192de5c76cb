//! A plugin is upgraded while it runs: what may go wrong, and who serves then.

mod support;

use std::path::PathBuf;
use support::agent::{Agent, sample};
use support::commands::{hostile, hostile_with};
use support::upgrading::{NODE, Site, site};
use support::versions::{build, build_of};
use support::{copy_to, library, private_dir};

#[test]
fn one_that_comes_back_late_from_its_activation_says_nothing_more() {
    let dir = private_dir();
    let old = copy_to(dir.path(), &library("hostile"));
    let (new, well) = (build(dir.path(), "0.2.0"), dir.path().join("well"));
    let table = format!("in_version = \"0.2.0\"\nuntil = {well:?}\nfault = \"hang\"\nat = \"activate\"");
    let agent = Agent::start_in(dir, "", &hostile_with(&old, "deadline = \"200ms\"", &table));
    let mut site = Site { agent, old, new, well };
    site.agent.scrape();
    let refused = site.refused(&site.new);
    assert!(refused.contains("activate did not come back within 2s"), "{refused}");
    // Also where a busy machine makes its collections late.
    site.agent.wait_until("the old one serves", |agent| {
        ["running", "degraded"].contains(&agent.state("hostile").0.as_str())
    });
    let handed_over = |site: &Site| {
        let labels = [("plugin", "hostile"), ("source", "stop")];
        support::series::value(&site.agent.scrape(), "gantry_plugin_handovers_total", &labels)
    };
    assert_eq!(handed_over(&site), None, "the old one took its own back");
    std::fs::write(&site.well, "").expect("own directory");
    site.agent.wait_until("it comes back", |agent| agent.plugin("hostile")["hung_threads"] == 0);
    assert_eq!((handed_over(&site), site.version().as_str()), (None, "0.1.0"));
    assert_eq!(site.history()[0], "upgrade-failed");
}

#[test]
fn up_and_down_counts_go_on_and_the_configuration_says_what_runs() {
    let site = site("", "");
    let node = site.agent.identity("node");
    site.agent.scrape();
    assert_eq!(site.count(), 2.0);
    let before = site.text();
    assert_eq!(site.upgrade(&site.new), "hostile: running (0.2.0)\n");
    assert_eq!(site.count(), 3.0);
    assert_eq!(
        site.text(),
        before.replace(site.old.to_str().expect("UTF-8"), site.new.to_str().expect("UTF-8"))
    );
    assert_eq!(site.agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    assert_eq!(site.upgrade(&site.new), "hostile: it runs that file already\n");
    // An older one is as good.
    assert_eq!(site.upgrade(&site.old), "hostile: running (0.1.0)\n");
    assert_eq!(site.text(), before);
    assert_eq!(site.count(), 4.0);
    let scraped = site.agent.scrape();
    assert_eq!(sample(&scraped, "hostile_events_total"), Some(1.0), "it was born once");
    assert_eq!(site.agent.identity("node"), node, "node was touched");
    assert_eq!(site.history()[..3], ["upgrade", "upgrade", "start"]);
}

#[test]
fn a_reload_with_another_key_takes_the_place_without_a_gap() {
    let site = site("", "");
    site.agent.scrape();
    let before = site.count();
    site.agent.configure("", &format!("{NODE}{}", hostile(&site.old, "count = 7")));
    assert_eq!(site.agent.good(&["reload"]), "hostile: running (0.1.0)\n");
    assert_eq!(site.count(), before + 1.0);
    assert_eq!(site.history()[0], "reconfigure");
}

#[test]
fn whatever_fails_leaves_the_old_one_serving_and_says_why() {
    for (table, why) in [
        ("fault = \"panic\"\nat = \"probe\"", "on request in Probe"),
        ("fault = \"error\"\nat = \"start\"", "an error on request in Start"),
        ("fault = \"panic\"\nat = \"start\"", "panicked"),
        ("fault = \"panic\"\nat = \"collect\"", "panicked"),
        ("fault = \"error\"\nat = \"collect\"", "an error on request in Collect"),
        ("fault = \"error\"\nat = \"activate\"", "an error on request in Activate"),
        ("fault = \"panic\"\nat = \"activate\"", "panicked"),
    ] {
        let site = site("", table);
        site.agent.scrape();
        let (before, text) = (site.count(), site.text());
        let error = site.refused(&site.new);
        assert!(error.contains(why) && error.contains("0.1.0 goes on"), "{table}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!((site.version().as_str(), site.text()), ("0.1.0", text), "{table}");
        assert_eq!(site.count(), before + 1.0, "{table}");
        assert_eq!(site.agent.row("hostile")["state"], "running");
        assert_eq!(site.history()[0], "upgrade-failed");
        std::fs::write(&site.well, "").expect("own directory");
        assert_eq!(site.upgrade(&site.new), "hostile: running (0.2.0)\n", "{table}");
        assert_eq!(site.count(), before + 2.0, "{table}");
        site.agent.thread_of("hostile");
    }
}

#[test]
fn a_trial_that_hangs_is_given_up_while_the_old_one_serves() {
    let dir = private_dir();
    let (old, new) = (copy_to(dir.path(), &library("hostile")), build(dir.path(), "0.2.0"));
    let well = dir.path().join("well");
    let table = format!("in_version = \"0.2.0\"\nuntil = {well:?}\nfault = \"hang\"\nat = \"start\"");
    let section = support::commands::hostile_with(&old, "deadline = \"200ms\"", &table);
    let agent = Agent::start_in(dir, "", &section);
    let site = Site { agent, old, new, well };
    let error = site.refused(&site.new);
    let (left, threads) = match support::isolation() {
        "none" => ("its thread was left behind", 1),
        _ => ("its process was killed", 0),
    };
    let expected = format!("start did not come back within 2s; {left}; 0.1.0 goes on");
    assert!(error.contains(&expected), "{error}");
    assert_eq!(site.agent.plugin("hostile")["hung_threads"], threads);
    site.agent.scrape();
    std::fs::write(&site.well, "").expect("own directory");
    // The one that was left behind comes back, and ends quietly.
    site.agent.thread_of("hostile");
    assert_eq!(site.agent.plugin("hostile")["hung_threads"], 0);
    assert_eq!(site.upgrade(&site.new), "hostile: running (0.2.0)\n");
}

#[test]
fn of_two_that_must_not_run_together_the_old_one_stops_first() {
    let dir = private_dir();
    let old = copy_to(dir.path(), &library("alone"));
    let (good, bad) = (build_of("alone", dir.path(), "0.2.0"), build_of("alone", dir.path(), "0.3.0"));
    let lock = dir.path().join("lock");
    let section = format!(
        "[plugins.alone]\nenabled = true\npath = {old:?}\nisolation = \"none\"\nconfig.lock = {lock:?}\nconfig.fails = \"0.3.0\"\n"
    );
    let agent = Agent::start_in(dir, "", &section);
    let count = |agent: &Agent| sample(&agent.scrape(), "alone_collections_total");
    agent.scrape();
    assert_eq!(count(&agent), Some(2.0));
    let upgrade = |file: &PathBuf| agent.ask(&["upgrade", "alone", file.to_str().expect("UTF-8")]);
    assert!(upgrade(&good).status.success());
    assert_eq!(count(&agent), Some(3.0));
    assert_eq!(agent.row("alone")["version"], "0.2.0");
    let refused = upgrade(&bad);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("it does not start, on request; 0.2.0 goes on"), "{said}");
    assert_eq!((count(&agent), agent.row("alone")["version"].as_str()), (Some(4.0), Some("0.2.0")));
    assert_eq!(agent.row("alone")["state"], "running");
    assert!(lock.exists(), "one generation runs");
}
