//! What a whole agent with the plugins `node` and `containers` costs beside so
//! many containers, printed as tables: of a machine of plain files, which is all
//! that is measured where the argument is `fixture`; cgroups of the kernel with a sleeping
//! process each, then processes that come and go, then real ones of a Docker, asked alone and with
//! all other runtimes beside it that have nothing, which is all that is measured where it is `docker`;
//! then all runtimes together, and each of them asked alone. With `starts` no more than the first answers.
//! Needs root, and for the later parts Docker, containerd and Podman.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::disallowed_methods, reason = "an idle agent is measured by leaving it alone for a while")]

mod common;
mod fixture;
#[path = "../tests/support/mod.rs"]
mod support;

use common::{Server, agent, cpu, first_scrape, median, memory, ran, scrape, series};
use gantry_cgroupfs::Mode;
use gantry_test_containerd::Containerd;
use gantry_test_docker::Docker;
use gantry_test_podman::Podman;
use gantry_test_systemd::{Fake, service};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::cgroup::{Cgroup, Member};

const COUNTS: [usize; 4] = [0, 100, 300, 1000];
const OF_FIXTURE: u32 = 1000;
const FEW_OF_FIXTURE: u32 = 100;
const OF_DOCKER: usize = 100;
/// Of no container, as on a machine that does something.
const PROCESSES: usize = 300;
const STARTS: usize = 5;
const SCRAPES: usize = 100;
const IDLE: Duration = Duration::from_secs(30);
const SHORT: usize = 5000;
/// Each with one container, and a plain container of containerd's beside it.
const PODS: usize = 20;
const UNITS: usize = 60;
const OF_PODMAN: usize = 20;

fn config(socket: &Path) -> String {
    format!(
        "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"10s\"\n\
         [plugins.node]\nenabled = true\n[plugins.containers]\nenabled = true\n\
         config.docker.socket = {socket:?}\n"
    )
}

/// How many containers are shown.
fn shown(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("container_resources_cpu_usage_seconds_total{")).count()
}

fn sleeper() -> Member {
    let command = Command::new("sleep").arg("100000").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    Member(command.expect("sleep"))
}

/// CPU and median wall milliseconds of a scrape.
fn scrapes(server: &Server) -> (f64, f64) {
    let before = ran(server);
    let mut walls = Vec::new();
    for _ in 0..SCRAPES {
        let begin = Instant::now();
        scrape(server.address).expect("an answer");
        walls.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    ((ran(server) - before) * 1e3 / SCRAPES as f64, median(walls))
}

/// How long first answers took, in milliseconds: the median, and each of them.
fn starts(dir: &Path, config: &str) -> (f64, Vec<f64>) {
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let begin = Instant::now();
        let server = agent(dir, config);
        first_scrape(server.address);
        took.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    (median(took.clone()), took)
}

/// Whether these words stand on the command line.
fn is_asked_for(word: &str) -> bool {
    std::env::args().any(|argument| argument == word)
}

/// An agent that shows all of them, how long its first answer took, and the row of its costs.
fn row(dir: &Path, config: &str, containers: usize) -> String {
    let (start, all) = starts(dir, config);
    if is_asked_for("starts") {
        return format!("| {containers} | | {start:.0} | {all:.0?}");
    }
    let server = agent(dir, config);
    let until = Instant::now() + Duration::from_secs(60);
    while shown(&first_scrape(server.address)) < containers {
        assert!(Instant::now() < until, "not all are shown");
        std::thread::sleep(Duration::from_millis(200));
    }
    let text = first_scrape(server.address);
    std::thread::sleep(Duration::from_secs(2));
    let before = cpu(&server);
    std::thread::sleep(IDLE);
    let idle = (cpu(&server) - before) * 60.0 / IDLE.as_secs_f64();
    let (each, wall) = scrapes(&server);
    let idle_memory = idle_memory(&server) / 1024.0;
    format!(
        "| {} | {} | {:.0} | {idle:.2} | {each:.1} | {wall:.1} | {idle_memory:.1} |",
        shown(&text),
        series(&text),
        start,
    )
}

const HEAD: &str = "| containers | series | exec to first answer, ms | idle, CPU s a minute | a scrape, CPU ms | a scrape, ms | resident MiB, idle |\n|---|---|---|---|---|---|---|";

/// What a process costs that starts, executes and exits.
fn processes(server: &Server) {
    std::thread::sleep(Duration::from_secs(2));
    let before = ran(server);
    let begin = Instant::now();
    let script = format!("i=0; while [ $i -lt {SHORT} ]; do /bin/true; i=$((i+1)); done");
    assert!(Command::new("/bin/sh").args(["-c", &script]).status().expect("a shell").success());
    std::thread::sleep(Duration::from_millis(500));
    let rate = SHORT as f64 / begin.elapsed().as_secs_f64();
    let each = (ran(server) - before) * 1e6 / SHORT as f64;
    println!(
        "a process that starts, executes and exits: {each:.1} us of CPU, of {SHORT} at {rate:.0} a second"
    );
}

/// An agent of a machine of plain files that has looked at all of them.
fn fixture_agent(dir: &Path, mode: Mode, containers: u32) -> (Server, String) {
    let paths = fixture::machine(&dir.join(format!("{mode:?}-{containers}")), mode, containers);
    let mut config = format!(
        "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"\n{paths}\
         [plugins.containers]\nenabled = true\n"
    );
    for api in ["docker", "podman", "cri", "containerd", "systemd"] {
        config += &format!("config.{api}.enabled = false\n");
    }
    let server = agent(dir, &config);
    let until = Instant::now() + Duration::from_secs(60);
    while shown(&first_scrape(server.address)) < containers as usize {
        assert!(Instant::now() < until, "not all are shown");
        std::thread::sleep(Duration::from_millis(200));
    }
    // Programs are looked at over several collections.
    let mut text = String::new();
    for _ in 0..8 {
        text = first_scrape(server.address);
    }
    (server, text)
}

/// What an agent has in memory between scrapes, after some, in KiB.
fn idle_memory(server: &Server) -> f64 {
    // The text of the last one is kept for a second, for others.
    std::thread::sleep(Duration::from_secs(3));
    memory(server, "VmRSS") * 1024.0
}

/// As much as a scrape is let cost of 1,000 containers, and what it does: it
/// collects, and writes the exposition. And what one container more takes.
fn fixture_machine(dir: &Path, name: &str, mode: Mode) {
    let (few, _) = fixture_agent(dir, mode, FEW_OF_FIXTURE);
    scrapes(&few);
    let before = idle_memory(&few);
    drop(few);
    let (server, text) = fixture_agent(dir, mode, OF_FIXTURE);
    let (each, wall) = scrapes(&server);
    let further = (idle_memory(&server) - before) / f64::from(OF_FIXTURE - FEW_OF_FIXTURE);
    let of_them = text.lines().filter(|line| line.contains("container_id=\"/docker/")).count();
    println!("| {name} | {} | {of_them} | {each:.1} | {wall:.1} | {further:.1} |", shown(&text));
}

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    if !is_asked_for("docker") {
        without_runtimes(dir.path());
    }
    if is_asked_for("fixture") {
        return;
    }
    with_runtimes(dir.path());
}

/// Plain files, and cgroups of the kernel that nobody names.
fn without_runtimes(dir: &Path) {
    println!(
        "plain files in the form of the kernel's\n| cgroups | containers | series of them | a scrape, CPU ms | a scrape, ms | KiB a further container, idle |\n|---|---|---|---|---|---|"
    );
    for (name, mode) in [("v1", Mode::V1), ("v2", Mode::V2), ("hybrid", Mode::Hybrid)] {
        fixture_machine(dir, name, mode);
    }
    if is_asked_for("fixture") {
        return;
    }
    let absent = config(&dir.join("docker.sock"));
    let mut others: Vec<Member> = (0..PROCESSES).map(|_| sleeper()).collect();
    let mut containers: Vec<(Member, Cgroup)> = Vec::new();
    println!("cgroups, and {PROCESSES} processes besides\n{HEAD}");
    for count in COUNTS {
        while containers.len() < count {
            let Some(cgroup) = Cgroup::new() else { return };
            containers.push((cgroup.spawn(&["sleep", "100000"]), cgroup));
        }
        println!("{}", row(dir, &absent, count));
    }
    containers.clear();
    others.clear();

    let server = agent(dir, &absent);
    first_scrape(server.address);
    processes(&server);
}

/// Real ones of Docker, and of the others.
fn with_runtimes(dir: &Path) {
    let Some(docker) = Docker::start() else { return };
    (0..OF_DOCKER).for_each(|_| drop(docker.container(&["--network", "none"])));
    println!("Docker\n{HEAD}");
    println!("{}", row(dir, &config(&docker.socket()), OF_DOCKER));
    let Some(containerd) = Containerd::start("") else { return };
    let Some(podman) = Podman::start() else { return };
    let systemd = Fake::start(&dir.join("bus"));
    let sockets = [
        ("docker", docker.socket()),
        ("podman", podman.socket()),
        ("cri", containerd.socket()),
        ("containerd", containerd.socket()),
        ("systemd", dir.join("bus")),
    ];
    // The first once more: with the daemons beside it the machine is another one.
    println!(
        "the same Docker, and a containerd with CRI, a Podman and a systemd that have nothing; after whom is asked\n{HEAD}"
    );
    println!("{} Docker", row(dir, &asking(&sockets, &|api| api == "docker"), OF_DOCKER));
    println!("{} all", row(dir, &asking(&sockets, &|_| true), OF_DOCKER));
    if !is_asked_for("docker") {
        all_runtimes(dir, &sockets, &containerd, &podman, &systemd);
    }
}

/// By API, where each listens.
type Sockets = [(&'static str, PathBuf); 5];

/// Of an agent that asks these of all that are there.
fn asking(sockets: &Sockets, which: &dyn Fn(&str) -> bool) -> String {
    let mut text = "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"10s\"\n\
                    [plugins.node]\nenabled = true\n[plugins.containers]\nenabled = true\n"
        .to_owned();
    for (api, socket) in sockets {
        text += &format!("config.{api} = {{ enabled = {}, socket = {socket:?} }}\n", which(api));
    }
    text
}

/// Beside Docker's: containers of pods, plain ones, Podman's, and units of a
/// systemd that plays one; asked by all providers, by none, and by each alone.
fn all_runtimes(dir: &Path, sockets: &Sockets, containerd: &Containerd, podman: &Podman, systemd: &Fake) {
    for number in 0..OF_PODMAN {
        podman.container(&["--name", &format!("bench-{number}")]);
    }
    containerd.import_into("default");
    for number in 0..PODS {
        let pod = containerd.pod("bench", &format!("web-{number}"), &format!("{number:032x}"));
        containerd.container(&pod, "nginx", 0, "sleep 1000000", &[]);
        containerd.plain("default", &format!("{}-{number}", containerd.name()), &[], "sleep 1000000");
    }
    let mut units = Vec::new();
    for number in 0..UNITS {
        let name = format!("gantry-bench-{number}.service");
        systemd.put(&name, service("simple", &[]));
        let cgroup = Cgroup::at(&format!("/system.slice/{name}"));
        units.push((cgroup.spawn(&["sleep", "100000"]), cgroup));
    }
    let all = OF_DOCKER + OF_PODMAN + 2 * PODS + UNITS;
    println!(
        "{OF_DOCKER} of Docker, {OF_PODMAN} of Podman, {PODS} pods, {PODS} plain of containerd, {UNITS} units; after whom is asked\n{HEAD}"
    );
    println!("{} all", row(dir, &asking(sockets, &|_| true), all));
    println!("{} none", row(dir, &asking(sockets, &|_| false), all));
    for (api, _) in sockets {
        println!("{} {api}", row(dir, &asking(sockets, &|one| one == *api), all));
    }
    // What processes of no container cost beside them.
    for (whom, all) in [("all", true), ("none", false)] {
        print!("{whom} asked; ");
        let server = agent(dir, &asking(sockets, &|_| all));
        first_scrape(server.address);
        processes(&server);
    }
}
