//! Sockets that change hands, end at once, or follow each other: each is one
//! connection, of the one that opened it, until its last descriptor is closed.

mod support;

use gantry_plugin_testkit::eventually;
use gantry_tcp_ebpf::config::Settings;
use gantry_tcp_ebpf::engine::Engine;
use gantry_tcp_ebpf::record::Kind;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType,
    recvmsg, sendmsg, socket_with, socketpair, sockopt,
};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::net::{Net, exchange};
use support::{
    DONE, child, counted, counting, enough_descriptors, kept_of, kit, of, own, scanned, settings,
    skip_without_root, until_numbers,
};

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
    // The opener has it no more.
    until_numbers(&mut running, server.at, [1.0, 1.0, 70.0, 70.0]);
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    until_numbers(&mut running, server.at, [1.0, 0.0, 70.0, 70.0]);
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
    until_numbers(&mut running, server.at, [1.0, 1.0, 70.0, 70.0]);
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
    until_numbers(&mut running, server.at, [1.0, 1.0, 100.0, 100.0]);
    drop(stream);
    until_numbers(&mut running, server.at, [1.0, 0.0, 100.0, 100.0]);
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
    let [times, bytes] = [TIMES, TIMES * 10].map(f64::from);
    until_numbers(&mut running, server.at, [times, 0.0, bytes, bytes]);
    let collected = running.collect().expect("it collects");
    assert_eq!(of(&collected, "failed_connects_total", &server.at.to_string()), f64::from(failed));
}

const TO: &str = "GANTRY_TEST_OPENS";

/// Almost as many as a process may have descriptors here.
const MANY: usize = 19_900;

/// Not a test: what the one below starts as a process of its own.
#[test]
#[ignore = "is started by another test"]
#[allow(clippy::print_stdout, reason = "it says when they are open")]
fn opens_many() {
    let Ok(to) = std::env::var(TO) else { return };
    enough_descriptors();
    let _open: Vec<TcpStream> =
        (0..MANY).map(|_| TcpStream::connect(&to).expect("it waits to be taken")).collect();
    println!("{DONE}");
    loop {
        std::thread::park_timeout(Duration::from_secs(1));
    }
}

/// Sockets of a namespace that go to a port: without those of which a timer alone is left.
fn still_open(net: &Net, to: SocketAddr) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{}/net/tcp", net.pid())).expect("it is there");
    let port = format!(":{:04X}", to.port());
    let is_open = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[2].ends_with(&port) && !words[5].starts_with("03:") && words[3] != "07"
    };
    text.lines().skip(1).filter(is_open).count()
}

/// The connections of a namespace whose ends were told, each once.
fn told(engine: &mut Engine, net: &Net, ended: &mut HashMap<(u64, u64), u32>) -> usize {
    engine.drain(usize::MAX, |record| {
        if record.kind == Kind::Closed && u64::from(record.netns) == net.inode() {
            *ended.entry((record.sock, record.opened_at)).or_default() += 1;
        }
    });
    assert!(ended.values().all(|times| *times == 1), "an end is told once");
    ended.len()
}

/// Its sockets end at once, while those of the other end do: some ends are missed
/// (`recursion`), and two scans find them gone. Each end is told, or counted as lost.
#[test]
fn a_process_that_ends_with_twenty_thousand_open_leaves_none() {
    if skip_without_root() {
        return;
    }
    let (net, kit) = (Net::new(34), kit());
    net.run("echo 20000 > /proc/sys/net/core/somaxconn; echo 20000 > /proc/sys/net/ipv4/tcp_max_syn_backlog");
    let at = SocketAddr::new(net.v4, 8000);
    let listener = net.listener(at, 20_000);
    let watch = counting(&kit, settings());
    // Beside it, for what is told of this namespace alone: all of it has room.
    let all = Settings { ring: 32 << 20, ..settings() };
    let mut engine = Engine::start(Path::new("/sys"), &all).expect("the kernel takes it");
    let mut command = child(&net, "opens_many");
    command.env(TO, at.to_string()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut said = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.ends_with(DONE)), "it opens them");
    let many = u32::try_from(MANY).expect("few");
    // What is counted, what is open, and what is in the table.
    let until = |expected: (u64, u32, usize)| {
        eventually(|| {
            let inner = scanned(&watch);
            let (numbers, active) = counted(&inner.tracker, at);
            match (numbers.connects, active, kept_of(&inner.tracker, &net)) {
                found if found == expected => Ok(()),
                other => Err(format!("{other:?} and not {expected:?}")),
            }
        })
        .expect("it comes so far");
    };
    until((u64::from(many), many, MANY));
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    // Some go on in the kernel for a minute, as its own table says: they wait for the other
    // end's FIN (FIN_WAIT2), and are no stumps of timers yet.
    eventually(|| {
        let inner = scanned(&watch);
        let (numbers, active) = counted(&inner.tracker, at);
        let (kept, open) = (kept_of(&inner.tracker, &net), still_open(&net, at));
        if (numbers.connects, active, kept) == (u64::from(many), 0, open) && open < MANY / 100 {
            Ok(())
        } else {
            Err(format!("{numbers:?}, {active} active, {kept} kept of {open}"))
        }
    })
    .expect("the others are gone");
    let (mut ended, mut lost) = (HashMap::new(), 0);
    eventually(|| {
        let told = told(&mut engine, &net, &mut ended);
        let losses = engine.losses();
        assert_eq!((losses.ring, losses.storage, losses.malformed), (0, 0, 0));
        // Those of all namespaces.
        lost += usize::try_from(losses.missed).expect("few");
        let open = still_open(&net, at);
        if told + open <= MANY && told + lost + open >= MANY {
            Ok(())
        } else {
            Err(format!("{told} told, {lost} lost, {open} open of {MANY}"))
        }
    })
    .expect("each is told of, or counted as lost");
    drop(listener);
    let failed = counted(&watch.lock().tracker, at).0.failed(true);
    assert_eq!(failed, 0, "those came to be");
}
