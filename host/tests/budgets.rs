//! A plugin that takes more than it may is warned of, ended in order, tried again,
//! and given up: in the agent's process and in one of its own.

mod support;

use support::agent::{Agent, gantry, sample};
use support::day::side_by_side;
use support::process::children;
use support::{copy_to, library, needs, private_dir};

const MODES: [&str; 2] = ["none", "process"];

/// An agent that looks more often than every 10 s, at `node` and at the fixture.
fn agent(every: &str, isolation: &str, keys: &str, table: &str) -> Agent {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let sections = format!(
        "[plugins.node]\nenabled = true\n[plugins.hostile]\nenabled = true\npath = {file:?}\n\
         isolation = {isolation:?}\n{keys}\n[plugins.hostile.config]\n{table}\n"
    );
    let mut command = gantry();
    command.args(["--budgets-every", every]);
    Agent::start_by(command, dir, "", &sections)
}

/// Another value in the file, and a reload.
fn change(agent: &Agent, from: &str, to: &str) {
    let config = std::fs::read_to_string(agent.config()).expect("it is there");
    assert!(config.contains(from), "{config}");
    std::fs::write(agent.config(), config.replace(from, to)).expect("a temporary file");
    agent.good(&["reload"]);
}

#[test]
fn heap_beyond_its_budget_ends_an_instance_and_nothing_else() {
    side_by_side(&MODES, |isolation| {
        let mut agent = agent("1s", isolation, "max_heap = \"16MiB\"", "ballast = \"32MiB\"");
        agent.scrape();
        // Warned of at once, and ended at the third look.
        agent.wait_for_log("plugin hostile: over its budget: heap 3");
        let line = agent.wait_for_log("plugin hostile is failed: over its budget: heap 3");
        assert!(line.contains("of 16.0 MiB") && line.contains("tried again in 1 s"), "{line}");
        let text = agent.scrape();
        assert_eq!(sample(&text, "gantry_plugin_up{plugin=\"node\""), Some(1.0));
        agent.wait_for_state("hostile", "running");
        // More is allowed from now on, in force at once.
        change(&agent, "16MiB", "64MiB");
        assert_eq!(agent.plugin("hostile")["state"], "running");
    });
}

#[test]
fn cpu_beyond_its_budget_is_warned_of_ended_and_given_up_at_the_third_time() {
    side_by_side(&MODES, |isolation| {
        // A thread of its own takes a quarter of a core, in no call.
        let mut agent = agent("250ms", isolation, "max_cpu = 0.05", "burn = 0.25");
        agent.scrape();
        let line = agent.wait_for_log("plugin hostile: over its budget: CPU 0.");
        assert!(line.contains("of a core over 2 s, of 0.05") && line.contains("max_cpu"), "{line}");
        let line = agent.wait_for_log("plugin hostile is failed: over its budget: CPU 0.");
        assert!(line.contains("tried again in 1 s"), "{line}");
        let counted =
            |agent: &Agent| sample(&agent.scrape(), "hostile_collections_total").expect("it is shown");
        agent.wait_for_state("hostile", "running");
        assert!(counted(&agent) >= 1.0, "with its counts");
        let line = agent.wait_for_log("plugin hostile is quarantined: over its budget: CPU 0.");
        assert!(line.contains("of 0.05"), "{line}");
        let text = agent.scrape();
        assert_eq!(sample(&text, "gantry_plugin_up{plugin=\"node\""), Some(1.0));
        let threads = support::process::threads_named(agent.pid(), "hostile-load");
        assert_eq!(
            (threads, support::process::children(agent.pid()).len()),
            (0, 0),
            "nothing burns any more"
        );
        // What is allowed is let alone.
        change(&agent, "max_cpu = 0.05", "max_cpu = 0.9");
        agent.good(&["restart", "hostile"]);
        agent.wait_for_state("hostile", "running");
        let spent =
            |agent: &Agent| sample(&agent.scrape(), "gantry_plugin_cpu_seconds_total{plugin=\"hostile\"");
        let before = spent(&agent).expect("it is counted");
        agent.wait_until("more than eight looks are over", |agent| {
            spent(agent).is_some_and(|now| now > before + 0.6)
        });
        assert_eq!(agent.state("hostile").0, "running");
    });
}

#[test]
fn bpf_maps_beyond_their_budget_end_the_instance_that_reports_them() {
    side_by_side(&MODES, |isolation| {
        let maps = "bpf_maps = \"2MiB\"";
        let mut agent = agent("500ms", isolation, "max_bpf_memory = \"1MiB\"\nmax_heap = \"16MiB\"", maps);
        agent.scrape();
        agent.wait_for_log("plugin hostile: over its budget: BPF maps 2.0 MiB, of 1.0 MiB");
        let line = agent.wait_for_log("plugin hostile is failed: over its budget: BPF maps 2.0 MiB");
        assert!(line.contains("of 1.0 MiB") && line.contains("tried again in 1 s"), "{line}");
        let text = agent.scrape();
        assert_eq!(sample(&text, "gantry_plugin_up{plugin=\"node\""), Some(1.0));
        agent.wait_for_state("hostile", "running");
        assert!(sample(&agent.scrape(), "hostile_collections_total").is_some_and(|count| count >= 1.0));
        // What it had is not held against one that reports nothing. Whatever the
        // next look finds besides comes after that.
        agent.forget_log();
        let config = std::fs::read_to_string(agent.config()).expect("it is there");
        std::fs::write(agent.config(), config.replace(maps, "ballast = \"32MiB\"")).expect("own file");
        // It may be over its budget once more by then.
        agent.ask(&["reload"]);
        let line = agent.wait_for_log("plugin hostile: over its budget: heap 3");
        assert!(!line.contains("BPF"), "{line}");
    });
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

#[test]
fn bpf_maps_beyond_their_budget_end_an_instance_and_leave_the_kernel() {
    let has_btf = std::path::Path::new("/sys/kernel/btf/vmlinux").exists();
    if !needs::root() || !needs::have("a kernel with BTF", has_btf) {
        return;
    }
    side_by_side(&MODES, |isolation| {
        let sections = format!(
            "[plugins.node]\nenabled = true\n[plugins.tcp-ebpf]\nenabled = true\nisolation = {isolation:?}\n\
             max_bpf_memory = \"1MiB\"\n"
        );
        let mut command = gantry();
        command.args(["--budgets-every", "250ms"]);
        let mut agent = Agent::start_by(command, private_dir(), "", &sections);
        // Its ring alone has 4 MiB: the kernel says so at a collection.
        agent.scrape();
        let line = agent.wait_for_log("plugin tcp-ebpf: over its budget: BPF maps ");
        assert!(line.contains("of 1.0 MiB") && line.contains("max_bpf_memory"), "{line}");
        agent.wait_for_log("plugin tcp-ebpf is failed: over its budget: BPF maps ");
        agent.wait_until("it is given up", |agent| {
            agent.scrape();
            agent.state("tcp-ebpf").0 == "quarantined"
        });
        agent.wait_until("its maps are gone", |agent| {
            let all = [vec![agent.pid()], children(agent.pid())].concat();
            all.into_iter().all(|pid| bpf_maps(pid) == 0)
        });
        assert_eq!(sample(&agent.scrape(), "gantry_plugin_up{plugin=\"node\""), Some(1.0));
        // What is allowed is let alone.
        change(&agent, "1MiB", "64MiB");
        agent.good(&["restart", "tcp-ebpf"]);
        agent.wait_for_state("tcp-ebpf", "running");
        let bytes = sample(&agent.scrape(), "tcp_ebpf_map_bytes");
        assert!(bytes.is_some_and(|bytes| (4e6..64e6).contains(&bytes)), "{bytes:?}");
    });
}

fn bpf_maps(pid: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    texts.filter(|text| text.lines().any(|line| line.starts_with("map_id:"))).count()
}
