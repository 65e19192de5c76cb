//! What the benchmarks share: figures, and loads in processes of their own, so that
//! what they cost is not the agent's.
#![allow(dead_code, clippy::print_stdout, reason = "each benchmark uses its own part of it")]

#[path = "../../tests/support/mod.rs"]
pub mod tests;

use rustix::net::sockopt::set_socket_linger;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tests::net::Net;

/// Processor time of this process, with what the kernel does for it.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Processor time of this process until a load is over, in microseconds, with a collection
/// a second.
pub fn cost_under<T>(mut load: Load, collect: &mut impl FnMut() -> T) -> f64 {
    let is_over = AtomicBool::new(false);
    let before = cpu();
    std::thread::scope(|scope| {
        let main = std::thread::current();
        let (load, is_over) = (&mut load, &is_over);
        scope.spawn(move || {
            load.done();
            is_over.store(true, Relaxed);
            main.unpark();
        });
        while !is_over.load(Relaxed) {
            std::thread::park_timeout(Duration::from_secs(1));
            collect();
        }
    });
    (cpu() - before).as_secs_f64() * 1e6
}

/// What a call took: of the clock, and of this process' processor time.
pub fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration, Duration) {
    let (begun, before) = (Instant::now(), cpu());
    let answer = call();
    (answer, begun.elapsed(), cpu() - before)
}

/// The middle of them, and between what half of them are.
pub fn middle(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
    format!("{:.3} (half of them {:.3} to {:.3})", at(2), at(1), at(3))
}

/// The load of the machine, for the row.
pub fn say_load() {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of the machine: {}", text.split(' ').take(3).collect::<Vec<_>>().join(" "));
}

/// Takes each connection and closes it, on one thread, until the listener is shut down.
pub fn sink(at: SocketAddr) -> (TcpListener, JoinHandle<()>) {
    let listener = TcpListener::bind(at).expect("a free port");
    let takes = listener.try_clone().expect("a descriptor");
    let thread = std::thread::spawn(move || while takes.accept().is_ok() {});
    (listener, thread)
}

pub fn end((listener, thread): (TcpListener, JoinHandle<()>)) {
    // Makes accept() return.
    let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
    let _ = thread.join();
}

/// Connects, waits until the other end closed it, and closes, so many times. Broken
/// off, so that no port is left in TIME_WAIT: looking for a free one, and SYNs that
/// found a full backlog, once took most of the time.
pub fn churn(to: SocketAddr, times: u32) {
    for _ in 0..times {
        let mut stream = black_box(TcpStream::connect(to)).expect("somebody listens");
        set_socket_linger(&stream, Some(Duration::ZERO)).expect("an option");
        assert_eq!(stream.read(&mut [0]).expect("it is closed in order"), 0);
    }
}

const ROLE: &str = "GANTRY_BENCH_ROLE";
const THROUGH: &str = "GANTRY_BENCH_THROUGH";

/// In a process that [`Load::start`] started: does what it was started for.
pub fn played_a_role() -> bool {
    let Ok(role) = std::env::var(ROLE) else { return false };
    let words: Vec<&str> = role.split(' ').collect();
    let [what, at, number] = words[..] else { panic!("{role:?}") };
    let (at, number): (SocketAddr, u32) =
        (at.parse().expect("an address"), number.parse().expect("a number"));
    let mut open = Vec::new();
    match what {
        "opens" => {
            tests::enough_descriptors();
            open.extend((0..number).map(|_| TcpStream::connect(at).expect("it waits to be taken")));
        }
        "churns" => {
            let server = sink(at);
            // Its own address may not be the one that is asked.
            let to = std::env::var(THROUGH).map_or(at, |to| to.parse().expect("an address"));
            churn(to, number);
            end(server);
        }
        _ => panic!("{what} is no role"),
    }
    println!("done");
    let _ = std::io::stdout().flush();
    // Until the benchmark goes on.
    let _ = std::io::stdin().read(&mut [0]);
    true
}

/// A process of this benchmark's in a namespace; killed at the end.
pub struct Load(Child);

impl Load {
    pub fn start(net: &Net, what: &str, at: SocketAddr, number: u32) -> Self {
        Self::start_through(net, what, at, at, number)
    }

    /// The same, where whoever serves at `at` is asked at another address.
    pub fn start_through(net: &Net, what: &str, at: SocketAddr, to: SocketAddr, number: u32) -> Self {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", net.path.display()));
        command.arg(std::env::current_exe().expect("this benchmark"));
        command.env(ROLE, format!("{what} {at} {number}")).env(THROUGH, to.to_string());
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts"))
    }

    /// Waits until it did what it is for.
    pub fn done(&mut self) {
        let mut line = String::new();
        let out = self.0.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("it says so");
        assert_eq!(line, "done\n");
    }

    pub fn is_over(&mut self) -> bool {
        self.0.try_wait().expect("it is ours").is_some()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As long as sockets may wait to be taken, in a namespace.
pub fn long_queues(net: &Net) {
    net.run("echo 65535 > /proc/sys/net/core/somaxconn; echo 65535 > /proc/sys/net/ipv4/tcp_max_syn_backlog");
}

/// Resident memory of this process, in KiB: with pages of files and of rings that it has touched.
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
