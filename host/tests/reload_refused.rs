//! Configurations that cannot be taken over: every problem is said, nothing
//! changes, and the next good one is taken.

mod support;

use std::os::unix::fs::symlink;
use support::agent::{Agent, sample};
use support::commands::hostile;
use support::{copy_to, library, private_dir};

const NODE: &str = "[plugins.node]\nenabled = true\n";

/// Reloads in both ways; both refuse, with these words, and nothing changes.
#[track_caller]
fn refused(agent: &mut Agent, words: &[&str]) {
    let before = agent.identity("node");
    let plugins = agent.good(&["plugins", "--json"]).replace('\n', "");
    let error = agent.bad(1, &["reload"]);
    let log = agent.hang_up("reload: refused; everything goes on as before");
    for word in words {
        assert!(error.contains(word), "the command lacks {word:?}: {error}");
        assert!(log.contains(word), "the log lacks {word:?}: {log}");
    }
    let last = error.lines().last().unwrap_or_default();
    assert!(last.starts_with("gantry: "), "{error}");
    assert!(before.0.is_some());
    assert_eq!(agent.identity("node"), before);
    assert_eq!(agent.good(&["plugins", "--json"]).replace('\n', ""), plugins);
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
}

#[test]
fn every_problem_of_the_text_is_said_at_once() {
    let mut agent = Agent::start(NODE);
    agent.configure(
        "stale = 5\nlogg = \"info\"",
        "[plugins.node]\nenabled = false\ndeadline = \"soon\"\n[plugins.other]\nenabled = \"yes\"\n",
    );
    refused(
        &mut agent,
        &[
            "plugins.toml:4:9: host.stale must be a duration",
            "plugins.toml:5:1: unknown key \"logg\" in [host]; did you mean \"log\"?",
            "plugins.toml:8:12: plugins.node.deadline",
            "plugins.toml:10:11: plugins.other.enabled",
        ],
    );
    std::fs::write(agent.config(), "[host\nlisten = ").expect("own file");
    refused(&mut agent, &["plugins.toml:1:", "malformed TOML"]);
    agent.configure("", NODE);
    assert_eq!(agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let mut agent = Agent::start(NODE);
    let file = agent.config();
    std::fs::remove_file(&file).expect("own file");
    refused(&mut agent, &["plugins.toml: cannot be opened: No such file or directory"]);
    std::fs::create_dir(&file).expect("own directory");
    refused(&mut agent, &["plugins.toml: is not a regular file"]);
    std::fs::remove_dir(&file).expect("own directory");
    symlink("nowhere", &file).expect("a link");
    refused(&mut agent, &["plugins.toml: cannot be opened"]);
    std::fs::remove_file(&file).expect("own link");
    symlink("plugins.toml", &file).expect("a link");
    refused(&mut agent, &["plugins.toml: cannot be opened: Too many levels"]);
    std::fs::remove_file(&file).expect("own link");
    std::fs::write(&file, b"[host]\n\xff\n").expect("own file");
    refused(&mut agent, &["is not UTF-8 in line 2"]);
    std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).expect("own file");
    refused(&mut agent, &["is larger than 1 MiB"]);
    agent.configure("", NODE);
    agent.hang_up("reloaded ");
}

#[test]
fn an_empty_file_is_a_configuration_without_plugins() {
    let agent = Agent::start(NODE);
    std::fs::write(agent.config(), b"").expect("own file");
    let done = agent.good(&["reload"]);
    assert!(done.contains("node: disabled"), "{done}");
    assert_eq!(agent.good(&["plugins"]), "no rows in plugins\n");
    agent.configure("", NODE);
    agent.good(&["reload"]);
    assert_eq!(agent.row("node")["state"], "running");
}

#[test]
fn a_table_against_its_schema_refuses_everything_else_too() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let plugins = format!("{NODE}{}", hostile(&file, ""));
    let mut agent = Agent::start_in(dir, "", &plugins);
    let before = agent.identity("hostile");
    // `node` would be switched off, if the other section were good.
    let bad = hostile(&file, "coumt = 5\ncount = \"many\"\nsecret = 12345");
    agent.configure("stale = \"9m\"", &format!("[plugins.node]\nenabled = false\n{bad}"));
    refused(
        &mut agent,
        &[
            "unknown key \"coumt\"",
            "did you mean \"count\"?",
            "plugins.hostile.config.count",
            "plugins.toml:",
        ],
    );
    assert_eq!(agent.identity("hostile"), before);
    assert!(!agent.log.join("\n").contains("12345"), "a secret's value is printed");
    // What is not to run is not looked at: its file need not even be there.
    agent.configure("", &format!("{NODE}{}", bad.replace("enabled = true", "enabled = false")));
    assert_eq!(agent.good(&["reload"]), "hostile: disabled\n");
}
