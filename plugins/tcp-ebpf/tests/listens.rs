//! Where containers listen: with the addresses of their namespace as they come and
//! go, and for as long as somebody has the socket.

mod support;

use gantry_plugin_api::ContainerRef;
use gantry_plugin_testkit::{Collected, Kit, NewContainer, Running, eventually};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use support::net::Net;
use support::{in_own_cgroup, own, skip_without_root, until};

fn shown(collected: &Collected, at: &str) -> Option<f64> {
    collected.find(&format!("container_net_tcp_listen_info{{listen_addr={at:?}}}"))
}

#[track_caller]
fn until_shown<const N: usize>(running: &mut Running, at: [&str; N], expected: [Option<f64>; N]) {
    until(running, |collected| match at.map(|at| shown(collected, at)) {
        all if all == expected => Ok(()),
        other => Err(format!("{at:?}: {other:?}")),
    });
}

/// The container of these tests is in a namespace by this process.
fn is_in(kit: &Kit, pid: u32) -> ContainerRef {
    kit.identity().declare(in_own_cgroup(NewContainer::new("/docker/own").process(pid, 1)))
}

fn listener(net: &Net, at: &str) -> TcpListener {
    let at: SocketAddr = at.parse().expect("an address");
    net.within(|| TcpListener::bind(at).expect("a free port"))
}

#[test]
fn who_listens_is_shown_with_the_addresses_of_the_namespace() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(4);
    let before = net.server_at("0.0.0.0:8000".parse().expect("an address"));
    let (kit, mut running) = own();
    is_in(&kit, net.pid());
    let after = net.server_at("[::]:8001".parse().expect("an address"));
    let at = ["10.77.4.1:8000", "10.77.4.1:8001", "[fd77::4:1]:8001"];
    until_shown(&mut running, at, [Some(1.0); 3]);
    drop((before, after));
    until_shown(&mut running, at, [Some(0.0); 3]);
}

/// Within some 15 s each.
#[test]
fn addresses_that_come_and_go_are_kept_current() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(71);
    let (_v4, _v6) = (listener(&net, "0.0.0.0:8000"), listener(&net, "[::]:8001"));
    let (kit, mut running) = own();
    is_in(&kit, net.pid());
    let first = ["10.77.71.1:8000", "10.77.71.1:8001", "[fd77::71:1]:8001"];
    until_shown(&mut running, first, [Some(1.0); 3]);
    net.run("busybox ip addr add 10.77.71.2/32 dev lo && busybox ip addr add fd77::71:2/128 dev lo");
    net.run("busybox ip addr del fd77::71:1/128 dev lo");
    let then = ["10.77.71.1:8000", "10.77.71.2:8000", "10.77.71.2:8001", "[fd77::71:2]:8001"];
    until_patiently(&mut running, then, [Some(1.0); 4]);
    until_shown(&mut running, ["[fd77::71:1]:8001"], [None]);
    net.run("busybox ip addr del 10.77.71.2/32 dev lo");
    until_patiently(&mut running, then, [Some(1.0), None, None, Some(1.0)]);
}

/// Twice as long as others: it is asked again after 15 s.
#[track_caller]
fn until_patiently<const N: usize>(running: &mut Running, at: [&str; N], expected: [Option<f64>; N]) {
    let once = eventually(|| {
        let collected = running.collect().map_err(|failure| failure.to_string())?;
        let all = at.map(|at| shown(&collected, at));
        if all == expected { Ok(()) } else { Err(format!("{all:?}")) }
    });
    if once.is_err() {
        until_shown(running, at, expected);
    }
}

/// A child that has a listening socket and does nothing with it.
fn holds(net: &Net, listener: OwnedFd) -> Child {
    net.within(|| {
        let mut command = Command::new("busybox");
        command.args(["sleep", "1000"]).stdin(Stdio::from(listener));
        command.spawn().expect("it starts")
    })
}

fn end(mut child: Child) {
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
}

/// The first process opens it, and those that it forked serve when it is gone.
#[test]
fn a_prefork_server_listens_until_its_last_child_ends() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(72);
    let (kit, mut running) = own();
    let opened = listener(&net, "0.0.0.0:8000");
    let children: Vec<Child> =
        (0..3).map(|_| holds(&net, opened.try_clone().expect("a descriptor").into())).collect();
    for child in &children {
        is_in(&kit, child.id());
    }
    drop(opened);
    let at = ["10.77.72.1:8000"];
    for child in children {
        until_shown(&mut running, at, [Some(1.0)]);
        end(child);
    }
    until_shown(&mut running, at, [Some(0.0)]);
}

/// Each has a socket of its own at the same port.
#[test]
fn servers_that_share_a_port_listen_until_the_last_of_them_ends() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(73);
    let (kit, mut running) = own();
    is_in(&kit, net.pid());
    let at: SocketAddr = "[::]:8000".parse().expect("an address");
    let open = || {
        net.within(|| {
            use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
            let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .expect("a socket");
            sockopt::set_socket_reuseport(&socket, true).expect("an option");
            bind(&socket, &at).expect("they share it");
            listen(&socket, 5).expect("it listens");
            socket
        })
    };
    let shown_at = ["10.77.73.1:8000", "[fd77::73:1]:8000"];
    let sockets = [open(), open(), open()];
    for socket in sockets {
        until_shown(&mut running, shown_at, [Some(1.0); 2]);
        drop(socket);
    }
    until_shown(&mut running, shown_at, [Some(0.0); 2]);
}

/// It says so itself: no IPv4.
#[test]
fn a_socket_of_version_6_alone_takes_no_other() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(74);
    let (kit, mut running) = own();
    is_in(&kit, net.pid());
    let at: SocketAddr = "[::]:8000".parse().expect("an address");
    let _socket = net.within(|| {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
        let socket =
            socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("one");
        sockopt::set_ipv6_v6only(&socket, true).expect("an option");
        bind(&socket, &at).expect("a free port");
        listen(&socket, 5).expect("it listens");
        socket
    });
    until_shown(&mut running, ["10.77.74.1:8000", "[fd77::74:1]:8000"], [None, Some(1.0)]);
}

/// The kernel chooses the port, after the event.
#[test]
fn who_listens_without_a_port_of_its_own_is_found_by_a_look() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(88);
    net.run("echo 8100 8109 > /proc/sys/net/ipv4/ip_local_port_range");
    let (kit, mut running) = own();
    is_in(&kit, net.pid());
    let socket = net.within(|| {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, listen, socket_with};
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("one");
        listen(&socket, 5).expect("it listens");
        socket
    });
    let at = SocketAddr::try_from(rustix::net::getsockname(&socket).expect("bound")).expect("an address");
    until_shown(&mut running, [&format!("10.77.88.1:{}", at.port())], [Some(1.0)]);
}
