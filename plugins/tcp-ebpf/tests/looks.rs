//! Iterators that write into the ring of events, over this kernel: all of it comes
//! through a ring that holds a part of it, in its order.

mod support;

use gantry_bpf::Kernel;
use gantry_tcp_ebpf::config::Settings;
use gantry_tcp_ebpf::engine::{Engine, HASH, STORAGE, Variant};
use gantry_tcp_ebpf::record::{Kind, Record};
use gantry_tcp_ebpf::shared::Shared;
use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::LazyLock;
use support::net::Net;
use support::{enough_descriptors, in_own_cgroup, kit, load, settings, skip_without_root};

/// One that holds 430 records, of which iterators take half.
fn small() -> Settings {
    Settings { ring: 64 << 10, ..settings() }
}

/// Those that this kernel takes: tried once, as loading them takes long in a machine
/// that is emulated.
fn variants() -> &'static [&'static Variant<'static>] {
    static TAKEN: LazyLock<Vec<&Variant<'_>>> = LazyLock::new(|| {
        let kernel = Kernel::open(Path::new("/sys")).expect("BTF");
        let takes = |variant: &&Variant<'_>| Engine::load(&kernel, variant, &settings()).is_ok();
        let variants: Vec<_> = [&STORAGE, &HASH].into_iter().filter(takes).collect();
        assert!(!variants.is_empty(), "the kernel takes neither");
        variants
    });
    &TAKEN
}

fn connect(net: &Net, to: SocketAddr, many: usize) -> Vec<TcpStream> {
    net.within(|| (0..many).map(|_| TcpStream::connect(to).expect("it waits")).collect())
}

#[test]
fn all_comes_through_a_ring_that_holds_a_part_of_it() {
    const MANY: usize = 500;
    if skip_without_root() {
        return;
    }
    enough_descriptors();
    let net = Net::new(61);
    let at = SocketAddr::new(net.v4, 8000);
    let _listener = net.listener(at, 8192);
    let kit = kit();
    kit.identity().declare(in_own_cgroup(gantry_plugin_testkit::NewContainer::new("/docker/own")));
    for variant in variants() {
        // Half of them are there before the programs.
        let _before = connect(&net, at, MANY);
        let shared = Shared::new(&kit.host(), small(), load(variant, &small()));
        shared.look_at_sockets();
        shared.activate(None);
        let _after = connect(&net, at, MANY);
        shared.scan();
        let inner = shared.lock();
        let own = inner.tracker.connections.known().filter(|(ends, known)| {
            known.counts && u64::from(ends.netns) == net.inode() && ends.remote == at.port()
        });
        assert_eq!(own.count(), 2 * MANY, "{}", variant.name);
        // Ends of others may find no room: nobody reads here but who looks.
        assert_eq!((inner.lost.storage, inner.troubles().count()), (0, 0));
    }
}

/// They carry nothing, however often all is looked at.
#[test]
fn what_was_taken_where_somebody_listens_is_not_kept() {
    const MANY: usize = 50;
    if skip_without_root() {
        return;
    }
    let net = Net::new(62);
    let at = SocketAddr::new(net.v4, 8000);
    for variant in variants() {
        let listener = net.within(|| TcpListener::bind(at).expect("a free port"));
        let _open = connect(&net, at, MANY);
        let taken: Vec<_> = (0..MANY).map(|_| listener.accept().expect("one waits")).collect();
        let mut engine = load(variant, &settings());
        let of = |records: &[Record], end: fn(&Record) -> SocketAddr| {
            records.iter().filter(|record| record.kind != Kind::Listening && end(record) == at).count()
        };
        let (own, others) =
            ((|record| record.remote) as fn(&Record) -> _, (|record| record.local) as fn(&Record) -> _);
        for turn in 0..2 {
            let found = engine.sockets().expect("it looks").expect("it is loaded");
            let adopted = if turn == 0 { MANY } else { 0 };
            assert_eq!((of(&found, own), of(&found, others)), (adopted, 0), "{}", variant.name);
            let live = engine.live().expect("it scans").expect("it is loaded");
            assert_eq!((of(&live, own), of(&live, others)), (MANY, 0), "{}", variant.name);
        }
        // Nor when nobody listens there any more.
        drop(listener);
        let found = engine.sockets().expect("it looks").expect("it is loaded");
        assert_eq!(of(&found, others), 0, "{}", variant.name);
        let mut listening = engine.hash().expect("the map is there");
        listening.retain(|_, _| false).expect("it is read");
        let found = engine.sockets().expect("it looks").expect("it is loaded");
        assert_eq!(of(&found, others), taken.len(), "it is forgotten: {}", variant.name);
    }
}

/// Its port says that somebody listens there, or did: at another address, or before.
#[test]
fn a_client_at_a_port_where_somebody_listens_is_found() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(67);
    net.run("echo 8000 8001 > /proc/sys/net/ipv4/ip_local_port_range");
    let to = SocketAddr::new(net.v4, 9000);
    let _server = net.listener(to, 16);
    let listen = |port| net.within(|| TcpListener::bind((net.v4, port)).expect("a free port"));
    for variant in variants() {
        let mut engine = load(variant, &settings());
        let adopted = |engine: &mut Engine| -> HashSet<SocketAddr> {
            let found = engine.sockets().expect("it looks").expect("it is loaded");
            let of = found.iter().filter(|record| record.kind == Kind::Adopted && record.remote == to);
            of.map(|record| record.local).collect()
        };
        let here = listen(8000);
        let before = [listen(8001), listen(8002)];
        assert_eq!(adopted(&mut engine), HashSet::new(), "{}", variant.name);
        drop(before);
        // From here on nobody tells it of those that begin.
        engine.detach();
        let from: SocketAddr = "127.0.0.1:8000".parse().expect("an address");
        let asked_for: TcpStream = net.within(|| {
            use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
            let socket = socket.expect("a socket");
            bind(&socket, &from).expect("nobody else has it at this address");
            connect(&socket, &to).expect("somebody listens");
            socket.into()
        });
        let chosen = net.connect(to).expect("somebody listens");
        let own = [&asked_for, &chosen].map(|stream| stream.local_addr().expect("connected"));
        assert_eq!((own[0], own[1].port()), (from, 8001), "{}", variant.name);
        assert_eq!(adopted(&mut engine), own.into(), "{}", variant.name);
        drop(here);
        for stream in [asked_for, chosen] {
            rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).expect("one");
        }
    }
}

/// Descriptors of one socket are told of one by one, and are one.
#[test]
fn a_socket_of_many_descriptors_is_one() {
    const MANY: usize = 2000;
    if skip_without_root() {
        return;
    }
    enough_descriptors();
    let net = Net::new(63);
    let listener = net.within(|| TcpListener::bind((net.v4, 8000)).expect("a free port"));
    let copies: Vec<_> = (0..MANY).map(|_| listener.try_clone().expect("a descriptor")).collect();
    let at = listener.local_addr().expect("bound");
    let kit = kit();
    for variant in variants() {
        let shared = Shared::new(&kit.host(), small(), load(variant, &small()));
        shared.look_at_sockets();
        let inner = shared.lock();
        let own = inner.tracker.listening().iter().filter(|listens| **listens == at).count();
        assert!(own == 1 && inner.engine.found() > MANY as u64, "{own} of {}", inner.engine.found());
        assert_eq!(inner.tracker.listens.refused, 0);
    }
    assert_eq!(copies.len(), MANY);
}

/// By a look, and by the event.
#[test]
fn who_listens_for_version_6_alone_says_so() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(66);
    let at = |port| SocketAddr::new("::".parse().expect("an address"), port);
    let listen = |port, only| {
        net.within(|| {
            let flags = rustix::net::SocketFlags::CLOEXEC;
            let (family, kind) = (rustix::net::AddressFamily::INET6, rustix::net::SocketType::STREAM);
            let socket = rustix::net::socket_with(family, kind, flags, None).expect("a socket");
            rustix::net::sockopt::set_ipv6_v6only(&socket, only).expect("an option");
            rustix::net::bind(&socket, &at(port)).expect("a free port");
            rustix::net::listen(&socket, 1).expect("it listens");
            socket
        })
    };
    let kit = kit();
    for variant in variants() {
        let _before = [listen(8000, true), listen(8001, false)];
        let shared = Shared::new(&kit.host(), settings(), load(variant, &settings()));
        shared.look_at_sockets();
        let _after = [listen(8002, true), listen(8003, false)];
        shared.scan();
        let inner = shared.lock();
        let own = inner.tracker.listens.all().filter(|listen| listen.netns == net.inode() as u32);
        let mut own: Vec<_> = own.map(|listen| (listen.at.port(), listen.is_v6_only)).collect();
        own.sort_unstable();
        let all = [(8000, true), (8001, false), (8002, true), (8003, false)];
        assert_eq!(own, all, "{}", variant.name);
    }
}

#[test]
fn what_was_written_is_told_from_what_was_read() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(64);
    for variant in variants() {
        let mut engine = load(variant, &settings());
        net.within(|| TcpStream::connect((net.v4, 8001)).expect_err("nobody listens"));
        let until = engine.told();
        assert!(!engine.is_read(until));
        let mut socks = HashSet::new();
        while !engine.is_read(until) {
            engine.drain(1, |record| socks.extend((record.kind == Kind::Closed).then_some(record.sock)));
        }
        assert!(!socks.is_empty());
    }
}

/// What a program missed is counted with it, and is asked for when it tells no more.
#[test]
fn what_a_program_cost_is_known_after_it_was_taken_away() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(65);
    for variant in variants() {
        let mut engine = load(variant, &Settings { measure: true, ..settings() });
        net.within(|| TcpStream::connect((net.v4, 8001)).expect_err("nobody listens"));
        engine.detach();
        let until = engine.told();
        while !engine.is_read(until) {
            engine.drain(usize::MAX, |_| ());
        }
        net.within(|| TcpStream::connect((net.v4, 8001)).expect_err("nobody listens"));
        assert_eq!(engine.told(), until, "it tells no more");
        let state = engine.programs().into_iter().find(|program| program.program == "tcp_state");
        assert!(state.and_then(|state| state.costs).is_some_and(|costs| costs.runs > 0), "{}", variant.name);
    }
}
