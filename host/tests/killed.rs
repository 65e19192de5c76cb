//! The end of a child is noticed when it comes, also where nobody asks anything
//! of its plugin.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use support::agent::Agent;
use support::commands::hostile_with;
use support::process::children;
use support::{copy_to, library, private_dir};

#[test]
fn a_child_that_is_killed_between_calls_is_told_of_in_the_log_and_in_the_history() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let section = hostile_with(&file, "", "").replace("isolation = \"none\"", "isolation = \"process\"");
    let mut agent = Agent::start_in(dir, "", &section);
    let runs = |child: &u32| {
        let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.starts_with(b"gantry\0--plugin-runner\0hostile\0")
    };
    let child = children(agent.pid()).into_iter().find(runs).expect("it runs");
    kill_process(Pid::from_raw(child.cast_signed()).expect("a number"), Signal::KILL).expect("it runs");
    // Nobody scrapes.
    let line = agent.wait_for_log("plugin hostile is failed");
    assert!(line.contains("its process was ended by signal 9"), "{line}");
    agent.wait_for_state("hostile", "running");
    let rows = agent.table(&["history", "hostile", "--where", "what=failed"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
}
