//! Whose the connections of processes are that live for two milliseconds, also where their
//! pids were those of another container's processes shortly before.
#![allow(missing_docs, clippy::print_stdout, reason = "it prints a table")]

mod support;

use gantry_plugin_testkit::{NewContainer, Running};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::tests::net::Net;
use support::tests::{Cgroup, failures, kit};
use support::{end, sink};

/// Of each of two containers.
const TIMES: u32 = 2600;

const EVERY: Duration = Duration::from_millis(500);

/// A shell in a cgroup that starts one client after the other; says how many failed.
fn clients(net: &Net, cgroup: &Cgroup, to: SocketAddr) -> Child {
    let script = format!(
        "echo 0 > {}/cgroup.procs; i=0; f=0; while [ $i -lt {TIMES} ]; do \
         busybox nc {} {} </dev/null >/dev/null || f=$((f+1)); i=$((i+1)); done; echo $f",
        cgroup.path.display(),
        to.ip(),
        to.port()
    );
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", net.path.display())).args(["sh", "-c", &script]);
    command.stdout(Stdio::piped()).spawn().expect("it starts")
}

/// Collects now and then until it ends; what it said.
fn meanwhile(running: &mut Running, mut child: Child) -> (String, Duration) {
    let begun = Instant::now();
    while child.try_wait().expect("it is ours").is_none() {
        running.collect().expect("it collects");
        std::thread::park_timeout(EVERY);
    }
    let took = begun.elapsed();
    let output = child.wait_with_output().expect("it is ours");
    assert!(output.status.success(), "{}", output.status);
    (String::from_utf8_lossy(&output.stdout).trim().to_owned(), took)
}

fn main() {
    if support::played_a_role() {
        return;
    }
    let net = Net::new(203);
    let at = SocketAddr::new(net.v4, 8000);
    let server = net.within(|| sink(at));
    let (kit, cgroups) = (kit(), [Cgroup::new("one"), Cgroup::new("two")]);
    let names = ["/docker/one", "/docker/two"];
    for (name, cgroup) in names.iter().zip(&cgroups) {
        kit.identity().declare(cgroup.of(NewContainer::new(name)));
    }
    let mut running = kit.start("").expect("it starts");
    let mut pids: Vec<HashSet<u32>> = Vec::new();
    let first = last_pid();
    for cgroup in &cgroups {
        let (failed, took) = meanwhile(&mut running, clients(&net, cgroup, at));
        let each = took / TIMES;
        println!("{TIMES} clients, {failed} failed; one after the other, {each:?} each with their start");
        let place = (cgroup.hierarchy, cgroup.id());
        let observed = kit.observed().all();
        pids.push(
            observed
                .iter()
                .filter(|seen| (seen.hierarchy, seen.cgroup) == place)
                .map(|seen| seen.process.pid)
                .collect(),
        );
        if pids.len() == 1 {
            wrap(&mut running, first);
        }
    }
    let both = pids[0].intersection(&pids[1]).count();
    println!("pids of clients that were known: {} and {}, {both} of both", pids[0].len(), pids[1].len());
    let collected = running.collect().expect("it collects");
    let counts = names.map(|name| {
        let labels = format!("{{container_id={name:?},destination=\"{at}\"}}");
        collected.find(&format!("container_net_tcp_successful_connects_total{labels}")).unwrap_or(0.0)
    });
    let right: f64 = counts.iter().map(|count| count.min(f64::from(TIMES))).sum();
    let wrong: f64 = counts.iter().map(|count| (count - f64::from(TIMES)).max(0.0)).sum();
    println!(
        "counted for the right container: {counts:?} of {TIMES} each, {:.3} %; for a wrong one: {wrong}; failed: {}",
        100.0 * right / f64::from(2 * TIMES),
        failures(&collected, at, "refused")
    );
    support::say_load();
    end(server);
}

fn number(path: &str) -> u32 {
    let text = std::fs::read_to_string(path).expect("/proc");
    text.trim().parse().expect("a number")
}

fn last_pid() -> u32 {
    number("/proc/sys/kernel/ns_last_pid")
}

/// Until the next pids are those that came after this one: all others are used first.
fn wrap(running: &mut Running, first: u32) {
    let max = number("/proc/sys/kernel/pid_max");
    if max > 1 << 16 {
        println!("pids go up to {max}: they do not wrap here");
        return;
    }
    // Others start processes as well: not all at once, and a little too far is near enough.
    for _ in 0..6 {
        let left = (first + max - last_pid()) % max;
        if left < 100 || left > max - TIMES / 2 {
            return;
        }
        let forks = left * 9 / 10;
        let script = format!("i=0; while [ $i -lt {forks} ]; do (:); i=$((i+1)); done");
        let child = Command::new("busybox").args(["sh", "-c", &script]).stdout(Stdio::piped()).spawn();
        meanwhile(running, child.expect("it starts"));
    }
}
