//! Connects that fail, each for its reason, over IPv4, IPv6 and mapped addresses.

mod support;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{SocketFlags, SocketType, connect, socket_with};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;
use support::net::{Net, family};
use support::{of, own, own_with, skip_without, skip_without_root, until_failures, until_numbers};

/// Begins a connect, and does not wait for its end; from a port of its own if there is one.
fn begin(net: &Net, to: SocketAddr, from: Option<u16>) -> OwnedFd {
    net.within(|| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family(to), SocketType::STREAM, flags, None).expect("a socket");
        if let Some(port) = from {
            rustix::net::bind(&socket, &SocketAddr::new(to.ip(), port)).expect("a free port");
        }
        let begun = connect(&socket, &to);
        assert!(begun.is_ok() || begun == Err(rustix::io::Errno::INPROGRESS), "{begun:?}");
        socket
    })
}

/// Listens, and takes nobody: what comes when one waits is not answered.
fn full(net: &Net, at: SocketAddr) -> [OwnedFd; 2] {
    // The first waits to be taken, and fills it.
    [net.listener(at, 0), begin(net, at, None)]
}

fn mapped(to: SocketAddr) -> SocketAddr {
    format!("[::ffff:{}]:{}", to.ip(), to.port()).parse().expect("an address")
}

/// Where a client connects to, and what a series says of it: three ways.
fn ways(net: &Net) -> [(SocketAddr, SocketAddr); 3] {
    let [v4, v6] = [(net.v4, 8004), (net.v6, 8006)].map(SocketAddr::from);
    let v4_too = SocketAddr::new(net.v4, 8005);
    [(v4, v4), (v6, v6), (mapped(v4_too), v4_too)]
}

#[test]
fn refused() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(11);
    let (_kit, mut running) = own();
    for ((to, label), times) in ways(&net).into_iter().zip([3, 2, 4]) {
        for _ in 0..times {
            net.connect(to).expect_err("nobody listens");
        }
        until_failures(&mut running, label, &[("refused", f64::from(times))]);
        let collected = running.collect().expect("it collects");
        assert_eq!(of(&collected, "failed_connects_total", &label.to_string()), f64::from(times));
        until_numbers(&mut running, label, [0.0; 4]);
    }
}

/// Two that are not answered: one is waited for, of the other nobody waits.
fn timed_out_and_aborted(number: u8, config: &str, failed: f64) {
    let net = Net::new(number);
    net.run("echo 1 > /proc/sys/net/ipv4/tcp_syn_retries");
    let (_kit, mut running) = own_with(config);
    let kept = ways(&net).map(|(to, label)| {
        let full = full(&net, label);
        drop(begin(&net, to, None));
        (full, begin(&net, to, None))
    });
    for (_, label) in ways(&net) {
        until_failures(&mut running, label, &[("timed_out", 1.0), ("aborted", 1.0)]);
        until_numbers(&mut running, label, [1.0, 1.0, 0.0, 0.0]);
        let collected = running.collect().expect("it collects");
        assert_eq!(of(&collected, "failed_connects_total", &label.to_string()), failed, "{label}");
    }
    drop(kept);
}

#[test]
fn what_was_given_up_is_among_the_failures_by_reason_alone() {
    if !skip_without_root() {
        timed_out_and_aborted(12, "", 1.0);
    }
}

#[test]
fn what_was_given_up_counts_as_failed_where_somebody_wants_it() {
    if !skip_without_root() {
        timed_out_and_aborted(17, "count_aborted = true", 2.0);
    }
}

#[test]
fn no_address() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(13);
    // It is of both versions.
    net.run("echo 45000 45000 > /proc/sys/net/ipv4/ip_local_port_range");
    let (_kit, mut running) = own();
    for (to, label) in ways(&net) {
        let _server = net.server_at(label);
        let _only = net.connect(to).expect("there is one port");
        let error = net.connect(to).expect_err("there is no other port");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
        until_failures(&mut running, label, &[("no_address", 1.0)]);
        until_numbers(&mut running, label, [1.0, 1.0, 0.0, 0.0]);
    }
}

/// A neighbour that does not answer: nobody has the address on the link.
#[test]
fn unreachable() {
    let ip = "/usr/sbin/ip";
    if skip_without(&[ip]) {
        return;
    }
    let net = Net::new(14);
    // busybox' own cannot make one.
    net.run(&format!(
        "{ip} link add v0 type veth peer name v1 && {ip} link set v0 up && {ip} link set v1 up \
         && {ip} addr add 10.78.14.1/24 dev v0 && {ip} addr add fd78::14:1/112 dev v0 nodad"
    ));
    let (_kit, mut running) = own();
    let [v4, v6, v4_too] = ["10.78.14.9:8000", "[fd78::14:9]:8000", "10.78.14.8:8000"]
        .map(|at| at.parse::<SocketAddr>().expect("an address"));
    for (to, label) in [(v4, v4), (v6, v6), (mapped(v4_too), v4_too)] {
        net.connect(to).expect_err("nobody is there");
        until_failures(&mut running, label, &[("unreachable", 1.0)]);
        until_numbers(&mut running, label, [0.0; 4]);
    }
}

/// A socket that failed connects again, and is another connection.
#[test]
fn one_socket_may_be_many_connections() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(15);
    let (_kit, mut running) = own();
    for (to, label) in ways(&net) {
        let socket = net.within(|| {
            let socket =
                socket_with(family(to), SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("one");
            for _ in 0..2 {
                assert_eq!(connect(&socket, &to), Err(rustix::io::Errno::CONNREFUSED));
            }
            socket
        });
        let server = net.server_at(label);
        net.within(|| connect(&socket, &to)).expect("somebody listens");
        until_failures(&mut running, label, &[("refused", 2.0)]);
        until_numbers(&mut running, label, [1.0, 1.0, 0.0, 0.0]);
        drop(TcpStream::from(socket));
        drop(server);
    }
}

/// The other end breaks it off, or this one does: it came to be, and did not fail.
#[test]
fn a_reset_after_the_handshake_is_no_failure() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(16);
    let (_kit, mut running) = own();
    let at_once = |stream: &TcpStream| set_socket_linger(stream, Some(Duration::ZERO)).expect("an option");
    for (to, label) in ways(&net) {
        let listener = net.within(|| TcpListener::bind(label)).expect("a free port");
        let pair = || {
            let mut client = net.connect(to).expect("somebody listens");
            let (mut taken, _) = listener.accept().expect("it came");
            client.write_all(&[7; 40]).expect("sent");
            taken.read_exact(&mut [0; 40]).expect("it came");
            (client, taken)
        };
        let (mut client, taken) = pair();
        at_once(&taken);
        drop(taken);
        let error = client.read(&mut [0]).expect_err("it is broken off");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        // Nobody closed its own end yet.
        until_numbers(&mut running, label, [1.0, 0.0, 40.0, 0.0]);
        drop(client);
        let (client, taken) = pair();
        at_once(&client);
        drop(client);
        until_numbers(&mut running, label, [2.0, 0.0, 80.0, 0.0]);
        drop(taken);
        until_failures(&mut running, label, &[]);
    }
}

/// A SYN with its checksum (RFC 9293, 3.1), as of one who opens at the same time.
fn syn(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut segment = [from.port(), to.port()].map(u16::to_be_bytes).concat();
    // Its number, no acknowledgement, five words, SYN, a window, no checksum, nothing urgent.
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let mut summed: Vec<u8> = Vec::new();
    for ip in [from.ip(), to.ip()] {
        match ip {
            IpAddr::V4(ip) => summed.extend(ip.octets()),
            IpAddr::V6(ip) => summed.extend(ip.octets()),
        }
    }
    // The protocol and the length, in whatever width.
    summed.extend([0, 6, 0, 20]);
    summed.extend(&segment);
    let sum: u32 = summed.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let sum = u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice");
    segment[16..18].copy_from_slice(&(!sum).to_be_bytes());
    segment
}

/// While the connect goes on. An answer that refuses it is `refused`; broken off can
/// only be what the other end had begun to take: both open at the same time, and the
/// answer to the other one's SYN finds a socket that listens.
#[test]
fn a_reset_during_the_handshake_is_a_failure() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(18);
    let (_kit, mut running) = own();
    for (ip, port) in [(net.v4, 8000), (net.v6, 8001)] {
        let at = SocketAddr::new(ip, port);
        let _full = full(&net, at);
        let client = begin(&net, at, Some(1000));
        net.within(|| {
            let kind = (SocketType::RAW, SocketFlags::CLOEXEC, Some(rustix::net::ipproto::TCP));
            let raw = socket_with(family(at), kind.0, kind.1, kind.2).expect("root");
            rustix::net::bind(&raw, &SocketAddr::new(ip, 0)).expect("its own address");
            let (segment, to) = (syn(at, SocketAddr::new(ip, 1000)), SocketAddr::new(ip, 0));
            rustix::net::sendto(&raw, &segment, rustix::net::SendFlags::empty(), &to).expect("it is sent");
        });
        until_failures(&mut running, at, &[("reset", 1.0)]);
        until_numbers(&mut running, at, [1.0, 1.0, 0.0, 0.0]);
        let failed = of(&running.collect().expect("it collects"), "failed_connects_total", &at.to_string());
        assert_eq!(failed, 1.0);
        drop(client);
    }
}
