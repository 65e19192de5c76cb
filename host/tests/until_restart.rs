//! What an operator's word brings until the agent ends, or what the configuration
//! could not be told of: the next agent knows what it would have known without.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use support::agent::{Agent, gantry, said};
use support::commands::hostile;
use support::http::PATIENCE;
use support::upgrading::{NODE, Site};
use support::versions::build;
use support::{copy_to, library, private_dir};

const HELD: &str = "file was rolled back from";
const DIFFERS: &str = "differs from configuration";

/// While its file `well` is there, nothing goes wrong; it is, at first.
fn site(table: &str) -> Site {
    let dir = private_dir();
    let old = copy_to(dir.path(), &library("hostile"));
    let (new, well) = (build(dir.path(), "0.2.0"), dir.path().join("well"));
    std::fs::write(&well, "").expect("own directory");
    let table = format!("until = {well:?}\n{table}");
    let agent = Agent::start_in(dir, "", &format!("{NODE}{}", hostile(&old, &table)));
    Site { agent, old, new, well }
}

fn newest(site: &Site) -> PathBuf {
    build(site.agent.dir.path(), "0.3.0")
}

fn until_restart(site: &Site, file: &Path) {
    site.agent.good(&["upgrade", "hostile", file.to_str().expect("UTF-8"), "--until-restart"]);
}

/// Another file takes the name of the one that the section names.
fn install(site: &Site) {
    std::fs::copy(&site.new, site.old.with_extension("beside")).expect("own directory");
    std::fs::rename(site.old.with_extension("beside"), &site.old).expect("own directory");
}

fn start_again(site: &mut Site) {
    assert!(site.agent.terminate().success());
    site.agent.again();
}

fn note(site: &Site) -> String {
    site.agent.row("hostile")["note"].to_string()
}

fn lineage(site: &Site) -> serde_json::Value {
    let file = site.agent.dir.path().join("state/lineage/hostile.json");
    serde_json::from_slice(&std::fs::read(file).unwrap_or_default()).unwrap_or_default()
}

fn no_upgrade_comes_with_the_start(site: &Site) {
    let said = site.agent.log.iter().any(|line| line.contains("comes with this start"));
    assert!(!said, "{:?}", site.agent.log);
}

#[test]
fn what_was_rolled_back_from_to_a_word_is_not_what_served() {
    let mut site = site("");
    until_restart(&site, &site.new);
    let newest = newest(&site);
    assert_eq!(site.upgrade(&newest), "hostile: running (0.3.0)\n");
    let until = Instant::now() + PATIENCE;
    while lineage(&site)["ran"]["stored"]["version"] != "0.3.0" {
        assert!(Instant::now() < until, "it is not kept: {}", lineage(&site));
        site.agent.scrape();
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.2.0)\n");
    assert!(note(&site).contains(DIFFERS) && !note(&site).contains(HELD), "{}", note(&site));
    start_again(&mut site);
    assert_eq!(site.version(), "0.1.0");
    no_upgrade_comes_with_the_start(&site);
    assert!(site.agent.bad(1, &["rollback", "hostile"]).contains("no other file is known"));
}

#[test]
fn a_word_forgets_neither_what_is_held_nor_what_ran_before() {
    let mut site = site("");
    let newest = newest(&site);
    install(&site);
    assert_eq!(site.agent.good(&["reload"]), "hostile: running (0.2.0)\n");
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.1.0)\n");
    until_restart(&site, &newest);
    assert!(!note(&site).contains(HELD), "{}", note(&site));
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.1.0)\n");
    assert!(note(&site).contains(HELD) && !note(&site).contains(DIFFERS), "{}", note(&site));
    until_restart(&site, &newest);
    start_again(&mut site);
    assert_eq!(site.version(), "0.1.0", "what was bad is not taken");
    assert!(note(&site).contains(HELD), "{}", note(&site));
    // By hand it is, and what ran before that stays known.
    assert_eq!(site.upgrade(&site.new), "hostile: running (0.2.0)\n");
    until_restart(&site, &newest);
    start_again(&mut site);
    assert_eq!(site.version(), "0.2.0");
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.1.0)\n");
}

#[test]
fn what_a_word_brought_and_the_file_names_now_has_what_ran_before_behind_it() {
    let mut site = site("");
    until_restart(&site, &site.new);
    assert_eq!(
        site.upgrade(&site.new),
        "hostile: it runs that file already; its section names it from now on\n"
    );
    assert!(!note(&site).contains(DIFFERS), "{}", note(&site));
    start_again(&mut site);
    assert_eq!(site.version(), "0.2.0");
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.1.0)\n");
    // By the file as well.
    until_restart(&site, &site.new);
    let text = site.text().replace(&format!("{:?}", site.old), &format!("{:?}", site.new));
    std::fs::write(site.agent.config(), text).expect("own file");
    site.agent.good(&["reload"]);
    assert!(!note(&site).contains(DIFFERS), "{}", note(&site));
    start_again(&mut site);
    assert_eq!(site.version(), "0.2.0");
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.1.0)\n");
}

#[test]
fn another_section_behind_a_word_rolls_back_to_that_word_and_says_so() {
    let mut site = site("");
    until_restart(&site, &site.new);
    let newest = newest(&site);
    let text = site.text();
    let other = text.replace(&format!("{:?}", site.old), &format!("{newest:?}"));
    std::fs::write(site.agent.config(), other).expect("own file");
    assert_eq!(site.agent.good(&["reload"]), "hostile: running (0.3.0)\n");
    assert!(!note(&site).contains(DIFFERS), "{}", note(&site));
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.2.0)\n");
    assert_eq!(site.text(), text);
    assert!(note(&site).contains(DIFFERS), "the file names 0.1.0: {}", note(&site));
    start_again(&mut site);
    assert_eq!(site.version(), "0.1.0");
}

#[test]
fn a_word_for_what_runs_already_changes_nothing() {
    let site = site("");
    assert_eq!(site.upgrade(&site.new), "hostile: running (0.2.0)\n");
    let enabled = site.agent.good(&["enable", "hostile", "--until-restart"]);
    assert_eq!(enabled, "hostile: running, as it was already\n");
    assert_eq!(site.version(), "0.2.0", "what it runs is known");
    assert!(!note(&site).contains(DIFFERS), "{}", note(&site));
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.1.0)\n");
    // By an earlier word.
    until_restart(&site, &site.new);
    site.agent.good(&["enable", "hostile", "--until-restart"]);
    assert_eq!(site.version(), "0.2.0");
    assert!(note(&site).contains(DIFFERS), "{}", note(&site));
}

/// Gives a command whose new generation hangs in its start; meanwhile somebody
/// writes to the configuration's file.
fn while_the_file_changes(site: &mut Site, words: &[&str]) -> Output {
    std::fs::remove_file(&site.well).expect("own file");
    let mut command = gantry();
    command.args(words).arg("--config").arg(site.agent.config());
    command.arg("--state-dir").arg(site.agent.dir.path().join("state"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the host runs");
    site.agent.wait_for_log("hangs on request in Start");
    std::fs::write(site.agent.config(), format!("{}# a word\n", site.text())).expect("own file");
    std::fs::write(&site.well, "").expect("own directory");
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_rollback_that_cannot_be_written_holds_back_what_the_file_names() {
    let mut site = site("in_version = \"0.1.0\"\nfault = \"hang\"\nat = \"start\"");
    assert_eq!(site.upgrade(&site.new), "hostile: running (0.2.0)\n");
    let output = while_the_file_changes(&mut site, &["rollback", "hostile"]);
    assert!(said(&output).contains("it runs until the agent ends"), "{}", said(&output));
    assert_eq!((output.status.code(), site.version().as_str()), (Some(1), "0.1.0"));
    assert!(note(&site).contains(HELD) && note(&site).contains(DIFFERS), "{}", note(&site));
    assert!(site.text().contains("hostile-0.2.0.so"));
    start_again(&mut site);
    assert_eq!(site.version(), "0.1.0", "what was bad is not taken");
    assert!(note(&site).contains(HELD), "{}", note(&site));
}

#[test]
fn an_upgrade_that_cannot_be_written_is_one_until_the_restart() {
    let mut site = site("in_version = \"0.2.0\"\nfault = \"hang\"\nat = \"start\"");
    let new = site.new.to_str().expect("UTF-8").to_owned();
    let output = while_the_file_changes(&mut site, &["upgrade", "hostile", &new]);
    assert!(said(&output).contains("it runs until the agent ends"), "{}", said(&output));
    assert_eq!((output.status.code(), site.version().as_str()), (Some(1), "0.2.0"));
    assert!(note(&site).contains(DIFFERS), "{}", note(&site));
    assert_eq!(site.agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    assert_eq!(site.version(), "0.2.0", "a reload leaves it");
    start_again(&mut site);
    assert_eq!(site.version(), "0.1.0");
    no_upgrade_comes_with_the_start(&site);
    assert!(site.agent.bad(1, &["rollback", "hostile"]).contains("no other file is known"));
}

#[test]
fn an_upgrade_that_fails_where_nothing_was_loaded_yet_leaves_the_judgement_to_the_next_file() {
    let mut site = site("in_version = \"0.3.0\"\nfault = \"error\"\nat = \"start\"");
    site.agent.scrape();
    assert!(site.agent.terminate().success());
    std::fs::remove_file(&site.old).expect("own file");
    std::fs::remove_file(&site.well).expect("own file");
    site.agent.again();
    site.agent.wait_for_log("plugin hostile is failed");
    assert!(site.refused(&newest(&site)).contains("an error on request in Start"));
    install(&site);
    site.agent.wait_for_log("0.2.0 comes with this start, on probation; 0.1.0 ran before");
    site.agent.wait_for_state("hostile", "running");
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.1.0)\n");
}

#[test]
fn one_that_is_enabled_later_stands_in_for_what_was_rolled_back_from() {
    let mut site = site("");
    site.agent.scrape();
    install(&site);
    site.agent.good(&["reload"]);
    site.agent.good(&["rollback", "hostile"]);
    site.agent.good(&["disable", "hostile"]);
    start_again(&mut site);
    site.agent.good(&["enable", "hostile"]);
    assert_eq!(site.version(), "0.1.0");
    assert!(note(&site).contains(HELD), "{}", note(&site));
    site.agent.good(&["restart", "hostile"]);
    assert!(note(&site).contains(HELD), "also when it is made anew: {}", note(&site));
    start_again(&mut site);
    assert_eq!(site.version(), "0.1.0");
    no_upgrade_comes_with_the_start(&site);
}
