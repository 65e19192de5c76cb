//! The whole agent and TCP connections: what containers do, by the test's own
//! ledger, is in the series of their ids and in the views.
//!
//! Traffic goes over the loopback of network namespaces that the tests made and
//! that nothing leads out of.

mod support;

#[path = "../../plugins/tcp-ebpf/tests/support/net.rs"]
#[allow(dead_code, reason = "shared with the plugin's own tests")]
mod net;

use gantry_test_docker::{Docker, IMAGE};
use net::{Net, Server};
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::path::Path;
use support::agent::{Agent, sample};
use support::cgroup::Cgroup;
use support::process::children;
use support::series::{scrape_until, value};
use support::traffic::{self, Load};
use support::versions::build_of;
use support::{copy_to, library, needs, private_dir};

const PLUGINS: &str = "[plugins.node]\nenabled = true\n[plugins.containers]\nenabled = true\n\
                       [plugins.tcp-ebpf]\nenabled = true\n";

/// What a file of nobody's vendor needs in a process of its own: see the README.
const GRANT: &str =
    "grant = [\"CAP_BPF\", \"CAP_PERFMON\", \"CAP_NET_ADMIN\", \"CAP_SYS_ADMIN\", \"CAP_SYS_PTRACE\"]";

const AT_ONCE: &str = "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"";

/// Not a test: what is a container in the tests below.
#[test]
#[ignore = "is started by other tests"]
fn client() {
    traffic::client();
}

/// The name of the test above, which is another in a file that holds this one.
fn client_name() -> String {
    module_path!().split_once("::").map_or("client".to_owned(), |(_, module)| format!("{module}::client"))
}

/// `None` where the test must be skipped; it was said.
fn site(number: u8) -> Option<(Net, Cgroup)> {
    let has_btf = std::path::Path::new("/sys/kernel/btf/vmlinux").exists();
    if !needs::root() || !needs::have("a kernel with BTF", has_btf) || !needs::program("busybox") {
        return None;
    }
    let cgroup = Cgroup::new()?;
    Some((Net::new(number), cgroup))
}

/// An agent that shows containers as soon as they are there, and has all that
/// it needs for connections.
fn agent() -> Agent {
    let mut agent = Agent::start_in(private_dir(), AT_ONCE, PLUGINS);
    agent.wait_for_state("tcp-ebpf", "running");
    assert_eq!(agent.state("tcp-ebpf").1, "[]");
    agent.scrape();
    agent
}

/// The value of a family for a container and a destination; 0 where there is none.
fn of(text: &str, id: &str, family: &str, to: &str) -> f64 {
    let labels = [("container_id", id), ("destination", to)];
    value(text, &format!("container_net_tcp_{family}"), &labels).unwrap_or(0.0)
}

/// Connects, what is open, and bytes each way.
fn numbers(text: &str, id: &str, to: &str) -> [f64; 4] {
    ["successful_connects_total", "active_connections", "bytes_sent_total", "bytes_received_total"]
        .map(|family| of(text, id, family, to))
}

fn failures(text: &str, id: &str, to: SocketAddr, reason: &str) -> f64 {
    let (name, to) = ("container_net_tcp_connect_failures_total", to.to_string());
    value(text, name, &[("container_id", id), ("destination", &to), ("reason", reason)]).unwrap_or(0.0)
}

fn listens(text: &str, id: &str, at: &str) -> Option<f64> {
    value(text, "container_net_tcp_listen_info", &[("container_id", id), ("listen_addr", at)])
}

/// Rows of a view, of one container.
fn rows(agent: &Agent, view: &str, id: &str) -> Vec<serde_json::Value> {
    agent.table(&["show", "tcp-ebpf", view, "--where", &format!("container={id}")])
}

#[test]
fn what_a_container_does_is_in_its_series_and_views() {
    let Some((net, cgroup)) = site(60) else { return };
    let agent = agent();
    let id = cgroup.path();
    let (v4, v6, mapped) = (net.server(8001), net.server_at((net.v6, 8002).into()), net.server(8003));
    let (nobody, full) = (SocketAddr::new(net.v4, 8004), SocketAddr::new(net.v4, 8005));
    let _full = net.listener(full, 0);
    let mapped_at = format!("[::ffff:{}]:8003", net.v4);
    let (v4_at, v6_at) = (v4.at.to_string(), v6.at.to_string());
    let mut steps = Vec::new();
    for at in [&v4_at, &v6_at, &mapped_at] {
        steps.extend([0, 1, 1000, 100_000].map(|bytes| format!("sends {at} {bytes}")));
        steps.push(format!("keeps {at} 5000"));
    }
    // One waits to be taken, and fills it; nobody answers those after it.
    steps.extend([format!("fails {nobody} 3"), format!("keeps {full} 0"), format!("gives_up {full} 2")]);
    steps.extend([format!("waits_in_vain {full} 300"), format!("listens {}:9000 0", net.v4)]);
    steps.push("listens 0.0.0.0:9001 0".to_owned());
    let member = traffic::start(&client_name(), &cgroup, &net.path, &steps.join(","));
    let listening = format!("{}:9001", net.v4);
    // It is the last that it does.
    scrape_until(&agent, "it listens", |text| listens(text, &id, &listening) == Some(1.0));
    // A counter is shown at 0 first.
    let text = agent.scrape();
    let destinations = [&v4.at, &v6.at, &mapped.at].map(ToString::to_string);
    for to in &destinations {
        assert_eq!(numbers(&text, &id, to), [5.0, 1.0, 106_001.0, 106_001.0], "{to}\n{text}");
        assert!(of(&text, &id, "connection_time_seconds_total", to) > 0.0);
    }
    assert_eq!(numbers(&text, &id, &full.to_string()), [1.0, 1.0, 0.0, 0.0]);
    let failed = [(nobody, "refused"), (full, "aborted"), (full, "timed_out")];
    assert_eq!(failed.map(|(to, reason)| failures(&text, &id, to, reason)), [3.0, 2.0, 1.0]);
    assert_eq!(of(&text, &id, "failed_connects_total", &full.to_string()), 1.0, "without its own");
    assert_eq!(listens(&text, &id, &format!("{}:9000", net.v4)), Some(1.0));

    let shown = rows(&agent, "connections", &id);
    assert_eq!(shown.len(), 5, "{shown:?}");
    let row = shown.iter().find(|row| row["destination"] == v6_at).unwrap_or_else(|| panic!("{shown:?}"));
    for (column, number) in [("active", 1.0), ("connects", 5.0), ("sent", 106_001.0), ("failed", 0.0)] {
        assert_eq!(row[column].as_f64(), Some(number), "{row}");
    }
    let shown = rows(&agent, "listens", &id);
    assert!(shown.iter().any(|row| row["listen_addr"] == listening && row["state"] == "open"), "{shown:?}");
    let programs = agent.table(&["show", "tcp-ebpf", "programs"]);
    let states: Vec<&str> = programs.iter().filter_map(|row| row["state"].as_str()).collect();
    assert_eq!(states, ["loaded"; 3], "{programs:?}");

    drop(member);
    let text = scrape_until(&agent, "it is all over", |text| {
        destinations.iter().all(|to| numbers(text, &id, to) == [5.0, 0.0, 106_001.0, 106_001.0])
            && listens(text, &id, &listening) == Some(0.0)
    });
    let lost = text.lines().filter(|line| line.starts_with("tcp_ebpf_lost_total") && !line.ends_with(" 0"));
    // Others' processes end at any time, with sockets: that alone is missed (recursion).
    assert_eq!(lost.filter(|line| !line.contains("recursion")).count(), 0, "{text}");
}

/// Nobody can ask for whose it was: it is gone, after some 5 ms.
#[test]
fn a_client_that_lives_for_moments_is_its_container_s() {
    const TIMES: u32 = 40;
    let Some((net, cgroup)) = site(61) else { return };
    let agent = agent();
    let server = net.server(8000);
    let moment = format!("printf 0123456789 | busybox nc {} {} >/dev/null", net.v4, server.at.port());
    let script = format!("i=0; while [ $i -lt {TIMES} ]; do {moment}; i=$((i+1)); done");
    let enters = format!("--net={}", net.path.display());
    let member = cgroup.spawn(&["nsenter", &enters, "/bin/sh", "-c", &script]);
    member.wait();
    let (id, to) = (cgroup.path(), server.at.to_string());
    let (times, bytes) = (f64::from(TIMES), f64::from(TIMES * 10));
    let text = scrape_until(&agent, "all are counted", |text| numbers(text, &id, &to)[0] >= times);
    assert_eq!(numbers(&text, &id, &to), [times, 0.0, bytes, bytes]);
}

#[test]
fn a_container_of_docker_has_its_name() {
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
    docker.container(&["--network", "none", "--name", "talks"]);
    let pid = docker.run(&["inspect", "-f", "{{.State.Pid}}", "talks"]);
    let net = Net::of(pid.parse().expect("a number"), 62);
    let server: Server = net.server(8000);
    let (ip, id) = (net.v4.to_string(), "/docker/talks");
    let within = |script: &str| docker.run(&["exec", "talks", "busybox", "sh", "-c", script]);
    // Each is a process of its own, which lives for some milliseconds.
    within(&format!("for turn in $(busybox seq 50); do printf 0123456789 | busybox nc {ip} 8000; done"));
    within(&format!("! busybox nc {ip} 8001 </dev/null"));
    docker.run(&["exec", "-d", "talks", "busybox", "nc", "-l", "-p", "9000"]);
    let (to, nobody) = (server.at.to_string(), SocketAddr::new(net.v4, 8001));
    let text = scrape_until(&agent, "all of it is shown", |text| {
        numbers(text, id, &to)[0] >= 50.0
            && listens(text, id, &format!("{ip}:9000")) == Some(1.0)
            && failures(text, id, nobody, "refused") > 0.0
    });
    assert_eq!(numbers(&text, id, &to), [50.0, 0.0, 500.0, 500.0], "{IMAGE}");
    assert_eq!(failures(&text, id, nobody, "refused"), 1.0);
    let shown = rows(&agent, "connections", id);
    assert!(
        shown.iter().any(|row| row["destination"] == to && row["connects"].as_f64() == Some(50.0)),
        "{shown:?}"
    );
}

/// What a counter of the plugin's own says.
fn own(text: &str, name: &str) -> f64 {
    sample(text, name).unwrap_or_else(|| panic!("no {name}:\n{text}"))
}

#[test]
fn a_restart_of_the_agent_doubles_nothing_and_says_for_how_long_nobody_looked() {
    let Some(site) = site(63) else { return };
    restart_under_load(&site, |agent| assert!(agent.terminate().success()));
}

/// What was shown before the last snapshot is there still; what came after it until the
/// end is lost.
#[test]
fn an_agent_that_is_killed_goes_on_from_its_snapshot_and_doubles_nothing() {
    use std::os::unix::fs::MetadataExt as _;
    let Some(site) = site(66) else { return };
    restart_under_load(&site, |agent| {
        // Each that is written is another file; one comes each 15 s, if somebody scrapes.
        let path = agent.dir.path().join("state/handover/tcp-ebpf");
        let number = || path.metadata().ok().map(|metadata| metadata.ino());
        let before = number();
        agent.wait_until("a snapshot is written", |agent| {
            agent.scrape();
            number().is_some_and(|now| Some(now) != before)
        });
        agent.kill();
    });
}

fn restart_under_load((net, cgroup): &(Net, Cgroup), ends: impl FnOnce(&mut Agent)) {
    let mut agent = agent();
    let (id, loaded, other) = (cgroup.path(), net.server(8000), net.server(8001));
    let (to, to_other) = (loaded.at.to_string(), other.at.to_string());
    let client = |steps: &str| traffic::start(&client_name(), cgroup, &net.path, steps);
    let load = Load::start(&client_name(), cgroup, &net.path, loaded.at, 100);
    let before = client(&format!("sends {to_other} 3,keeps {to_other} 40"));
    scrape_until(&agent, "both are counted", |text| {
        numbers(text, &id, &to_other) == [2.0, 1.0, 43.0, 43.0] && numbers(text, &id, &to)[0] > 0.0
    });
    assert_eq!(own(&agent.scrape(), "tcp_ebpf_unwatched_seconds_total"), 0.0);
    load.goes_on(100);
    let [shown, ..] = numbers(&agent.scrape(), &id, &to);
    ends(&mut agent);
    let stopped = load.made();
    // Two that come while nobody looks: one goes as well, of which nobody knows.
    let within = client(&format!("sends {to_other} 500,keeps {to_other} 7000,listens {}:9000 0", net.v4));
    let listening = format!("{}:9000", net.v4);
    load.goes_on(100);
    until_listens(net, 9000);
    agent.again();
    let text = scrape_until(&agent, "what is open is known", |text| {
        numbers(text, &id, &to_other) == [3.0, 2.0, 7043.0, 7043.0]
            && listens(text, &id, &listening) == Some(1.0)
    });
    assert!(own(&text, "tcp_ebpf_unwatched_seconds_total") > 0.0, "{text}");
    let again = load.made();
    load.goes_on(100);
    let made = load.end();
    drop((before, within));
    let text = scrape_until(&agent, "all of it is over", |text| {
        [&to, &to_other].iter().all(|to| numbers(text, &id, to)[1] == 0.0)
    });
    assert_eq!(numbers(&text, &id, &to_other), [3.0, 0.0, 7043.0, 7043.0], "those that were open, once");
    // Each that is missing came and went between the end of the one and the start of the other.
    let [connects, _, sent, received] = numbers(&text, &id, &to);
    let least = shown + (made - again) as f64;
    assert!(connects <= made as f64 && connects >= least, "{connects} of {made}, {least} at least");
    assert!(connects < made as f64 && stopped < made, "nothing came meanwhile: nothing was tried");
    assert!(sent <= connects * 100.0 && received <= connects * 100.0, "{sent} {received} of {connects}");
}

/// Waits until somebody listens in a namespace, by the kernel's own table.
fn until_listens(net: &Net, port: u16) {
    let until = std::time::Instant::now() + support::http::PATIENCE;
    let listens = format!(":{port:04X} 00000000:0000 0A");
    let table = || std::fs::read_to_string(format!("/proc/{}/net/tcp", net.pid())).expect("it is there");
    while !table().contains(&listens) {
        assert!(std::time::Instant::now() < until, "it never came so far");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

#[test]
fn an_upgrade_of_the_plugin_under_load_loses_and_doubles_nothing() {
    let Some(text) = under_upgrades(64, Load::start) else { return };
    assert_eq!(own(&text, "tcp_ebpf_unwatched_seconds_total"), 0.0);
}

/// All have the same names, and often the same memory of the kernel.
#[test]
fn an_upgrade_while_one_port_is_used_again_and_again_loses_and_doubles_nothing() {
    under_upgrades(67, Load::from_a_port);
}

type Starts = fn(&str, &Cgroup, &Path, SocketAddr, usize) -> Load;

/// All of a load is counted once, however often the plugin is upgraded meanwhile; what is shown then.
/// `None`: this machine cannot.
fn under_upgrades(number: u8, start: Starts) -> Option<String> {
    let (net, cgroup) = site(number)?;
    let (mut agent, versions) = upgradable(private_dir());
    let (id, server) = (cgroup.path(), net.server(8000));
    let to = server.at.to_string();
    let load = start(&client_name(), &cgroup, &net.path, server.at, 100);
    scrape_until(&agent, "it is counted", |text| numbers(text, &id, &to)[0] > 0.0);
    upgrade_under(&mut agent, &load, &versions);
    let made = load.end() as f64;
    let all = [made, 0.0, made * 100.0, made * 100.0];
    Some(scrape_until(&agent, "all of it is over", |text| numbers(text, &id, &to) == all))
}

/// An agent, and what it is upgraded to, one after the other.
fn upgradable(dir: tempfile::TempDir) -> (Agent, [(std::path::PathBuf, &'static str); 2]) {
    let old = copy_to(dir.path(), &library("tcp-ebpf"));
    let new = build_of("tcp-ebpf", dir.path(), "0.2.0");
    let isolation = support::isolation();
    let grant = if isolation == "process" { GRANT } else { "" };
    let named = format!("[plugins.tcp-ebpf]\npath = {old:?}\nisolation = {isolation:?}\n{grant}\n");
    let plugins = PLUGINS.replace("[plugins.tcp-ebpf]\n", &named);
    let mut agent = Agent::start_in(dir, AT_ONCE, &plugins);
    agent.wait_for_state("tcp-ebpf", "running");
    agent.scrape();
    (agent, [(new, "0.2.0"), (old, "0.1.0")])
}

fn upgrade_under(agent: &mut Agent, load: &Load, versions: &[(std::path::PathBuf, &str)]) {
    for (file, version) in versions {
        load.goes_on(100);
        let said = agent.good(&["upgrade", "tcp-ebpf", file.to_str().expect("UTF-8")]);
        assert_eq!(said, format!("tcp-ebpf: running ({version})\n"));
        load.goes_on(100);
        agent.scrape();
    }
}

/// The agent and all its processes do nothing for a while, as on a machine that
/// has no time for them: the ring overflows.
#[test]
fn what_a_full_ring_loses_is_counted_and_what_is_open_is_right_afterwards() {
    const TIMES: u32 = 6000;
    let Some((net, cgroup)) = site(65) else { return };
    let small = PLUGINS.replace(
        "[plugins.tcp-ebpf]\nenabled = true\n",
        "[plugins.tcp-ebpf]\nenabled = true\nconfig.ring = \"256KiB\"\n",
    );
    let mut agent = Agent::start_in(private_dir(), AT_ONCE, &small);
    agent.wait_for_state("tcp-ebpf", "running");
    agent.scrape();
    let (id, server, nobody) = (cgroup.path(), net.server(8000), SocketAddr::new(net.v4, 8001));
    let to = server.at.to_string();
    let client = |steps: &str| traffic::start(&client_name(), &cgroup, &net.path, steps);
    let first = client(&[format!("keeps {to} 10"), format!("keeps {to} 20")].join(","));
    scrape_until(&agent, "both are open", |text| numbers(text, &id, &to) == [2.0, 2.0, 30.0, 30.0]);
    let all = [vec![agent.pid()], children(agent.pid())].concat();
    let signal = |signal| {
        for pid in &all {
            let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
            kill_process(pid, signal).expect("it runs");
        }
    };
    signal(Signal::STOP);
    let second = client(&format!("fails {nobody} {TIMES},keeps {to} 500,listens {}:9000 0", net.v4));
    until_listens(&net, 9000);
    // Nobody is told of their ends.
    drop(first);
    signal(Signal::CONT);
    scrape_until(&agent, "all sockets were looked at", |text| {
        own(text, "tcp_ebpf_resyncs_total") >= 1.0 && numbers(text, &id, &to)[1] == 1.0
    });
    // A counter is shown at 0 first.
    let text = agent.scrape();
    assert_eq!(numbers(&text, &id, &to), [3.0, 1.0, 530.0, 530.0]);
    // Its listening socket was told of when the ring was full.
    assert_eq!(listens(&text, &id, &format!("{}:9000", net.v4)), Some(1.0), "{text}");
    let lost = own(&text, "tcp_ebpf_lost_total{reason=\"ring_full\"");
    let told = [("plugin", "tcp-ebpf"), ("reason", "ring_full_lost")];
    assert_eq!(value(&text, "gantry_samples_skipped_total", &told), Some(lost));
    let refused = failures(&text, &id, nobody, "refused");
    let times = f64::from(TIMES);
    // All of the machine's sockets are in the ring, also others'.
    assert!(refused > 0.0 && refused < times && refused + lost >= times, "{refused} of {times}, {lost} lost");
    drop(second);
    scrape_until(&agent, "it is over", |text| numbers(text, &id, &to) == [3.0, 0.0, 530.0, 530.0]);
}
