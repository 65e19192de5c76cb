//! Whole processes, and what they cost.
#![allow(dead_code, reason = "each benchmark uses a part")]
#![allow(clippy::disallowed_methods, reason = "a benchmark waits as a user does")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that is killed when it is dropped.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

pub fn spawn(mut command: Command, address: SocketAddr) -> Server {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Server { child: child.expect("it starts"), address }
}

/// The agent of this build with these plugins, its files in `dir`.
pub fn agent(dir: &Path, config: &str) -> Server {
    agent_of(Path::new(env!("CARGO_BIN_EXE_gantry")), dir, config)
}

pub fn agent_of(binary: &Path, dir: &Path, config: &str) -> Server {
    let address = free_address();
    let file = dir.join("plugins.toml");
    std::fs::write(&file, format!("[host]\nlisten = \"{address}\"\n{config}")).expect("temporary file");
    let mut command = Command::new(binary);
    command.arg("run").arg("--config").arg(file).arg("--state-dir").arg(dir.join("state"));
    spawn(command, address)
}

/// One scrape over a connection of its own: the body, or `None` where nobody answers yet.
pub fn scrape(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then_some(text)
}

pub fn first_scrape(address: SocketAddr) -> String {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(text) = scrape(address) {
            return text;
        }
        assert!(Instant::now() < until, "no answer");
        std::thread::sleep(Duration::from_micros(500));
    }
}

pub fn series(text: &str) -> usize {
    text.lines().filter(|line| line.contains(' ') && !line.starts_with('#') && line.contains("_")).count()
}

/// User and system time of a process and of the children it waited for.
pub fn cpu(server: &Server) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.id())).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("a state").split(' ').collect();
    let ticks: f64 = fields[11..15].iter().map(|ticks| ticks.parse::<f64>().expect("ticks")).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

/// The time that a process's threads, those that are there, ran: in
/// nanoseconds and without sampling, but with the interrupts that came meanwhile.
pub fn ran(server: &Server) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).expect("it runs");
    let ran = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    ran.sum::<f64>() / 1e9
}

pub fn memory(server: &Server, key: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(key)).expect("the key");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a size");
    kib / 1024.0
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
