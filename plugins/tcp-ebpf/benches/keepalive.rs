//! Traffic over connections that stay, with and without the plugin: short turns in pairs
//! whose order alternates. A turn takes a second or two and has one collection, where an
//! agent has one in 15 s.
#![allow(missing_docs, clippy::print_stdout, reason = "it prints a table")]

mod support;

use std::net::TcpStream;
use std::time::Duration;
use support::tests::net::{Net, exchange};
use support::{middle, timed};

const PAIRS: usize = 15;
const OPEN: usize = 20;
const EXCHANGES: usize = 40_000;
const WARM_UP: usize = 4000;

fn main() {
    if support::played_a_role() {
        return;
    }
    let net = Net::new(201);
    let server = net.server(8000);
    let mut open: Vec<TcpStream> =
        (0..OPEN).map(|_| net.connect(server.at).expect("somebody listens")).collect();
    let mut turn = |with: bool, collections: &mut Vec<f64>| {
        let kit = support::tests::own_kit();
        let mut plugin = with.then(|| kit.bench("").expect("root, and a kernel with BTF"));
        // The first is not like those after it.
        let mut collect = || plugin.as_mut().map(|plugin| plugin.collect().expect("it collects"));
        collect();
        // Nor are exchanges after a start, which went through all of the caches.
        (0..WARM_UP).for_each(|number| exchange(&mut open[number % OPEN], 100));
        let ((), wall, cpu) = timed(|| {
            for half in 0..2 {
                for number in 0..EXCHANGES / 2 {
                    exchange(&mut open[number % OPEN], 100);
                }
                if half == 0 {
                    let (_, _, took) = timed(&mut collect);
                    collections.push(took.as_secs_f64() * 1e3);
                }
            }
        });
        let each = |time: Duration| time.as_secs_f64() * 1e6 / EXCHANGES as f64;
        (each(cpu), each(wall))
    };
    let (mut own, mut nothing) = (Vec::new(), Vec::new());
    turn(false, &mut nothing);
    let (mut rates, mut costs, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let mut turn = |with: bool| turn(with, if with { &mut own } else { &mut nothing });
        let first = turn(pair % 2 == 1);
        let second = turn(pair % 2 == 0);
        let (off, on) = if pair % 2 == 1 { (second, first) } else { (first, second) };
        rates.push(off.1 / on.1);
        costs.push(off.0 / on.0);
        without.push(off.0);
    }
    println!("keep-alive: {PAIRS} pairs of {EXCHANGES} exchanges of 100 bytes over {OPEN} connections");
    println!("  exchanges a second, of those without: {}", middle(rates));
    println!("  exchanges a second of processor time, of those without: {}", middle(costs));
    println!("  processor time of one without it, both ends, in us: {}", middle(without));
    println!("  processor time of the collection in each turn with it, in ms: {}", middle(own));
    support::say_load();
}
