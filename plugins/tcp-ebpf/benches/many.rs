//! Many open connections: memory with 10,000, and how long it takes to find 40,000 and
//! to go through them at each scrape. Of several processes: one has 20,000 descriptors.
#![allow(missing_docs, clippy::print_stdout, reason = "it prints a table")]

mod support;

use gantry_plugin_testkit::Kit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};
use support::tests::net::Net;
use support::tests::{Cgroup, own, own_kit, until};
use support::{Load, cpu, long_queues, resident, timed};

const EACH: u32 = 10_000;

const MEMORY: &str = "/sys/fs/cgroup/memory";

/// Opens so many, of a process of its own.
fn open(net: &Net, port: u16, listeners: &mut Vec<OwnedFd>) -> Load {
    let at = SocketAddr::new(net.v4, port);
    listeners.push(net.listener(at, 65_535));
    let mut load = Load::start(net, "opens", at, EACH);
    load.done();
    load
}

fn maps(kit: &Kit) -> f64 {
    kit.reported().last().map_or(0.0, |(_, bytes)| bytes) / f64::from(1 << 20)
}

/// A memory cgroup that the plugin is in while it starts: the kernel charges it what its
/// maps take, also later. Without version 1 of cgroups nothing is known.
struct Charged(Option<Cgroup>);

impl Charged {
    fn new() -> Self {
        Self(Path::new(MEMORY).join("memory.kmem.usage_in_bytes").exists().then(|| Cgroup::new("maps")))
    }

    fn within<T>(&self, call: impl FnOnce() -> T) -> T {
        let Some(cgroup) = &self.0 else { return call() };
        let text = std::fs::read_to_string("/proc/self/cgroup").expect("/proc");
        let own = text.lines().find_map(|line| line.split_once(":memory:")).expect("a memory cgroup").1;
        let enter = |path: &Path| std::fs::write(path.join("cgroup.procs"), "0").expect("root");
        enter(&cgroup.path);
        let answer = call();
        enter(&Path::new(MEMORY).join(own.trim_start_matches('/')));
        answer
    }

    /// In MiB.
    fn said(&self) -> String {
        let Some(cgroup) = &self.0 else { return "not known".to_owned() };
        let text = std::fs::read_to_string(cgroup.path.join("memory.kmem.usage_in_bytes"));
        let bytes: f64 = text.expect("its own").trim().parse().expect("a number");
        format!("{:.1} MiB", bytes / f64::from(1 << 20))
    }
}

/// Five collections: the middle one, of the clock and of processor time, in milliseconds.
fn scrapes(plugin: &mut gantry_plugin_testkit::Bench) -> String {
    let mut took: Vec<(Duration, Duration)> = (0..5)
        .map(|_| {
            let (_, wall, cpu) = timed(|| plugin.collect().expect("it collects"));
            (wall, cpu)
        })
        .collect();
    took.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    format!("{:.1} ms, {:.1} ms of processor time", ms(took[2].0), ms(took[2].1))
}

/// From nothing to a first connection that is counted.
fn start(net: &Net) {
    let server = net.server(9000);
    let mut took = Vec::new();
    for _ in 0..5 {
        let (begun, before) = (Instant::now(), cpu());
        let (kit, mut running) = own();
        drop(TcpStream::connect(server.at).err());
        let _open = net.connect(server.at).expect("somebody listens");
        let label = server.at.to_string();
        until(&mut running, |collected| {
            match support::tests::of(collected, "successful_connects_total", &label) {
                0.0 => Err("none".to_owned()),
                _ => Ok(()),
            }
        });
        took.push((begun.elapsed(), cpu() - before));
        drop(kit);
    }
    took.sort();
    println!("start to a connection that is shown: {:?}, {:?} of processor time", took[2].0, took[2].1);
}

fn main() {
    if support::played_a_role() {
        return;
    }
    let net = Net::new(205);
    long_queues(&net);
    let (mut listeners, mut loads) = (Vec::new(), Vec::new());
    let kit = own_kit();
    let before = resident();
    let charged = Charged::new();
    let mut plugin = charged.within(|| kit.bench("").expect("root, and a kernel with BTF"));
    plugin.collect().expect("it collects");
    println!(
        "nothing open: {} KiB more resident, maps {:.1} MiB, the kernel charges {}",
        resident().saturating_sub(before),
        maps(&kit),
        charged.said()
    );
    for port in [8000, 8001, 8002, 8003] {
        loads.push(open(&net, port, &mut listeners));
        let scrape = scrapes(&mut plugin);
        println!(
            "{} open: a scrape {scrape}; {} KiB more resident, maps {:.1} MiB, the kernel charges {}",
            loads.len() * EACH as usize,
            resident().saturating_sub(before),
            maps(&kit),
            charged.said()
        );
    }
    drop(plugin);
    let (plugin, wall, cpu) = timed(|| kit.bench("").expect("root, and a kernel with BTF"));
    println!("a start that finds them, with the first scan: {wall:?}, {cpu:?} of processor time");
    let mut plugin = plugin;
    println!("  and a scrape then: {}", scrapes(&mut plugin));
    drop((plugin, loads, listeners));
    let (plugin, wall, cpu) = timed(|| kit.bench("").expect("root, and a kernel with BTF"));
    println!("a start that finds none: {wall:?}, {cpu:?} of processor time");
    drop(plugin);
    start(&net);
    support::say_load();
}
