//! A plugin is upgraded while it runs: what may go wrong, and who serves then.

mod support;

use std::path::{Path, PathBuf};
use support::agent::{Agent, sample};
use support::commands::{hostile, hostile_with};
use support::versions::{build, build_of};
use support::{copy_to, library, needs, private_dir, write_library};

const NODE: &str = "[plugins.node]\nenabled = true\n";
const COLLECTIONS: &str = "hostile_collections_total";

struct Site {
    agent: Agent,
    old: PathBuf,
    new: PathBuf,
    /// While it is there, nothing goes wrong.
    well: PathBuf,
}

/// An agent with 0.1.0, and 0.2.0 beside it, which misbehaves as the table says.
fn site(host: &str, table: &str) -> Site {
    let dir = private_dir();
    let old = copy_to(dir.path(), &library("hostile"));
    let new = build(dir.path(), "0.2.0");
    let well = dir.path().join("well");
    let table = format!("in_version = \"0.2.0\"\nuntil = {well:?}\n{table}");
    let agent = Agent::start_in(dir, host, &format!("{NODE}{}", hostile(&old, &table)));
    Site { agent, old, new, well }
}

impl Site {
    fn text(&self) -> String {
        std::fs::read_to_string(self.agent.config()).expect("own file")
    }
    fn version(&self) -> String {
        self.agent.row("hostile")["version"].as_str().unwrap_or_default().to_owned()
    }
    fn upgrade(&self, file: &Path) -> String {
        self.agent.good(&["upgrade", "hostile", file.to_str().expect("UTF-8")])
    }
    fn refused(&self, file: &Path) -> String {
        self.agent.bad(1, &["upgrade", "hostile", file.to_str().expect("UTF-8")])
    }
    fn count(&self) -> f64 {
        sample(&self.agent.scrape(), COLLECTIONS).expect("it is shown")
    }
    /// What happened, the newest first.
    fn history(&self) -> Vec<String> {
        let rows = self.agent.table(&["history", "hostile"]);
        rows.iter().map(|row| row["what"].as_str().expect("a text").to_owned()).collect()
    }
}

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
    assert!(
        error.contains("start did not come back within 2s; its thread was left behind; 0.1.0 goes on"),
        "{error}"
    );
    assert!(site.agent.plugin("hostile")["hung_threads"] == 1);
    site.agent.scrape();
    std::fs::write(&site.well, "").expect("own directory");
    // The one that was left behind comes back, and ends quietly.
    site.agent.thread_of("hostile");
    assert_eq!(site.agent.plugin("hostile")["hung_threads"], 0);
    assert_eq!(site.upgrade(&site.new), "hostile: running (0.2.0)\n");
}

#[test]
fn a_file_that_cannot_be_used_is_refused() {
    let site = site("", "");
    let text = site.text();
    let bad = site.agent.dir.path().join("bad.so");
    write_library(&bad, b"no library");
    assert!(site.refused(&bad).contains("no ELF header"));
    assert!(site.refused(Path::new("/nowhere/x.so")).contains("/nowhere/x.so is not there"));
    assert!(site.refused(&library("node")).contains("it is the plugin \"node\""));
    assert!(site.agent.bad(1, &["upgrade", "hostil", "x.so"]).contains("there is no plugin \"hostil\""));
    site.agent.good(&["disable", "hostile", "--until-restart"]);
    assert!(site.refused(&site.new).contains("hostile is disabled"));
    assert_eq!(site.text(), text);
    let answer = support::commands::request(&site.agent.socket(), "POST", "/v1/plugins/node/upgrade?fil=/x");
    assert_eq!(answer.status, 400);
}

#[test]
fn a_pin_goes_with_the_file() {
    let dir = private_dir();
    let (old, new) = (copy_to(dir.path(), &library("hostile")), build(dir.path(), "0.2.0"));
    let pin = |agent: &Agent| agent.plugin("hostile")["digest"].as_str().expect("a digest").to_owned();
    let agent = Agent::start_in(dir, "", &hostile(&old, ""));
    let first = pin(&agent);
    agent.configure("", &support::commands::hostile_with(&old, &format!("sha256 = \"{first}\" # ours"), ""));
    agent.good(&["reload"]);
    agent.good(&["upgrade", "hostile", new.to_str().expect("UTF-8")]);
    let text = std::fs::read_to_string(agent.config()).expect("own file");
    assert!(text.contains(&format!("sha256 = \"{}\" # ours", pin(&agent))), "{text}");
    agent.good(&["rollback", "hostile"]);
    let text = std::fs::read_to_string(agent.config()).expect("own file");
    assert!(text.contains(&format!("sha256 = \"{first}\" # ours")), "{text}");
}

#[test]
fn until_restart_leaves_the_configuration_and_is_shown() {
    use std::os::unix::fs::PermissionsExt;
    let site = site("", "");
    let text = site.text();
    std::fs::set_permissions(site.agent.config(), std::fs::Permissions::from_mode(0o444)).expect("own file");
    let error = site.refused(&site.new);
    assert!(error.contains("cannot be edited") && error.contains("--until-restart"), "{error}");
    assert_eq!(site.version(), "0.1.0", "what cannot be written does not run");
    let new = site.new.to_str().expect("UTF-8");
    site.agent.good(&["upgrade", "hostile", new, "--until-restart"]);
    assert_eq!((site.version().as_str(), site.text()), ("0.2.0", text.clone()));
    assert!(
        site.agent.row("hostile")["note"]
            .as_str()
            .is_some_and(|note| note.contains("differs from configuration"))
    );
    assert_eq!(site.agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    assert_eq!(site.version(), "0.2.0", "it survives a reload");
    site.agent.good(&["rollback", "hostile", "--until-restart"]);
    assert_eq!((site.version().as_str(), site.text()), ("0.1.0", text));
}

#[test]
fn a_file_on_a_read_only_file_system_is_left_alone() {
    if !needs::root() {
        return;
    }
    let site = site("", "");
    let mounted = site.agent.dir.path().join("etc");
    std::fs::create_dir(&mounted).expect("own directory");
    let mount = |arguments: &[&str]| {
        let status = std::process::Command::new("mount").args(arguments).arg(&mounted).status();
        assert!(status.expect("mount runs").success(), "{arguments:?}");
    };
    mount(&["-t", "tmpfs", "gantry-test"]);
    std::fs::copy(site.agent.config(), mounted.join("plugins.toml")).expect("own directory");
    mount(&["-o", "remount,ro"]);
    std::fs::remove_file(site.agent.config()).expect("own file");
    std::os::unix::fs::symlink("etc/plugins.toml", site.agent.config()).expect("a link");
    let error = site.refused(&site.new);
    let version = site.version();
    let unmounted = std::process::Command::new("umount").arg("-l").arg(&mounted).status();
    assert!(unmounted.expect("umount runs").success());
    assert!(error.contains("its file system is read-only") && error.contains("--until-restart"), "{error}");
    assert_eq!(version, "0.1.0");
}

#[test]
fn a_range_of_versions_chooses_among_the_files_that_are_there() {
    let dir = private_dir();
    let plugins = dir.path().join("plugins");
    std::fs::create_dir(&plugins).expect("own directory");
    let put = |version: &str| {
        let built = build(dir.path(), version);
        std::fs::rename(built, plugins.join(format!("libgantry_hostile-{version}.so")))
            .expect("own directory");
    };
    for version in ["1.3.9", "1.4.0", "1.5.2", "2.0.0"] {
        put(version);
    }
    let host = format!("plugin_dirs = [{plugins:?}]\n");
    let section = |range: &str| {
        format!("[plugins.hostile]\nenabled = true\nisolation = \"none\"\nversion = \"{range}\"\n")
    };
    let agent = Agent::start_in(dir, &host, &section(">=1.4, <2"));
    assert_eq!(agent.row("hostile")["version"], "1.5.2");
    std::fs::remove_file(plugins.join("libgantry_hostile-1.5.2.so")).expect("own file");
    assert_eq!(agent.good(&["reload"]), "hostile: running (1.4.0)\n");
    agent.configure(&host, &section("~3"));
    let error = agent.bad(1, &["reload"]);
    for words in [
        "no file of hostile in",
        "is of version = \"~3\"",
        "1.3.9 (",
        "2.0.0 (",
        "install one, or change version",
    ] {
        assert!(error.contains(words), "lacks {words}: {error}");
    }
    assert_eq!(agent.row("hostile")["version"], "1.4.0", "what runs goes on");
    agent.configure(&host, &section("newest"));
    assert!(agent.bad(1, &["reload"]).contains("is no range of versions"));
}

#[test]
fn a_file_that_is_put_into_a_watched_directory_is_taken() {
    let dir = private_dir();
    let plugins = dir.path().join("plugins");
    std::fs::create_dir(&plugins).expect("own directory");
    let file = plugins.join("libgantry_hostile.so");
    std::fs::rename(build(dir.path(), "0.2.0"), &file).expect("own directory");
    let next = build(dir.path(), "0.3.0");
    let host = format!("plugin_dirs = [{plugins:?}]\nwatch_plugins = true\n");
    let section = "[plugins.hostile]\nenabled = true\nisolation = \"none\"\nversion = \">=0.2\"\n";
    let mut agent = Agent::start_in(dir, &host, section);
    assert_eq!(agent.row("hostile")["version"], "0.2.0");
    std::fs::rename(next, &file).expect("own directory");
    agent.wait_for_log("watch: hostile: running (0.3.0)");
    assert_eq!(agent.row("hostile")["version"], "0.3.0");
    write_library(&file, b"no library");
    agent.wait_for_log("no ELF header");
    assert_eq!(agent.row("hostile")["version"], "0.3.0");
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

#[test]
fn a_file_from_elsewhere_that_runs_elsewhere_is_said_to() {
    let dir = private_dir();
    let new = build(dir.path(), "0.2.0");
    // Beside the binary, which is a vendor directory.
    let agent = Agent::start_in(dir, "", "[plugins.hostile]\nenabled = true\n");
    assert_eq!(agent.row("hostile")["isolation"], "none");
    let said = agent.good(&["upgrade", "hostile", new.to_str().expect("UTF-8")]);
    assert!(
        said.starts_with("hostile: running (0.2.0)\nhostile: it runs in a process of its own from now on"),
        "{said}"
    );
    assert_eq!(agent.row("hostile")["isolation"], "process");
    let said = agent.good(&["rollback", "hostile"]);
    assert!(said.contains("hostile: it runs in the agent's own process from now on"), "{said}");
    assert_eq!(agent.row("hostile")["isolation"], "none");
    agent.good(&["disable", "hostile", "--until-restart"]);
    assert_eq!(agent.row("hostile")["isolation"], "none", "where it ran");
}
