//! The whole agent and delays: what containers waited, by the kernel's own files,
//! is in the series of their ids and in the view.

mod support;

use gantry_test_docker::Docker;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::agent::{Agent, run, said, sample};
use support::cgroup::{Cgroup, Member};
use support::http::PATIENCE;
use support::series::{scrape_until, value};
use support::versions::build_of;
use support::{copy_to, library, needs, private_dir};

const PLUGINS: &str = "[plugins.containers]\nenabled = true\n[plugins.taskstats]\nenabled = true\n";

/// What a file of nobody's vendor needs in a process of its own: see the README.
const GRANT: &str = "grant = [\"CAP_NET_ADMIN\", \"CAP_SYS_ADMIN\"]";

const AT_ONCE: &str = "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"";

const SYSCTL: &str = "/proc/sys/kernel/task_delayacct";

/// `None` where the test must be skipped; it was said.
fn site() -> Option<Cgroup> {
    if !needs::root() || !needs::program("taskset") || !needs::program("busybox") {
        return None;
    }
    Cgroup::new()
}

fn agent() -> Agent {
    let agent = Agent::start_in(private_dir(), AT_ONCE, PLUGINS);
    assert!(!agent.state("taskstats").1.contains("schedstat"), "{:?}", agent.state("taskstats"));
    agent.scrape();
    agent
}

fn delay(text: &str, id: &str, family: &str) -> f64 {
    let name = format!("container_resources_{family}_delay_seconds_total");
    value(text, &name, &[("container_id", id)]).unwrap_or(0.0)
}

/// How long a process waited for a CPU, by the kernel's own files; in seconds.
fn schedstat(pid: &str) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let waited = |path: PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    threads.filter_map(|thread| waited(thread.path())).sum::<f64>() / 1e9
}

/// The processes of a container, by the kernel.
fn processes(id: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().into_string().ok());
    let is_its = |pid: &String| {
        pid.bytes().all(|byte| byte.is_ascii_digit())
            && std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(id))
    };
    pids.filter(is_its).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn hogs_in_containers_of_docker_waited_what_the_kernel_s_files_say() {
    if site().is_none() {
        return;
    }
    let Some(docker) = Docker::start() else { return };
    let socket = docker.socket();
    let plugins = PLUGINS.replace(
        "[plugins.containers]\nenabled = true\n",
        &format!(
            "[plugins.containers]\nenabled = true\nconfig.docker = {{ socket = {socket:?}, deadline = \"20s\" }}\n"
        ),
    );
    let host = "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"30s\"";
    let agent = Agent::start_in(private_dir(), host, &plugins);
    let names = ["hog-1", "hog-2", "idle"];
    let ids = names.map(|name| {
        docker.container(&["--network", "none", "--name", name]);
        docker.run(&["inspect", "-f", "{{.Id}}", name]).trim().to_owned()
    });
    // Two threads of execution in the first: it waits longer than the others.
    for name in ["hog-1", "hog-1", "hog-2"] {
        let hog =
            ["exec", "-d", name, "busybox", "taskset", "1", "busybox", "sh", "-c", "while :; do :; done"];
        docker.run(&hog);
    }
    let waited = |id: &String| processes(id).iter().map(|pid| schedstat(pid)).sum::<f64>();
    let shown = |text: &str, name: &str| delay(text, &format!("/docker/{name}"), "cpu");
    until("all of them run", || waited(&ids[0]) > 0.2 && waited(&ids[1]) > 0.1);
    scrape_until(&agent, "they have their names", |text| {
        shown(text, "hog-1") > 0.0 && shown(text, "hog-2") > 0.0
    });
    // Between two moments at which they wait for nothing: what started them waited
    // as well, and is gone.
    let look = || {
        names[..2].iter().for_each(|name| drop(docker.run(&["pause", name])));
        let text = agent.scrape();
        let figures = [0, 1].map(|at| (shown(&text, names[at]), waited(&ids[at])));
        names[..2].iter().for_each(|name| drop(docker.run(&["unpause", name])));
        figures
    };
    let before = look();
    until("they waited", || waited(&ids[0]) > before[0].1 + 2.0 && waited(&ids[1]) > before[1].1 + 1.0);
    for (after, before) in look().into_iter().zip(before) {
        let (counted, waited) = (after.0 - before.0, after.1 - before.1);
        let range = waited * 0.99..waited * 1.01;
        assert!(range.contains(&counted), "{counted}, and the kernel says {waited}: {before:?} {after:?}");
    }
    let rows = agent.table(&["show", "taskstats", "processes", "--where", "container=/docker/hog-1"]);
    assert!(rows.iter().any(|row| row["cpu_delay"].as_f64().is_some_and(|delay| delay > 0.5)), "{rows:?}");
}

/// Processes that live for 20 ms of CPU time and more of waiting, one after the
/// other, each of which writes down what it waited.
struct Moments {
    member: Member,
    ledger: PathBuf,
}

impl Moments {
    fn start(cgroup: &Cgroup, dir: &Path, count: u32) -> Self {
        let ledger = dir.join("ledger");
        let own = "read a b c < /proc/$$/schedstat; echo $b";
        let moment = format!("i=0; while [ $i -lt 6000 ]; do i=$((i+1)); done; {own}");
        let script = format!(
            "n=0; while [ $n -lt {count} ]; do busybox sh -c '{moment}' >> {ledger}; n=$((n+1)); done; {own} >> {ledger}",
            ledger = ledger.display()
        );
        let member = cgroup.spawn(&["taskset", "-c", "0", "busybox", "sh", "-c", &script]);
        Self { member, ledger }
    }

    fn lines(&self) -> usize {
        std::fs::read_to_string(&self.ledger).unwrap_or_default().lines().count()
    }

    /// All that they waited, in seconds.
    fn end(self) -> f64 {
        self.member.wait();
        let text = std::fs::read_to_string(&self.ledger).expect("they wrote it");
        text.lines().map(|line| line.parse::<f64>().expect("a number")).sum::<f64>() / 1e9
    }
}

/// Two that never sleep, on the CPU that the others are on.
fn hogs(cgroup: &Cgroup) -> [Member; 2] {
    [(); 2].map(|()| cgroup.spawn(&["taskset", "-c", "0", "busybox", "sh", "-c", "while :; do :; done"]))
}

#[test]
fn those_that_live_for_moments_are_counted() {
    const COUNT: u32 = 200;
    let (Some(cgroup), Some(others)) = (site(), site()) else { return };
    let agent = agent();
    let (id, dir) = (cgroup.path(), private_dir());
    let hogs = hogs(&others);
    let moments = Moments::start(&cgroup, dir.path(), COUNT);
    let waited = moments.end();
    drop(hogs);
    assert!(waited > 0.5, "nothing was tried: they waited {waited} s");
    scrape_until(&agent, "all of it is counted", |text| delay(text, &id, "cpu") >= waited * 0.95);
    let text = agent.scrape();
    let counted = delay(&text, &id, "cpu");
    assert!(counted < waited * 1.05 + 0.3, "{counted} of {waited}");
    assert_eq!(sample(&text, "taskstats_overruns_total"), Some(0.0));
}

#[test]
fn an_upgrade_under_load_loses_and_doubles_nothing() {
    const COUNT: u32 = 250;
    let (Some(cgroup), Some(others)) = (site(), site()) else { return };
    let dir = private_dir();
    let (old, new) = (copy_to(dir.path(), &library("taskstats")), build_of("taskstats", dir.path(), "0.2.0"));
    let isolation = support::isolation();
    let grant = if isolation == "process" { GRANT } else { "" };
    let named = format!("[plugins.taskstats]\npath = {old:?}\nisolation = {isolation:?}\n{grant}\n");
    let agent = Agent::start_in(dir, AT_ONCE, &PLUGINS.replace("[plugins.taskstats]\n", &named));
    agent.scrape();
    let (id, ledger) = (cgroup.path(), private_dir());
    let hogs = hogs(&others);
    let moments = Moments::start(&cgroup, ledger.path(), COUNT);
    for (file, version) in [(&new, "0.2.0"), (&old, "0.1.0")] {
        let lines = moments.lines();
        until("some more ended", || moments.lines() > lines + 20);
        agent.scrape();
        let said = agent.good(&["upgrade", "taskstats", file.to_str().expect("UTF-8")]);
        assert!(said.contains(version), "{said}");
    }
    assert!(moments.lines() < COUNT as usize, "the upgrades came too late");
    let waited = moments.end();
    drop(hogs);
    scrape_until(&agent, "all of it is counted", |text| delay(text, &id, "cpu") >= waited * 0.98);
    let counted = delay(&agent.scrape(), &id, "cpu");
    assert!(counted < waited * 1.05 + 0.3, "{counted} of {waited}");
}

#[test]
fn an_agent_that_ends_and_comes_again_goes_on_with_those_that_live() {
    let Some(cgroup) = site() else { return };
    let mut agent = agent();
    let id = cgroup.path();
    let hogs = hogs(&cgroup);
    let waited = || processes(&id).iter().map(|pid| schedstat(pid)).sum::<f64>();
    until("they waited", || waited() > 1.0);
    agent.scrape();
    assert!(agent.terminate().success());
    let before = waited();
    until("they waited on", || waited() > before + 0.5);
    agent.again();
    // The new agent learns of processes one by one.
    let least = waited();
    let counted = |text: &str| delay(text, &id, "cpu");
    scrape_until(&agent, "it goes on", |text| counted(text) >= least * 0.99);
    let (counted, most) = (counted(&agent.scrape()), waited());
    assert!(counted <= most * 1.01 + 0.05, "{counted} of {most}");
    drop(hogs);
}

/// A disk of the machine and a file on it that is in no memory.
fn disk(dir: &Path) -> Option<(String, PathBuf)> {
    use std::os::unix::fs::MetadataExt as _;
    let file = dir.join("data");
    std::fs::write(&file, vec![7; 6 << 20]).ok()?;
    std::fs::File::open(&file).and_then(|file| file.sync_all()).ok()?;
    let device = std::fs::metadata(&file).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let partitions = std::fs::read_to_string("/proc/partitions").ok()?;
    let mut numbers = partitions.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>());
    let is_disk = numbers.any(|each| each == [major.to_string(), minor.to_string()]);
    is_disk.then(|| (format!("{major}:{minor}"), file))
}

/// As it was, also where the test fails.
struct Setting;

impl Setting {
    fn value() -> String {
        std::fs::read_to_string(SYSCTL).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = std::fs::write(SYSCTL, "0");
    }
}

/// A disk of the machine, slowed down for the container.
#[test]
fn who_waits_for_a_disk_is_shown_once_the_kernel_counts_it() {
    let Some(cgroup) = site() else { return };
    let data = private_dir();
    let disk = disk(data.path());
    let can_slow = Path::new("/sys/fs/cgroup/blkio").exists() && disk.is_some();
    let is_off = Setting::value() == "0";
    if !needs::have("a disk, blkio.throttle, and kernel.task_delayacct = 0", can_slow && is_off) {
        return;
    }
    let _setting = Setting;
    let setting = Setting::value;
    let (number, path) = disk.expect("it was looked for");
    let on = "[plugins.taskstats]\nenabled = true\nconfig.enable_delay_accounting = true\n";
    let plugins = PLUGINS.replace("[plugins.taskstats]\nenabled = true\n", on);
    let mut agent = Agent::start_in(private_dir(), AT_ONCE, &plugins);
    agent.wait_for_state("taskstats", "running");
    assert_eq!((agent.state("taskstats").1.as_str(), setting().as_str()), ("[]", "1"));
    agent.scrape();
    let id = cgroup.path();
    cgroup.write("blkio.throttle.read_bps_device", &format!("{number} 1048576"));
    let input = format!("if={}", path.display());
    let member = cgroup.spawn(&["dd", &input, "of=/dev/null", "bs=256k", "count=24", "iflag=direct"]);
    let pid = member.0.id().to_string();
    // Field 42: ticks of 10 ms.
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let field =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(39)?.parse::<f64>().ok());
        field.unwrap_or(0.0) / 100.0
    };
    // On a machine that is overloaded the agent may learn of it late.
    scrape_until(&agent, "it is known", |text| delay(text, &id, "disk") > 0.0);
    let mut waited = 0.0_f64;
    until("it waited", || {
        waited = waited.max(ticks());
        waited > 1.0
    });
    member.wait();
    scrape_until(&agent, "it is shown", |text| delay(text, &id, "disk") >= waited * 0.99);
    assert!(delay(&agent.scrape(), &id, "disk") < 20.0);
    assert!(agent.terminate().success());
    assert_eq!(setting(), "0", "it was put back");
}

#[test]
fn once_shows_it() {
    let Some(cgroup) = site() else { return };
    let _member = cgroup.spawn(&["sleep", "1000"]);
    let dir = private_dir();
    let config = Agent::configuration(AT_ONCE, PLUGINS);
    let output = run(dir.path(), &config, &["once", "taskstats", "--for", "3s"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = "container_resources_cpu_delay_seconds_total";
    assert!(value(&text, name, &[("container_id", &cgroup.path())]).is_some(), "{}", said(&output));
    assert!(text.contains("taskstats_processes "), "{text}");
}
