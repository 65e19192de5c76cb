//! Figures that hold on any machine: memory, and that an idle agent does nothing.
//! Times are measured by `cargo bench -p gantry-host`, and asserted nowhere.

mod support;

use support::agent::Agent;

const NODE: &str = "[plugins.node]\nenabled = true\n";

fn status(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(key)).expect("the key");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn an_agent_with_the_node_plugin_keeps_within_20_mib() {
    let agent = Agent::start(NODE);
    for _ in 0..20 {
        agent.scrape();
    }
    let kib = status(agent.pid(), "VmRSS:");
    assert!(kib <= 20 * 1024, "{kib} KiB are resident");
}

#[test]
fn an_agent_with_both_plugins_and_300_processes_keeps_within_25_mib() {
    let mut others: Vec<_> =
        (0..300).map(|_| std::process::Command::new("sleep").arg("1000").spawn().expect("sleep")).collect();
    let agent = Agent::start(&format!("{NODE}[plugins.containers]\nenabled = true\n"));
    let mut scraped = String::new();
    for _ in 0..20 {
        scraped = agent.scrape();
    }
    let known = support::agent::sample(&scraped, "gantry_identity_processes").expect("the service began");
    let kib = status(agent.pid(), "VmRSS:");
    for other in &mut others {
        other.kill().and_then(|()| other.wait()).expect("it is ours");
    }
    assert!(known >= 300.0, "{known} processes");
    assert!(kib <= 25 * 1024, "{kib} KiB are resident");
}

/// What a child may have of its own: some 0.7 MiB are the child's, the rest is the
/// plugin's data, relocated pages of its library, and stacks of its threads.
const CHILD: u64 = 1536 << 10;

/// `containers` has 1.15 MiB where nothing runs; what it knows comes besides.
const OF_CONTAINERS: u64 = 1382 << 10;

#[test]
fn a_process_of_a_plugins_own_keeps_within_one_and_a_half_mib() {
    let dir = support::private_dir();
    let file = support::copy_to(dir.path(), &support::library("hostile"));
    let section = support::commands::hostile(&file, "emit = \"wide\"\ncount = 20000");
    let sections = format!(
        "[plugins.node]\nenabled = true\nisolation = \"process\"\n[plugins.containers]\nenabled = true\n\
         isolation = \"process\"\n{}",
        section.replace("isolation = \"none\"", "isolation = \"process\"")
    );
    let mut agent = Agent::start(&sections);
    for _ in 0..20 {
        agent.scrape();
    }
    agent.wait_until("each has its own", |agent| support::process::children(agent.pid()).len() == 3);
    for child in support::process::children(agent.pid()) {
        let line = std::fs::read(format!("/proc/{child}/cmdline")).expect("it runs");
        let name = String::from_utf8_lossy(&line).split('\0').nth(2).unwrap_or_default().to_owned();
        let own = support::process::anonymous(child);
        println!("{name}: {} KiB of its own", own >> 10);
        let most = if name == "containers" { OF_CONTAINERS } else { CHILD };
        assert!(own <= most, "{name} has {} KiB of its own", own >> 10);
    }
}

#[test]
fn every_series_says_which_machine_it_is_of() {
    let agent = Agent::start(NODE);
    let scraped = agent.scrape();
    let samples: Vec<&str> = scraped.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(samples.len() > 50, "{scraped}");
    for line in samples {
        assert!(line.contains("machine_id=\"") && line.contains("system_uuid=\""), "{line}");
    }
}

#[test]
fn threads_and_descriptors_do_not_grow_with_scrapes() {
    let agent = Agent::start(NODE);
    let count =
        |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", agent.pid())).expect("it runs").count();
    // The first ones open what is kept open, and start the threads that are kept.
    (0..5).for_each(|_| drop(agent.scrape()));
    let (threads, descriptors) = (count("task"), count("fd"));
    (0..100).for_each(|_| drop(agent.scrape()));
    assert!(count("task") <= threads + 2, "{} threads after {threads}", count("task"));
    assert!(count("fd") <= descriptors + 2, "{} descriptors after {descriptors}", count("fd"));
}
