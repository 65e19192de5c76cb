//! Real connections, and the series against what the test itself wrote down.

mod support;

use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use support::net::{Net, exchange};
use support::{assert_traced, has_storage, of, own, skip_without_root, until_numbers};

#[test]
fn each_connection_and_each_byte_is_counted() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(1);
    let (_kit, mut running) = own();
    assert_traced(&mut running);
    for (ip, port, mapped) in [(net.v4, 8001, false), (net.v6, 8002, false), (net.v4, 8003, true)] {
        let server = net.server_at(SocketAddr::new(ip, port));
        let to = if mapped { format!("[::ffff:{ip}]:{port}") } else { server.at.to_string() };
        let (to, label) = (to.parse::<SocketAddr>().expect("an address"), server.at.to_string());
        for bytes in [0, 1, 1000, 100_000] {
            let mut stream = net.connect(to).expect("somebody listens");
            exchange(&mut stream, bytes);
        }
        let mut open = net.connect(to).expect("somebody listens");
        exchange(&mut open, 5000);
        until_numbers(&mut running, server.at, [5.0, 1.0, 106_001.0, 106_001.0]);
        let collected = running.collect().expect("it collects");
        let time = of(&collected, "connection_time_seconds_total", &label);
        assert!(time > 0.0 && time < 60.0, "{time}");
        exchange(&mut open, 1);
        open.shutdown(Shutdown::Both).expect("open");
        drop(open);
        until_numbers(&mut running, server.at, [5.0, 0.0, 106_002.0, 106_002.0]);
    }
}

/// No read or write of a process carries these.
#[test]
fn each_byte_of_sendfile_and_splice_is_counted() {
    const BYTES: usize = 50_000;
    const NONE: SpliceFlags = SpliceFlags::empty();
    if skip_without_root() {
        return;
    }
    let net = Net::new(9);
    let server = net.server(8000);
    let (_kit, mut running) = own();
    let mut file = File::from(memfd_create("bytes", MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all(&[7; BYTES]).expect("there is room");
    let (out, into) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let mut out = File::from(out);
    let stream = net.connect(server.at).expect("somebody listens");
    // What comes back goes through the pipe as well.
    let comes_back = |out: &mut File| {
        let mut left = BYTES;
        while left > 0 {
            let came = splice(&stream, None, &into, None, left, NONE).expect("it is answered");
            out.read_exact(&mut vec![0; came]).expect("it is there");
            left -= came;
        }
    };
    let mut at = 0;
    while at < BYTES as u64 {
        sendfile(&stream, &file, Some(&mut at), BYTES).expect("it is sent");
    }
    comes_back(&mut out);
    let bytes = BYTES as f64;
    until_numbers(&mut running, server.at, [1.0, 1.0, bytes, bytes]);
    let mut at = 0;
    while at < BYTES as u64 {
        let mut left = splice(&file, Some(&mut at), &into, None, BYTES, NONE).expect("it is read");
        while left > 0 {
            left -= splice(&out, None, &stream, None, left, NONE).expect("it is sent");
        }
    }
    comes_back(&mut out);
    drop(stream);
    until_numbers(&mut running, server.at, [1.0, 0.0, 2.0 * bytes, 2.0 * bytes]);
}

#[test]
fn what_was_open_before_is_active_and_no_connect() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(2);
    let server = net.server(8000);
    let mut before = net.connect(server.at).expect("somebody listens");
    exchange(&mut before, 5000);
    let (_kit, mut running) = own();
    until_numbers(&mut running, server.at, [0.0, 1.0, 0.0, 0.0]);
    exchange(&mut before, 300);
    until_numbers(&mut running, server.at, [0.0, 1.0, 300.0, 300.0]);
    exchange(&mut before, 7);
    drop(before);
    until_numbers(&mut running, server.at, [0.0, 0.0, 307.0, 307.0]);
}

/// A client may come from a port at which somebody could serve: what was taken
/// from it goes nowhere.
#[test]
fn what_was_taken_before_is_no_connection_of_the_one_that_took_it() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(7);
    let listener = net.within(|| TcpListener::bind(SocketAddr::new(net.v4, 8000))).expect("a free port");
    let at = listener.local_addr().expect("bound");
    let from = SocketAddr::new(net.v4, 9000);
    let _client = net.within(|| {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("one");
        rustix::net::bind(&socket, &from).expect("a free port");
        rustix::net::connect(&socket, &at).expect("somebody listens");
        socket
    });
    let _taken = listener.accept().expect("it came");
    let (_kit, mut running) = own();
    until_numbers(&mut running, at, [0.0, 1.0, 0.0, 0.0]);
    until_numbers(&mut running, from, [0.0; 4]);
}

/// More than the kernel writes at one time. Nobody takes them: they wait.
#[test]
fn each_of_many_that_were_there_before_is_known() {
    const MANY: usize = 600;
    if skip_without_root() {
        return;
    }
    support::enough_descriptors();
    let net = Net::new(8);
    let at = SocketAddr::new(net.v4, 8000);
    let _listener = net.listener(at, 1024);
    let _open: Vec<TcpStream> =
        net.within(|| (0..MANY).map(|_| TcpStream::connect(at).expect("somebody listens")).collect());
    let (_kit, mut running) = own();
    until_numbers(&mut running, at, [0.0, MANY as f64, 0.0, 0.0]);
}

/// The opener closes its descriptor, and another has one still.
#[test]
fn a_connection_is_open_until_its_last_descriptor_closes() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(3);
    let server = net.server(8000);
    let (_kit, mut running) = own();
    let first = net.connect(server.at).expect("somebody listens");
    let second: TcpStream = first.try_clone().expect("a descriptor");
    drop(first);
    until_numbers(&mut running, server.at, [1.0, 1.0, 0.0, 0.0]);
    drop(second);
    until_numbers(&mut running, server.at, [1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn the_host_is_told_what_the_maps_take() {
    if skip_without_root() {
        return;
    }
    let (kit, mut running) = own();
    running.collect().expect("it collects");
    let (resource, bytes) = kit.reported().last().expect("it was told");
    assert_eq!(resource, "bpf_map_bytes");
    // The ring has 4 MiB; sixteen are the promise with 10,000 connections, which others
    // may have here. Linux before 6.4 says of the hash what it could become.
    let most = if has_storage() { f64::from(16 << 20) } else { 48e6 };
    assert!((4e6..most).contains(&bytes), "{bytes}");
}
