//! Clocks that step: what is counted depends on none of the day's, and not on which
//! monotonic clock the agent is shown.

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use support::net::{Net, exchange};
use support::{
    DONE, child, own, run_to_its_end, skip_without, skip_without_root, until_failures, until_numbers,
};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_clock_of_the_day_that_steps_changes_nothing() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(84);
    let server = net.server(8000);
    let (kit, mut running) = own();
    let mut bytes = 0.0;
    let day = kit.clock().realtime();
    let mut open = net.connect(server.at).expect("somebody listens");
    for step in [day + DAY, day - DAY, Duration::from_secs(1), day] {
        kit.clock().set_realtime(step);
        exchange(&mut open, 100);
        bytes += 100.0;
        until_numbers(&mut running, server.at, [1.0, 1.0, bytes, bytes]);
        running = running.upgrade("").expect("it upgrades");
    }
    drop(open);
    until_numbers(&mut running, server.at, [1.0, 0.0, bytes, bytes]);
}

/// Not a test: what the one below starts within a time namespace.
#[test]
#[ignore = "is started by another test"]
#[allow(clippy::print_stdout, reason = "it says that it came to its end")]
fn counts() {
    let Ok(to) = std::env::var("GANTRY_TEST_TO") else { return };
    let to: SocketAddr = to.parse().expect("an address");
    let nobody = SocketAddr::new(to.ip(), 9);
    let (_kit, mut running) = own();
    let connect = || std::net::TcpStream::connect(to).expect("somebody listens");
    let mut open = connect();
    for turn in 1..4 {
        exchange(&mut connect(), 100);
        exchange(&mut open, 10);
        std::net::TcpStream::connect(nobody).expect_err("nobody listens");
        let (made, bytes) = (f64::from(turn + 1), f64::from(turn * 110));
        until_numbers(&mut running, to, [made, 1.0, bytes, bytes]);
        until_failures(&mut running, nobody, &[("refused", f64::from(turn))]);
        let unwatched = running.collect().expect("it collects").get("tcp_ebpf_unwatched_seconds_total");
        assert_eq!(unwatched, 0.0);
        running = running.upgrade("").expect("it upgrades");
    }
    drop(open);
    until_numbers(&mut running, to, [4.0, 0.0, 330.0, 330.0]);
    println!("{DONE}");
}

/// The kernel's programs know nothing of time namespaces: their times are the machine's.
#[test]
fn in_a_time_namespace_all_counts_as_elsewhere() {
    if skip_without(&["/usr/bin/unshare"]) {
        return;
    }
    let net = Net::new(87);
    let server = net.server(8000);
    // No clock goes back to before the machine's start.
    let back = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec / 2;
    for offset in [100_000, -back] {
        let inner = child(&net, "counts");
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--time", "--fork", &format!("--monotonic={offset}"), &format!("--boottime={offset}")]);
        command.arg(inner.get_program()).args(inner.get_args());
        command.env("GANTRY_TEST_TO", server.at.to_string());
        run_to_its_end(command);
    }
}
