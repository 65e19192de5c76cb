//! What a container does over TCP, step by step: a process of the test's own
//! binary, in a cgroup and a network namespace that the test made.
//!
//! The test file has an ignored test `client` that calls [`client`].

use super::cgroup::{Cgroup, Member};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const STEPS: &str = "GANTRY_TEST_TRAFFIC";

/// The port of a load that has one.
const FROM: u16 = 9100;

/// Between two looks at a file.
const LOOK: Duration = Duration::from_millis(5);

/// Starts one that takes these steps, and then stays. The binary has a test of
/// this name.
pub fn start(client: &str, cgroup: &Cgroup, net: &Path, steps: &str) -> Member {
    let this = std::env::current_exe().expect("this test");
    let (net, this) = (format!("--net={}", net.display()), this.display().to_string());
    let program = ["nsenter", &net, &this, "--exact", client, "--ignored", "--test-threads=1"];
    cgroup.spawn_with(&program, |command| {
        command.env(STEPS, steps).stdout(Stdio::null());
    })
}

/// Takes the steps it was told, each `WHAT ADDRESS NUMBER`.
pub fn client() {
    let Ok(steps) = std::env::var(STEPS) else { return };
    let mut kept: Vec<Box<dyn std::any::Any>> = Vec::new();
    for step in steps.split(',') {
        let mut words = step.split(' ');
        let mut word = || words.next().expect("three words");
        let (what, at, number) = (word(), word(), word());
        let number: usize = number.parse().expect("a number");
        match what {
            "sends" => drop(sends(at, number)),
            "keeps" => kept.push(Box::new(sends(at, number))),
            "fails" => (0..number).for_each(|_| drop(TcpStream::connect(at).expect_err("nobody is there"))),
            "gives_up" => (0..number).for_each(|_| drop(begin(at))),
            "waits_in_vain" => waits_in_vain(at, number),
            "listens" => kept.push(Box::new(TcpListener::bind(at).expect("a free port"))),
            "loads" => loads(at, number, false),
            "loads_from_a_port" => loads(at, number, true),
            _ => panic!("{what} is no step"),
        }
    }
    loop {
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

/// Connects, sends so many bytes and gets them back.
pub fn sends(at: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(at).expect("somebody listens");
    exchanges(&mut stream, bytes);
    stream
}

fn exchanges(stream: &mut TcpStream, bytes: usize) {
    stream.write_all(&vec![7; bytes]).expect("sent");
    stream.read_exact(&mut vec![0; bytes]).expect("answered");
}

/// Begins a connect that is not answered.
fn begin(at: &str) -> std::os::fd::OwnedFd {
    let to: SocketAddr = at.parse().expect("an address");
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
    assert_eq!(connect(&socket, &to), Err(rustix::io::Errno::INPROGRESS));
    socket
}

fn waits_in_vain(at: &str, milliseconds: usize) {
    let to: SocketAddr = at.parse().expect("an address");
    let socket =
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    sockopt::set_tcp_user_timeout(&socket, u32::try_from(milliseconds).expect("few")).expect("an option");
    assert_eq!(connect(&socket, &to), Err(rustix::io::Errno::TIMEDOUT));
}

/// Where a load is told to end, and says how much it was.
fn files(dir: &str) -> [std::path::PathBuf; 3] {
    ["made", "end", "ended"].map(|name| Path::new(dir).join(name))
}

/// Always from the same port: broken off, so that it is free at once.
fn sends_from_a_port(at: &str, bytes: usize) {
    let to: SocketAddr = at.parse().expect("an address");
    let socket =
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    sockopt::set_socket_reuseaddr(&socket, true).expect("an option");
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).expect("an option");
    bind(&socket, &SocketAddr::new(to.ip(), FROM)).expect("its address may be used again");
    connect(&socket, &to).expect("somebody listens");
    exchanges(&mut socket.into(), bytes);
}

/// `ADDRESS|DIRECTORY`: connects and sends until it is told to end. Keeps some open,
/// where they do not all come from one port.
fn loads(at: &str, bytes: usize, from_a_port: bool) {
    let (at, dir) = at.split_once('|').expect("two of them");
    let [made, end, ended] = files(dir);
    let ledger = std::fs::File::options().write(true).open(made).expect("the test made it");
    let (mut count, mut kept) = (0_u64, Vec::new());
    while !end.exists() {
        if from_a_port {
            sends_from_a_port(at, bytes);
        } else {
            kept.push(sends(at, bytes));
        }
        if kept.len() > 10 {
            kept.remove(0);
        }
        count += 1;
        ledger.write_all_at(&count.to_ne_bytes(), 0).expect("the test's own");
    }
    drop(kept);
    std::fs::write(&ended, "").expect("the test's own");
}

/// A load that runs.
pub struct Load {
    _member: Member,
    dir: tempfile::TempDir,
}

impl Load {
    /// Connections of so many bytes each way.
    pub fn start(client: &str, cgroup: &Cgroup, net: &Path, at: SocketAddr, bytes: usize) -> Self {
        Self::of("loads", client, cgroup, net, at, bytes)
    }

    /// The same one after the other, all from one port.
    pub fn from_a_port(client: &str, cgroup: &Cgroup, net: &Path, at: SocketAddr, bytes: usize) -> Self {
        Self::of("loads_from_a_port", client, cgroup, net, at, bytes)
    }

    fn of(what: &str, client: &str, cgroup: &Cgroup, net: &Path, at: SocketAddr, bytes: usize) -> Self {
        let dir = super::private_dir();
        let [made, ..] = files(&dir.path().display().to_string());
        std::fs::write(made, 0_u64.to_ne_bytes()).expect("its own directory");
        let steps = format!("{what} {at}|{} {bytes}", dir.path().display());
        Self { _member: start(client, cgroup, net, &steps), dir }
    }

    /// Connections that were made, each when it had its answer.
    pub fn made(&self) -> u64 {
        let [made, ..] = files(&self.dir.path().display().to_string());
        let bytes = std::fs::read(made).expect("its own directory");
        u64::from_ne_bytes(bytes.try_into().expect("one number"))
    }

    /// Waits until so many more were made.
    #[track_caller]
    pub fn goes_on(&self, more: u64) {
        let until = self.made() + more;
        wait("the load goes on", || self.made() >= until);
    }

    /// Ends it; how many connections there were.
    #[track_caller]
    pub fn end(&self) -> u64 {
        let [_, end, ended] = files(&self.dir.path().display().to_string());
        std::fs::write(end, "").expect("the test's own");
        wait("the load ends", || ended.exists());
        self.made()
    }
}

#[track_caller]
fn wait(what: &str, holds: impl Fn() -> bool) {
    let until = std::time::Instant::now() + super::http::PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < until, "never: {what}");
        std::thread::park_timeout(LOOK);
    }
}
