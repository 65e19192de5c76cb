//! Real connections, and the series against what the test itself wrote down.

mod support;

use gantry_plugin_testkit::{Collected, NewContainer, Running};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use support::net::{Net, exchange};
use support::{assert_traced, of, own, skip_without_root, until};

#[track_caller]
fn assert_series(collected: &Collected, to: &str, connects: u32, active: u32, bytes: usize) {
    let shown =
        ["successful_connects_total", "active_connections", "bytes_sent_total", "bytes_received_total"]
            .map(|family| of(collected, family, to));
    assert_eq!(shown, [f64::from(connects), f64::from(active), bytes as f64, bytes as f64], "{to}");
}

/// Waits until nothing is open to a destination.
fn until_closed(running: &mut Running, label: &str) {
    until(running, |collected| match of(collected, "active_connections", label) {
        0.0 => Ok(()),
        active => Err(format!("{active} active")),
    });
}

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
        until(&mut running, |collected| {
            let active = of(collected, "active_connections", &label);
            if active == 1.0 { Ok(()) } else { Err(format!("{active} active")) }
        });
        let collected = running.collect().expect("it collects");
        assert_series(&collected, &label, 5, 1, 106_001);
        let time = of(&collected, "connection_time_seconds_total", &label);
        assert!(time > 0.0 && time < 60.0, "{time}");
        exchange(&mut open, 1);
        open.shutdown(Shutdown::Both).expect("open");
        drop(open);
        until_closed(&mut running, &label);
        assert_series(&running.collect().expect("it collects"), &label, 5, 0, 106_002);
    }
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
    let label = server.at.to_string();
    let collected = running.collect().expect("it collects");
    assert_series(&collected, &label, 0, 1, 0);
    exchange(&mut before, 300);
    assert_series(&running.collect().expect("it collects"), &label, 0, 1, 300);
    exchange(&mut before, 7);
    drop(before);
    until_closed(&mut running, &label);
    assert_series(&running.collect().expect("it collects"), &label, 0, 0, 307);
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
    let collected = running.collect().expect("it collects");
    let active = |to: SocketAddr| of(&collected, "active_connections", &to.to_string());
    assert_eq!((active(at), active(from)), (1.0, 0.0));
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
    let collected = running.collect().expect("it collects");
    assert_eq!(of(&collected, "active_connections", &at.to_string()), MANY as f64);
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
    let label = server.at.to_string();
    let first = net.connect(server.at).expect("somebody listens");
    let second: TcpStream = first.try_clone().expect("a descriptor");
    drop(first);
    assert_series(&running.collect().expect("it collects"), &label, 1, 1, 0);
    drop(second);
    until_closed(&mut running, &label);
    assert_series(&running.collect().expect("it collects"), &label, 1, 0, 0);
}

#[test]
fn who_listens_is_shown_with_the_addresses_of_the_namespace() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(4);
    let before = net.server_at("0.0.0.0:8000".parse().expect("an address"));
    let (kit, mut running) = own();
    let own = NewContainer::new("/docker/own").process(net.pid(), 1);
    kit.identity().declare(support::in_own_cgroup(own));
    let after = net.server_at("[::]:8001".parse().expect("an address"));
    let shown = |collected: &Collected, at: &str| {
        collected.find(&format!("container_net_tcp_listen_info{{listen_addr={at:?}}}"))
    };
    until(&mut running, |collected| {
        let all = ["10.77.4.1:8000", "10.77.4.1:8001", "[fd77::4:1]:8001"].map(|at| shown(collected, at));
        if all == [Some(1.0); 3] { Ok(()) } else { Err(format!("{all:?}")) }
    });
    drop((before, after));
    until(&mut running, |collected| {
        let all = ["10.77.4.1:8000", "10.77.4.1:8001"].map(|at| shown(collected, at));
        if all == [Some(0.0); 2] { Ok(()) } else { Err(format!("{all:?}")) }
    });
}

#[test]
fn views_show_the_same() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(5);
    let server = net.server(8000);
    let (_kit, mut running) = own();
    let _open = net.connect(server.at).expect("somebody listens");
    let table = running.view("connections").expect("has the view");
    let row = (0..table.rows().len())
        .find(|row| table.text(*row, "destination") == server.at.to_string())
        .expect("the connection is in it");
    assert_eq!((table.text(row, "active"), table.text(row, "connects")), ("1".to_owned(), "1".to_owned()));
    running.view("listens").expect("has the view");
    let programs = running.view("programs").expect("has the view");
    let states: Vec<String> = (0..programs.rows().len()).map(|row| programs.text(row, "state")).collect();
    assert_eq!(states, ["loaded"; 3]);
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
    // The ring has 4 MiB; sixteen are the promise with 10,000 connections. Linux 5.10 says of
    // the hash what it could become.
    assert!((4e6..48e6).contains(&bytes), "{bytes}");
}
