//! Changed plugin files: taken over at a reload, or refused while the old goes on.

mod support;

use std::path::{Path, PathBuf};
use support::agent::{Agent, sample};
use support::commands::hostile;
use support::versions::patch;
use support::{copy_to, library, private_dir, write_library};

const NODE: &str = "[plugins.node]\nenabled = true\n";
const COLLECTIONS: &str = "hostile_collections_total";

fn both() -> (Agent, PathBuf) {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let plugins = format!("{NODE}{}", hostile(&file, ""));
    (Agent::start_in(dir, "", &plugins), file)
}

/// The fixture with something changed.
fn patched(patch: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = std::fs::read(library("hostile")).expect("the built fixture");
    patch(&mut bytes);
    bytes
}

/// The fixture in other bytes: what stands behind a library's end is not looked at.
fn other(behind: &'static [u8]) -> Vec<u8> {
    patched(|bytes| bytes.extend_from_slice(behind))
}

fn digest(agent: &Agent) -> String {
    let answer = support::http::get(agent.address, "/plugins");
    let rows: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    rows[1]["digest"].as_str().expect("a digest").to_owned()
}

/// Something done to a file's bytes.
type Change = fn(&mut Vec<u8>);

/// As a package manager does it: written beside and renamed.
fn install(file: &Path, bytes: &[u8]) {
    let beside = file.with_extension("new");
    write_library(&beside, bytes);
    std::fs::rename(&beside, file).expect("own directory");
}

#[test]
fn a_new_file_is_taken_with_what_the_old_one_counted() {
    let (mut agent, file) = both();
    agent.scrape();
    assert_eq!(sample(&agent.scrape(), COLLECTIONS), Some(2.0));
    let (node, first) = (agent.identity("node"), digest(&agent));
    install(&file, &other(b"second"));
    assert_eq!(digest(&agent), first, "nothing happens before a reload");
    assert_eq!(agent.good(&["reload"]), "hostile: running (0.1.0)\n");
    assert_ne!(digest(&agent), first);
    let scraped = agent.scrape();
    assert_eq!(sample(&scraped, COLLECTIONS), Some(3.0), "{scraped}");
    assert_eq!(sample(&scraped, "hostile_events_total"), Some(1.0), "it was born once");
    assert_eq!(sample(&scraped, "gantry_plugin_generations{plugin=\"hostile\""), Some(2.0), "{scraped}");
    assert_eq!(agent.identity("node"), node, "node was touched");
    // By a signal as well; and back to the first file, which is mapped still.
    install(&file, &other(b""));
    let log = agent.hang_up("reloaded ");
    assert!(log.contains("reload: hostile: running (0.1.0)"), "{log}");
    assert_eq!(digest(&agent), first);
    assert_eq!(sample(&agent.scrape(), COLLECTIONS), Some(4.0));
    // The same bytes in another file are no change.
    let before = agent.identity("hostile");
    install(&file, &other(b""));
    assert_eq!(agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    assert_eq!(agent.identity("hostile"), before);
}

#[test]
fn a_bad_file_leaves_the_old_one_running_and_says_why() {
    let (mut agent, file) = both();
    let before = (agent.identity("hostile"), agent.identity("node"));
    let cases: &[(Change, &str)] = &[
        (|bytes| bytes.truncate(bytes.len() / 2), "truncated or damaged"),
        (|bytes| bytes.clear(), "no ELF header"),
        (|bytes| patch::crash_when_opened(bytes), "SIGSEGV"),
        (|bytes| patch::no_entry(bytes), ""),
        (|bytes| patch::machine(bytes, patch::FOREIGN_MACHINE), "build it for this architecture"),
        (|bytes| patch::manifest(bytes, "api", "\"9.0\""), "built for plugin api 9.0"),
        (|bytes| patch::manifest(bytes, "name", "\"another\""), "it is the plugin"),
    ];
    for (change, words) in cases {
        install(&file, &patched(change));
        let error = agent.bad(1, &["reload"]);
        assert_eq!(error.lines().count(), 2, "{error}");
        assert!(error.starts_with("hostile: ") && error.contains(words), "lacks {words:?}: {error}");
        let log = agent.hang_up("reloaded ");
        assert!(log.contains("ERROR reload: hostile: ") && log.contains(words), "lacks {words:?}: {log}");
        assert_eq!((agent.identity("hostile"), agent.identity("node")), before, "{words}");
    }
    std::fs::remove_file(&file).expect("own file");
    assert!(agent.bad(1, &["reload"]).contains("libgantry_hostile.so is not there"));
    assert_eq!((agent.identity("hostile"), agent.identity("node")), before);
    assert!(sample(&agent.scrape(), COLLECTIONS).is_some());
    install(&file, &other(b"good"));
    assert_eq!(agent.good(&["reload"]), "hostile: running (0.1.0)\n");
    assert_ne!(agent.identity("hostile"), before.0, "it is another one");
}

#[test]
fn a_restart_runs_the_file_that_was_loaded_and_says_when_another_lies_there() {
    let (agent, file) = both();
    let note = |agent: &Agent| agent.row("hostile")["note"].clone();
    let before = digest(&agent);
    assert_eq!(agent.good(&["restart", "hostile"]), "hostile: running (0.1.0)\n");
    install(&file, &other(b"another"));
    // The fixture declares some that are refused.
    let refused = "11 families refused: see the log";
    assert_eq!(note(&agent), refused, "nobody has looked at its file");
    let said = agent.good(&["restart", "hostile"]);
    assert!(said.starts_with("hostile: running (0.1.0)\n"), "{said}");
    assert!(said.contains("is not the file that it runs; `gantry reload` takes it over\n"), "{said}");
    assert_eq!(
        (digest(&agent), note(&agent)),
        (before.clone(), format!("file differs; gantry reload, {refused}").into())
    );
    install(&file, b"no library");
    let said = agent.good(&["restart", "hostile"]);
    assert!(said.contains("the one on the disk: ") && said.contains("no ELF header"), "{said}");
    assert_eq!(
        (digest(&agent), note(&agent)),
        (before.clone(), format!("file is not usable; gantry check, {refused}").into())
    );
    agent.bad(1, &["reload"]);
    assert_eq!(note(&agent), format!("file is not usable; gantry check, {refused}"));
    install(&file, &other(b"another"));
    agent.good(&["reload"]);
    assert_ne!(digest(&agent), before);
    assert_eq!(note(&agent), refused);
}

#[test]
fn a_file_that_starts_badly_is_said_and_a_good_one_mends_it() {
    let (agent, file) = both();
    agent.configure("", &format!("{NODE}{}", hostile(&file, "fault = \"error\"\nat = \"start\"")));
    install(&file, &other(b"second"));
    let error = agent.bad(1, &["reload"]);
    assert!(error.contains("hostile: an error on request in Start; 0.1.0 goes on"), "{error}");
    assert_eq!(agent.row("hostile")["state"], "running", "the old one serves");
    agent.configure("", &format!("{NODE}{}", hostile(&file, "")));
    assert_eq!(agent.good(&["reload"]), "hostile: running (0.1.0)\n");
}

#[test]
fn a_file_that_was_missing_at_the_start_is_taken_when_it_is_there() {
    let dir = private_dir();
    let file = dir.path().join("libgantry_hostile.so");
    let plugins = format!("{NODE}{}", hostile(&file, ""));
    let agent = Agent::start_in(dir, "", &plugins);
    assert_eq!(agent.row("hostile")["state"], "failed");
    let error = agent.bad(1, &["reload"]);
    assert!(error.contains("is not there"), "{error}");
    install(&file, &other(b""));
    assert_eq!(agent.good(&["reload"]), "hostile: running (0.1.0)\n");
    assert_eq!(sample(&agent.scrape(), "hostile_good{kind=\"last\""), Some(1.0));
}
