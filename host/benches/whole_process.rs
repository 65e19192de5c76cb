//! What a whole agent with the `node` plugin costs, printed as a table: memory,
//! time to the first answered scrape, CPU between scrapes, what a command
//! takes, and CPU a scrape beside prometheus-node-exporter's, interleaved in one
//! run. With `GANTRY_BASELINE=FILE` also beside another `gantry`, with its
//! plugins next to it: an earlier version, to see what a change costs.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::disallowed_methods, reason = "an idle agent is measured by leaving it alone for a while")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STARTS: usize = 15;
const SCRAPES: usize = 300;
const COMMANDS: usize = 100;
/// A block takes some 0.4 s of CPU, which is told in steps of 10 ms.
const BLOCK: usize = 1000;
const BLOCKS: usize = 11;
const IDLE: Duration = Duration::from_secs(30);

/// A server that is killed when it is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn spawn(mut command: Command, address: SocketAddr) -> Server {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Server { child: child.expect("it starts"), address }
}

fn agent(dir: &Path) -> Server {
    agent_of(Path::new(env!("CARGO_BIN_EXE_gantry")), dir)
}

fn agent_of(binary: &Path, dir: &Path) -> Server {
    let address = free_address();
    let config = dir.join("plugins.toml");
    let text = format!("[host]\nlisten = \"{address}\"\n[plugins.node]\nenabled = true\n");
    std::fs::write(&config, text).expect("temporary file");
    let mut command = Command::new(binary);
    command.arg("run").arg("--config").arg(config).arg("--state-dir").arg(dir.join("state"));
    spawn(command, address)
}

/// One scrape over a connection of its own: the body, or `None` where nobody answers yet.
fn scrape(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then_some(text)
}

fn first_scrape(address: SocketAddr) -> String {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(text) = scrape(address) {
            return text;
        }
        assert!(Instant::now() < until, "no answer");
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| line.contains(' ') && !line.starts_with('#') && line.contains("_")).count()
}

/// User and system time of a process and of the children it waited for.
fn cpu(server: &Server) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.id())).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("a state").split(' ').collect();
    let ticks: f64 = fields[11..15].iter().map(|ticks| ticks.parse::<f64>().expect("ticks")).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

fn memory(server: &Server, key: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(key)).expect("the key");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a size");
    kib / 1024.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
    let other = agent_of(baseline, dir.path());
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
