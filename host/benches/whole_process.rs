//! What a whole agent with the `node` plugin costs, printed as a table: memory,
//! time to the first answered scrape, CPU between scrapes, what a command
//! takes, and CPU a scrape beside prometheus-node-exporter's, interleaved in one
//! run. With `GANTRY_BASELINE=FILE` also beside another `gantry`, with its
//! plugins next to it: an earlier version, to see what a change costs.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::disallowed_methods, reason = "an idle agent is measured by leaving it alone for a while")]

mod common;

use common::{Server, cpu, first_scrape, free_address, median, memory, scrape, series, spawn};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const STARTS: usize = 15;
const SCRAPES: usize = 300;
const COMMANDS: usize = 100;
/// A block takes some 0.4 s of CPU, which is told in steps of 10 ms.
const BLOCK: usize = 1000;
const BLOCKS: usize = 11;
const IDLE: Duration = Duration::from_secs(30);

const NODE: &str = "[plugins.node]\nenabled = true\n";

fn agent(dir: &Path) -> Server {
    common::agent(dir, NODE)
}

/// Milliseconds from exec to exit.
fn commands(dir: &Path) -> Vec<f64> {
    let asked = || {
        let begin = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_gantry"))
            .args(["plugins", "--state-dir"])
            .arg(dir.join("state"))
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("it runs").success(), "the agent answers");
        begin.elapsed().as_secs_f64() * 1e3
    };
    (0..COMMANDS).map(|_| asked()).collect()
}

/// CPU a scrape of two agents, in blocks that alternate; the share of each
/// pair of blocks, so that what else the machine does falls on both.
fn compare(gantry: &Server, baseline: &Path) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let other = common::agent_of(baseline, dir.path(), NODE);
    first_scrape(other.address);
    let block = |server: &Server| {
        let before = cpu(server);
        (0..BLOCK).for_each(|_| drop(scrape(server.address).expect("an answer")));
        cpu(server) - before
    };
    let ratios: Vec<f64> = (0..BLOCKS)
        .map(|at| {
            if at % 2 == 0 {
                (block(gantry), block(&other))
            } else {
                let theirs = block(&other);
                (block(gantry), theirs)
            }
        })
        .map(|(ours, theirs)| ours / theirs)
        .collect();
    println!("CPU a scrape beside the baseline's: {:.3}, median of {BLOCKS} pairs of blocks", median(ratios));
}

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let begin = Instant::now();
        let server = agent(dir.path());
        first_scrape(server.address);
        starts.push(begin.elapsed().as_secs_f64() * 1e3);
        drop(server);
    }
    println!("exec to first answered scrape: median {:.0} ms of {STARTS} starts", median(starts));

    let gantry = agent(dir.path());
    let ours = series(&first_scrape(gantry.address));
    println!("resident after the first scrape: {:.1} MiB", memory(&gantry, "VmRSS"));
    let before = cpu(&gantry);
    std::thread::sleep(IDLE);
    println!("idle: {:.3} CPU s a minute", (cpu(&gantry) - before) * 60.0 / IDLE.as_secs_f64());

    println!("gantry plugins: median {:.1} ms of {COMMANDS}", median(commands(dir.path())));
    if let Some(baseline) = std::env::var_os("GANTRY_BASELINE") {
        compare(&gantry, Path::new(&baseline));
    }

    let mut exporter = Command::new("prometheus-node-exporter");
    let address = free_address();
    exporter.arg(format!("--web.listen-address={address}"));
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|dir| dir.join("prometheus-node-exporter").is_file())
    });
    if !found {
        println!("prometheus-node-exporter is not installed: no comparison");
        return;
    }
    let exporter = spawn(exporter, address);
    let theirs = series(&first_scrape(exporter.address));
    let (before_ours, before_theirs) = (cpu(&gantry), cpu(&exporter));
    let (mut wall_ours, mut wall_theirs) = (Vec::new(), Vec::new());
    for _ in 0..SCRAPES {
        for (server, wall) in [(&gantry, &mut wall_ours), (&exporter, &mut wall_theirs)] {
            let begin = Instant::now();
            scrape(server.address).expect("an answer");
            wall.push(begin.elapsed().as_secs_f64() * 1e3);
        }
    }
    let each = |cpu: f64| cpu * 1e3 / SCRAPES as f64;
    let (cpu_ours, cpu_theirs) = (each(cpu(&gantry) - before_ours), each(cpu(&exporter) - before_theirs));
    println!(
        "| {SCRAPES} interleaved scrapes | series | CPU ms | CPU us a series | wall ms (median) | resident MiB |"
    );
    println!("|---|---|---|---|---|---|");
    let rows = [
        ("gantry", ours, cpu_ours, median(wall_ours), memory(&gantry, "VmRSS")),
        ("prometheus-node-exporter", theirs, cpu_theirs, median(wall_theirs), memory(&exporter, "VmRSS")),
    ];
    for (name, series, cpu, wall, rss) in rows {
        println!(
            "| {name} | {series} | {cpu:.2} | {:.2} | {wall:.2} | {rss:.1} |",
            cpu * 1e3 / series as f64
        );
    }
    println!("resident at the peak: {:.1} MiB", memory(&gantry, "VmHWM"));
}
