//! What a disabled plugin costs an agent, read from the kernel: nothing before
//! it was enabled, and after that its mapping alone.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use support::agent::{Agent, gantry, sample};
use support::control::ask;
use support::process::threads;
use support::{needs, private_dir};

const PLUGINS: [&str; 5] = ["node", "containers", "tcp-ebpf", "taskstats", "oom"];

/// The identity service begins at the first question, and stays: it is the host's.
const OF_IDENTITY: [&str; 2] = ["identity", "identity-reads"];

/// What the kernel says of an agent, by kind and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Plugins whose library is mapped.
    mapped: Vec<&'static str>,
    threads: BTreeMap<String, usize>,
    descriptors: BTreeMap<String, usize>,
    /// BPF programs and maps.
    bpf: Bpf,
    children: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Bpf {
    programs: usize,
    maps: usize,
}

impl Seen {
    /// A socket of a scrape may have been closing still at the look before.
    fn is_no_more_than(&self, before: &Self) -> bool {
        let had = |kind: &String| before.descriptors.get(kind).copied().unwrap_or_default();
        let all_but_descriptors = |seen: &Self| Self { descriptors: BTreeMap::new(), ..seen.clone() };
        self.descriptors.iter().all(|(kind, count)| *count <= had(kind))
            && all_but_descriptors(self) == all_but_descriptors(before)
    }
}

const NO_BPF: Bpf = Bpf { programs: 0, maps: 0 };

fn look(agent: &Agent) -> Seen {
    let pid = agent.pid();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let is_mapped = |name: &&str| {
        maps.lines().any(|line| {
            line.contains(&format!("libgantry_{}", name.replace('-', "_")))
                || line.contains(&format!("store/{name}-"))
        })
    };
    let mut found = BTreeMap::<String, usize>::new();
    // Those of the runtime come and go with what is asked.
    let own = threads(pid).into_iter().filter(|name| name != "gantry");
    own.for_each(|name| *found.entry(name).or_default() += 1);
    let (mut descriptors, mut bpf) = (BTreeMap::<String, usize>::new(), Bpf::default());
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten() {
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        *descriptors.entry(kind(&target)).or_default() += 1;
        let info = PathBuf::from(format!("/proc/{pid}/fdinfo")).join(entry.file_name());
        let info = std::fs::read_to_string(info).unwrap_or_default();
        let has = |key: &str| usize::from(info.lines().any(|line| line.starts_with(key)));
        bpf.programs += has("prog_id:");
        bpf.maps += has("map_id:");
    }
    Seen {
        mapped: PLUGINS.into_iter().filter(is_mapped).collect(),
        threads: found,
        descriptors,
        bpf,
        children: support::process::children(pid).len(),
    }
}

/// A descriptor without the number of its socket or pipe.
fn kind(target: &std::path::Path) -> String {
    let text = target.to_string_lossy();
    text.split_once(":[").map_or(text.as_ref(), |(kind, _)| kind).to_owned()
}

/// All plugins on, or off, one after the other.
fn switch(agent: &mut Agent, to: &str, state: &str) {
    for plugin in PLUGINS {
        let answer = ask(&agent.socket(), "POST", &format!("plugins/{plugin}/{to}")).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        // taskstats is degraded where the kernel does not count delays of disks.
        let is_it = |is: &str| is == state || state == "running" && plugin == "taskstats" && is == "degraded";
        agent.wait_until(&format!("{plugin} is {state}"), |agent| is_it(&agent.state(plugin).0));
    }
}

/// Waits until what the kernel says is so; sockets of scrapes may still close.
fn settled(agent: &mut Agent, what: &str, holds: impl Fn(&Seen) -> bool) -> Seen {
    let mut seen = None;
    let until = std::time::Instant::now() + support::http::PATIENCE;
    while seen.as_ref().is_none_or(|seen| !holds(seen)) {
        assert!(std::time::Instant::now() < until, "never: {what}: {seen:#?}");
        agent.wait_for(std::time::Duration::from_millis(5));
        seen = Some(look(agent));
    }
    seen.expect("it was looked at")
}

#[test]
fn a_plugin_that_is_disabled_again_leaves_its_mapping_and_nothing_else() {
    let has_btf = std::path::Path::new("/sys/kernel/btf/vmlinux").exists();
    if !needs::root() || !needs::have("a kernel with BTF", has_btf) {
        return;
    }
    let sections = PLUGINS.map(|plugin| format!("[plugins.{plugin}]\nenabled = false\n")).concat();
    let mut agent = Agent::start_by(gantry(), private_dir(), "", &sections);
    agent.scrape();
    let never = look(&agent);
    assert_eq!((never.mapped.len(), never.children, &never.bpf), (0, 0, &NO_BPF), "{never:?}");
    assert!(!never.threads.keys().any(|name| name.starts_with("p:")), "{:?}", never.threads);
    assert!(!never.threads.keys().any(|name| OF_IDENTITY.contains(&name.as_str())), "{:?}", never.threads);
    let mut off = Vec::new();
    for round in 0..3 {
        switch(&mut agent, "enable", "running");
        agent.wait_until("all are shown", |agent| {
            let text = agent.scrape();
            [
                "node_uptime_seconds",
                "gantry_identity_processes",
                "tcp_ebpf_program_loaded",
                "oom_program_loaded",
                "container_resources_cpu_delay_seconds_total",
            ]
            .iter()
            .all(|name| sample(&text, name).is_some())
        });
        let on = look(&agent);
        assert_eq!(on.mapped, PLUGINS, "round {round}");
        assert!(on.bpf.programs >= 3 && on.bpf.maps >= 3, "its BPF programs and maps: {:?}", on.bpf);
        assert!(PLUGINS.iter().all(|name| on.threads.contains_key(&format!("p:{name}"))), "{:?}", on.threads);
        assert!(on.descriptors.values().sum::<usize>() > never.descriptors.values().sum(), "{on:?}");
        switch(&mut agent, "disable", "disabled");
        let seen = settled(&mut agent, "its threads end", |seen| {
            seen.threads
                .keys()
                .all(|name| never.threads.contains_key(name) || OF_IDENTITY.contains(&name.as_str()))
                && off.last().is_none_or(|before: &Seen| seen.is_no_more_than(before))
        });
        assert_eq!(seen.mapped, PLUGINS, "what was opened stays mapped");
        assert_eq!((seen.children, &seen.bpf), (0, &NO_BPF), "{seen:?}");
        let text = agent.scrape();
        let families = [
            "node_uptime_seconds",
            "container_info",
            "container_runtime_up",
            "tcp_ebpf_program_loaded",
            "oom_program_loaded",
        ];
        assert_eq!(families.map(|name| sample(&text, name)), [None; 5], "{text}");
        off.push(seen);
    }
    let after = off.last().expect("three rounds");
    let more: Vec<_> = after
        .descriptors
        .iter()
        .filter(|(kind, count)| never.descriptors.get(*kind).is_none_or(|before| before < count))
        .map(|(kind, count)| (kind, count - never.descriptors.get(kind).copied().unwrap_or_default()))
        .collect();
    println!(
        "threads {:?}, never enabled {:?}; descriptors more than then {more:?}; {:?}",
        after.threads, never.threads, after.bpf
    );
    // What the identity service has open: process events, directories of
    // cgroups, and what wakes it.
    let kinds = ["anon_inode", "socket", "pipe", "/proc", "/sys/fs/cgroup"];
    let own = |kind: &str| kinds.iter().any(|own| kind.starts_with(own));
    assert!(more.iter().all(|(kind, _)| own(kind)), "{more:?}");
    assert!(more.iter().map(|(_, count)| count).sum::<usize>() <= 10, "{more:?}");
}
