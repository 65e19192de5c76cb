//! What it costs: the programs by the kernel's own statistics, connects at
//! saturation with and without them, scans, and user space by the event.
#![allow(missing_docs, clippy::print_stdout, reason = "it prints a table")]

#[path = "../tests/support/net.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod net;

use gantry_bpf::stats::Measuring;
use gantry_tcp_ebpf::config::{Config, Settings};
use gantry_tcp_ebpf::engine::Engine;
use gantry_tcp_ebpf::record::{ESTABLISHED, Kind, Owner, Record};
use gantry_tcp_ebpf::tracker::Tracker;
use net::Net;
use std::hint::black_box;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

fn settings() -> Settings {
    Settings::of(&Config::default(), None, 0).expect("the default is good")
}

fn engine() -> Engine {
    Engine::start(Path::new("/sys"), &settings()).expect("root, and a kernel with BTF")
}

/// Connects and closes, so many times.
fn churn(net: &Net, to: SocketAddr, times: u32) -> Duration {
    net.within(|| {
        let begun = Instant::now();
        for _ in 0..times {
            drop(black_box(TcpStream::connect(to)).expect("somebody listens"));
        }
        begun.elapsed()
    })
}

fn programs(net: &Net, to: SocketAddr) {
    const TIMES: u32 = 20_000;
    let mut engine = engine();
    let _measuring = Measuring::begin().expect("root");
    let mut events = 0;
    for _ in 0..TIMES / 2000 {
        churn(net, to, 2000);
        events += engine.drain(usize::MAX, |_| ());
    }
    let programs = engine.programs();
    let state = programs.iter().find(|program| program.program == "tcp_state").expect("loaded");
    let each = state.costs.time.as_nanos() / u128::from(TIMES);
    println!(
        "programs: {each} ns a loopback connection, both ends; {events} events of {TIMES}; lost {:?}",
        engine.losses()
    );
}

/// Interleaved, since no machine measures the same twice.
fn saturation(net: &Net, to: SocketAddr) {
    const ROUNDS: usize = 15;
    const TIMES: u32 = 2000;
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let without = churn(net, to, TIMES);
            let mut engine = engine();
            let with = churn(net, to, TIMES);
            engine.drain(usize::MAX, |_| ());
            without.as_secs_f64() / with.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "saturation: {:.2} of the connects without ({:.2} to {:.2})",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
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
    tracker.activate(None, Some(&[]), 1);
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
    let net = Net::new(200);
    let server = net.server(8000);
    user_space();
    scans(&net, server.at);
    programs(&net, server.at);
    saturation(&net, server.at);
}
