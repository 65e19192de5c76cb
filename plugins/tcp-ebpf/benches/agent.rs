//! What a connection costs the agent as a whole: the process' own processor time, with a
//! collection a second, and the programs, by the kernel's own statistics.
#![allow(missing_docs, clippy::print_stdout, reason = "it prints a table")]

mod support;

use gantry_bpf::stats::Measuring;
use std::net::SocketAddr;
use std::time::Duration;
use support::Load;
use support::tests::net::Net;
use support::tests::{counting, kit, own_kit, settings};

const TIMES: u32 = 100_000;

fn main() {
    if support::played_a_role() {
        return;
    }
    let net = Net::new(202);
    let own = whole(&net);
    let programs = programs(&net);
    println!("agent: {TIMES} connections, one after the other, by another process");
    println!("  its process, a collection a second: {own:.2} us a connection");
    println!("  the programs, both ends: {programs:.2} us; together {:.2} us", own + programs);
    support::say_load();
}

/// The plugin behind the boundary, in this process, which does nothing else.
fn whole(net: &Net) -> f64 {
    let kit = own_kit();
    let mut plugin = kit.bench("").expect("root, and a kernel with BTF");
    plugin.collect().expect("it collects");
    let load = Load::start(net, "churns", SocketAddr::new(net.v4, 8000), TIMES);
    let mut collect = || plugin.collect().expect("it collects");
    support::cost_under(load, &mut collect) / f64::from(TIMES)
}

fn programs(net: &Net) -> f64 {
    let kit = kit();
    let watch = counting(&kit, settings());
    let _measuring = Measuring::begin().expect("root");
    let time = || {
        let programs = watch.lock().engine.programs();
        programs.iter().filter_map(|program| Some(program.costs?.time)).sum::<Duration>()
    };
    let before = time();
    Load::start(net, "churns", SocketAddr::new(net.v4, 8001), TIMES).done();
    (time() - before).as_secs_f64() * 1e6 / f64::from(TIMES)
}
