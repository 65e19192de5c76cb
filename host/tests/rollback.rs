//! Upgrades on probation, `gantry rollback`, and what is remembered of it.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::agent::{Agent, gantry, sample};
use support::commands::hostile_with;
use support::day::side_by_side;
use support::mount::Mounted;
use support::versions::build;
use support::{copy_to, library, needs, private_dir};

const COLLECTIONS: &str = "hostile_collections_total";

struct Site {
    agent: Agent,
    old: PathBuf,
    new: PathBuf,
}

fn site(host: &str, keys: &str, table: &str) -> Site {
    site_in(private_dir(), host, keys, table)
}

fn site_in(dir: tempfile::TempDir, host: &str, keys: &str, table: &str) -> Site {
    site_by(gantry(), dir, host, keys, table)
}

fn site_by(command: Command, dir: tempfile::TempDir, host: &str, keys: &str, table: &str) -> Site {
    let old = copy_to(dir.path(), &library("hostile"));
    let new = build(dir.path(), "0.2.0");
    let table = format!("in_version = \"0.2.0\"\n{table}");
    let agent = Agent::start_by(command, dir, host, &hostile_with(&old, keys, &table));
    Site { agent, old, new }
}

/// With a table as it stands.
fn site_of(table: &str) -> Site {
    site_as("", table)
}

fn site_as(keys: &str, table: &str) -> Site {
    let dir = private_dir();
    let old = copy_to(dir.path(), &library("hostile"));
    let new = build(dir.path(), "0.2.0");
    let agent = Agent::start_in(dir, "", &hostile_with(&old, keys, table));
    Site { agent, old, new }
}

impl Site {
    fn text(&self) -> String {
        std::fs::read_to_string(self.agent.config()).expect("own file")
    }
    fn version(&self) -> String {
        self.agent.row("hostile")["version"].as_str().unwrap_or_default().to_owned()
    }
    fn upgrade(&self) {
        self.agent.good(&["upgrade", "hostile", self.new.to_str().expect("UTF-8")]);
        assert_eq!(self.version(), "0.2.0");
    }
    fn install(&self) {
        self.install_file(&self.new);
    }
    fn install_file(&self, file: &Path) {
        std::fs::copy(file, self.old.with_extension("beside")).expect("own directory");
        std::fs::rename(self.old.with_extension("beside"), &self.old).expect("own directory");
    }
    fn start_again(&mut self) {
        assert!(self.agent.terminate().success());
        self.agent.again();
    }
    fn no_upgrade_comes_with_the_start(&self) {
        let said = self.agent.log.iter().any(|line| line.contains("comes with this start"));
        assert!(!said, "{:?}", self.agent.log);
    }
    /// What the next agent will know of the files that ran.
    fn lineage(&self) -> serde_json::Value {
        let file = self.agent.dir.path().join("state/lineage/hostile.json");
        serde_json::from_slice(&std::fs::read(file).unwrap_or_default()).unwrap_or_default()
    }
    fn wait_for_lineage(&self, what: &str, holds: impl Fn(&serde_json::Value) -> bool) {
        let until = std::time::Instant::now() + support::http::PATIENCE;
        while !holds(&self.lineage()) {
            assert!(std::time::Instant::now() < until, "{what} is not kept: {}", self.lineage());
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }
    /// Where what ran before lies in the store.
    fn kept(&self) -> PathBuf {
        PathBuf::from(self.lineage()["previous"]["file"].as_str().expect("a path"))
    }
    fn newest(&self) -> serde_json::Value {
        self.agent.table(&["history", "hostile", "--where", "what=rollback"])[0].clone()
    }
}

#[test]
fn what_goes_wrong_on_probation_rolls_back_with_all_counts() {
    for (table, why) in [
        ("fault = \"panic\"\nat = \"collect\"\nafter = 3", "panicked"),
        ("fault = \"error\"\nat = \"health\"\nafter = 3", "an error on request in Health"),
        ("fault = \"error\"\nat = \"collect\"\nafter = 2", "an error on request in Collect"),
        ("emit = \"nothing\"", "no samples any more of hostile_good"),
        ("emit = \"flood\"\ncount = 200", "it has more series than max_series"),
        ("emit = \"lossy\"\ncount = 5", "events are lost: events_lost 15"),
    ] {
        rolls_back(site("", "max_series = 100", table), table, why);
    }
}

#[test]
fn what_takes_too_much_or_comes_late_or_never_on_probation_rolls_back_too() {
    let at_times =
        |fault: &str| format!("fault = \"{fault}\"\nat = \"collect\"\nafter = 3\ndelay = \"300ms\"");
    let cases = [
        ("max_heap = \"16MiB\"", "ballast = \"32MiB\"".to_owned(), "over its budget: heap 3"),
        ("max_bpf_memory = \"1MiB\"", "bpf_maps = \"2MiB\"".to_owned(), "over its budget: BPF maps 2.0 MiB"),
        ("deadline = \"200ms\"", at_times("hang"), "collect did not come back within 2s"),
        ("deadline = \"200ms\"", at_times("slow"), "its collections are late"),
    ];
    side_by_side(&cases, |(keys, table, why)| {
        let dir = private_dir();
        let mut command = gantry();
        command.args(["--budgets-every", "100ms"]);
        rolls_back(site_by(command, dir, "", keys, table), table, why);
    });
}

fn rolls_back(mut site: Site, table: &str, why: &str) {
    site.agent.scrape();
    let mut count = sample(&site.agent.scrape(), COLLECTIONS).expect("it is shown");
    let text = site.text();
    site.upgrade();
    assert_ne!(site.text(), text);
    let mut collected = 0;
    if table.contains("hang") {
        // Whoever asks again and again hears of lateness first.
        site.agent.wait_until("it hangs", |agent| {
            collected += 1;
            agent.scrape();
            agent.log.iter().any(|line| line.contains("hangs on request"))
        });
        site.agent.wait_for_log(why);
    }
    site.agent.wait_until(&format!("a rollback by {why}"), |agent| {
        // Of one that hangs nothing is shown.
        let now = sample(&agent.scrape(), COLLECTIONS).or(table.contains("hang").then_some(count));
        let now = now.expect("it is shown all the time");
        assert!(now >= count, "{now} after {count}: {table}");
        count = now;
        collected += 1;
        agent.row("hostile")["version"] == "0.1.0" && agent.row("hostile")["state"] == "running"
    });
    site.agent.wait_for_log("rollback: hostile: running (0.1.0)");
    let row = site.newest();
    assert!(row["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{table}: {row}");
    assert!(row["from"].as_str().is_some_and(|from| from.starts_with("0.2.0 ")), "{row}");
    assert_eq!(site.text(), text, "the configuration names the file before");
    assert_eq!(site.agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    let now = sample(&site.agent.scrape(), COLLECTIONS).expect("it is shown");
    assert!(now > count && now <= count + f64::from(collected), "{now}");
}

#[test]
fn an_upgrade_that_ends_in_its_first_health_is_no_success() {
    let mut site = site("", "", "fault = \"panic\"\nat = \"health\"");
    let error = site.agent.bad(1, &["upgrade", "hostile", site.new.to_str().expect("UTF-8")]);
    assert!(
        error.contains("failed (0.2.0): health: panicked")
            && error.contains("on probation, and is rolled back"),
        "{error}"
    );
    site.agent.wait_for_log("rollback: hostile: running (0.1.0)");
    assert_eq!(site.version(), "0.1.0");
}

#[test]
fn a_rollback_to_a_file_that_lies_nowhere_but_in_the_store_outlives_a_restart() {
    let mut site = site("", "", "");
    site.upgrade();
    let text = site.text();
    std::fs::remove_file(&site.old).expect("own file");
    let said = site.agent.good(&["rollback", "hostile"]);
    assert!(said.contains("hostile: running (0.1.0)\n"), "{said}");
    assert!(
        said.contains("is not there any more as it ran") && said.contains("from the agent's store"),
        "{said}"
    );
    assert_eq!(site.text(), text, "it would name what is not there");
    site.start_again();
    assert_eq!(site.version(), "0.1.0");
    assert_eq!(site.agent.row("hostile")["state"], "running");
}

#[test]
fn a_rollback_that_cannot_be_done_is_tried_again() {
    let dir = private_dir();
    let well = dir.path().join("well");
    std::fs::write(&well, "").expect("own directory");
    let table = format!("until = {well:?}\nfault = \"panic\"\nat = \"collect\"");
    // A tenth of it goes by before each new try.
    let mut site = site_in(dir, "probation = \"30s\"\n", "", &table);
    site.upgrade();
    site.agent.scrape();
    // The next agent has not opened what ran before.
    assert!(site.agent.terminate().success());
    site.agent.again();
    site.agent.wait_for_log("its upgrade is still on probation");
    let kept = site.kept();
    let away = site.agent.dir.path().join("away");
    std::fs::rename(&kept, &away).expect("it is in the store");
    // Nor does it lie where it lay.
    std::fs::remove_file(&site.old).expect("own file");
    std::fs::remove_file(&well).expect("own file");
    let mut refused = String::new();
    site.agent.wait_until("the rollback is refused", |agent| {
        agent.scrape();
        let line = agent.log.iter().find(|line| line.contains("rollback hostile: refused"));
        refused = line.cloned().unwrap_or_default();
        !refused.is_empty()
    });
    assert!(refused.contains(kept.to_str().expect("UTF-8")), "{refused}");
    std::fs::rename(&away, &kept).expect("own directory");
    site.agent.wait_for_log("rollback: hostile: running (0.1.0)");
    assert_eq!(site.version(), "0.1.0");
    assert!(site.newest()["reason"].as_str().is_some_and(|reason| reason.contains("panicked")));
}

#[test]
fn what_the_store_has_no_more_is_taken_from_where_it_lay() {
    let mut site = site("", "", "");
    for another_agent in [false, true] {
        site.upgrade();
        let kept = site.kept();
        if another_agent {
            assert!(site.agent.terminate().success());
            site.agent.again();
        }
        std::fs::remove_file(&kept).expect("it is in the store");
        let said = site.agent.good(&["rollback", "hostile"]);
        let (old, kept) = (site.old.display(), kept.display());
        let from = format!("hostile: it is taken from {old}, where the same file still lies; {kept}: ");
        assert!(said.starts_with("hostile: running (0.1.0)\n") && said.contains(&from), "{said}");
        assert_eq!(site.version(), "0.1.0");
    }
    // Nor is a damaged one taken that lies in the store.
    site.upgrade();
    let kept = site.kept();
    std::fs::write(kept.with_extension("damaged"), "\x7fELF").expect("own directory");
    std::fs::rename(kept.with_extension("damaged"), &kept).expect("own directory");
    let said = site.agent.good(&["rollback", "hostile"]);
    assert!(said.contains("where the same file still lies"), "{said}");
    assert_eq!(site.version(), "0.1.0");
    // Another file there is not taken for it.
    site.upgrade();
    let kept = site.kept();
    std::fs::remove_file(&kept).expect("it is in the store");
    site.install();
    let error = site.agent.bad(1, &["rollback", "hostile"]);
    assert!(error.contains(kept.to_str().expect("UTF-8")), "{error}");
    let there = format!("{}: it is another file than the one that ran", site.old.display());
    assert!(error.contains(&there), "{error}");
    assert_eq!(site.version(), "0.2.0");
}

const WITH_THE_START: &str = "0.2.0 comes with this start, on probation; 0.1.0 ran before";

#[test]
fn an_upgrade_that_comes_with_a_restart_of_the_agent_is_on_probation() {
    let mut site = site("", "", "fault = \"panic\"\nat = \"collect\"\nafter = 3");
    site.agent.scrape();
    let count = sample(&site.agent.scrape(), COLLECTIONS).expect("it is shown");
    let text = site.text();
    assert!(site.agent.terminate().success());
    site.install();
    site.agent.again();
    site.agent.wait_for_log(WITH_THE_START);
    assert_eq!(site.version(), "0.2.0");
    let upgrade = site.agent.table(&["history", "hostile", "--where", "what=upgrade"])[0].clone();
    assert_eq!(upgrade["reason"], "at the start of the agent", "{upgrade}");
    site.agent.wait_until("a rollback", |agent| {
        agent.scrape();
        agent.row("hostile")["version"] == "0.1.0" && agent.row("hostile")["state"] == "running"
    });
    site.agent.wait_for_log("rollback: hostile: running (0.1.0)");
    assert!(site.newest()["reason"].as_str().is_some_and(|reason| reason.contains("panicked")));
    assert!(sample(&site.agent.scrape(), COLLECTIONS).is_some_and(|now| now > count), "the counts go on");
    assert_eq!(site.text(), text);
    // Nor does the next agent take it, or think that what ran before is news.
    assert!(site.agent.terminate().success());
    site.agent.again();
    assert_eq!(site.version(), "0.1.0");
    assert!(!site.agent.log.iter().any(|line| line.contains("on probation")), "{:?}", site.agent.log);
}

#[test]
fn what_was_wrong_before_a_restart_is_no_reason_to_roll_back() {
    let mut site = site_of("fault = \"error\"\nat = \"health\"");
    site.agent.scrape();
    site.wait_for_lineage("what is wrong", |lineage| {
        lineage["ran"]["known"].to_string().contains("an error on request")
    });
    // Without a word, so that what was written meanwhile is all there is.
    site.agent.kill();
    site.install();
    site.agent.again();
    site.agent.wait_for_log(WITH_THE_START);
    (0..5).for_each(|_| drop(site.agent.scrape()));
    assert_eq!(site.agent.state("hostile").0, "degraded");
    site.agent.good(&["restart", "hostile"]);
    assert_eq!(site.version(), "0.2.0");
    assert!(site.agent.table(&["history", "hostile", "--where", "what=rollback"]).is_empty());
    // What an operator's word brought is gone with the agent, as he wished.
    let old = build(site.agent.dir.path(), "0.3.0");
    site.agent.good(&["upgrade", "hostile", old.to_str().expect("UTF-8"), "--until-restart"]);
    site.agent.scrape();
    site.start_again();
    assert_eq!(site.version(), "0.2.0");
    site.no_upgrade_comes_with_the_start();
}

#[test]
fn events_that_were_lost_before_a_restart_are_no_reason_to_roll_back() {
    let mut site = site_of("emit = \"lossy\"\ncount = 5");
    let keeps = |site: &Site| {
        site.agent.scrape();
        site.wait_for_lineage("what is lost", |lineage| {
            let of = &lineage["lost"]["digest"];
            of.is_string() && *of == lineage["ran"]["stored"]["digest"]
        });
    };
    keeps(&site);
    // What a word until the restart brought is nothing that an upgrade is compared with.
    let another = build(site.agent.dir.path(), "0.3.0");
    site.agent.good(&["upgrade", "hostile", another.to_str().expect("UTF-8"), "--until-restart"]);
    site.agent.scrape();
    assert!(site.agent.terminate().success());
    let lost = &site.lineage()["lost"]["digest"];
    assert!(lost.is_null() || *lost == site.lineage()["ran"]["stored"]["digest"], "{lost}");
    site.agent.again();
    assert_eq!(site.version(), "0.1.0");
    keeps(&site);
    // Without a word, as at a crash.
    site.agent.kill();
    site.install();
    site.agent.again();
    site.agent.wait_for_log(WITH_THE_START);
    (0..5).for_each(|_| drop(site.agent.scrape()));
    site.agent.good(&["restart", "hostile"]);
    assert_eq!(site.version(), "0.2.0");
    assert!(site.agent.table(&["history", "hostile", "--where", "what=rollback"]).is_empty());
}

/// What it needs may be starting as well, as after a boot.
#[test]
fn an_upgrade_that_fails_at_its_first_start_is_tried_again_before_it_is_rolled_back() {
    let dir = private_dir();
    let until = dir.path().join("it is there");
    let table = format!("until = {until:?}\nfault = \"error\"\nat = \"start\"");
    let mut site = site_in(dir, "", "", &table);
    site.agent.scrape();
    assert!(site.agent.terminate().success());
    site.install();
    site.agent.again();
    site.agent.wait_for_log(WITH_THE_START);
    site.agent.wait_for_log("plugin hostile is failed: an error on request in Start; it is tried again");
    std::fs::write(&until, "").expect("own directory");
    site.agent.wait_for_state("hostile", "running");
    assert_eq!(site.version(), "0.2.0");
    assert!(site.agent.table(&["history", "hostile", "--where", "what=rollback"]).is_empty());
    // Once it has served, an end is an end.
    std::fs::remove_file(&until).expect("own file");
    // Rolled back before it is answered, or after.
    drop(site.agent.ask(&["restart", "hostile"]));
    site.agent.wait_for_log("rollback: hostile: running (0.1.0)");
}

#[test]
fn too_many_series_before_a_restart_are_no_reason_to_roll_back() {
    let mut site = site_as("max_series = 100", "emit = \"flood\"\ncount = 200");
    site.agent.scrape();
    assert!(site.agent.terminate().success());
    site.install();
    site.agent.again();
    site.agent.wait_for_log(WITH_THE_START);
    (0..5).for_each(|_| drop(site.agent.scrape()));
    site.agent.good(&["restart", "hostile"]);
    assert_eq!(site.version(), "0.2.0");
    assert!(site.agent.table(&["history", "hostile", "--where", "what=rollback"]).is_empty());
}

#[test]
fn a_word_until_the_restart_makes_no_upgrade_of_the_next_start() {
    let mut site = site_of("");
    let newest = build(site.agent.dir.path(), "0.3.0");
    let (new, newest) = (site.new.to_str().expect("UTF-8"), newest.to_str().expect("UTF-8"));
    let new = new.to_owned();
    site.agent.scrape();
    site.start_again();
    site.agent.good(&["upgrade", "hostile", &new, "--until-restart"]);
    site.start_again();
    // What ran before that word runs again.
    let error = site.agent.bad(1, &["rollback", "hostile"]);
    assert!(error.contains("no other file is known that ran before"), "{error}");
    for file in [&*new, newest] {
        site.agent.good(&["upgrade", "hostile", file, "--until-restart"]);
    }
    site.agent.scrape();
    site.start_again();
    assert_eq!(
        (site.version().as_str(), &site.lineage()["ran"]["stored"]["version"]),
        ("0.1.0", &"0.1.0".into())
    );
    site.no_upgrade_comes_with_the_start();
    // Nor does going back.
    site.upgrade();
    site.agent.scrape();
    site.start_again();
    assert_eq!(site.agent.good(&["rollback", "hostile", "--until-restart"]), "hostile: running (0.1.0)\n");
    site.agent.scrape();
    site.start_again();
    assert_eq!(
        (site.version().as_str(), &site.lineage()["ran"]["stored"]["version"]),
        ("0.2.0", &"0.2.0".into())
    );
    site.no_upgrade_comes_with_the_start();
}

#[test]
fn by_hand_it_goes_back_to_what_ran_before_the_start() {
    let mut site = site("probation = \"0s\"\n", "", "");
    site.agent.scrape();
    let first = std::fs::read(&site.old).expect("own file");
    let package = site.agent.dir.path().join("first");
    std::fs::write(&package, first).expect("own directory");
    assert!(site.agent.terminate().success());
    site.install();
    site.agent.again();
    assert_eq!(site.version(), "0.2.0");
    site.agent.scrape();
    // The package is taken back, and that is taken back.
    assert!(site.agent.terminate().success());
    site.install_file(&package);
    site.agent.again();
    assert_eq!(site.version(), "0.1.0");
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.2.0)\n");
}

#[test]
fn a_file_that_is_missing_at_the_start_is_judged_when_it_comes() {
    let mut site = site_of("");
    site.agent.scrape();
    assert!(site.agent.terminate().success());
    std::fs::remove_file(&site.old).expect("own file");
    site.agent.again();
    site.agent.wait_for_log("plugin hostile is failed");
    site.install();
    site.agent.wait_for_log(WITH_THE_START);
    site.agent.wait_for_state("hostile", "running");
    assert_eq!(site.version(), "0.2.0");
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.1.0)\n");
}

#[test]
fn events_that_were_lost_before_are_no_reason_to_roll_back() {
    let site = site_of("emit = \"lossy\"\ncount = 5");
    site.agent.scrape();
    site.upgrade();
    (0..5).for_each(|_| drop(site.agent.scrape()));
    // A change that comes after what would have been told.
    site.agent.good(&["restart", "hostile"]);
    assert_eq!(site.version(), "0.2.0");
    assert!(site.agent.table(&["history", "hostile", "--where", "what=rollback"]).is_empty());
}

#[test]
fn a_change_of_the_section_forgets_no_loss() {
    let table = "emit = \"lossy\"\ncount = 5\n";
    let mut site = site_of(table);
    site.agent.scrape();
    // A new generation of the same file, which has lost nothing yet.
    site.agent.rewrite(&hostile_with(&site.old, "", &format!("{table}bytes = 1\n")));
    assert_eq!(site.agent.good(&["reload"]), "hostile: running (0.1.0)\n");
    // Nor does another agent forget it.
    assert!(site.agent.terminate().success());
    site.agent.again();
    site.upgrade();
    (0..5).for_each(|_| drop(site.agent.scrape()));
    site.agent.good(&["restart", "hostile"]);
    assert_eq!(site.version(), "0.2.0");
    assert!(site.agent.table(&["history", "hostile", "--where", "what=rollback"]).is_empty());
}

#[test]
fn a_file_that_comes_in_a_back_off_is_an_upgrade_too() {
    let table = "in_version = \"0.1.0\"\nfault = \"panic\"\nat = \"collect\"\nafter = 1";
    let mut site = site_of(table);
    site.agent.scrape();
    site.agent.wait_for_log("plugin hostile is failed");
    site.install();
    site.agent.good(&["reload"]);
    site.agent.wait_for_state("hostile", "running");
    assert_eq!(site.version(), "0.2.0");
    let upgrades = site.agent.table(&["history", "hostile", "--where", "what=upgrade"]);
    assert_eq!(upgrades.len(), 1, "{upgrades:?}");
    site.agent.good(&["rollback", "hostile"]);
    assert_eq!(site.version(), "0.1.0");
}

#[test]
fn without_probation_nothing_is_rolled_back() {
    let mut site = site("probation = \"0s\"\n", "", "fault = \"panic\"\nat = \"collect\"\nafter = 3");
    site.upgrade();
    site.agent.wait_until("it fails", |agent| {
        agent.scrape();
        agent.row("hostile")["state"] == "failed"
    });
    assert_eq!(site.version(), "0.2.0");
    // By hand, and with what was counted.
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.1.0)\n");
    assert!(sample(&site.agent.scrape(), COLLECTIONS).is_some_and(|count| count > 2.0));
    let error = site.agent.bad(1, &["rollback", "hostile"]);
    assert!(error.contains("no other file is known that ran before"), "{error}");
}

#[test]
fn a_file_that_was_rolled_back_from_is_not_taken_again() {
    let mut site = site("", "", "fault = \"panic\"\nat = \"collect\"\nafter = 3");
    site.install();
    let taken = "hostile: running (0.2.0)\n";
    assert_eq!(site.agent.good(&["reload"]), taken);
    site.agent.wait_until("a rollback", |agent| {
        agent.scrape();
        agent.row("hostile")["version"] == "0.1.0" && agent.row("hostile")["state"] == "running"
    });
    site.agent.wait_for_log("rollback: hostile: running (0.1.0)");
    let note = |agent: &Agent| agent.row("hostile")["note"].to_string();
    assert!(note(&site.agent).contains("file was rolled back from"), "{}", note(&site.agent));
    let held = "hostile: its file was rolled back from and is not taken until it or its section changes; \
                `gantry upgrade` takes it\n";
    assert_eq!(site.agent.good(&["reload"]), held);
    assert_eq!(site.version(), "0.1.0");
    // Nor by the next agent, which runs what ran before, from the store.
    assert!(site.agent.terminate().success());
    let config = site.text();
    let Site { mut agent, old, new } = site;
    agent.again();
    assert_eq!(agent.row("hostile")["version"], "0.1.0");
    assert_eq!(agent.good(&["reload"]), held);
    // Another section, and it is tried again.
    std::fs::write(agent.config(), config.replace("after = 3", "after = 99")).expect("own file");
    assert_eq!(agent.good(&["reload"]), taken);
    // By hand it goes back to the file before, and by hand it is taken.
    assert_eq!(agent.good(&["rollback", "hostile"]), "hostile: running (0.1.0)\n");
    assert_eq!(agent.good(&["reload"]), held);
    assert_eq!(agent.good(&["upgrade", "hostile", old.to_str().expect("UTF-8")]), taken);
    assert_eq!(agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    drop(new);
}

#[test]
fn a_rollback_finds_what_ran_before_in_the_store_of_an_earlier_agent() {
    let mut site = site("", "", "");
    site.upgrade();
    let text = site.text();
    assert!(site.agent.terminate().success());
    std::fs::remove_file(&site.old).expect("own file");
    site.agent.again();
    assert_eq!(site.version(), "0.2.0");
    assert!(site.agent.good(&["rollback", "hostile"]).ends_with("hostile: running (0.1.0)\n"));
    assert_eq!(site.text(), text);
    let rows = site.agent.table(&["history", "hostile"]);
    let what: Vec<&str> = rows.iter().filter_map(|row| row["what"].as_str()).collect();
    assert_eq!(what[..5], ["rollback", "start", "stop", "upgrade", "start"], "across restarts");
}

#[test]
fn probation_goes_on_in_the_next_agent() {
    let dir = private_dir();
    let well = dir.path().join("well");
    std::fs::write(&well, "").expect("own directory");
    let table = format!("until = {well:?}\nfault = \"panic\"\nat = \"collect\"");
    let mut site = site_in(dir, "", "", &table);
    let text = site.text();
    site.upgrade();
    site.agent.scrape();
    assert!(site.agent.terminate().success());
    site.agent.again();
    site.agent.wait_for_log("its upgrade is still on probation");
    assert_eq!(site.version(), "0.2.0");
    std::fs::remove_file(&well).expect("own file");
    site.agent.wait_until("a rollback", |agent| {
        agent.scrape();
        agent.row("hostile")["version"] == "0.1.0" && agent.row("hostile")["state"] == "running"
    });
    site.agent.wait_for_log("rollback: hostile: running (0.1.0)");
    assert!(site.newest()["reason"].as_str().is_some_and(|reason| reason.contains("panicked")));
    assert_eq!(site.text(), text);
    // It is over with the rollback.
    assert!(site.agent.terminate().success());
    site.agent.again();
    assert_eq!(site.version(), "0.1.0");
    assert!(!site.agent.log.iter().any(|line| line.contains("still on probation")));
}

#[test]
fn without_a_store_what_was_rolled_back_from_is_not_taken_again() {
    if !needs::root() {
        return;
    }
    let dir = private_dir();
    let mounted = Mounted::tmpfs(&dir.path().join("state"), "mode=700,noexec");
    let mut site = site_in(dir, "", "", "");
    site.install();
    assert_eq!(site.agent.good(&["reload"]), "hostile: running (0.2.0)\n");
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.1.0)\n");
    let held = "hostile: its file was rolled back from and is not taken until it or its section changes; \
                `gantry upgrade` takes it\n";
    assert_eq!(site.agent.good(&["reload"]), held);
    assert_eq!(site.version(), "0.1.0");
    // What ran before is nowhere any more: nothing runs rather than what was bad.
    assert!(site.agent.terminate().success());
    site.agent.again();
    let (state, why) = site.agent.state("hostile");
    assert_eq!(state, "failed", "{why}");
    assert!(why.contains("was rolled back from, and what ran before cannot be used"), "{why}");
    assert!(site.agent.bad(1, &["reload"]).contains("was rolled back from"));
    assert_eq!(site.agent.state("hostile").0, "failed");
    // By hand it is taken.
    let bad = site.old.to_str().expect("UTF-8").to_owned();
    assert_eq!(site.agent.good(&["upgrade", "hostile", &bad]), "hostile: running (0.2.0)\n");
    assert!(site.agent.terminate().success());
    drop(mounted);
}

#[test]
fn what_was_rolled_back_from_is_said_from_the_start_on() {
    let mut site = site("", "", "");
    site.install();
    site.agent.good(&["reload"]);
    site.agent.good(&["rollback", "hostile"]);
    let note = |agent: &Agent| agent.row("hostile")["note"].to_string();
    assert!(note(&site.agent).contains("file was rolled back from"), "{}", note(&site.agent));
    assert!(site.agent.terminate().success());
    site.agent.again();
    assert!(note(&site.agent).contains("file was rolled back from"), "{}", note(&site.agent));
    site.agent.good(&["restart", "hostile"]);
    assert_eq!(site.version(), "0.1.0");
}

#[test]
fn a_rollback_to_what_a_word_alone_brought_differs_still() {
    let site = site("", "", "");
    let (text, new) = (site.text(), site.new.to_str().expect("UTF-8"));
    let newest = build(site.agent.dir.path(), "0.3.0");
    site.agent.good(&["upgrade", "hostile", new, "--until-restart"]);
    site.agent.good(&["upgrade", "hostile", newest.to_str().expect("UTF-8"), "--until-restart"]);
    assert_eq!(site.version(), "0.3.0");
    assert_eq!(site.agent.good(&["rollback", "hostile"]), "hostile: running (0.2.0)\n");
    // The section names 0.1.0, which nobody rolled back from.
    let note = site.agent.row("hostile")["note"].to_string();
    assert!(note.contains("differs from configuration") && !note.contains("rolled back"), "{note}");
    assert_eq!(site.agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    assert_eq!((site.version().as_str(), site.text()), ("0.2.0", text));
}

#[test]
fn a_damaged_history_costs_only_what_is_damaged() {
    let mut site = site("", "", "");
    site.agent.good(&["restart", "hostile"]);
    assert!(site.agent.terminate().success());
    let file = site.agent.dir.path().join("state/history/hostile.jsonl");
    let text = std::fs::read_to_string(&file).expect("it was written");
    let damaged = format!("\u{0}garbage\n{text}{{\"at\": 5");
    std::fs::write(&file, damaged).expect("own file");
    site.agent.again();
    let rows = site.agent.table(&["history", "hostile"]);
    assert!(rows.len() > text.lines().count(), "{rows:?}");
    assert_eq!(rows[0]["what"], "start");
    assert!(site.agent.bad(1, &["history", "hostil"]).contains("there is no plugin \"hostil\""));
}
