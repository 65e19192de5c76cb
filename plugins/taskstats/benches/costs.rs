//! What a process costs at a collection, against reading `schedstat` of its
//! threads, and what the end of a process costs. In one run, interleaved.
#![allow(missing_docs, clippy::print_stdout, reason = "it prints a table")]

use gantry_netlink::taskstats::KINDS;
use gantry_plugin_api::Process;
use gantry_plugin_testkit::{Kit, NewContainer, Tree};
use gantry_taskstats::Taskstats;
use gantry_taskstats::counts::{Counts, Rule};
use gantry_taskstats::engine::Engine;
use gantry_taskstats::left_alone::LeftAlone;
use gantry_taskstats::source::Source;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROCESSES: usize = 1000;
const CONTAINERS: usize = 20;
const ROUNDS: usize = 25;
const EXITS: usize = 2000;

fn kernel() -> (Source, gantry_netlink::Exits) {
    Source::kernel(Path::new("/proc"), Path::new("/sys"), 16 << 20).expect("CAP_NET_ADMIN and TASKSTATS")
}

/// The middle one, and the best.
fn figures(mut all: Vec<Duration>, of: usize) -> String {
    all.sort_unstable();
    let each = |time: Duration| time.as_nanos() as f64 / 1e3 / of as f64;
    format!("{:.2} µs each (median of {}; best {:.2})", each(all[all.len() / 2]), all.len(), each(all[0]))
}

fn looks() {
    let mut children: Vec<Child> = (0..PROCESSES)
        .map(|_| Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().expect("it starts"))
        .collect();
    let kit = Kit::of::<Taskstats>().with_tree(Tree::at("/"));
    for (number, some) in children.chunks(PROCESSES / CONTAINERS).enumerate() {
        let new = NewContainer::new(&format!("/docker/{number}"));
        let new = some.iter().fold(new, |new, child| new.process(child.id(), 2_000_000));
        kit.identity().declare(new);
    }
    let host = kit.host();
    let (mut netlink, exits) = kernel();
    drop(exits);
    let mut files = Source::Files("/proc".into());
    let engines = [Engine::new(&host, None), Engine::new(&host, None)];
    let nobody = LeftAlone::default();
    engines[0].activate(None, &nobody, &mut netlink);
    engines[1].activate(None, &nobody, &mut files);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for ((engine, source), times) in engines.iter().zip([&mut netlink, &mut files]).zip(&mut times) {
            let begun = Instant::now();
            engine.look(&nobody, source);
            times.push(begun.elapsed());
        }
    }
    let [netlink, files] = times;
    println!("{PROCESSES} processes of one thread in {CONTAINERS} containers, a look:");
    println!("  netlink    {}", figures(netlink, PROCESSES));
    println!("  schedstat  {}", figures(files, PROCESSES));
    for child in &mut children {
        child.kill().expect("it runs");
    }
    for mut child in children {
        child.wait().expect("it is ours");
    }
}

/// Without the kernel: what is kept of many.
fn counting() {
    const MANY: u32 = 100_000;
    let kit = Kit::of::<Taskstats>();
    let container = kit.identity().declare(NewContainer::new("/docker/x"));
    let mut counts = Counts::new(0);
    let mut times = Vec::new();
    for round in 0..ROUNDS as u64 {
        let begun = Instant::now();
        counts.begin_look(round);
        for pid in 1..=MANY {
            counts.seen(Process { pid, start: 5 }, container, &[round; KINDS], Rule::Grows);
        }
        counts.end_look();
        times.push(begun.elapsed());
    }
    println!("{MANY} processes, what is kept of them alone, a look:");
    println!("             {}", figures(times, MANY as usize));
}

fn ends() {
    let kit = Kit::of::<Taskstats>().with_tree(Tree::at("/"));
    kit.identity().remember(4 * EXITS);
    let container = kit.identity().declare(NewContainer::new("/docker/x"));
    let mut times = Vec::new();
    for _ in 0..5 {
        let (mut source, exits) = kernel();
        let engine = Engine::new(&kit.host(), Some(exits));
        engine.activate(None, &LeftAlone::default(), &mut source);
        let pids: Vec<u32> = (0..EXITS)
            .map(|_| {
                let mut child = Command::new("/bin/true").spawn().expect("it starts");
                child.wait().expect("it is ours");
                child.id()
            })
            .collect();
        for pid in pids {
            let process = Process { pid, start: 1_500_000 - 5 };
            kit.identity().process_starts(Some(container), process);
            kit.identity().process_exits(process);
        }
        let begun = Instant::now();
        engine.turn();
        let took = begun.elapsed();
        let exits = engine.counted().exits;
        times.push(took * EXITS as u32 / u32::try_from(exits).expect("few"));
    }
    println!("ends of processes:");
    println!("             {}", figures(times, EXITS));
}

fn main() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load: {}", load.trim());
    looks();
    counting();
    ends();
}
