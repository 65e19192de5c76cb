//! Who really answers, where addresses are translated: the kernel's own translation, in
//! network namespaces of the test's own.

mod support;

use gantry_plugin_testkit::{Collected, NewContainer, Running, eventually};
use gantry_tcp_ebpf::actual::Actual;
use gantry_tcp_ebpf::clock::Clock;
use gantry_tcp_ebpf::record::{Kind, Owner, Record};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use support::net::Net;
use support::{assert_traced, child, in_own_cgroup, kit, skip_without};

const TOOLS: &[&str] = &["/usr/sbin/iptables", "/usr/sbin/ip6tables", "/usr/sbin/nft"];

/// A process that connects from within a namespace, as a container's does.
struct Client {
    child: Child,
    told: BufReader<ChildStdout>,
}

impl Client {
    fn new(net: &Net) -> Self {
        let mut command = child(net, "client");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let told = BufReader::new(child.stdout.take().expect("piped"));
        let mut client = Self { child, told };
        client.hears("ready");
        client
    }

    fn hears(&mut self, word: &str) {
        let mut line = String::new();
        while !line.trim_end().ends_with(word) {
            line.clear();
            assert_ne!(self.told.read_line(&mut line).expect("it says"), 0, "it ended");
        }
    }

    /// `open`: it stays so until all of these are closed.
    fn connect(&mut self, to: SocketAddr, how: &str) {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{how} {to}").expect("it listens");
        self.hears("connected");
    }

    fn close(&mut self) {
        writeln!(self.child.stdin.as_mut().expect("piped"), "close").expect("it listens");
        self.hears("closed");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the others run it in a process of its own"]
#[allow(clippy::print_stdout, reason = "it answers so")]
fn client() {
    println!("ready");
    let mut open = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.expect("a line");
        match line.split_once(' ') {
            Some((how, to)) => {
                let stream = TcpStream::connect(to).expect("somebody listens");
                open.extend((how == "open").then_some(stream));
                println!("connected");
            }
            None => {
                open.clear();
                println!("closed");
            }
        }
    }
}

/// Who took connections, as the test itself saw it.
struct Backends {
    listeners: Vec<TcpListener>,
    taken: BTreeMap<SocketAddr, f64>,
}

impl Backends {
    fn new(net: &Net, all: &[SocketAddr]) -> Self {
        let listen = |at: &SocketAddr| {
            let listener = net.within(|| TcpListener::bind(at)).expect("a free port");
            listener.set_nonblocking(true).expect("a socket");
            listener
        };
        Self { listeners: all.iter().map(listen).collect(), taken: BTreeMap::new() }
    }

    /// Whoever is asked, one of them answers: it is known which.
    fn connect(&mut self, client: &mut Client, to: SocketAddr, how: &str) {
        client.connect(to, how);
        let taken = self.listeners.iter().find_map(|listener| {
            let (taken, _) = listener.accept().ok()?;
            taken.local_addr().ok()
        });
        *self.taken.entry(taken.expect("one of them took it")).or_default() += 1.0;
    }
}

fn connects(collected: &Collected, to: SocketAddr, actual: SocketAddr) -> Option<f64> {
    let name = "container_net_tcp_successful_connects_total";
    collected.find(&format!("{name}{{destination=\"{to}\",actual_destination=\"{actual}\"}}"))
}

/// Collects until all connections to an address are counted where they really went.
#[track_caller]
fn until_all_are_right(running: &mut Running, to: SocketAddr, taken: &BTreeMap<SocketAddr, f64>) {
    let found = eventually(|| {
        let collected = running.collect().map_err(|failure| failure.to_string())?;
        let right = taken.iter().all(|(actual, count)| connects(&collected, to, *actual) == Some(*count));
        if right && connects(&collected, to, to).is_none() { Ok(()) } else { Err(collected.text()) }
    });
    found.unwrap_or_else(|text| panic!("{taken:?}\n{text}"));
}

/// As kube-proxy writes them: a part of the connections to each of two.
fn iptables(program: &str, service: SocketAddr, backends: [SocketAddr; 2]) -> String {
    let (ip, port) = (service.ip(), service.port());
    let [one, other] = backends;
    let rule = format!("{program} -t nat -A OUTPUT -p tcp -d {ip} --dport {port}");
    format!(
        "{rule} -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination {one} && \
         {rule} -j DNAT --to-destination {other}"
    )
}

fn nftables(service: SocketAddr, backends: [SocketAddr; 2]) -> String {
    let [one, other] = backends;
    let rule = |condition: &str, to: SocketAddr| {
        let (ip, port) = (service.ip(), service.port());
        let family = if ip.is_ipv4() { "ip" } else { "ip6" };
        format!(
            "/usr/sbin/nft add rule inet t out {family} daddr {ip} tcp dport {port} {condition} dnat {family} to {to}"
        )
    };
    let table = "/usr/sbin/nft add table inet t && \
                 /usr/sbin/nft 'add chain inet t out { type nat hook output priority -100; }'";
    format!("{table} && {} && {}", rule("numgen inc mod 2 0", one), rule("", other))
}

fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

fn each_goes_where_it_goes(
    net: &Net,
    rules: impl Fn(SocketAddr, [SocketAddr; 2]) -> String,
    clear: &str,
    is_v4: bool,
) {
    let own_ip = if is_v4 { net.v4 } else { net.v6 };
    // All tests of this file are of one container: each has a service of its own.
    let number = net.number;
    let service = if is_v4 { format!("10.96.{number}.1:8000") } else { format!("[fd96::{number}:1]:8000") };
    let service = service.parse().expect("an address");
    net.run("busybox ip route add local 10.96.0.0/16 dev lo; busybox ip -6 route add local fd96::/16 dev lo");
    let all = [8081, 8082, 8083, 8084].map(|port| at(own_ip, port));
    let mut backends = Backends::new(net, &all);
    net.run(&rules(service, [all[0], all[1]]));
    let kit = kit();
    kit.identity().declare(in_own_cgroup(NewContainer::new("/docker/own").process(net.pid(), 1)));
    let mut running = kit.start("").expect("it starts");
    assert_traced(&mut running);
    let mut client = Client::new(net);
    // Short ones, and some that are open while it is looked.
    let how = |number: u32| if number.is_multiple_of(10) { "open" } else { "short" };
    for number in 0..40 {
        backends.connect(&mut client, service, how(number));
    }
    assert_eq!(backends.taken.len(), 2, "{:?}", backends.taken);
    until_all_are_right(&mut running, service, &backends.taken);
    // The rules change, and both kinds go on.
    net.run(clear);
    net.run(&rules(service, [all[2], all[3]]));
    for number in 0..40 {
        backends.connect(&mut client, service, how(number));
    }
    assert_eq!(backends.taken.len(), 4, "{:?}", backends.taken);
    until_all_are_right(&mut running, service, &backends.taken);
    // The next generation finds some open, and hears of their ends.
    let mut running = running.upgrade("").expect("it is upgraded");
    client.close();
    backends.connect(&mut client, service, "short");
    until_all_are_right(&mut running, service, &backends.taken);
    // Who is asked by his own name is no translation.
    client.connect(all[0], "short");
    let found = eventually(|| {
        let collected = running.collect().map_err(|failure| failure.to_string())?;
        let counted = connects(&collected, all[0], all[0]);
        if counted == Some(1.0) { Ok(()) } else { Err(collected.text()) }
    });
    found.unwrap_or_else(|text| panic!("{text}"));
}

#[test]
fn each_connection_goes_where_iptables_sent_it() {
    if skip_without(TOOLS) {
        return;
    }
    let net = Net::new(101);
    each_goes_where_it_goes(
        &net,
        |service, to| iptables("/usr/sbin/iptables", service, to),
        "/usr/sbin/iptables -t nat -F OUTPUT",
        true,
    );
}

#[test]
fn each_connection_goes_where_ip6tables_sent_it() {
    if skip_without(TOOLS) {
        return;
    }
    let net = Net::new(102);
    let rules = |service, to: [SocketAddr; 2]| iptables("/usr/sbin/ip6tables", service, to);
    each_goes_where_it_goes(&net, rules, "/usr/sbin/ip6tables -t nat -F OUTPUT", false);
}

#[test]
fn each_connection_goes_where_nftables_sent_it() {
    if skip_without(TOOLS) {
        return;
    }
    let net = Net::new(103);
    each_goes_where_it_goes(&net, nftables, "/usr/sbin/nft delete table inet t", true);
}

/// Of a container that is behind the machine, which translates what it forwards.
#[test]
fn a_translation_on_the_way_through_the_machine_is_found() {
    if skip_without(TOOLS) {
        return;
    }
    let (machine, container) = (Net::new(104), Net::new(105));
    machine.run(&format!(
        "/usr/sbin/ip link add m0 type veth peer name c0 netns {pid} && \
         busybox ip addr add 10.78.0.1/24 dev m0; busybox ip link set m0 up; echo 1 > /proc/sys/net/ipv4/ip_forward",
        pid = container.pid()
    ));
    container.run("busybox ip addr add 10.78.0.2/24 dev c0; busybox ip link set c0 up; busybox ip route add 10.96.0.0/16 via 10.78.0.1");
    let backend = at([10, 78, 0, 1].into(), 8080);
    machine.run(&format!(
        "/usr/sbin/iptables -t nat -A PREROUTING -p tcp -d 10.96.0.1 --dport 80 -j DNAT --to-destination {backend}"
    ));
    let listener = machine.within(|| TcpListener::bind(backend)).expect("a free port");
    let clock = Clock::of(Path::new("/proc"));
    let service: SocketAddr = "10.96.0.1:80".parse().expect("an address");
    let (machine_netns, container_netns) = (machine.inode() as u32, container.inode() as u32);
    let connection = || {
        let opened_at = clock.now();
        let stream = container.connect(service).expect("somebody listens");
        drop(listener.accept().expect("it came"));
        let local = stream.local_addr().expect("bound");
        let owner = Owner { tgid: container.pid(), ..Owner::default() };
        Record {
            kind: Kind::Closed,
            flags: 0,
            error: 0,
            sock: 1,
            at: clock.now(),
            opened_at,
            established_at: opened_at,
            owner,
            sent: 0,
            received: 0,
            retransmits: 0,
            rtt: 0,
            netns: container_netns,
            local,
            remote: service,
        }
    };
    // One before it listens, and one after.
    let before = connection();
    let mut actual = Actual::start(Path::new("/proc"), clock, machine_netns, &[1, machine.pid()]);
    assert_eq!(actual.trouble(), None);
    assert_eq!(actual.of(&before), backend);
    assert_eq!(actual.of(&connection()), backend);
    assert_eq!(actual.known(), (2, 2), "both namespaces are listened to");
    let direct = Record { remote: backend, ..before };
    assert_eq!(actual.of(&direct), backend);
    // Nobody is in the container any more.
    drop(container);
    eventually(|| {
        actual.look(|_| None);
        if actual.known().1 == 1 { Ok(()) } else { Err("it is kept alive".to_owned()) }
    })
    .expect("it is let go");
}
