//! The whole agent where the kernel tells it less: in namespaces of its own, without inotify, and where
//! the first process's own files cannot be read.

mod support;

use std::process::Command;
use support::agent::{Agent, gantry, sample};
use support::cgroup::Cgroup;
use support::process::runners;
use support::series::{scrape_until, value};
use support::{needs, private_dir};

const CONTAINERS: &str = "[plugins.node]\nenabled = true\n[plugins.containers]\nenabled = true\n";
const AT_ONCE: &str = "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"";

/// The host, started by `unshare` with these arguments; `None` where that is not allowed.
fn unshared(arguments: &[&str]) -> Option<Command> {
    let mut probe = Command::new("unshare");
    let works = probe.args(arguments).arg("true").output().is_ok_and(|output| output.status.success());
    if !needs::root() || !needs::have(&format!("unshare {}", arguments.join(" ")), works) {
        return None;
    }
    let host = gantry();
    let mut command = Command::new("unshare");
    command.args(arguments).arg(host.get_program()).stdin(std::process::Stdio::null()).env("NO_COLOR", "1");
    Some(command)
}

fn used(id: &str) -> impl Fn(&str) -> bool {
    let id = id.to_owned();
    move |text: &str| {
        value(text, "container_resources_cpu_usage_seconds_total", &[("container_id", &id)]).is_some()
    }
}

#[test]
fn without_process_events_containers_are_found_by_looking() {
    // The connector is silent to whoever has a pid namespace of its own; `/proc` stays the machine's.
    let Some(command) = unshared(&["--pid", "--fork", "--kill-child"]) else { return };
    let Some(cgroup) = Cgroup::new() else { return };
    let before = Cgroup::new().expect("as the other one");
    let _there = before.spawn(&["sleep", "1000"]);
    let agent = Agent::start_by(command, private_dir(), AT_ONCE, CONTAINERS);
    let text = agent.scrape();
    assert_eq!(sample(&text, "gantry_identity_watched"), Some(0.0), "{text}");
    assert_eq!(sample(&text, "gantry_identity_cgroups_watched"), Some(1.0), "{text}");
    scrape_until(&agent, "what was there before is shown", used(&before.path()));
    let id = cgroup.path();
    let member = cgroup.spawn(&["sleep", "1000"]);
    scrape_until(&agent, "one that comes later is found", used(&id));
    let processes = || agent.table(&["containers", "--where", &format!("id={id}")]);
    scrape_until(&agent, "with its process", |_| {
        processes().first().is_some_and(|row| row["processes"] == 1.0)
    });
    drop(member);
    cgroup.remove();
    scrape_until(&agent, "and its end is seen", |_| processes().is_empty());
    assert_eq!(sample(&agent.scrape(), "gantry_identity_watched"), Some(0.0));
}

#[test]
fn in_a_network_namespace_of_its_own_containers_are_found_by_looking() {
    // The connector is of the machine's first network namespace alone.
    let script = "ip link set lo up && exec \"$0\" \"$@\"";
    let Some(command) = unshared(&["--net", "sh", "-c", script]) else { return };
    let Some(before) = Cgroup::new() else { return };
    let _there = before.spawn(&["sleep", "1000"]);
    let mut agent = Agent::start_by(command, private_dir(), AT_ONCE, CONTAINERS);
    let processes = |agent: &Agent, id: &str| {
        let rows = agent.table(&["containers", "--where", &format!("id={id}")]);
        rows.first().map(|row| row["processes"].clone())
    };
    assert_eq!(processes(&agent, &before.path()), Some(1.into()), "it was there before");
    let later = Cgroup::new().expect("as the other one");
    let member = later.spawn(&["sleep", "1000"]);
    let id = later.path();
    agent.wait_until("one that comes later is found", |agent| processes(agent, &id) == Some(1.into()));
    drop(member);
    later.remove();
    agent.wait_until("and its end is seen", |agent| processes(agent, &id).is_none());
}

#[test]
fn without_inotify_they_are_known_by_their_processes_until_there_is_some() {
    // Root of a user namespace may not read the first process's namespaces, and has as many inotify
    // instances as it allows itself. Before Linux 6.6 it has no connector either.
    let script = "echo 0 > /proc/sys/user/max_inotify_instances || exit 1; exec \"$0\" \"$@\"";
    let arguments = ["--user", "--map-root-user", "sh", "-c", script];
    let Some(command) = unshared(&arguments) else { return };
    let Some(cgroup) = Cgroup::new() else { return };
    let agent = Agent::start_by(command, private_dir(), AT_ONCE, CONTAINERS);
    let text = agent.scrape();
    assert_eq!(sample(&text, "gantry_identity_cgroups_watched"), Some(0.0), "{text}");
    let id = cgroup.path();
    let _member = cgroup.spawn(&["sleep", "1000"]);
    scrape_until(&agent, "it is known by its process", used(&id));
    // The machine's own namespace is known all the same: a container in it owns none.
    let row = agent.table(&["containers", "--where", &format!("id={id}")]).remove(0);
    assert_eq!(row["processes"], 1.0, "{row:?}");
    let pid = agent.pid().to_string();
    let allow = "echo 1000 > /proc/sys/user/max_inotify_instances";
    let entered = Command::new("nsenter")
        .args(["--target", &pid, "--user", "--preserve-credentials", "sh", "-c", allow])
        .output()
        .expect("nsenter runs");
    assert!(entered.status.success(), "{entered:?}");
    agent.wait_for_sample("gantry_identity_cgroups_watched", 1.0);
    scrape_until(&agent, "all is looked at when there is more to hear", |text| {
        sample(text, "gantry_identity_resyncs_total").is_some_and(|count| count >= 2.0)
    });
}

#[test]
fn in_a_cgroup_namespace_of_its_own_each_container_has_its_id_and_figures() {
    // Its own cgroup is the root of what it sees of others.
    let Some(before) = Cgroup::new() else { return };
    let own = Cgroup::at(&format!("/gantry-agent-{}", std::process::id()));
    let script = "for procs in $PROCS; do echo $$ > $procs || exit 1; done; exec \"$0\" \"$@\"";
    let Some(unshared) = unshared(&["--cgroup"]) else { return };
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(unshared.get_program()).args(unshared.get_args());
    command.env("PROCS", own.files("cgroup.procs").join(" ")).env("NO_COLOR", "1");
    command.stdin(std::process::Stdio::null());
    let _there = before.spawn(&["sleep", "1000"]);
    let agent = Agent::start_by(command, private_dir(), AT_ONCE, CONTAINERS);
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/cgroup")).expect("it runs");
    assert_ne!(namespace("self"), namespace(&agent.pid().to_string()));
    scrape_until(&agent, "what was there before is shown", used(&before.path()));
    let after = Cgroup::new().expect("as the other one");
    let _member = after.spawn(&["sleep", "1000"]);
    let id = after.path();
    let text = scrape_until(&agent, "one that comes later is shown", used(&id));
    assert!(!text.contains(".."), "no path from within: {text}");
    for id in [before.path(), id] {
        let rows = agent.table(&["containers", "--where", &format!("id={id}")]);
        assert!(rows.len() == 1 && rows[0]["processes"] == 1.0, "{rows:?}");
    }
}

/// More of them have more files than an agent with so many descriptors may keep open.
const CGROUPS: usize = 60;
const DESCRIPTORS: usize = 512;

#[test]
fn at_most_half_of_the_descriptors_are_of_cgroups_and_mounts() {
    if !needs::program("prlimit") {
        return;
    }
    let cgroups: Vec<Cgroup> = (0..CGROUPS).map_while(|_| Cgroup::new()).collect();
    if cgroups.is_empty() {
        return;
    }
    let _members: Vec<_> = cgroups.iter().map(|cgroup| cgroup.spawn(&["sleep", "1000"])).collect();
    let host = gantry();
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={DESCRIPTORS}")).arg(host.get_program()).env("NO_COLOR", "1");
    command.stdin(std::process::Stdio::null());
    let agent = Agent::start_by(command, private_dir(), AT_ONCE, CONTAINERS);
    let families = ["cpu_usage_seconds_total", "memory_rss_bytes", "memory_cache_bytes"];
    let figures = |text: &str| {
        let of = |cgroup: &Cgroup, family: &str| {
            let family = format!("container_resources_{family}");
            value(text, &family, &[("container_id", &cgroup.path())]).is_some()
        };
        cgroups.iter().all(|cgroup| families.iter().all(|family| of(cgroup, family)))
    };
    for _ in 0..3 {
        let text = scrape_until(&agent, "all figures of all of them", figures);
        assert!(!text.contains("reason=\"cgroup_unreadable\""), "{text}");
        // Those of whichever process the plugin is in.
        let pid = runners(agent.pid(), "containers").first().copied().unwrap_or(agent.pid());
        let open: Vec<std::path::PathBuf> = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("it runs")
            .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
            .collect();
        // Besides the roots of the hierarchies.
        let is_file =
            |path: &std::path::Path| path.starts_with("/sys/fs/cgroup") && path.components().count() > 5;
        let of_containers = open.iter().filter(|path| is_file(path) || path.ends_with("mountinfo"));
        let count = of_containers.count();
        assert!(count <= DESCRIPTORS / 2, "{count} of {}: {open:?}", open.len());
        assert!(count > CGROUPS, "what is kept is kept: {open:?}");
        assert!(open.len() < DESCRIPTORS / 2 + 64, "{}", open.len());
    }
}
