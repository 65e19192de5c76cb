//! What it costs to know who really answers, and how far away he is.
#![allow(missing_docs, clippy::print_stdout, reason = "it prints a table")]

mod support;

use gantry_netlink::conntrack::{Entry, Tuple};
use gantry_plugin_testkit::NewContainer;
use gantry_tcp_ebpf::actual::translations::Translations;
use gantry_tcp_ebpf::latency::{Latency, Settings};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use support::tests::net::Net;
use support::tests::{in_own_cgroup, kit};
use support::{Load, cpu, resident};

const TIMES: u32 = 20_000;
const PAIRS: usize = 7;
const ENTRIES: u32 = 100_000;
const ECHOES: u32 = 800;

fn main() {
    if support::played_a_role() {
        return;
    }
    // All of 10.96/16 is the namespace's own, and answers.
    let net = Net::new(206);
    net.run("busybox ip route add local 10.96.0.0/16 dev lo");
    memory();
    connections(&net);
    echoes(&net);
    support::say_load();
}

/// Of the agent's process, with a collection a second: connections that are translated, that
/// are tracked and not translated, and that nobody listens to.
fn connections(net: &Net) {
    let mut all = [const { Vec::new() }; 3];
    for _ in 0..PAIRS {
        let at = SocketAddr::new(net.v4, 8000);
        net.run("/usr/sbin/iptables -t nat -A OUTPUT -p tcp -d 10.96.0.1 --dport 8000 -j DNAT --to-destination 10.77.206.1:8000");
        all[0].push(connection(net, at, "10.96.0.1:8000".parse().expect("an address"), ""));
        all[1].push(connection(net, at, at, ""));
        all[2].push(connection(net, at, at, "translations = false"));
        net.run("/usr/sbin/iptables -t nat -F OUTPUT");
    }
    let [translated, plain, without] = all.map(median);
    println!(
        "far: {TIMES} connections in a namespace that tracks them, medians of {PAIRS} turns, us of the agent each"
    );
    println!(
        "  translated {translated:.2}; not translated {plain:.2}; with translations = false {without:.2}"
    );
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() / 2]
}

fn connection(net: &Net, at: SocketAddr, to: SocketAddr, config: &str) -> f64 {
    let kit = kit();
    kit.identity().declare(in_own_cgroup(NewContainer::new("/docker/own").process(net.pid(), 1)));
    let mut plugin = kit.bench(format!("latency = false\n{config}")).expect("root, and a kernel with BTF");
    plugin.collect().expect("it collects");
    let load = Load::start_through(net, "churns", at, to, TIMES);
    let mut collect = || plugin.collect().expect("it collects");
    support::cost_under(load, &mut collect) / f64::from(TIMES)
}

fn memory() {
    let before = resident();
    let mut all = Translations::default();
    let at = |number: u32| SocketAddr::new(Ipv4Addr::from(0x0a00_0000 + number).into(), 40_000);
    for number in 0..ENTRIES {
        let original = Tuple { source: at(number), destination: at(1) };
        let reply = Tuple { source: at(2), destination: at(number) };
        all.put(1, &Entry { original, reply, status: 1 << 5 }, 0);
    }
    let more = resident().saturating_sub(before) as f64 / 1024.0;
    println!("far: {} translations take {more:.1} MiB", all.len());
}

fn echoes(net: &Net) {
    let kit = kit();
    let container = kit.identity().declare(NewContainer::new("/docker/far").process(net.pid(), 1));
    let all = (0..ECHOES).map(|number| IpAddr::from(Ipv4Addr::from(0x0a60_0100 + number)));
    let pairs: Vec<_> = all.map(|ip| (container, ip)).collect();
    let settings = Settings { interval: Duration::from_secs(2), most: ECHOES as usize };
    let (asked, rounds) = (std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0)), 6);
    let (counts, main) = (asked.clone(), std::thread::current());
    let begun = cpu();
    let mut latency = Latency::start(&kit.host(), settings, move || {
        counts.fetch_add(1, Relaxed);
        main.unpark();
        pairs.clone()
    })
    .expect("a thread");
    while asked.load(Relaxed) <= rounds {
        std::thread::park();
    }
    latency.stop();
    let each = (cpu() - begun).as_secs_f64() * 1e6 / f64::from(ECHOES * rounds);
    println!(
        "far: an echo over the loopback, {each:.1} us of processor time, the kernel's answer in it; {:?}",
        latency.tally()
    );
}
