//! Bad days of the identity service, on the running kernel: storms, losses, and
//! a start in the middle of them.

mod support;

use rustix::process::Signal;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::agent::{Agent, sample};
use support::cgroup::{Cgroup, hierarchies};
use support::process::{peak_memory, threads_named};
use support::series::{scrape_until, value};
use support::{isolation, needs};

const CONTAINERS: &str = "[plugins.node]\nenabled = true\n[plugins.containers]\nenabled = true\n";

/// A shell that makes containers of one process each, one after the other.
struct Storm(Child);

impl Storm {
    /// Containers as a runtime makes and removes them, below a parent of the test's own.
    fn of(count: usize, mark: &str) -> Option<Self> {
        if !needs::root() || !needs::have("a writable cgroup tree", !hierarchies().is_empty()) {
            return None;
        }
        // Two hierarchies are enough to be known, and cheap: the service's first, and memory's or the only one.
        let wanted = ["systemd", "memory", "unified"];
        let named = |root: &std::path::Path| {
            root.file_name().is_some_and(|name| wanted.iter().any(|one| name == *one))
        };
        let mut roots: Vec<_> = hierarchies().into_iter().filter(|root| named(root)).collect();
        if roots.is_empty() {
            roots = hierarchies();
        }
        let roots: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
        let script = format!(
            "i=0; while [ $i -lt {count} ]; do i=$((i+1)); id=$(printf '{mark:0>56}%08x' $i); \
             for h in {roots}; do mkdir -p $h/docker/$id; done; \
             sh -c 'for h in {roots}; do echo $$ > $h/docker/'$id'/cgroup.procs; done; exec true'; \
             for h in {roots}; do rmdir $h/docker/$id; done; done",
            roots = roots.join(" ")
        );
        // Busybox has mkdir and rmdir in itself: three times as many containers a second.
        let (program, arguments) = match Path::new("/bin/busybox").exists() {
            true => ("/bin/busybox", &["sh", "-c"][..]),
            false => ("/bin/sh", &["-c"][..]),
        };
        let mut command = Command::new(program);
        command.args(arguments).arg(&script).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Some(Self(command.spawn().expect("a shell")))
    }

    fn end(mut self) {
        self.0.wait().expect("it is ours");
    }

    fn is_over(&mut self) -> bool {
        self.0.try_wait().expect("it is ours").is_some()
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn of(agent: &Agent, series: &str) -> f64 {
    sample(&agent.scrape(), series).unwrap_or_else(|| panic!("no {series}"))
}

fn lost(scraped: &str, reason: &str) -> f64 {
    value(scraped, "gantry_identity_lost_total", &[("reason", reason)]).unwrap_or_default()
}

#[test]
fn containers_come_and_go_by_the_thousand() {
    // Before the storm: it is to see all of them.
    let agent = Agent::start(CONTAINERS);
    // What is counted is the host's own: once more for processes needs fewer.
    let count = if isolation() == "none" { 10_000 } else { 2_000 };
    let Some(mut storm) = Storm::of(count, "a") else { return };
    let id = format!("/docker/{:0>56}", "a");
    let fold = "container_id=\"/docker/~short-lived\"";
    let (mut most, mut most_folded) = (0, 0);
    while !storm.is_over() {
        let scraped = agent.scrape();
        assert!(!scraped.contains(&id), "one of them is shown: {scraped}");
        let series = || scraped.lines().filter(|line| line.starts_with("container_"));
        most = most.max(series().count());
        most_folded = most_folded.max(series().filter(|line| line.contains(fold)).count());
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    storm.end();
    // Others' containers are among them. A queue that overran is one loss, of
    // as many as were in it.
    let losses =
        |text: &str| ["cgroup_events", "process_events"].map(|reason| lost(text, reason)).iter().sum::<f64>();
    let text = scrape_until(&agent, "all are folded, or counted as lost", |text| {
        let folded = sample(text, "gantry_identity_folded_total").unwrap_or_default();
        count as f64 - folded <= losses(text) * 1_000.0
    });
    assert!(losses(&text) <= 3.0, "few queues overrun: {text}");
    assert!(!text.contains(&id), "one of them is shown: {text}");
    assert!(most < 5_000, "{most} series of containers");
    assert!(most_folded <= 30, "{most_folded} series of all of them");
    assert_eq!(lost(&text, "containers"), 0.0);
    let peak = peak_memory(agent.pid());
    assert!(peak < 128 << 20, "{} MiB", peak >> 20);
    let restarts =
        value(&agent.scrape(), "container_restarts_total", &[("container_id", "/docker/~short-lived")]);
    assert!(restarts.is_some(), "one series for all of them");
}

#[test]
fn what_was_missed_while_the_agent_stood_still_is_looked_up() {
    let Some(storm) = Storm::of(3_000, "b") else { return };
    let agent = Agent::start_in(
        support::private_dir(),
        "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"",
        CONTAINERS,
    );
    agent.scrape();
    agent.signal(Signal::STOP);
    storm.end();
    let cgroup = Cgroup::new().expect("the storm had one");
    let _member = cgroup.spawn(&["sleep", "1000"]);
    agent.signal(Signal::CONT);
    let id = cgroup.path();
    scrape_until(&agent, "the one that is left is shown", |text| {
        value(text, "container_resources_cpu_usage_seconds_total", &[("container_id", &id)]).is_some()
    });
    if of(&agent, "gantry_identity_watched") == 1.0 {
        scrape_until(&agent, "the loss is counted, and all was looked at again", |text| {
            lost(text, "process_events") >= 1.0
                && sample(text, "gantry_identity_resyncs_total").is_some_and(|count| count >= 2.0)
        });
    }
    let rows = agent.table(&["containers", "--where", &format!("id={id}")]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["processes"], 1.0);
}

#[test]
fn what_inotify_lost_is_looked_up() {
    if !needs::root() || !needs::have("a writable cgroup tree", !hierarchies().is_empty()) {
        return;
    }
    let queue =
        std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("the kernel has inotify");
    let queue: usize = queue.trim().parse().expect("a number");
    let wanted = ["systemd", "memory", "unified"];
    let is_watched = |root: &Path| root.file_name().is_some_and(|name| wanted.iter().any(|one| name == *one));
    let root =
        hierarchies().into_iter().find(|root| is_watched(root)).unwrap_or_else(|| hierarchies().remove(0));
    let agent = Agent::start_in(
        support::private_dir(),
        "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"",
        CONTAINERS,
    );
    assert_eq!(lost(&agent.scrape(), "cgroup_events"), 0.0);
    let gone = Cgroup::new().expect("it is root");
    let id_of_gone = gone.path();
    scrape_until(&agent, "the one that will go is known", |_| {
        !agent.table(&["containers", "--where", &format!("id={id_of_gone}")]).is_empty()
    });
    agent.signal(Signal::STOP);
    // Each is told twice, as it comes and as it goes.
    let mark = root.join(format!("docker/overrun-{}", std::process::id()));
    for _ in 0..queue / 2 + 100 {
        std::fs::create_dir(&mark).and_then(|()| std::fs::remove_dir(&mark)).expect("root may");
    }
    gone.remove();
    let cgroup = Cgroup::new().expect("it is root");
    agent.signal(Signal::CONT);
    let id = cgroup.path();
    scrape_until(&agent, "the loss is counted, and all was looked at again", |text| {
        lost(text, "cgroup_events") >= 1.0
            && sample(text, "gantry_identity_resyncs_total").is_some_and(|count| count >= 2.0)
    });
    // No process of it was ever there to tell of it.
    let rows = |id: &str| agent.table(&["containers", "--where", &format!("id={id}")]).len();
    scrape_until(&agent, "who came is there, and who went is not", |_| {
        rows(&id) == 1 && rows(&id_of_gone) == 0
    });
}

#[test]
fn an_agent_that_starts_in_the_middle_of_a_storm_knows_who_is_there() {
    // More than come in the time of the test.
    let Some(mut storm) = Storm::of(100_000, "c") else { return };
    let cgroups: Vec<Cgroup> = (0..5).filter_map(|_| Cgroup::new()).collect();
    let _members: Vec<_> = cgroups.iter().map(|cgroup| cgroup.spawn(&["sleep", "1000"])).collect();
    let agent = Agent::start_in(
        support::private_dir(),
        "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"",
        CONTAINERS,
    );
    // They are so young that they may still turn out to opt out.
    scrape_until(&agent, "those that were there before are shown", |text| {
        cgroups.iter().all(|cgroup| {
            let id = cgroup.path();
            value(text, "container_resources_cpu_usage_seconds_total", &[("container_id", &id)]).is_some()
        })
    });
    assert!(!storm.is_over(), "the storm went on for the whole test");
}

#[test]
fn the_service_ends_with_the_agent_and_is_one_thread() {
    let mut agent = Agent::start(CONTAINERS);
    agent.scrape();
    assert_eq!(threads_named(agent.pid(), "identity"), 1);
    assert!(agent.terminate().success());
    let mut agent = Agent::start("[plugins.node]\nenabled = true\n");
    agent.scrape();
    assert_eq!(threads_named(agent.pid(), "identity"), 0, "nobody asks for containers");
    assert!(agent.terminate().success());
}
