//! What it costs: the programs by the kernel's own statistics, connects at
//! saturation with and without them, scans, and user space by the event.
#![allow(missing_docs, clippy::print_stdout, reason = "it prints a table")]

mod support;

use gantry_bpf::stats::Measuring;
use gantry_tcp_ebpf::engine::Engine;
use gantry_tcp_ebpf::record::{ESTABLISHED, Kind, Owner, Record};
use gantry_tcp_ebpf::tracker::Tracker;
use std::hint::black_box;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use support::tests::net::Net;
use support::tests::{own_kit, settings};
use support::{churn, end, middle, sink, timed};

fn engine() -> Engine {
    Engine::start(Path::new("/sys"), &settings()).expect("root, and a kernel with BTF")
}

fn churn_within(net: &Net, to: SocketAddr, times: u32) -> Duration {
    net.within(|| {
        let begun = Instant::now();
        churn(to, times);
        begun.elapsed()
    })
}

fn programs(net: &Net) {
    const TIMES: u32 = 20_000;
    let to = SocketAddr::new(net.v4, 8200);
    let server = net.within(|| sink(to));
    let mut engine = engine();
    let _measuring = Measuring::begin().expect("root");
    let mut events = 0;
    for _ in 0..TIMES / 2000 {
        churn_within(net, to, 2000);
        events += engine.drain(usize::MAX, |_| ());
    }
    let programs = engine.programs();
    let state = programs.iter().find(|program| program.program == "tcp_state").expect("loaded");
    let each = state.costs.expect("the kernel says it").time.as_nanos() / u128::from(TIMES);
    println!(
        "programs: {each} ns a loopback connection, both ends; {events} events of {TIMES}; lost {:?}",
        engine.losses()
    );
    end(server);
}

/// Short turns without and with the whole plugin, which takes events over and is asked in the middle and at the end
/// of a turn, in pairs whose order alternates: other work on the machine is in both of a pair.
fn saturation(net: &Net) {
    const PAIRS: usize = 40;
    const TIMES: u32 = 10_000;
    let at = SocketAddr::new(net.v4, 8100);
    let server = net.within(|| sink(at));
    churn_within(net, at, TIMES);
    let turn = |with: bool| {
        let kit = own_kit();
        let mut plugin = with.then(|| kit.bench("").expect("root, and a kernel with BTF"));
        let ((), wall, cpu) = timed(|| {
            for _ in 0..2 {
                churn_within(net, at, TIMES / 2);
                if let Some(plugin) = &mut plugin {
                    plugin.collect().expect("it collects");
                }
            }
        });
        (cpu.as_secs_f64() * 1e6 / f64::from(TIMES), f64::from(TIMES) / wall.as_secs_f64())
    };
    let (mut without, mut with, mut ratios, mut more) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let first = turn(pair % 2 == 1);
        let second = turn(pair % 2 == 0);
        let (off, on) = if pair % 2 == 1 { (second, first) } else { (first, second) };
        ratios.push(on.1 / off.1);
        more.push(on.0 - off.0);
        without.push(off.0);
        with.push(on.0);
    }
    println!("saturation: {PAIRS} pairs of {TIMES} connects");
    println!("  processor time each, in us: without {}, with {}", middle(without), middle(with));
    println!(
        "  more with it, in us: {}; connects a second, of those without: {}",
        middle(more),
        middle(ratios)
    );
    end(server);
}

fn scans(net: &Net, to: SocketAddr) {
    let begun = Instant::now();
    let mut engine = engine();
    println!("start: {:?}", begun.elapsed());
    for open in [0, 4000] {
        let _open: Vec<TcpStream> =
            net.within(|| (0..open).map(|_| TcpStream::connect(to).expect("somebody listens")).collect());
        let mut took: Vec<(Duration, usize)> = (0..9)
            .map(|_| {
                let begun = Instant::now();
                let found = engine.live().expect("it scans").expect("it is loaded").len();
                (begun.elapsed(), found)
            })
            .collect();
        took.sort();
        let begun = Instant::now();
        let sockets = engine.sockets().expect("it scans").expect("it is loaded").len();
        println!(
            "{open} open: scan {:?} of {}; all sockets {:?} of {sockets}; maps {} KiB",
            took[4].0,
            took[4].1,
            begun.elapsed(),
            engine.map_bytes(took[4].1) >> 10
        );
    }
}

fn user_space() {
    const TIMES: u64 = 1_000_000;
    let mut tracker = Tracker::new(settings());
    tracker.activate(None, 1);
    let mut record = Record {
        kind: Kind::Closed,
        flags: ESTABLISHED,
        error: 0,
        sock: 1,
        at: 1,
        opened_at: 1,
        established_at: 1,
        owner: Owner { cgroup2: 5, tgid: 7, ..Owner::default() },
        sent: 100,
        received: 100,
        retransmits: 0,
        rtt: 10,
        netns: 9,
        local: ([10, 0, 0, 1], 40000).into(),
        remote: ([10, 0, 0, 2], 80).into(),
    };
    let begun = Instant::now();
    for number in 0..TIMES {
        record.sock = number;
        record.at += 20_000;
        record.remote.set_port(80 + u16::try_from(number % 50).unwrap_or_default());
        tracker.event(black_box(&record));
    }
    println!("user space: {} ns an event", begun.elapsed().as_nanos() / u128::from(TIMES));
}

fn main() {
    if support::played_a_role() {
        return;
    }
    let net = Net::new(200);
    let server = net.server(8000);
    user_space();
    scans(&net, server.at);
    programs(&net);
    saturation(&net);
    support::say_load();
}
