//! Connects that fail, each for its reason.

mod support;

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use support::net::Net;
use support::{of, own, skip_without_root, until};

/// Begins a connect, and does not wait for its end.
fn begin(net: &Net, to: SocketAddr) -> OwnedFd {
    net.within(|| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
        let begun = connect(&socket, &to);
        assert!(begun.is_ok() || begun == Err(rustix::io::Errno::INPROGRESS), "{begun:?}");
        socket
    })
}

/// Listens, and takes nobody: what comes when two wait is not answered.
fn full(net: &Net, port: u16) -> (OwnedFd, Vec<OwnedFd>, SocketAddr) {
    let at = SocketAddr::new(net.v4, port);
    let listener = net.within(|| {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("one");
        rustix::net::bind(&socket, &at).expect("a free port");
        rustix::net::listen(&socket, 0).expect("it listens");
        socket
    });
    // The first waits to be taken, and fills it.
    let waiting = vec![begin(net, at)];
    (listener, waiting, at)
}

fn failures(collected: &gantry_plugin_testkit::Collected, to: &str, reason: &str) -> f64 {
    let labels = format!("{{destination={to:?},reason={reason:?}}}");
    collected.find(&format!("container_net_tcp_connect_failures_total{labels}")).unwrap_or(0.0)
}

#[test]
fn refused() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(11);
    let (_kit, mut running) = own();
    for (ip, times) in [(net.v4, 3), (net.v6, 2)] {
        let to = SocketAddr::new(ip, 8000);
        for _ in 0..times {
            net.connect(to).expect_err("nobody listens");
        }
        let collected = running.collect().expect("it collects");
        assert_eq!(failures(&collected, &to.to_string(), "refused"), f64::from(times));
        assert_eq!(of(&collected, "failed_connects_total", &to.to_string()), f64::from(times));
        assert_eq!(of(&collected, "successful_connects_total", &to.to_string()), 0.0);
    }
}

#[test]
fn timed_out_and_aborted() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(12);
    net.run("echo 1 > /proc/sys/net/ipv4/tcp_syn_retries");
    let (_kit, mut running) = own();
    let (_listener, _waiting, at) = full(&net, 8000);
    // These two are not answered. One is waited for, of the other nobody waits.
    let given_up = begin(&net, at);
    let waited_for = begin(&net, at);
    drop(given_up);
    let label = at.to_string();
    until(&mut running, |collected| {
        match ["aborted", "timed_out"].map(|reason| failures(collected, &label, reason)) {
            [1.0, 1.0] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    drop(waited_for);
    let collected = running.collect().expect("it collects");
    assert_eq!(of(&collected, "failed_connects_total", &label), 1.0, "without those that were given up");
    assert_eq!(of(&collected, "successful_connects_total", &label), 1.0);
}

#[test]
fn no_address() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(13);
    net.run("echo 45000 45000 > /proc/sys/net/ipv4/ip_local_port_range");
    let server = net.server(8000);
    let (_kit, mut running) = own();
    let _only = net.connect(server.at).expect("there is one port");
    let error = net.connect(server.at).expect_err("there is no other port");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
    let label = server.at.to_string();
    let collected = running.collect().expect("it collects");
    assert_eq!(failures(&collected, &label, "no_address"), 1.0);
    assert_eq!(of(&collected, "successful_connects_total", &label), 1.0);
}

/// A neighbour that does not answer: nobody has the address on the link.
#[test]
fn unreachable() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(14);
    // busybox' own cannot make one.
    net.run(
        "/usr/sbin/ip link add v0 type veth peer name v1 && /usr/sbin/ip link set v0 up \
             && /usr/sbin/ip link set v1 up && /usr/sbin/ip addr add 10.78.14.1/24 dev v0",
    );
    let (_kit, mut running) = own();
    let to: SocketAddr = "10.78.14.9:8000".parse().expect("an address");
    net.connect(to).expect_err("nobody is there");
    let collected = running.collect().expect("it collects");
    assert_eq!(failures(&collected, &to.to_string(), "unreachable"), 1.0);
}

/// A socket that failed connects again, and is another connection.
#[test]
fn one_socket_may_be_many_connections() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(15);
    let (_kit, mut running) = own();
    let at = SocketAddr::new(net.v4, 8000);
    let socket = net.within(|| {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("one");
        for _ in 0..2 {
            assert_eq!(connect(&socket, &at), Err(rustix::io::Errno::CONNREFUSED));
        }
        socket
    });
    let server = net.server(8000);
    net.within(|| connect(&socket, &at)).expect("somebody listens");
    let collected = running.collect().expect("it collects");
    let label = at.to_string();
    assert_eq!(failures(&collected, &label, "refused"), 2.0);
    assert_eq!(of(&collected, "successful_connects_total", &label), 1.0);
    assert_eq!(of(&collected, "active_connections", &label), 1.0);
    drop(TcpStream::from(socket));
    drop(server);
}
