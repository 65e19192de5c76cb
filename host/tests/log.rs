//! What plugins say, and how much of it.

mod support;

use support::agent::{Agent, sample};
use support::{copy_to, library, private_dir};

#[test]
fn a_plugin_that_floods_the_log_is_limited_counted_and_named() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let plugins = format!(
        "[plugins.node]\nenabled = true\n[plugins.hostile]\nenabled = true\npath = {file:?}\nisolation = \"none\"\n\
         [plugins.hostile.config]\nfault = \"log_flood\"\nat = \"collect\"\ncount = 20000\n"
    );
    let mut agent = Agent::start_in(dir, "", &plugins);
    // Its trial collection floods already.
    let told = agent.wait_for_log("lines dropped");
    assert!(told.contains("plugin hostile: ") && told.contains("WARN"), "{told}");
    // A counter is shown as 0 the first time.
    agent.scrape();
    let scraped = agent.scrape();
    let of = |plugin: &str| {
        sample(&scraped, &format!("gantry_plugin_log_lines_dropped_total{{plugin=\"{plugin}\""))
    };
    assert!(of("hostile").is_some_and(|dropped| dropped > 10_000.0), "{scraped}");
    assert_eq!(of("node"), Some(0.0), "an increase needs a beginning");
    let written = agent.log.iter().filter(|line| line.contains("a flood on request")).count();
    assert!(written < 10_000, "{written} of 20,000");
    assert_eq!(sample(&scraped, "gantry_log_lines_lost_total"), Some(0.0));
    assert!(agent.terminate().success());
}
