//! Sockets that change hands, end at once, or follow each other: each is one
//! connection, of the one that opened it, until its last descriptor is closed.

mod support;

use gantry_plugin_testkit::{Running, eventually};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType,
    recvmsg, sendmsg, socket_with, socketpair, sockopt,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::net::{Net, exchange};
use support::{enough_descriptors, of, own, skip_without_root, until};

/// Connects, what is open, and bytes that were sent.
fn numbers(running: &mut Running, to: SocketAddr) -> [f64; 3] {
    let collected = running.collect().expect("it collects");
    ["successful_connects_total", "active_connections", "bytes_sent_total"]
        .map(|family| of(&collected, family, &to.to_string()))
}

#[track_caller]
fn until_closed(running: &mut Running, to: SocketAddr) {
    until(running, |collected| match of(collected, "active_connections", &to.to_string()) {
        0.0 => Ok(()),
        active => Err(format!("{active} active")),
    });
}

/// A child has it from its fork on, and is the last to close it.
#[test]
fn what_a_child_inherits_is_open_until_the_child_closes_it() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(31);
    let server = net.server(8000);
    let (_kit, mut running) = own();
    let mut stream = net.connect(server.at).expect("somebody listens");
    exchange(&mut stream, 70);
    let inherits = Stdio::from(OwnedFd::from(stream));
    let mut child = Command::new("cat").stdin(inherits).stdout(Stdio::null()).spawn().expect("it starts");
    assert_eq!(numbers(&mut running, server.at), [1.0, 1.0, 70.0], "the opener has it no more");
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    until_closed(&mut running, server.at);
    assert_eq!(numbers(&mut running, server.at), [1.0, 0.0, 70.0]);
}

/// On the way no process has it.
#[test]
fn what_is_handed_over_a_socket_is_open_on_the_way_and_after_it() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(32);
    let server = net.server(8000);
    let (_kit, mut running) = own();
    let mut stream = net.connect(server.at).expect("somebody listens");
    exchange(&mut stream, 70);
    let flags = SocketFlags::CLOEXEC;
    let (here, there) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a pair");
    let handed = [stream.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&handed)));
    sendmsg(&here, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).expect("sent");
    drop(stream);
    assert_eq!(numbers(&mut running, server.at), [1.0, 1.0, 70.0], "on the way");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&there, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC).expect("came");
    let mut came: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let rustix::net::RecvAncillaryMessage::ScmRights(descriptors) = message {
            came.extend(descriptors);
        }
    }
    let mut stream = TcpStream::from(came.pop().expect("it was handed over"));
    exchange(&mut stream, 30);
    assert_eq!(numbers(&mut running, server.at), [1.0, 1.0, 100.0]);
    drop(stream);
    until_closed(&mut running, server.at);
    assert_eq!(numbers(&mut running, server.at), [1.0, 0.0, 100.0]);
}

/// Broken off, so that the port is free at once: all have the same two ends.
#[test]
fn each_of_those_that_follow_each_other_at_one_port_is_counted() {
    const TIMES: u32 = 300;
    if skip_without_root() {
        return;
    }
    let net = Net::new(33);
    let server = net.server(8000);
    let (_kit, mut running) = own();
    let from = SocketAddr::new(net.v4, 9000);
    let mut failed = 0;
    let connect = || {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("one");
        sockopt::set_socket_reuseaddr(&socket, true).expect("an option");
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).expect("an option");
        rustix::net::bind(&socket, &from).expect("its address may be used again");
        rustix::net::connect(&socket, &server.at).map(|()| socket)
    };
    for turn in 0..TIMES {
        // A process that another test starts has the one before too, until it executes.
        let socket = eventually(|| {
            net.within(connect).map_err(|error| {
                failed += 1;
                error.to_string()
            })
        })
        .expect("somebody listens");
        exchange(&mut TcpStream::from(socket), 10);
        // Some are found open, others are not.
        if turn % 50 == 0 {
            running.collect().expect("it collects");
        }
    }
    until_closed(&mut running, server.at);
    assert_eq!(numbers(&mut running, server.at), [f64::from(TIMES), 0.0, f64::from(TIMES * 10)]);
    let collected = running.collect().expect("it collects");
    assert_eq!(of(&collected, "failed_connects_total", &server.at.to_string()), f64::from(failed));
}

const TO: &str = "GANTRY_TEST_OPENS";

const MANY: usize = 10_000;

/// Not a test: what the one below starts as a process of its own.
#[test]
#[ignore = "is started by another test"]
fn opens_many() {
    let Ok(to) = std::env::var(TO) else { return };
    enough_descriptors();
    let _open: Vec<TcpStream> =
        (0..MANY).map(|_| TcpStream::connect(&to).expect("it waits to be taken")).collect();
    loop {
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

/// Its sockets end at once, while those of the other end do: some ends are missed
/// (`recursion`), and a scan finds them gone.
#[test]
fn a_process_that_ends_with_ten_thousand_open_leaves_none() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(34);
    net.run("echo 20000 > /proc/sys/net/core/somaxconn; echo 20000 > /proc/sys/net/ipv4/tcp_max_syn_backlog");
    let at = SocketAddr::new(net.v4, 8000);
    let _listener = net.listener(at, 20_000);
    let (_kit, mut running) = own();
    let this = std::env::current_exe().expect("this test");
    let mut child = net
        .within(|| {
            let mut command = Command::new(this);
            command.args(["--exact", "opens_many", "--ignored", "--test-threads=1"]).env(TO, at.to_string());
            command.stdout(Stdio::null()).spawn()
        })
        .expect("it starts");
    let many = MANY as f64;
    eventually(|| match numbers(&mut running, at) {
        [connects, active, _] if connects == many && active == many => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("all are open");
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    until_closed(&mut running, at);
    assert_eq!(numbers(&mut running, at), [many, 0.0, 0.0]);
    // What is followed still is what the scan before the last found.
    until(&mut running, |collected| match collected.find("tcp_ebpf_tracked_connections") {
        Some(tracked) if tracked < many => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
