//! The agent keeps the capabilities that are needed by what its configuration
//! names, and gives up all others before the first plugin.

mod support;

use support::agent::{Agent, gantry};
use support::{copy_to, library, private_dir};

/// In the order of their numbers (linux/capability.h).
const DAC_READ_SEARCH: u64 = 1 << 2;
const SETPCAP: u64 = 1 << 8;
const NET_ADMIN: u64 = 1 << 12;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const BPF: u64 = 1 << 39;

const OWN: u64 = DAC_READ_SEARCH | SETPCAP | NET_ADMIN | SYS_PTRACE;

/// A set of every thread of a process, as `/proc/PID/status` has it.
fn sets(pid: u32, name: &str) -> Vec<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let of = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))?;
        u64::from_str_radix(line, 16).ok()
    };
    tasks.flatten().filter_map(of).collect()
}

fn mine(name: &str) -> u64 {
    sets(std::process::id(), name)[0]
}

#[test]
fn only_what_is_needed_is_kept_in_every_thread_and_set() {
    if !support::needs::root() {
        return;
    }
    for (host, plugins, wanted) in [
        ("", "", OWN),
        // Named, and not enabled.
        ("", "[plugins.node]\n", OWN | SYS_ADMIN),
        ("keep_capabilities = [\"CAP_BPF\"]", "[plugins.node]\nenabled = true\n", OWN | SYS_ADMIN | BPF),
    ] {
        let agent = Agent::start_by(gantry(), private_dir(), host, plugins);
        let pid = agent.pid();
        for set in ["CapEff", "CapPrm"] {
            let had = mine(set);
            assert!(sets(pid, set).iter().all(|now| *now == had & wanted), "{set} of {plugins:?}");
        }
        assert!(sets(pid, "CapInh").iter().chain(&sets(pid, "CapAmb")).all(|now| *now == 0));
        let bounding = mine("CapBnd") & wanted;
        assert!(sets(pid, "CapBnd").iter().all(|now| *now == bounding), "of {plugins:?}");
    }
}

#[test]
fn one_that_comes_later_and_needs_more_says_so() {
    if !support::needs::root() {
        return;
    }
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("alone"));
    let lock = dir.path().join("lock");
    let section = format!(
        "[plugins.alone]\nenabled = true\npath = {file:?}\nisolation = \"none\"\nconfig.lock = {lock:?}\n"
    );
    let mut agent = Agent::start_by(gantry(), dir, "", "");
    agent.rewrite(&section);
    agent.command("reload");
    let why = agent.wait_for_state("alone", "unsupported");
    assert!(why.contains("needs CAP_CHOWN, dropped at start; restart the agent"), "{why}");
    // It is named now.
    agent.terminate();
    agent.again();
    agent.wait_for_state("alone", "running");
}

#[test]
fn a_grant_that_comes_later_says_that_it_is_not_given() {
    if !support::needs::root() {
        return;
    }
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let section = |keys: &str| format!("[plugins.hostile]\nenabled = true\npath = {file:?}\n{keys}\n");
    let mut agent = Agent::start_by(gantry(), dir, "", &section(""));
    let granted = "grant = [\"CAP_CHOWN\"]";
    agent.rewrite(&section(granted));
    let without = "without CAP_CHOWN, dropped at start; restart the agent";
    for _ in 0..2 {
        let said = agent.good(&["reload"]);
        assert!(said.contains(&format!("hostile: it runs {without}")), "until that: {said}");
    }
    let note = |agent: &Agent| agent.row("hostile")["note"].to_string();
    assert!(note(&agent).contains(without), "{}", note(&agent));
    agent.terminate();
    agent.again();
    assert!(!note(&agent).contains(without), "{}", note(&agent));
    assert_eq!(agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
}
