//! The whole agent and processes that are killed for want of memory, always in a cgroup
//! with a limit of 16 MiB: each counts once, to its container, in the next scrape.

mod support;

use gantry_test_docker::{Docker, IMAGE};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use support::agent::{Agent, run, said, sample};
use support::cgroup::Cgroup;
use support::series::{scrape_until, value};
use support::versions::build_of;
use support::{copy_to, library, needs, private_dir};

const PLUGINS: &str = "[plugins.containers]\nenabled = true\n[plugins.oom]\nenabled = true\n";

const AT_ONCE: &str = "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"";

/// What a file of nobody's vendor needs in a process of its own: see the README.
const GRANT: &str = "grant = [\"CAP_BPF\", \"CAP_PERFMON\"]";

/// What the victims are allowed.
const LIMIT: u64 = 16 << 20;

/// Takes 200 MiB at once, writes to all of it, and would end: by far more than it may,
/// and no more than a machine has.
const HOG: [&str; 5] = ["busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M"];

fn can() -> bool {
    use rustix::process::{Resource, getrlimit, setrlimit};
    // Before Linux 5.11 maps are locked memory; the agent has what this has.
    let without = rustix::process::Rlimit { current: None, maximum: None };
    if setrlimit(Resource::Memlock, without).is_err() {
        let mut limit = getrlimit(Resource::Memlock);
        limit.current = limit.maximum;
        let _ = setrlimit(Resource::Memlock, limit);
    }
    let has_btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    needs::root() && needs::have("a kernel with BTF", has_btf) && needs::program("busybox")
}

/// A container's cgroup with a limit. `None` where the test must be skipped; it was said.
fn limited() -> Option<Cgroup> {
    let cgroup = can().then(Cgroup::new).flatten()?;
    cgroup.allow_memory(LIMIT);
    // In the virtual machines there is swap.
    if cgroup.files("memory.swap.max").iter().any(|file| Path::new(file).exists()) {
        cgroup.write("memory.swap.max", "0");
    }
    Some(cgroup)
}

fn hog(cgroup: &Cgroup) {
    cgroup.spawn(&[&HOG[..], &["count=1"]].concat()).wait();
}

/// What the kernel counted.
fn counted(cgroup: &Cgroup) -> f64 {
    let v1 = cgroup.files("memory.oom_control").iter().any(|file| Path::new(file).exists());
    let text = cgroup.read(if v1 { "memory.oom_control" } else { "memory.events" });
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).expect("its line");
    line.parse().expect("a number")
}

fn kills(text: &str, id: &str) -> Option<f64> {
    value(text, "container_oom_kills_total", &[("container_id", id)])
}

fn of(text: &str, id: &str, scope: &str) -> f64 {
    value(text, "container_oom_events_total", &[("container_id", id), ("scope", scope)]).unwrap_or(0.0)
}

fn agent() -> Agent {
    let mut agent = Agent::start_in(private_dir(), AT_ONCE, PLUGINS);
    agent.wait_for_state("oom", "running");
    assert_eq!(agent.state("oom").1, "[]");
    agent
}

/// Somebody lives in it, so that the container does.
fn lives(cgroup: &Cgroup) -> support::cgroup::Member {
    cgroup.spawn(&["busybox", "sleep", "1000"])
}

#[test]
fn a_child_whose_container_lives_on_counts_in_the_next_scrape() {
    let Some(cgroup) = limited() else { return };
    let (mut agent, id) = (agent(), cgroup.path());
    let _lives = lives(&cgroup);
    scrape_until(&agent, "it is shown with none", |text| kills(text, &id) == Some(0.0));
    for number in 1..=3 {
        hog(&cgroup);
        let text = agent.scrape();
        let count = f64::from(number);
        assert_eq!(kills(&text, &id), Some(count), "{text}");
        assert_eq!((of(&text, &id, "container"), of(&text, &id, "unknown")), (count, 0.0), "{text}");
    }
    assert_eq!(counted(&cgroup), 3.0);
    let rows = agent.table(&["show", "oom", "kills", "--where", &format!("container={id}")]);
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert_eq!((&rows[0]["command"], rows[0]["limit"].as_f64()), (&"busybox".into(), Some(LIMIT as f64)));
    // Those of other tests are told as well.
    let line = agent.wait_for_log(&format!("of {id} with"));
    assert!(
        line.contains("killed for want of memory")
            && line.contains("(\"busybox\")")
            && line.contains("16.0 MiB"),
        "{line}"
    );
}

/// All three ways at once, and each to its own.
#[test]
fn containers_of_docker_have_their_victims() {
    if !can() {
        return;
    }
    let Some(docker) = Docker::start() else { return };
    let socket = docker.socket();
    let containers = "[plugins.containers]\nenabled = true\n";
    let with_docker = format!("{containers}config.docker = {{ socket = {socket:?}, deadline = \"20s\" }}\n");
    let host = "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"30s\"";
    let mut agent = Agent::start_in(private_dir(), host, &PLUGINS.replace(containers, &with_docker));
    agent.wait_for_state("oom", "running");
    let limits = ["--network", "none", "--memory", "16m", "--memory-swap", "16m"];
    let hog = [&HOG[..], &["count=1"]].concat();
    docker.container(&[&limits[..], &["--name", "lives"]].concat());
    docker.container(&["--network", "none", "--name", "other"]);
    scrape_until(&agent, "both are shown with none", |text| {
        ["/docker/lives", "/docker/other"].iter().all(|id| kills(text, id) == Some(0.0))
    });
    let ends = |arguments: &[&[&str]]| {
        let output = docker.command().args(arguments.concat()).output().expect("docker runs");
        assert_eq!(output.status.code(), Some(137), "{}", String::from_utf8_lossy(&output.stderr));
    };
    // A child, while the container lives on.
    ends(&[&["exec", "lives"], &hog]);
    let text = agent.scrape();
    assert_eq!(kills(&text, "/docker/lives"), Some(1.0), "{text}");
    ends(&[&["exec", "lives"], &hog]);
    // The first process; and one whose container is removed at once.
    ends(&[&["run"], &limits, &["--name", "first", IMAGE], &hog]);
    ends(&[&["run", "--rm"], &limits, &["--name", "removed", IMAGE], &hog]);
    let text = scrape_until(&agent, "all are counted", |text| {
        let is = |id, count| kills(text, id).is_some_and(|kills| kills >= count);
        is("/docker/lives", 2.0) && is("/docker/first", 1.0) && is("/docker/removed", 1.0)
    });
    let all = ["lives", "first", "removed", "other"].map(|name| kills(&text, &format!("/docker/{name}")));
    assert_eq!(all, [Some(2.0), Some(1.0), Some(1.0), Some(0.0)], "{text}");
    let text = agent.scrape();
    assert_eq!(of(&text, "/docker/removed", "container"), 1.0, "{text}");
    assert_eq!(sample(&text, "oom_found_by_counters_total"), Some(0.0), "{text}");
    let kills = agent.table(&["show", "oom", "kills"]);
    let of_docker =
        kills.iter().filter(|row| row["id"].as_str().is_some_and(|id| id.starts_with("/docker/")));
    assert!(of_docker.count() >= 4, "{kills:?}");
}

/// Has processes killed in a cgroup, one after the other, for as long as it is there.
struct Load<'scope> {
    ends: &'scope AtomicBool,
    made: &'scope AtomicU64,
}

impl Load<'_> {
    fn run(&self, cgroup: &Cgroup) {
        while !self.ends.load(Relaxed) {
            hog(cgroup);
            self.made.fetch_add(1, Relaxed);
        }
    }

    fn goes_on(&self) {
        let until = self.made.load(Relaxed) + 3;
        while self.made.load(Relaxed) < until {
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
    }
}

/// While it is dropped the load ends, also where the test fails.
impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
    }
}

/// An agent, and what it is upgraded to, one after the other.
fn upgradable(dir: tempfile::TempDir) -> (Agent, [(PathBuf, &'static str); 2]) {
    let old = copy_to(dir.path(), &library("oom"));
    let new = build_of("oom", dir.path(), "0.2.0");
    let isolation = support::isolation();
    let grant = if isolation == "process" { GRANT } else { "" };
    let named = format!("[plugins.oom]\npath = {old:?}\nisolation = {isolation:?}\n{grant}\n");
    let mut agent = Agent::start_in(dir, AT_ONCE, &PLUGINS.replace("[plugins.oom]\n", &named));
    agent.wait_for_state("oom", "running");
    assert_eq!(agent.state("oom").1, "[]");
    (agent, [(new, "0.2.0"), (old, "0.1.0")])
}

#[test]
fn an_upgrade_under_load_loses_and_doubles_nothing() {
    let Some(cgroup) = limited() else { return };
    let (agent, versions) = upgradable(private_dir());
    let id = cgroup.path();
    let _lives = lives(&cgroup);
    scrape_until(&agent, "it is shown with none", |text| kills(text, &id) == Some(0.0));
    let (ends, made) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let load = Load { ends: &ends, made: &made };
        let runs = Load { ends: &ends, made: &made };
        let cgroup = &cgroup;
        scope.spawn(move || runs.run(cgroup));
        for (file, version) in versions {
            load.goes_on();
            let said = agent.good(&["upgrade", "oom", file.to_str().expect("UTF-8")]);
            assert_eq!(said, format!("oom: running ({version})\n"));
            load.goes_on();
        }
    });
    let all = counted(&cgroup);
    assert!(all >= 12.0, "{all}");
    for _ in 0..3 {
        let text = agent.scrape();
        assert_eq!(kills(&text, &id), Some(all), "{text}");
        assert_eq!((of(&text, &id, "container"), of(&text, &id, "unknown")), (all, 0.0), "{text}");
    }
}

/// The cgroup's own count bridges what nobody watched.
#[test]
fn a_restart_of_the_agent_loses_and_doubles_nothing() {
    let Some(cgroup) = limited() else { return };
    let (mut agent, id) = (agent(), cgroup.path());
    let _lives = lives(&cgroup);
    scrape_until(&agent, "it is shown with none", |text| kills(text, &id) == Some(0.0));
    hog(&cgroup);
    assert_eq!(kills(&agent.scrape(), &id), Some(1.0));
    assert!(agent.terminate().success());
    hog(&cgroup);
    agent.again();
    agent.wait_for_state("oom", "running");
    hog(&cgroup);
    scrape_until(&agent, "all are counted", |text| kills(text, &id) == Some(3.0));
    let text = agent.scrape();
    assert_eq!((of(&text, &id, "container"), of(&text, &id, "unknown")), (2.0, 1.0), "{text}");
    assert_eq!((kills(&text, &id), counted(&cgroup)), (Some(3.0), 3.0));
}

#[test]
fn without_capabilities_it_says_so_and_the_counters_tell() {
    let Some(cgroup) = limited() else { return };
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("oom"));
    let plugins = format!(
        "[plugins.containers]\nenabled = true\n[plugins.oom]\nenabled = true\npath = {file:?}\nisolation = \"process\"\n"
    );
    let mut agent = Agent::start_in(dir, AT_ONCE, &plugins);
    let reasons = agent.wait_for_state("oom", "degraded");
    assert!(reasons.contains("CAP_BPF") && reasons.contains("container_oom_events_total"), "{reasons}");
    let id = cgroup.path();
    let _lives = lives(&cgroup);
    scrape_until(&agent, "it is shown with none", |text| kills(text, &id) == Some(0.0));
    hog(&cgroup);
    let text = agent.scrape();
    assert_eq!(kills(&text, &id), Some(1.0), "{text}");
}

#[test]
fn it_runs_once() {
    let Some(cgroup) = limited() else { return };
    let _lives = lives(&cgroup);
    let dir = private_dir();
    // Whoever provides names is waited for, and may not be there.
    let config = Agent::configuration(AT_ONCE, "[plugins.oom]\nenabled = true\n");
    let until = std::time::Instant::now() + support::http::PATIENCE;
    let text = loop {
        let output = run(dir.path(), &config, &["once", "oom", "--for", "1s"]);
        assert!(output.status.success(), "{}", said(&output));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // On a busy machine it may take longer until the host shows who was there.
        if let Some(kills) = kills(&text, &cgroup.path()) {
            assert_eq!(kills, 0.0, "{text}");
            break text;
        }
        assert!(std::time::Instant::now() < until, "{}", said(&output));
    };
    assert_eq!(sample(&text, "oom_program_loaded{program=\"oom_mark\""), Some(1.0), "{text}");
}
