//! A network namespace of a test's own: its loopback has addresses beside
//! 127.0.0.1, and nothing leads out of it.

use gantry_netlink::namespace::{Kind, within};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A network namespace, for as long as it is there.
pub struct Net {
    /// What holds it, where the test made it.
    child: Option<Child>,
    pid: u32,
    pub number: u8,
    pub path: PathBuf,
    /// Addresses of its loopback. Tests run side by side, and see each other's
    /// connections: each has a number of its own.
    pub v4: IpAddr,
    pub v6: IpAddr,
}

/// Its first argument is the namespace's number.
const SETUP: &str = "busybox ip link set lo up && busybox ip addr add 10.77.$0.1/32 dev lo";

/// It is there for as long as somebody is in it.
const STAY: &str = "busybox ip addr add fd77::$0:1/128 dev lo && echo ready && exec cat";

impl Net {
    pub fn new(number: u8) -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "busybox", "sh", "-c", &format!("{SETUP} && {STAY}"), &number.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is there");
        let mut ready = [0; 6];
        child.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("the namespace is set up");
        Self::known(child.id(), Some(child), number)
    }

    /// That of a container of the test's own, which has no network, and no IPv6.
    pub fn of(pid: u32, number: u8) -> Self {
        let net = Self::known(pid, None, number);
        let enters = format!("--net={}", net.path.display());
        let status = Command::new("nsenter")
            .args([&enters, "busybox", "sh", "-c", SETUP, &number.to_string()])
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("nsenter is there").success(), "the namespace is set up");
        net
    }

    fn known(pid: u32, child: Option<Child>, number: u8) -> Self {
        let net = Self {
            path: format!("/proc/{pid}/ns/net").into(),
            child,
            pid,
            number,
            v4: [10, 77, number, 1].into(),
            v6: format!("fd77::{number}:1").parse().expect("an address"),
        };
        net.refuse_a_way_out();
        net
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn inode(&self) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(&self.path).expect("a namespace").ino()
    }

    /// No test sends anything beyond what it made itself.
    fn refuse_a_way_out(&self) {
        let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
        assert_ne!(std::fs::read_link(&self.path).expect("a namespace"), own, "the machine's own namespace");
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/net/{file}", self.pid()));
        for line in read("route").unwrap_or_default().lines().skip(1) {
            assert_ne!(line.split_whitespace().nth(1), Some("00000000"), "a default route");
        }
        for line in read("ipv6_route").unwrap_or_default().lines() {
            // What is unreachable is in the table, by the loopback, with RTF_REJECT.
            let words: Vec<&str> = line.split_whitespace().collect();
            let leads_out = words[0].bytes().all(|byte| byte == b'0') && words[1] == "00" && words[9] != "lo";
            assert!(!leads_out, "a default route: {line}");
        }
    }

    /// Does something in the namespace, on a thread of its own.
    pub fn within<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        within(&self.path, Kind::Network, || Ok(body())).expect("it is entered")
    }

    /// Runs a command of the shell in it.
    pub fn run(&self, command: &str) {
        let status =
            self.within(|| Command::new("busybox").args(["sh", "-c", command]).status().expect("starts"));
        assert!(status.success(), "{command}: {status}");
    }

    /// At a port of its IPv4 address.
    pub fn server(&self, port: u16) -> Server {
        self.server_at(SocketAddr::new(self.v4, port))
    }

    pub fn server_at(&self, address: SocketAddr) -> Server {
        Server::new(self.within(|| TcpListener::bind(address).expect("a free port")))
    }

    /// Listens, for whoever waits to be taken; so many may.
    pub fn listener(&self, at: SocketAddr, many: i32) -> OwnedFd {
        self.within(|| {
            let socket =
                socket_with(family(at), SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
            bind(&socket, &at).expect("a free port");
            listen(&socket, many).expect("it listens");
            socket
        })
    }

    pub fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        self.within(|| TcpStream::connect(to))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The family of sockets that reach an address.
pub fn family(at: SocketAddr) -> AddressFamily {
    if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// Answers each connection: reads to its end, sends as much back, and ends.
pub struct Server {
    pub at: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    wake: Mutex<Option<TcpListener>>,
}

impl Server {
    fn new(listener: TcpListener) -> Self {
        let at = listener.local_addr().expect("bound");
        let ends = Arc::new(AtomicBool::new(false));
        let (stops, accepts) = (Arc::clone(&ends), listener.try_clone().expect("a descriptor"));
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = accepts.accept() {
                if stops.load(Relaxed) {
                    return;
                }
                std::thread::spawn(move || echo(stream));
            }
        });
        Self { at, ends, thread: Some(thread), wake: Mutex::new(Some(listener)) }
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => {
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        if let Some(listener) = self.wake.lock().expect("not poisoned").take() {
            // Makes accept() return on every thread that waits in it.
            let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends so many bytes, reads them back, and reads to the end.
pub fn exchange(stream: &mut TcpStream, bytes: usize) {
    let data = vec![7; bytes];
    stream.write_all(&data).expect("sent");
    let mut back = vec![0; bytes];
    stream.read_exact(&mut back).expect("answered");
}
