//! The kernel's own connection tracking, in network namespaces of the tests' own.

use gantry_netlink::conntrack::{Events, Table, Tuple};
use gantry_netlink::namespace::{Kind, within};
use gantry_netlink::{Bounds, Error};
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
const BUFFER: usize = 1 << 20;

/// A namespace in which nothing leads out of the loopback.
struct Net(Child);

impl Net {
    /// With addresses, and these commands.
    fn new(rules: &str) -> Option<Self> {
        let setup = format!(
            "set -e; busybox ip link set lo up; busybox ip addr add 10.77.0.1/32 dev lo; \
             busybox ip addr add fd77::1/128 dev lo; busybox ip route add local 10.96.0.0/16 dev lo; \
             busybox ip -6 route add local fd96::/16 dev lo; {rules}; \
             while busybox ip addr show dev lo | grep -q tentative; do :; done; echo ready; exec cat"
        );
        if !rustix::process::getuid().is_root() {
            return skip("root");
        }
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", &setup])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .spawn()
            .expect("unshare is there");
        let mut ready = [0; 6];
        if child.stdout.as_mut().expect("piped").read_exact(&mut ready).is_err() {
            let _ = child.wait();
            return skip("iptables, nft, and a kernel that has them");
        }
        Some(Self(child))
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }

    fn within<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        within(&self.path(), Kind::Network, || Ok(body())).expect("it is entered")
    }

    /// Connects, and says as whom.
    fn connect(&self, to: &str) -> (TcpStream, Tuple) {
        let destination: SocketAddr = to.parse().expect("an address");
        let stream = self.within(|| TcpStream::connect(destination)).expect("somebody listens");
        let source = stream.local_addr().expect("bound");
        (stream, Tuple { source, destination })
    }

    fn listen(&self, at: &str) -> TcpListener {
        self.within(|| TcpListener::bind(at)).expect("a free port")
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn skip(what: &str) -> Option<Net> {
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "needs {what}");
    eprintln!("SKIPPED: needs {what}");
    None
}

const IPTABLES: &str = "iptables -t nat -A OUTPUT -p tcp -d 10.96.0.1 --dport 80 -j DNAT --to 10.77.0.1:8080; \
     ip6tables -t nat -A OUTPUT -p tcp -d fd96::1 --dport 80 -j DNAT --to [fd77::1]:8080";

const NFTABLES: &str = "nft add table inet t; nft add chain inet t out '{ type nat hook output priority -100; }'; \
     nft add rule inet t out ip daddr 10.96.0.1 tcp dport 80 dnat ip to 10.77.0.1:8080; \
     nft add rule inet t out ip6 daddr fd96::1 tcp dport 80 dnat ip6 to [fd77::1]:8080";

fn translated_by(rules: &str) {
    let Some(net) = Net::new(rules) else { return };
    let _servers = [net.listen("10.77.0.1:8080"), net.listen("[fd77::1]:8080")];
    let before: Vec<(TcpStream, Tuple)> = ["10.96.0.1:80", "[fd96::1]:80"].map(|to| net.connect(to)).into();
    let events = Events::open_in(&net.path(), BUFFER, TIMEOUT).expect("root");
    let mut table = Table::open_in(&net.path(), TIMEOUT).expect("root");
    let since: Vec<(TcpStream, Tuple)> =
        ["10.96.0.1:80", "[fd96::1]:80", "10.77.0.1:8080", "[fd77::1]:8080"].map(|to| net.connect(to)).into();
    // Who is connected can read the event of that.
    let mut told = Vec::new();
    assert!(!events.read(100, |entry| told.push(entry)).expect("nothing is lost"));
    let translated: Vec<Tuple> = since[..2].iter().map(|(_, of)| *of).collect();
    assert_eq!(told.iter().map(|entry| entry.original).collect::<Vec<_>>(), translated, "and no others");
    for entry in &told {
        let real: IpAddr = if entry.original.source.is_ipv4() {
            [10, 77, 0, 1].into()
        } else {
            "fd77::1".parse().expect("one")
        };
        assert_eq!(entry.reply.source, SocketAddr::new(real, 8080));
        assert_eq!(
            table.find(&entry.original).expect("it answers"),
            Some(*entry).map(|mut entry| {
                // It is established by now.
                entry.status = table.find(&entry.original).expect("it answers").expect("there").status;
                entry
            })
        );
    }
    let mut all = Vec::new();
    table.translated(Bounds::default(), |entry| all.push(entry.original)).expect("it answers");
    let mut expected: Vec<Tuple> = before.iter().map(|(_, of)| *of).chain(translated).collect();
    for list in [&mut all, &mut expected] {
        list.sort_unstable_by_key(|of| (of.source, of.destination));
    }
    assert_eq!(all, expected);
    let plain = table.find(&since[2].1).expect("it answers").expect("it is tracked");
    assert!(!plain.is_translated());
    assert!(table.count().expect("it answers") >= 6);
    let nobody = Tuple { source: ([10, 77, 0, 1], 1).into(), destination: ([10, 77, 0, 1], 2).into() };
    assert_eq!(table.find(&nobody).expect("it answers"), None);
}

#[test]
fn what_iptables_translates_is_told_and_found() {
    translated_by(IPTABLES);
}

#[test]
fn what_nftables_translates_is_told_and_found() {
    translated_by(NFTABLES);
}

/// Nothing is tracked there, and nobody makes it be.
#[test]
fn a_namespace_without_rules_has_an_empty_table() {
    let Some(net) = Net::new("true") else { return };
    let _server = net.listen("10.77.0.1:8080");
    let events = Events::open_in(&net.path(), BUFFER, TIMEOUT).expect("root");
    let (_stream, of) = net.connect("10.77.0.1:8080");
    let mut table = Table::open_in(&net.path(), TIMEOUT).expect("root");
    assert_eq!(table.find(&of).expect("it answers"), None, "listening made the kernel track connections");
    assert_eq!(table.count().expect("it answers"), 0);
    assert!(!events.read(1, |entry| panic!("{entry:?}")).expect("it reads"));
    let mut all = 0;
    table.translated(Bounds::default(), |_| all += 1).expect("it answers");
    assert_eq!(all, 0);
}

#[test]
fn a_buffer_that_runs_over_is_told_and_what_comes_then_is_good() {
    let Some(net) = Net::new(IPTABLES) else { return };
    let server = net.listen("10.77.0.1:8080");
    let events = Events::open_in(&net.path(), 4096, TIMEOUT).expect("root");
    let connect = || {
        let (stream, of) = net.connect("10.96.0.1:80");
        drop((stream, server.accept().expect("it came")));
        of
    };
    for _ in 0..100 {
        connect();
    }
    let mut lost = 0;
    while !matches!(events.read(1000, |_| ()), Ok(false)) {
        lost += 1;
        assert!(lost < 100, "it is told for ever");
    }
    assert!(lost > 0);
    let of = connect();
    let mut told = Vec::new();
    assert!(!events.read(1000, |entry| told.push(entry.original)).expect("it reads"));
    assert_eq!(told, [of]);
}

#[test]
fn a_namespace_that_is_not_there_is_an_error_that_names_it() {
    let path = PathBuf::from("/proc/0/ns/net");
    for error in [Events::open_in(&path, BUFFER, TIMEOUT).err(), Table::open_in(&path, TIMEOUT).err()] {
        assert!(matches!(&error, Some(Error::Namespace { .. })), "{error:?}");
    }
}
