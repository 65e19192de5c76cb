//! Where the kernel has no seccomp: plugins in processes of their own run all the
//! same, and it is said that they are confined less.

mod support;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
use std::collections::BTreeMap;
use support::agent::{Agent, gantry, sample};
use support::commands::hostile_with;
use support::process::runners;
use support::{copy_to, library, private_dir};

/// Starts an agent as on a kernel without seccomp(2): a filter answers it as such a
/// kernel does. What a thread starts inherits its filters.
fn without_seccomp(dir: tempfile::TempDir, sections: &str) -> Agent {
    std::thread::scope(|scope| {
        let starts = scope.spawn(|| {
            let arch = TargetArch::try_from(std::env::consts::ARCH).expect("one that is known");
            let rules = BTreeMap::from([(libc::SYS_seccomp, Vec::new())]);
            let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
            let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, arch).expect("a filter");
            let program: BpfProgram = filter.try_into().expect("a program");
            apply_filter(&program).expect("this kernel has seccomp");
            Agent::start_by(gantry(), dir, "", sections)
        });
        starts.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn a_kernel_without_it_is_said_once_and_in_the_note_and_the_rest_holds() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let hostile = hostile_with(&file, "", "").replace("isolation = \"none\"", "isolation = \"process\"");
    // In a vendor directory, and so in the agent.
    let sections = format!("[plugins.node]\nenabled = true\n{hostile}");
    let mut agent = without_seccomp(dir, &sections);
    let words =
        "plugins in processes of their own are confined less than they should be, hostile for one: seccomp: ";
    agent.wait_for_log(words);
    let note = |agent: &Agent, plugin: &str| agent.row(plugin)["note"].to_string();
    assert!(note(&agent, "hostile").contains("seccomp"), "{}", note(&agent, "hostile"));
    assert!(!note(&agent, "node").contains("seccomp"), "{}", note(&agent, "node"));
    // Another process of it says nothing new.
    agent.good(&["restart", "hostile"]);
    assert_eq!(agent.row("hostile")["state"], "running");
    assert_eq!(sample(&agent.scrape(), "hostile_good{kind=\"last\""), Some(1.0));
    let child = runners(agent.pid(), "hostile")[0];
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).expect("it runs");
    let says = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.map(|value| value.trim().to_owned())
    };
    assert_eq!(says("NoNewPrivs:").as_deref(), Some("1"));
    assert_eq!(says("CapEff:").as_deref(), Some("0000000000000000"));
    // The test's own, and none of the agent's; older kernels do not count them.
    assert!(says("Seccomp_filters:").is_none_or(|filters| filters == "1"), "{status}");
    assert!(agent.terminate().success());
    agent.wait_for_log("stopped");
    assert_eq!(agent.log.iter().filter(|line| line.contains(words)).count(), 1);
}
