//! `enable` and `disable`: in the file, or until the agent ends.

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use support::agent::{Agent, sample};
use support::commands::hostile;
use support::{copy_to, library, needs, private_dir, write_library};

/// What is said of the fixture where nothing else is: it declares some that are wrong.
const REFUSED: &str = "11 families refused: see the log";

const NODE: &str = "[plugins.node]\nenabled = true\n";

fn both() -> (Agent, std::path::PathBuf) {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let plugins = format!("{NODE}{}", hostile(&file, ""));
    (Agent::start_in(dir, "", &plugins), file)
}

fn text(agent: &Agent) -> String {
    std::fs::read_to_string(agent.config()).expect("own file")
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("own file");
}

#[test]
fn one_word_of_the_file_is_edited_and_all_else_stays() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let section = format!(
        "# who asked for it\r\n[plugins.hostile]   # a plugin\r\npath = {file:?}\r\nisolation = 'none'\r\n  enabled  =  true # for now\r\n"
    );
    let plugins = format!("\r\n{section}\r\n# the node\r\n[plugins.node]\r\nenabled = true");
    let agent = Agent::start_in(dir, "# of the host\r\n", &plugins);
    let node = agent.identity("node");
    let before = text(&agent);
    set_mode(&agent.config(), 0o640);
    assert_eq!(agent.good(&["disable", "hostile"]), "hostile: disabled\n");
    assert_eq!(text(&agent), before.replace("enabled  =  true", "enabled  =  false"));
    agent.wait_for_no_thread("hostile");
    assert_eq!(agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    assert_eq!(agent.good(&["enable", "hostile"]), "hostile: running (0.1.0)\n");
    assert_eq!(text(&agent), before);
    assert_eq!(agent.config().metadata().expect("it is there").permissions().mode() & 0o777, 0o640);
    assert_eq!(agent.identity("node"), node, "node was touched");
    let left: Vec<_> = std::fs::read_dir(agent.dir.path())
        .expect("own directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !["state", "plugins.toml", "libgantry_hostile.so"].contains(&name.as_str()))
        .collect();
    assert!(left.is_empty(), "{left:?} is left beside it");
}

#[test]
fn a_link_stays_a_link() {
    let (agent, _) = both();
    let real = agent.dir.path().join("managed.toml");
    std::fs::rename(agent.config(), &real).expect("own directory");
    symlink("managed.toml", agent.config()).expect("a link");
    agent.good(&["disable", "hostile"]);
    assert_eq!(agent.config().read_link().expect("a link"), Path::new("managed.toml"));
    assert!(std::fs::read_to_string(&real).expect("own file").contains("[plugins.hostile]\nenabled = false"));
}

#[test]
fn a_file_that_is_managed_elsewhere_is_left_alone() {
    let (agent, _) = both();
    let (before, fixture) = (text(&agent), agent.identity("hostile"));
    let refused = |why: &str| {
        let error = agent.bad(1, &["disable", "hostile"]);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("cannot be edited") && error.contains(why), "lacks {why:?}: {error}");
        assert!(error.contains("--until-restart to change only the running agent"), "{error}");
        assert_eq!(agent.identity("hostile"), fixture);
        assert_eq!(text(&agent), before);
    };
    set_mode(&agent.config(), 0o444);
    refused("its mode 0444 lets nobody write it");
    set_mode(&agent.config(), 0o644);
    let other = agent.dir.path().join("other-name.toml");
    std::fs::hard_link(agent.config(), &other).expect("own directory");
    refused("it has more than one name");
    std::fs::remove_file(&other).expect("own file");
    agent.good(&["disable", "hostile"]);
}

#[test]
fn a_file_on_a_read_only_file_system_is_left_alone() {
    if !needs::root() {
        return;
    }
    let (agent, _) = both();
    let before = text(&agent);
    let mounted = agent.dir.path().join("etc");
    std::fs::create_dir(&mounted).expect("own directory");
    let mount = |arguments: &[&str]| {
        let status = std::process::Command::new("mount").args(arguments).arg(&mounted).status();
        assert!(status.expect("mount runs").success(), "{arguments:?}");
    };
    mount(&["-t", "tmpfs", "gantry-test"]);
    std::fs::copy(agent.config(), mounted.join("plugins.toml")).expect("own directory");
    mount(&["-o", "remount,ro"]);
    std::fs::remove_file(agent.config()).expect("own file");
    symlink("etc/plugins.toml", agent.config()).expect("a link");
    let error = agent.bad(1, &["disable", "hostile"]);
    let state = agent.row("hostile")["state"].clone();
    let after = text(&agent);
    let unmounted = std::process::Command::new("umount").arg("-l").arg(&mounted).status();
    assert!(unmounted.expect("umount runs").success());
    assert!(error.contains("its file system is read-only") && error.contains("--until-restart"), "{error}");
    assert_eq!((state, after), ("running".into(), before));
}

#[test]
fn a_broken_configuration_is_not_edited() {
    let (agent, _) = both();
    let fixture = agent.identity("hostile");
    for bad in ["[host\n", "[host]\nlogg = \"info\"\n[plugins.hostile]\nenabled = true\n"] {
        std::fs::write(agent.config(), bad).expect("own file");
        let error = agent.bad(1, &["disable", "hostile"]);
        assert!(error.contains("plugins.toml:"), "{error}");
        assert_eq!(text(&agent), bad);
    }
    std::fs::remove_file(agent.config()).expect("own file");
    assert!(agent.bad(1, &["disable", "hostile"]).contains("cannot be opened"));
    assert_eq!(agent.identity("hostile"), fixture);
}

#[test]
fn a_plugin_that_cannot_be_loaded_is_not_enabled() {
    let (agent, file) = both();
    agent.good(&["disable", "hostile"]);
    let before = text(&agent);
    write_library(&file, b"no library");
    for arguments in [&["enable", "hostile"][..], &["enable", "hostile", "--until-restart"]] {
        let error = agent.bad(1, arguments);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("hostile: ") && error.contains("no ELF header"), "{error}");
        assert_eq!(text(&agent), before);
        assert_eq!(agent.row("hostile")["state"], "disabled");
    }
}

#[test]
fn an_earlier_word_does_not_hide_that_a_plugin_cannot_be_loaded() {
    let (agent, file) = both();
    let before = text(&agent);
    agent.good(&["disable", "hostile", "--until-restart"]);
    write_library(&file, b"no library");
    // The file says that it is enabled already.
    for arguments in [&["enable", "hostile"][..], &["enable", "hostile", "--until-restart"]] {
        let error = agent.bad(1, arguments);
        assert!(error.starts_with("gantry: hostile: ") && error.contains("no ELF header"), "{error}");
        let row = agent.row("hostile");
        assert_eq!((&row["state"], &row["note"]), (&"disabled".into(), &"differs from configuration".into()));
    }
    assert_eq!(text(&agent), before);
}

#[test]
fn a_table_against_its_schema_is_not_enabled() {
    let (agent, file) = both();
    let off = hostile(&file, "count = \"many\"").replace("enabled = true", "enabled = false");
    agent.configure("", &format!("{NODE}{off}"));
    agent.good(&["reload"]);
    let before = text(&agent);
    let error = agent.bad(1, &["enable", "hostile"]);
    assert!(error.contains("plugins.hostile.config.count"), "{error}");
    assert_eq!(text(&agent), before);
    assert_eq!(agent.row("hostile")["state"], "disabled");
}

#[test]
fn a_plugin_without_a_section_gets_one() {
    let agent = Agent::start("# nothing is asked for\n");
    let before = text(&agent);
    assert!(agent.good(&["enable", "node"]).starts_with("node: running ("));
    assert_eq!(text(&agent), format!("{before}\n[plugins.node]\nenabled = true\n").replace("\n\n\n", "\n\n"));
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
    // An agent of root's gave up a capability that nothing named asked for then.
    let said = agent.good(&["reload"]);
    let lacks = "node: it runs without CAP_SYS_ADMIN, dropped at start; restart the agent\n";
    assert!([lacks, "the configuration is in force; nothing differed\n"].contains(&said.as_str()), "{said}");
    assert_eq!(agent.good(&["disable", "node"]), "node: disabled\n");
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_none());
}

#[test]
fn until_restart_changes_the_running_agent_alone_and_is_shown() {
    let (mut agent, _) = both();
    let before = text(&agent);
    set_mode(&agent.config(), 0o444);
    assert_eq!(agent.good(&["disable", "hostile", "--until-restart"]), "hostile: disabled\n");
    let shown = |agent: &Agent| {
        let row = agent.row("hostile");
        (row["state"].as_str().map(str::to_owned), row["note"].as_str().map(str::to_owned))
    };
    let differs = (Some("disabled".to_owned()), Some("differs from configuration".to_owned()));
    assert_eq!(shown(&agent), differs);
    assert!(agent.good(&["plugins"]).contains("differs from configuration"));
    agent.wait_for_no_thread("hostile");
    // It survives reloads.
    assert_eq!(agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    agent.hang_up("reloaded ");
    assert_eq!(shown(&agent), differs);
    assert_eq!(agent.good(&["enable", "hostile", "--until-restart"]), "hostile: running (0.1.0)\n");
    assert_eq!(shown(&agent), (Some("running".to_owned()), Some(REFUSED.to_owned())));
    assert_eq!(text(&agent), before);
}

#[test]
fn until_restart_ends_when_its_section_changes() {
    let (agent, file) = both();
    agent.good(&["disable", "hostile", "--until-restart"]);
    // Another section is no word about this one.
    agent.configure("", &format!("{NODE}deadline = \"3s\"\n{}", hostile(&file, "")));
    assert_eq!(agent.good(&["reload"]), "node: its settings are in force\n");
    assert_eq!(agent.row("hostile")["state"], "disabled");
    agent.configure("", &format!("{NODE}deadline = \"3s\"\n{}", hostile(&file, "count = 2")));
    assert_eq!(agent.good(&["reload"]), "hostile: running (0.1.0)\n");
    assert_eq!(agent.row("hostile")["note"], REFUSED);
}

#[test]
fn until_restart_starts_what_the_file_leaves_out() {
    let agent = Agent::start("");
    let before = text(&agent);
    assert!(agent.good(&["enable", "node", "--until-restart"]).starts_with("node: running ("));
    let note = agent.row("node")["note"].as_str().unwrap_or_default().to_owned();
    assert!(note.starts_with("differs from configuration"), "{note}");
    agent.good(&["reload"]);
    assert_eq!(agent.row("node")["state"], "running", "it survives a reload");
    assert_eq!(text(&agent), before);
    // Without the option it goes into the file, and differs no more.
    assert_eq!(agent.good(&["enable", "node"]), "node: enabled, as it was already\n");
    let note = agent.row("node")["note"].as_str().unwrap_or_default().to_owned();
    assert!(!note.contains("differs"), "{note}");
    assert!(text(&agent).contains("[plugins.node]\nenabled = true"));
}

#[test]
fn log_levels_change_for_all_and_for_one() {
    let (mut agent, _) = both();
    // The line that ends a restart; none of it is left for the next.
    let restarted = |agent: &mut Agent| {
        agent.log.clear();
        agent.good(&["restart", "hostile"]);
        agent.said_before("plugin hostile is running")
    };
    agent.wait_for_log("plugin hostile is running");
    agent.wait_for_log("enabled plugins are running");
    agent.good(&["log-level", "node", "debug"]);
    let log = restarted(&mut agent);
    assert!(!log.contains("DEBUG"), "one plugin's level is not all's: {log}");
    agent.good(&["log-level", "debug"]);
    let log = restarted(&mut agent);
    assert!(log.contains("DEBUG plugin hostile is stopping") && log.contains("INFO started secret"), "{log}");
    agent.good(&["log-level", "hostile", "error"]);
    let log = restarted(&mut agent);
    assert!(!log.contains("started secret"), "its own lines are not logged: {log}");
    agent.good(&["log-level", "off"]);
    agent.good(&["log-level", "hostile", "info"]);
    agent.log.clear();
    agent.good(&["restart", "hostile"]);
    let line = agent.wait_for_log("started secret");
    assert!(line.contains("plugin=\"hostile\""), "{line}");
}
