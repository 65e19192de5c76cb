//! A changed configuration, taken over while the agent runs: only what differs
//! is touched, and nothing where anything is wrong.

mod support;

use support::agent::{Agent, sample};
use support::commands::{hostile, hostile_with};
use support::http::get;
use support::{copy_to, library, private_dir};

const NODE: &str = "[plugins.node]\nenabled = true\n";
const COLLECTIONS: &str = "hostile_collections_total";

/// Starts `node` and the fixture; the fixture's own table is `table`.
fn both(table: &str) -> (Agent, std::path::PathBuf) {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let plugins = format!("{NODE}{}", hostile(&file, table));
    (Agent::start_in(dir, "", &plugins), file)
}

/// Asserts that a plugin is the same one as before: its thread and its state
/// were not touched.
#[track_caller]
fn untouched(agent: &Agent, plugin: &str, before: &(Option<u32>, String)) {
    assert!(before.0.is_some(), "{plugin} has a thread");
    assert_eq!(&agent.identity(plugin), before, "{plugin} was touched");
}

#[test]
fn the_same_file_touches_nothing_however_it_is_asked_for() {
    let (mut agent, file) = both("");
    let (node, fixture) = (agent.identity("node"), agent.identity("hostile"));
    assert_eq!(agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    agent.hang_up("reloaded ");
    // Comments, blank lines and keys in another order say the same.
    agent.configure("# a comment\n", &format!("\n\n# moved\n{NODE}\n{}", hostile(&file, "")));
    assert_eq!(agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    untouched(&agent, "node", &node);
    untouched(&agent, "hostile", &fixture);
}

#[test]
fn new_sections_start_and_removed_ones_go() {
    let (agent, file) = both("");
    let node = agent.identity("node");
    agent.configure("", NODE);
    assert_eq!(agent.good(&["reload"]), "hostile: disabled\n");
    untouched(&agent, "node", &node);
    assert_eq!(agent.table(&["plugins"]).len(), 1, "a section that is gone is not listed");
    agent.wait_for_no_thread("hostile");
    let scraped = agent.scrape();
    for gone in
        ["hostile_good", "gantry_plugin_state{plugin=\"hostile\"", "gantry_plugin_up{plugin=\"hostile\""]
    {
        assert!(!scraped.contains(gone), "{gone}: {scraped}");
    }
    agent.configure("", &format!("{}{NODE}", hostile(&file, "")));
    assert_eq!(agent.good(&["reload"]), "hostile: running (0.1.0)\n");
    untouched(&agent, "node", &node);
    let names: Vec<_> = agent.table(&["plugins"]).iter().map(|row| row["name"].to_string()).collect();
    assert_eq!(names, ["\"hostile\"", "\"node\""], "the order is the file's");
    assert_eq!(sample(&agent.scrape(), "hostile_good{kind=\"last\""), Some(1.0));
}

#[test]
fn sections_that_are_not_enabled_come_and_go_as_such() {
    let (agent, file) = both("");
    let fixture = hostile(&file, "");
    agent.configure("", &format!("{NODE}{fixture}[plugins.spare]\n"));
    assert_eq!(agent.good(&["reload"]), "spare: added, not enabled\n");
    agent.configure("", &format!("{NODE}{fixture}[plugins.spare]\nmax_series = 7\n"));
    assert_eq!(agent.good(&["reload"]), "spare: changed, not enabled\n");
    agent.configure("", &format!("{NODE}{fixture}"));
    assert_eq!(agent.good(&["reload"]), "spare: removed, was not enabled\n");
    assert_eq!(agent.table(&["plugins"]).len(), 2);
}

#[test]
fn a_file_without_any_section_is_good_and_told_of() {
    let (agent, _) = both("");
    agent.configure("", "");
    let said = agent.good(&["reload"]);
    assert!(
        said.contains("hostile: disabled\n") && said.contains("warning: no plugin is configured in "),
        "{said}"
    );
    assert_eq!(agent.table(&["plugins"]).len(), 0);
}

#[test]
fn what_is_switched_off_and_on_in_the_file_stops_and_starts() {
    let (mut agent, file) = both("");
    let node = agent.identity("node");
    let section = hostile(&file, "");
    agent.configure("", &format!("{NODE}{}", section.replace("enabled = true", "enabled = false")));
    let log = agent.hang_up("reloaded ");
    assert!(log.contains("reload: hostile: disabled"), "{log}");
    assert_eq!(agent.row("hostile")["state"], "disabled");
    agent.wait_for_no_thread("hostile");
    agent.configure("", &format!("{NODE}{section}"));
    let log = agent.hang_up("reloaded ");
    assert!(log.contains("reload: hostile: running (0.1.0)"), "{log}");
    untouched(&agent, "node", &node);
}

#[test]
fn a_deadline_and_a_bound_of_series_hold_at_once_and_stop_nothing() {
    let (agent, file) = both("");
    agent.scrape();
    let before = agent.identity("hostile");
    agent
        .configure("", &format!("{NODE}{}", hostile_with(&file, "deadline = \"700ms\"\nmax_series = 1", "")));
    assert_eq!(agent.good(&["reload"]), "hostile: its settings are in force\n");
    untouched(&agent, "hostile", &before);
    agent.configure(
        "",
        &format!(
            "{NODE}{}",
            hostile_with(&file, "max_series = 1", "emit = \"flood\"\ncount = 50\napplies = true")
        ),
    );
    agent.good(&["reload"]);
    agent.scrape();
    let refused = "gantry_samples_refused_total{plugin=\"hostile\",reason=\"series_cap\"";
    let scraped = agent.scrape();
    assert!(sample(&scraped, refused).is_some_and(|count| count >= 49.0), "{scraped}");
}

#[test]
fn a_table_is_taken_over_while_running_where_the_plugin_can() {
    let (agent, file) = both("applies = true");
    let of = |number: f64| Some(number);
    // The first exposition of a counter shows 0.
    agent.scrape();
    assert_eq!(sample(&agent.scrape(), COLLECTIONS), of(2.0));
    let before = agent.identity("hostile");
    agent.configure(
        "",
        &format!(
            "{NODE}{}",
            hostile(&file, "applies = true\nfault = \"log_flood\"\ncount = 1\nat = \"view\"")
        ),
    );
    assert_eq!(agent.good(&["reload"]), "hostile: took its new configuration while running\n");
    untouched(&agent, "hostile", &before);
    assert_eq!(agent.table(&["show", "hostile", "state"])[0]["fault"], "LogFlood\u{1b}[31m");
    assert_eq!(sample(&agent.scrape(), COLLECTIONS), of(3.0), "nothing is counted twice or lost");
}

#[test]
fn a_table_that_the_plugin_cannot_take_makes_a_new_instance_that_counts_on() {
    let (agent, file) = both("applies = false");
    agent.scrape();
    assert_eq!(sample(&agent.scrape(), COLLECTIONS), Some(2.0));
    let (node, fixture) = (agent.identity("node"), agent.identity("hostile"));
    agent.configure("", &format!("{NODE}{}", hostile(&file, "applies = false\nfault = \"slow\"")));
    assert_eq!(agent.good(&["reload"]), "hostile: running (0.1.0)\n");
    assert_ne!(agent.identity("hostile").0, fixture.0, "it has a new thread");
    untouched(&agent, "node", &node);
    let scraped = agent.scrape();
    assert_eq!(sample(&scraped, COLLECTIONS), Some(3.0), "{scraped}");
    assert_eq!(sample(&scraped, "hostile_events_total"), Some(1.0), "it was born once");
    assert_eq!(sample(&scraped, "gantry_plugin_restarts_total{plugin=\"hostile\""), Some(1.0), "{scraped}");
    assert_eq!(agent.table(&["show", "hostile", "state"])[0]["collections"], 3.0, "its own hand-over");
}

#[test]
fn a_table_that_the_plugin_refuses_leaves_the_old_one_in_force() {
    let (agent, file) = both("fault = \"error\"\nat = \"reconfigure\"");
    let before = agent.identity("hostile");
    agent.configure("", &format!("{NODE}{}", hostile(&file, "applies = true")));
    let error = agent.bad(1, &["reload"]);
    assert!(
        error.starts_with(
            "hostile: its new configuration is not in force: an error on request in Reconfigure\n"
        ),
        "{error}"
    );
    untouched(&agent, "hostile", &before);
    // It is not forgotten either: the next reload tries it again.
    let error = agent.bad(1, &["reload"]);
    assert!(error.contains("hostile: its new configuration is not in force"), "{error}");
    assert_eq!(agent.good(&["restart", "hostile"]), "hostile: running (0.1.0)\n");
}

#[test]
fn keys_of_the_host_are_in_force_or_named_as_needing_a_start() {
    let dir = private_dir();
    let mut agent = Agent::start_in(dir, "stale = \"1m\"\nlog = \"info\"\nviews = \"local\"", NODE);
    let node = agent.identity("node");
    agent.configure("stale = \"2m\"\nlog = \"debug\"\nviews = \"local\"\nplugin_dirs = [\"here\"]", NODE);
    let done = agent.good(&["reload"]);
    for line in ["host.stale is in force", "host.log is in force", "host.plugin_dirs is in force"] {
        assert!(done.lines().any(|said| said == line), "lacks {line:?}: {done}");
    }
    // It logs at that level now.
    agent.log.clear();
    agent.good(&["restart", "node"]);
    agent.wait_for_log("DEBUG");
    let other = "[host]\nlisten = \"127.0.0.1:1\"\nlog_format = \"json\"\nviews = \"never\"\nstale = \"2m\"\nlog = \"debug\"\n\
                 plugin_dirs = [\"here\"]\n[host.paths]\nproc = \"/elsewhere\"\n";
    std::fs::write(agent.config(), format!("{other}{NODE}")).expect("own file");
    assert_eq!(
        agent.good(&["reload"]),
        "host.listen, host.log_format, host.views, host.paths differs; it takes effect when the agent is started anew\n"
    );
    assert_eq!(agent.thread_of("node").is_some(), node.0.is_some());
    assert_eq!(get(agent.address, "/plugins/node/filesystems").status, 200, "views are served as before");
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some(), "where it was");
    // It is said each time: it is still so.
    assert!(agent.good(&["reload"]).contains("host.listen"));
}
