//! Nothing can be kept of a socket: that is counted, and what is open is right when
//! it can again.

mod support;

use gantry_bpf::Kernel;
use gantry_plugin_testkit::eventually;
use gantry_tcp_ebpf::engine::{Engine, HASH, Variant};
use gantry_tcp_ebpf::watch::Watch;
use std::net::TcpStream;
use std::path::Path;
use support::net::{Net, exchange};
use support::{
    counted, has_storage, kit, own, scanned, settings, skip_without_root, until, until_failures,
    until_numbers,
};

/// What a socket may take beside its buffers, in the test's own namespace: since Linux 6.8.
const OPTION_MEMORY: &str = "/proc/sys/net/core/optmem_max";

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn sockets_without_room_are_counted_as_lost_and_open_ones_are_found_later() {
    const TIMES: usize = 30;
    if skip_without_root() {
        return;
    }
    let net = Net::new(78);
    let server = net.server(8000);
    // An older kernel has one limit for the whole machine, and a hash none at all.
    if !net.within(|| Path::new(OPTION_MEMORY).exists()) || !has_storage() {
        eprintln!("SKIPPED: needs Linux 6.8, where the limit is the namespace's");
        return;
    }
    let (_kit, mut running) = own();
    exchange(&mut net.connect(server.at).expect("somebody listens"), 10);
    until_numbers(&mut running, server.at, [1.0, 0.0, 10.0, 10.0]);
    net.run(&format!("echo 1 > {OPTION_MEMORY}"));
    let lost = "tcp_ebpf_lost_total{reason=\"no_storage\"}";
    let before = running.collect().expect("it collects").get(lost);
    let mut open: Vec<TcpStream> =
        (0..TIMES).map(|_| net.connect(server.at).expect("somebody listens")).collect();
    for stream in &mut open {
        exchange(stream, 100);
    }
    until(&mut running, |collected| match collected.get(lost) - before {
        lost if lost >= TIMES as f64 => Ok(()),
        lost => Err(format!("{lost} lost")),
    });
    // Half of them end before anybody can know them.
    open.truncate(TIMES / 2);
    net.run(&format!("echo 131072 > {OPTION_MEMORY}"));
    let half = open.len() as f64;
    until_numbers(&mut running, server.at, [1.0, half, 10.0, 10.0]);
    // From there on all of it counts.
    for stream in &mut open {
        exchange(stream, 7);
    }
    drop(open);
    exchange(&mut net.connect(server.at).expect("somebody listens"), 10);
    let bytes = 20.0 + half * 7.0;
    until_numbers(&mut running, server.at, [2.0, 0.0, bytes, bytes]);
    until_failures(&mut running, server.at, &[]);
}

/// Aligned as a file of ours is.
#[repr(C, align(8))]
struct Aligned([u8; 1 << 17]);

/// The object with another number of entries in its hash.
fn with_room_for(entries: u32, into: &mut Aligned) -> usize {
    const OWN: u32 = 262_144;
    let length = HASH.bytes.len();
    into.0[..length].copy_from_slice(HASH.bytes);
    // An array of so many elements, in the types of the object: after the types of its
    // elements and of its index, which are small numbers.
    let word = |at: usize| u32::from_le_bytes(HASH.bytes[at..at + 4].try_into().expect("four"));
    let is_it =
        |at: &usize| word(*at) == OWN && (1..200).contains(&word(at - 4)) && (1..200).contains(&word(at - 8));
    let found: Vec<usize> = (8..length - 4).filter(is_it).collect();
    let [at] = found[..] else { panic!("{found:?}") };
    into.0[at..at + 4].copy_from_slice(&entries.to_le_bytes());
    length
}

/// As in Linux 5.10.
#[test]
fn a_full_hash_loses_what_is_beyond_it_and_says_so() {
    const ROOM: u32 = 16;
    const TIMES: u32 = 400;
    if skip_without_root() {
        return;
    }
    let (net, kit) = (Net::new(79), kit());
    let server = net.server(8000);
    let mut bytes = Box::new(Aligned([0; 1 << 17]));
    let length = with_room_for(ROOM, &mut bytes);
    let variant = Variant { bytes: &bytes.0[..length], ..HASH };
    let kernel = Kernel::open(Path::new("/sys")).expect("BTF");
    let engine = Engine::load(&kernel, &variant, &settings()).expect("the kernel takes it");
    let watch = Watch::over(engine, &kit.host(), settings()).expect("it starts");
    watch.activate(None);
    let before = watch.lock().lost.storage;
    let open: Vec<TcpStream> =
        (0..TIMES).map(|_| net.connect(server.at).expect("somebody listens")).collect();
    eventually(|| {
        let inner = scanned(&watch);
        let (numbers, active) = counted(&inner.tracker, server.at);
        // The room is all of the machine's; the kernel goes a little beyond it, by
        // processor.
        let most = ROOM + 256;
        let lost = inner.lost.storage - before;
        if lost + u64::from(most) >= u64::from(TIMES)
            && lost > 0
            && active <= most
            && numbers.failed(true) == 0
        {
            Ok(())
        } else {
            Err(format!("{lost} lost, {active} active, {numbers:?}"))
        }
    })
    .expect("it comes so far");
    drop(open);
    let closed = || {
        let inner = scanned(&watch);
        match counted(&inner.tracker, server.at).1 {
            0 => Ok(()),
            active => Err(format!("{active} active")),
        }
    };
    eventually(closed).expect("they end");
    // There is room again.
    let connects = counted(&watch.lock().tracker, server.at).0.connects;
    exchange(&mut net.connect(server.at).expect("somebody listens"), 10);
    eventually(|| {
        let inner = scanned(&watch);
        match counted(&inner.tracker, server.at).0 {
            numbers if numbers.connects == connects + 1 => Ok(()),
            numbers => Err(format!("{numbers:?} after {connects}")),
        }
    })
    .expect("it counts");
}
