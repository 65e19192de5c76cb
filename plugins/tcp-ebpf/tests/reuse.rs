//! Connections that have all names in common with the ones before: the same ports, and
//! often the same memory of the kernel. Each counts once, also where the plugin is
//! upgraded in between.

mod support;

use gantry_plugin_testkit::{Running, eventually};
use rustix::net::{SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use std::io::Read as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use support::net::{Net, Server, exchange, family};
use support::{own, skip_without_root, until_exact, until_failures, until_ledger, until_numbers};

/// Bytes each way of a connection.
const BYTES: usize = 100;

/// Connects from a port that may have been used a moment ago.
fn from_port(net: &Net, from: u16, to: SocketAddr) -> rustix::io::Result<TcpStream> {
    net.within(|| {
        let socket = socket_with(family(to), SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddr::new(to.ip(), from))?;
        connect(&socket, &to)?;
        Ok(socket.into())
    })
}

/// What the test does while the plugin is changed.
#[derive(Default)]
struct Ledger {
    ends: AtomicBool,
    made: AtomicU32,
    refused: AtomicU32,
    /// Connects for which the port was not free yet: another process had the socket
    /// of the one before, between its fork and its execution.
    failed: AtomicU32,
}

/// Again and again from one port: broken off, so that it is free at once.
fn again_and_again(net: &Net, ledger: &Ledger, from: u16, to: SocketAddr) {
    while !ledger.ends.load(Relaxed) {
        match from_port(net, from, to) {
            Ok(mut stream) => {
                ledger.made.fetch_add(1, Relaxed);
                exchange(&mut stream, BYTES);
                sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("an option");
            }
            Err(rustix::io::Errno::CONNREFUSED) => drop(ledger.refused.fetch_add(1, Relaxed)),
            Err(rustix::io::Errno::ADDRNOTAVAIL) => drop(ledger.failed.fetch_add(1, Relaxed)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Three ports from which connections are made, one from which they are refused.
/// Until nothing is lost meanwhile.
fn under_reuse(number: u8, change: impl Fn(Running, &dyn Fn(u32)) -> Running) {
    until_exact(|| reused(number, &change));
}

fn reused(number: u8, change: impl FnOnce(Running, &dyn Fn(u32)) -> Running) -> bool {
    let net = Net::new(number);
    let (server, ledger) = (net.server(8000), Ledger::default());
    let nobody = SocketAddr::new(net.v4, 8001);
    let (_kit, running) = own();
    let mut running = std::thread::scope(|scope| {
        for from in [9000, 9001, 9002] {
            let (net, ledger) = (&net, &ledger);
            let to = if from == 9002 { nobody } else { server.at };
            scope.spawn(move || again_and_again(net, ledger, from, to));
        }
        let more = |more: u32| {
            let until = ledger.made.load(Relaxed) + more;
            eventually(|| match ledger.made.load(Relaxed) {
                made if made >= until => Ok(()),
                made => Err(format!("{made} made")),
            })
            .expect("it goes on");
        };
        more(100);
        // Where this fails, the threads must end all the same.
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| change(running, &more)));
        ledger.ends.store(true, Relaxed);
        changed.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    });
    let (made, refused, failed) = (&ledger.made, &ledger.refused, &ledger.failed);
    let [made, refused, failed] = [made, refused, failed].map(|count| f64::from(count.load(Relaxed)));
    if !until_ledger(&mut running, (server.at, made), BYTES as f64, (nobody, refused)) {
        return false;
    }
    let own_fault = [("no_address", failed)];
    until_failures(&mut running, server.at, if failed > 0.0 { &own_fault } else { &[] });
    true
}

#[test]
fn collections_in_the_middle_of_it_double_nothing() {
    if skip_without_root() {
        return;
    }
    under_reuse(76, |mut running, more| {
        for _ in 0..100 {
            running.collect().expect("it collects");
            more(3);
        }
        running
    });
}

#[test]
fn upgrades_in_the_middle_of_it_lose_and_double_nothing() {
    if skip_without_root() {
        return;
    }
    under_reuse(77, |mut running, more| {
        for _ in 0..6 {
            running = running.upgrade("").expect("it upgrades");
            more(30);
            running.collect().expect("it collects");
            more(30);
        }
        running
    });
}

/// The server ends first and waits (TIME_WAIT); the client's port is free, and it comes
/// again from there within the same second.
#[test]
fn a_port_that_is_used_again_within_a_second_after_an_orderly_end_is_another_connection() {
    const TIMES: u32 = 50;
    if skip_without_root() {
        return;
    }
    let net = Net::new(85);
    let (_kit, mut running) = own();
    for at in [SocketAddr::new(net.v4, 8000), SocketAddr::new(net.v6, 8001)] {
        let listener = net.within(|| TcpListener::bind(at)).expect("a free port");
        for turn in 0..TIMES {
            let mut client = eventually(|| from_port(&net, 9000, at).map_err(|error| error.to_string()))
                .expect("the port is free");
            let (taken, _) = listener.accept().expect("it came");
            taken.shutdown(Shutdown::Write).expect("open");
            assert_eq!(client.read(&mut [0]).expect("it ends in order"), 0);
            drop((client, taken));
            if turn % 10 == 0 {
                running.collect().expect("it collects");
            }
        }
        until_numbers(&mut running, at, [f64::from(TIMES), 0.0, 0.0, 0.0]);
    }
}

/// One that is open while another of the same names ended before it: bytes of the
/// first are not the second's.
#[test]
fn what_was_handed_over_of_one_is_not_the_next_one_s() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(86);
    let server: Server = net.server(8000);
    let (_kit, mut running) = own();
    let (mut made, mut bytes) = (0.0, 0.0);
    for turn in 0..30 {
        let mut first = eventually(|| from_port(&net, 9000, server.at).map_err(|error| error.to_string()))
            .expect("the port is free");
        exchange(&mut first, 500);
        // It is known as open, and handed over so.
        until_numbers(&mut running, server.at, [made + 1.0, 1.0, bytes + 500.0, bytes + 500.0]);
        sockopt::set_socket_linger(&first, Some(Duration::ZERO)).expect("an option");
        // The next generation begins when the first is gone or not, and the second there or not.
        let mut second = None;
        if turn % 2 == 0 {
            running = running.upgrade("").expect("it upgrades");
            drop(first);
        } else {
            drop(first);
            second = from_port(&net, 9000, server.at).ok();
            running = running.upgrade("").expect("it upgrades");
        }
        let mut second = match second {
            Some(second) => second,
            None => eventually(|| from_port(&net, 9000, server.at).map_err(|error| error.to_string()))
                .expect("the port is free"),
        };
        // More than the first had sent: nobody takes it for younger.
        exchange(&mut second, 700);
        (made, bytes) = (made + 2.0, bytes + 1200.0);
        until_numbers(&mut running, server.at, [made, 1.0, bytes, bytes]);
        sockopt::set_socket_linger(&second, Some(Duration::ZERO)).expect("an option");
        drop(second);
        until_numbers(&mut running, server.at, [made, 0.0, bytes, bytes]);
    }
}
