//! The parts beneath the plugin, over this kernel: what it is asked for, and
//! what it tells.

mod support;

use gantry_bpf::Outcome;
use gantry_plugin_testkit::{NewContainer, eventually};
use gantry_tcp_ebpf::addresses::Addresses;
use gantry_tcp_ebpf::config::Settings;
use gantry_tcp_ebpf::engine::{Engine, HASH, STORAGE, Variant};
use gantry_tcp_ebpf::handover::State;
use gantry_tcp_ebpf::published::Published;
use gantry_tcp_ebpf::record::{Kind, Record};
use gantry_tcp_ebpf::refresh::refresh;
use gantry_tcp_ebpf::shared::Shared;
use gantry_tcp_ebpf::waiter::Waiter;
use gantry_tcp_ebpf::watch::Watch;
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::collections::HashSet;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use support::net::Net;
use support::{enough_descriptors, has_storage, in_own_cgroup, kit, load, settings, skip_without_root};

/// The one that this kernel takes.
fn engine(settings: &Settings) -> Engine {
    Engine::start(Path::new("/sys"), settings).expect("the kernel takes it")
}

/// Connects that nobody answers: each is an event.
fn refused(net: &Net, times: usize) {
    net.within(|| {
        for _ in 0..times {
            TcpStream::connect(SocketAddr::new(net.v4, 8001)).expect_err("nobody listens");
        }
    });
}

/// Aligned as a file of ours is.
#[repr(C, align(8))]
struct Aligned([u8; 1 << 17]);

/// An object in which a program has another name: it is as if the kernel had refused it.
fn without(variant: &Variant<'static>, program: &str, into: &mut Box<Aligned>) -> usize {
    let (from, to) = (program.as_bytes(), program.replace("tcp", "ptc"));
    let length = variant.bytes.len();
    into.0[..length].copy_from_slice(variant.bytes);
    let mut at = 0;
    while at + from.len() <= length {
        if into.0[at..].starts_with(from) {
            into.0[at..at + from.len()].copy_from_slice(to.as_bytes());
        }
        at += 1;
    }
    length
}

#[test]
fn without_an_iterator_what_it_tells_is_absent_and_nothing_ceases() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(42);
    let kit = kit();
    let variant = if has_storage() { &STORAGE } else { &HASH };
    for program in ["tcp_live", "tcp_adopt"] {
        let mut bytes = Box::new(Aligned([0; 1 << 17]));
        let length = without(variant, program, &mut bytes);
        let engine = load(&Variant { bytes: &bytes.0[..length], ..*variant }, &settings());
        let refused: Vec<&str> = engine
            .programs()
            .iter()
            .filter(|measured| measured.outcome != Outcome::Loaded)
            .map(|measured| measured.program)
            .collect();
        assert_eq!(refused, [program]);
        let missing = engine.missing();
        assert!(
            missing.len() == 1 && missing[0].contains("container_net_tcp_active_connections"),
            "{missing:?}"
        );
        let shared = Shared::new(&kit.host(), settings(), engine);
        shared.look_at_sockets();
        shared.activate(None);
        let server = net.server(8000);
        let _open = net.connect(server.at).expect("somebody listens");
        drop(net.connect(server.at).expect("somebody listens"));
        let listens = || shared.lock().tracker.listening().contains(&server.at);
        eventually(|| {
            shared.scan();
            if shared.lock().tracker.events >= 2 { Ok(()) } else { Err("no events".to_owned()) }
        })
        .expect("events are read at each collection");
        assert!(listens(), "it was told of");
        assert!(!shared.lock().tracker.knows_active(), "without {program}");
        shared.look_at_sockets();
        assert!(listens(), "it listens still");
    }
}

#[test]
fn the_reader_is_woken_when_a_part_of_the_ring_is_full() {
    const LONG: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    if skip_without_root() {
        return;
    }
    let net = Net::new(43);
    let engine = engine(&Settings { ring: 64 << 10, ..settings() });
    let stop = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
    let waiter = Waiter::new(engine.events(), &stop).expect("epoll");
    // What others did meanwhile.
    waiter.wait(&NOW);
    // 4 KiB are 26 of them.
    refused(&net, 60);
    assert!(waiter.wait(&LONG).events, "nobody was woken");
}

#[test]
fn what_is_lost_before_an_upgrade_is_over_is_counted_and_looked_after() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(44);
    let kit = kit();
    // What nobody counted leaves the same behind: connections whose beginning was missed.
    for (before, counts) in [(Some(State::default()), true), (None, false)] {
        let settings = Settings { ring: 64 << 10, ..settings() };
        let shared = Shared::new(&kit.host(), settings.clone(), engine(&settings));
        // More than there is room for.
        refused(&net, 600);
        shared.activate(before);
        assert_eq!((shared.lock().lost.ring > 0, shared.is_loss_pending()), (counts, true));
    }
}

/// Several times what the kernel writes at once, and has in reserve for what is kept.
#[test]
fn all_that_was_there_before_is_kept_however_many() {
    const MANY: usize = 2000;
    if skip_without_root() {
        return;
    }
    enough_descriptors();
    let net = Net::new(46);
    let at = SocketAddr::new(net.v4, 8000);
    let _listener = net.listener(at, 4096);
    let _open: Vec<TcpStream> =
        net.within(|| (0..MANY).map(|_| TcpStream::connect(at).expect("it waits")).collect());
    let mut engine = engine(&settings());
    let own = |records: Vec<Record>| {
        let of = records.iter().filter(|record| record.remote == at && record.kind != Kind::Listening);
        of.map(|record| (record.sock, record.opened_at)).collect::<HashSet<_>>()
    };
    let adopted = own(engine.sockets().expect("it looks").expect("it is loaded"));
    assert_eq!(adopted.len(), MANY);
    assert_eq!(own(engine.live().expect("it scans").expect("it is loaded")), adopted);
    assert_eq!(engine.losses().storage, 0);
}

/// Memory of a socket that ended is that of the next one, often to the same place.
#[test]
fn what_a_hash_keeps_of_a_socket_is_not_the_next_one_s() {
    if skip_without_root() {
        return;
    }
    enough_descriptors();
    let net = Net::new(45);
    let server = net.server(8000);
    let ports = |open: &[TcpStream]| -> HashSet<u16> {
        open.iter().map(|stream| stream.local_addr().expect("connected").port()).collect()
    };
    let connect = |many: usize| -> Vec<TcpStream> {
        net.within(|| (0..many).map(|_| TcpStream::connect(server.at).expect("somebody listens")).collect())
    };
    // Sockets with their ports, of those that go to the server.
    let live = |engine: &mut Engine| -> HashSet<(u64, u16)> {
        let all = engine.live().expect("it scans").expect("it is loaded");
        let own = all.iter().filter(|record| record.remote == server.at);
        own.map(|record| (record.sock, record.local.port())).collect()
    };
    let is_reused = (0..20).any(|_| {
        let (mut ends, mut follows) = (load(&HASH, &settings()), load(&HASH, &settings()));
        let first = connect(50);
        let before = live(&mut ends);
        let of_before = ports(&first);
        assert_eq!(before.iter().map(|(_, port)| *port).collect::<HashSet<_>>(), of_before);
        // From here on nobody tells it that they end.
        ends.detach();
        drop(first);
        eventually(|| {
            let open = live(&mut follows);
            if open.iter().any(|(_, port)| of_before.contains(port)) {
                Err("open".to_owned())
            } else {
                Ok(())
            }
        })
        .expect("they end");
        let _then = connect(200);
        let now = live(&mut follows);
        let found = live(&mut ends);
        assert!(found.is_subset(&before), "{found:?} are not of {before:?}");
        let socks: HashSet<u64> = before.iter().map(|(sock, _)| *sock).collect();
        now.iter().any(|(sock, _)| socks.contains(sock))
    });
    assert!(is_reused, "no memory was used again: nothing was tried");
}

#[test]
fn the_kernel_is_asked_for_addresses_without_the_lock() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(41);
    let _server = net.server_at("0.0.0.0:8000".parse().expect("an address"));
    let kit = kit();
    kit.identity().declare(in_own_cgroup(NewContainer::new("/docker/own").process(net.pid(), 1)));
    let watch = Watch::start(&kit.host(), settings()).expect("root, and a kernel with BTF");
    watch.activate(None);
    let (mut addresses, mut asked) = (Addresses::default(), 0);
    refresh(&kit.host(), &Published::default(), &watch, &mut addresses, |_| {
        asked += 1;
        // The reader has it now and then.
        eventually(|| watch.try_lock().map(drop).ok_or("it is held".to_owned())).expect("it is free");
        None
    });
    assert!(asked > 0);
}
