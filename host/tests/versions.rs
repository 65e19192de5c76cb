//! Plugins that were built against other versions of the boundary, in the host.

mod support;

#[path = "../../plugin-api/tests/versions/mod.rs"]
mod versions;

use support::agent::{Agent, run, said, sample};
use support::{copy_to, private_dir};
use versions::build::Variant;
use versions::patches::{FIELD, MORE};

fn config(variant: &Variant, dir: &std::path::Path) -> String {
    let file = copy_to(dir, &variant.plugin("2024"));
    format!(
        "[plugins.node]\nenabled = true\n[plugins.hello]\nenabled = true\npath = {file:?}\nisolation = \"none\"\n"
    )
}

#[test]
fn a_plugin_of_a_newer_boundary_runs() {
    let dir = private_dir();
    let plugins = config(&Variant::build("newer", &MORE, true), dir.path());
    let checked = run(dir.path(), &plugins, &["check"]);
    assert!(checked.status.success(), "{}", said(&checked));
    let agent = Agent::start_in(dir, "", &plugins);
    let scraped = agent.scrape();
    assert_eq!(sample(&scraped, "hello_greeting_info{name=\"world\""), Some(1.0), "{scraped}");
    assert!(scraped.contains("api=\"1.1\""), "it says what it was built with");
}

#[test]
fn a_plugin_of_a_wrong_layout_is_refused_in_a_line() {
    let dir = private_dir();
    let plugins = config(&Variant::build("field", &[FIELD], true), dir.path());
    let checked = run(dir.path(), &plugins, &["check"]);
    assert_eq!(checked.status.code(), Some(1));
    let line = said(&checked);
    assert!(
        line.contains("its boundary does not fit this host's: ") && line.contains("rebuild it"),
        "{line}"
    );
    assert!(line.lines().all(|line| line.len() < 800), "{line}");
    let agent = Agent::start_in(dir, "", &plugins);
    assert_eq!(agent.state("hello").0, "failed");
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
}
