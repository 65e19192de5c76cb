//! A link that loses packets, between two network namespaces of the test's own:
//! what is sent again is counted, by the kernel's own ledger of the namespace,
//! and no byte counts twice.

mod support;

use gantry_plugin_testkit::Collected;
use std::net::SocketAddr;
use support::net::{Net, exchange};
use support::{of, own, passed_over, skip_without, until, until_exact};

/// A pair of interfaces from one to the other, with addresses of their own; the
/// other end is the server's.
fn link(client: &Net, server: &Net, number: u8) -> [SocketAddr; 2] {
    let ip = "/usr/sbin/ip";
    client.run(&format!(
        "{ip} link add v0 type veth peer name v1 netns {pid} && {ip} link set v0 up \
         && {ip} addr add 10.78.{number}.1/24 dev v0 && {ip} addr add fd78::{number}:1/112 dev v0 nodad",
        pid = server.pid()
    ));
    server.run(&format!(
        "{ip} link set v1 up && {ip} addr add 10.78.{number}.2/24 dev v1 \
         && {ip} addr add fd78::{number}:2/112 dev v1 nodad"
    ));
    [format!("10.78.{number}.2:8000"), format!("[fd78::{number}:2]:8001")].map(|at| at.parse().expect("one"))
}

/// What the kernel counts of a namespace: the column of `Tcp` in `snmp`.
fn counted(net: &Net, column: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/net/snmp", net.pid())).expect("it is there");
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let mut words = || lines.next().expect("two lines").split_whitespace();
    let at = words().position(|word| word == column).expect("the column");
    words().nth(at).and_then(|word| word.parse().ok()).expect("a number")
}

#[test]
fn what_is_sent_again_is_counted_and_no_byte_twice() {
    if skip_without(&["/usr/sbin/iptables", "/usr/sbin/ip6tables", "/usr/sbin/ip"]) {
        return;
    }
    until_exact(what_is_sent_again);
}

/// Whether it was exact: else an end was passed over, which takes what came since the last look with it.
fn what_is_sent_again() -> bool {
    const TURNS: usize = 20;
    const BYTES: usize = 100_000;
    let (net, far) = (Net::new(51), Net::new(52));
    let [v4, v6] = link(&net, &far, 51);
    // Each fifth packet is lost, from the fourth on. What goes over such a link has up to
    // 64 KiB in one.
    for table in ["iptables", "ip6tables"] {
        far.run(&format!(
            "/usr/sbin/{table} -A INPUT -i v1 -p tcp -m statistic --mode nth --every 5 --packet 3 -j DROP"
        ));
    }
    let mapped: SocketAddr = format!("[::ffff:{}]:8002", v4.ip()).parse().expect("an address");
    let (_kit, mut running) = own();
    // Of all of them together: what one sends again at its end may come when the next is
    // there.
    let (before, mut labels) = (counted(&net, "RetransSegs"), Vec::new());
    for to in [v4, v6, mapped] {
        let at = SocketAddr::new(to.ip().to_canonical(), to.port());
        let _server = far.server_at(at);
        let mut stream = net.connect(to).expect("somebody listens");
        (0..TURNS).for_each(|_| exchange(&mut stream, BYTES));
        drop(stream);
        let label = at.to_string();
        until(&mut running, |collected| match of(collected, "active_connections", &label) {
            0.0 => Ok(()),
            active => Err(format!("{active} active")),
        });
        // Its FIN may be lost as well, and be sent again when nobody holds it.
        labels.push(label.clone());
        let again = |collected: &Collected| -> f64 {
            labels.iter().map(|label| of(collected, "retransmits_total", label)).sum()
        };
        let is_exact = until(&mut running, |collected| {
            let ledger = counted(&net, "RetransSegs") - before;
            match (again(collected), passed_over(collected)) {
                (shown, _) if shown == ledger && shown > 0.0 => Ok(true),
                (shown, passed) if shown < ledger && passed > 0.0 => Ok(false),
                (shown, passed) => Err(format!("{shown} of {ledger}, {passed} passed over")),
            }
        });
        if !is_exact {
            return false;
        }
        let collected = running.collect().expect("it collects");
        let shown = ["successful_connects_total", "bytes_sent_total", "bytes_received_total"]
            .map(|family| of(&collected, family, &label));
        let bytes = (TURNS * BYTES) as f64;
        assert_eq!(shown, [1.0, bytes, bytes], "{to}");
    }
    true
}
