//! More than there ever is: connects as fast as the machine makes them, and events as
//! fast as system calls make them. Each event is read, or counted as lost; and what is
//! open is right afterwards.
#![allow(missing_docs, clippy::print_stdout, reason = "it prints a table")]

mod support;

use gantry_tcp_ebpf::config::Settings;
use gantry_tcp_ebpf::watch::Watch;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, bind, listen, shutdown, socket_with};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use support::tests::net::Net;
use support::tests::{counting, kit, scanned, settings};

/// As it is where nobody sets it.
const OWN: u32 = 4 << 20;

const LONG: Duration = Duration::from_secs(4);

/// What was read, and what was counted as lost.
fn seen(watch: &Watch) -> (u64, u64, u64) {
    watch.drain().expect("none is interrupted for long");
    watch.note_losses();
    let inner = watch.lock();
    let lost = inner.lost;
    (inner.tracker.events, lost.ring, lost.storage + lost.missed + lost.malformed)
}

/// So many events from two threads, for a while.
fn flood(net: &Net, what: &str, ring: u32, each: impl Fn(u16) -> u64 + Sync) {
    let kit = kit();
    let watch = counting(&kit, Settings { ring, ..settings() });
    let before = seen(&watch);
    let begun = Instant::now();
    let made: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|number| {
                scope.spawn({
                    let each = &each;
                    move || net.within(|| each(number))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
    });
    let rate = made as f64 / begun.elapsed().as_secs_f64();
    let after = seen(&watch);
    let (read, full, others) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    println!("{what}, a ring of {} KiB: {made} events at {rate:.0} a second", ring >> 10);
    println!("  {read} read, {full} lost to a full ring, {others} otherwise");
    // Below 0: what others on the machine did meanwhile is read as well.
    let known = (read + full + others).cast_signed();
    println!("  neither read nor counted: {}", made.cast_signed() - known);
    if full + others > 0 {
        let begun = Instant::now();
        while watch.lock().resyncs == 0 && begun.elapsed() < Duration::from_secs(20) {
            drop(scanned(&watch));
            std::thread::park_timeout(Duration::from_millis(20));
        }
        println!("  looks at all sockets after it: {}", watch.lock().resyncs);
    }
    let listening = scanned(&watch).tracker.listening();
    let own = [8100, 8101].map(|port| listening.contains(&SocketAddr::new(net.v4, port)));
    println!("  the two that listen are known: {own:?}");
}

fn main() {
    if support::played_a_role() {
        return;
    }
    let net = Net::new(204);
    let sockets: Vec<OwnedFd> = [8100, 8101]
        .map(|port| {
            net.within(|| {
                let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                    .expect("a socket");
                bind(&socket, &SocketAddr::new(net.v4, port)).expect("a free port");
                listen(&socket, 1).expect("it listens");
                socket
            })
        })
        .into();
    let nobody = SocketAddr::new(net.v4, 8001);
    flood(&net, "connects that are refused", OWN, |_| {
        let (begun, mut made) = (Instant::now(), 0);
        while begun.elapsed() < LONG {
            for _ in 0..100 {
                TcpStream::connect(nobody).expect_err("nobody listens");
            }
            made += 100;
        }
        made
    });
    for ring in [OWN, 64 << 10] {
        flood(&net, "sockets that listen and cease", ring, |number| {
            let socket = &sockets[usize::from(number)];
            let (begun, mut made) = (Instant::now(), 0);
            while begun.elapsed() < LONG {
                for _ in 0..1000 {
                    shutdown(socket, Shutdown::Read).expect("it listens");
                    listen(socket, 1).expect("its port is its own");
                }
                made += 2000;
            }
            made
        });
    }
    support::say_load();
}
