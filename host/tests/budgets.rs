//! A plugin that takes more than it may is warned of, ended in order, and tried
//! again: in the agent's process and in one of its own.

mod support;

use support::agent::{Agent, gantry, sample};
use support::{copy_to, library, private_dir};

#[test]
fn heap_beyond_its_budget_ends_an_instance_and_nothing_else() {
    let agents: Vec<Agent> = ["none", "process"]
        .into_iter()
        .map(|isolation| {
            let dir = private_dir();
            let file = copy_to(dir.path(), &library("hostile"));
            let sections = format!(
                "[plugins.node]\nenabled = true\n[plugins.hostile]\nenabled = true\npath = {file:?}\n\
                 isolation = {isolation:?}\nmax_heap = \"16MiB\"\n[plugins.hostile.config]\nballast = \"32MiB\"\n"
            );
            Agent::start_by(gantry(), dir, "", &sections)
        })
        .collect();
    for mut agent in agents {
        agent.scrape();
        // Looked at every 10 s: warned of at once, and ended at the third look.
        agent.wait_for_log("plugin hostile: over its budget: heap 3");
        let line = agent.wait_for_log("plugin hostile is failed: over its budget: heap 3");
        assert!(line.contains("of 16.0 MiB") && line.contains("tried again in 1 s"), "{line}");
        let text = agent.scrape();
        assert_eq!(sample(&text, "gantry_plugin_up{plugin=\"node\""), Some(1.0));
        agent.wait_for_state("hostile", "running");
        // More is allowed from now on, in force at once.
        let config = std::fs::read_to_string(agent.config()).expect("it is there");
        std::fs::write(agent.config(), config.replace("16MiB", "64MiB")).expect("a temporary file");
        agent.good(&["reload"]);
        assert_eq!(agent.plugin("hostile")["state"], "running");
    }
}

#[test]
fn keys_of_budgets_are_checked() {
    let dir = private_dir();
    let config = "[plugins.node]\nenabled = true\nmax_heap = 5\nmax_cpu = 0\nmax_bpf_memory = \"x\"\n";
    let output = support::agent::run(dir.path(), config, &["check"]);
    let said = support::agent::said(&output);
    assert_eq!(output.status.code(), Some(1));
    for words in ["max_heap must be a size", "max_cpu must be above 0", "max_bpf_memory"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
