//! How far away destinations are: real echoes in network namespaces of the test's own.

mod support;

use gantry_plugin_testkit::{Collected, Kit, NewContainer, Running, eventually};
use gantry_tcp_ebpf::latency::door::{Came, Door};
use gantry_tcp_ebpf::latency::echo::Echo;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use support::net::{Net, Server};
use support::{assert_traced, in_own_cgroup, kit, skip_without};

const CONFIG: &str = "latency_interval = \"1s\"";

/// All connections of this test are a container's, which has a process in the namespace.
fn from(net: &Net, config: &str) -> (Kit, Running) {
    let kit = kit();
    kit.identity().declare(in_own_cgroup(NewContainer::new("/docker/own").process(net.pid(), 1)));
    let mut running = kit.start(config).expect("it starts");
    assert_traced(&mut running);
    (kit, running)
}

fn latency(collected: &Collected, ip: IpAddr) -> Option<f64> {
    collected.find(&format!("container_net_latency_seconds{{destination_ip=\"{ip}\"}}"))
}

fn lost(collected: &Collected, ip: IpAddr) -> Option<f64> {
    collected.find(&format!("container_net_latency_lost_total{{destination_ip=\"{ip}\"}}"))
}

/// Collects until something is so.
fn until<T>(running: &mut Running, is: impl Fn(&Collected) -> Option<T>) -> T {
    let found = eventually(|| {
        let collected = running.collect().map_err(|failure| failure.to_string())?;
        is(&collected).ok_or_else(|| collected.text())
    });
    found.unwrap_or_else(|text| panic!("{text}"))
}

fn connected(net: &Net, ip: IpAddr) -> Server {
    let server = net.server_at((ip, 8000).into());
    drop(net.connect(server.at).expect("somebody listens"));
    server
}

#[test]
fn an_echo_of_either_version_is_measured_by_the_kernel_s_clock() {
    if skip_without(&[]) {
        return;
    }
    let net = Net::new(60);
    let (_kit, mut running) = from(&net, CONFIG);
    let _servers = [net.v4, net.v6].map(|ip| connected(&net, ip));
    for ip in [net.v4, net.v6] {
        let took = until(&mut running, |collected| latency(collected, ip));
        assert!(took > 0.0 && took < 0.1, "{ip}: {took}: of one's own address");
    }
    let collected = running.collect().expect("it collects");
    assert_eq!([net.v4, net.v6].map(|ip| lost(&collected, ip)), [Some(0.0); 2], "what is 0 is said");
}

/// Counters go on over an upgrade, and what nobody connects to any more is not shown.
#[test]
fn who_does_not_answer_is_lost_and_has_no_latency() {
    if skip_without(&["/usr/sbin/iptables"]) {
        return;
    }
    let net = Net::new(61);
    let (_kit, mut running) = from(&net, CONFIG);
    let _server = connected(&net, net.v4);
    until(&mut running, |collected| latency(collected, net.v4));
    net.run("/usr/sbin/iptables -A INPUT -p icmp --icmp-type echo-request -j DROP");
    until(&mut running, |collected| {
        (lost(collected, net.v4) >= Some(2.0) && latency(collected, net.v4).is_none()).then_some(())
    });
    let before = running.collect().map(|collected| lost(&collected, net.v4)).expect("it collects");
    net.run("/usr/sbin/iptables -F INPUT");
    let mut running = running.upgrade(CONFIG).expect("it is upgraded");
    until(&mut running, |collected| latency(collected, net.v4));
    let after = running.collect().map(|collected| lost(&collected, net.v4)).expect("it collects");
    assert!(after >= before, "{after:?} {before:?}");
    let mut running = running.upgrade("latency = false").expect("it is upgraded");
    let collected = running.collect().expect("it collects");
    assert_eq!((latency(&collected, net.v4), lost(&collected, net.v4)), (None, None));
}

#[test]
fn a_namespace_that_goes_is_no_trouble() {
    if skip_without(&[]) {
        return;
    }
    let (net, other) = (Net::new(62), Net::new(63));
    let kit = kit();
    let own = NewContainer::new("/docker/own").process(net.pid(), 1).process(other.pid(), 1);
    let own = kit.identity().declare(in_own_cgroup(own));
    let mut running = kit.start(CONFIG).expect("it starts");
    let _server = connected(&net, net.v4);
    until(&mut running, |collected| latency(collected, net.v4));
    drop(_server);
    kit.identity().change(own, |own| own.gone = true);
    drop((net, other));
    for _ in 0..3 {
        running.collect().expect("it collects");
    }
    assert_eq!(running.troubles().expect("has a health"), Vec::<String>::new());
}

/// A socket as of `ping(8)` where the namespace allows it, and a raw one else.
#[test]
fn both_kinds_of_sockets_tell_when_a_request_left_and_an_answer_came() {
    if skip_without(&[]) {
        return;
    }
    let net = Net::new(64);
    for (range, chooses) in [("1 0", false), ("0 2147483647", true)] {
        net.run(&format!("echo {range} > /proc/sys/net/ipv4/ping_group_range"));
        for ip in [net.v4, net.v6] {
            let mut door = Door::open(&net.path, ip.is_ipv4()).expect("a socket");
            assert_eq!(door.chooses_id(), chooses, "{range}");
            // The kernel begins to note times some moments after somebody wants them.
            let mut stamped = 0;
            for sequence in 0..10_000_u16 {
                let echo = Echo { id: 77, sequence, cookie: 1 << 60 | u64::from(sequence) };
                door.send(&echo, ip).expect("sent");
                let left = came(|| door.sent());
                let Came::Sent(number, left) = left else { panic!("{left:?}") };
                let answer = came(|| {
                    loop {
                        match door.came() {
                            // The request itself comes to a raw socket too.
                            Some(Came::Other) => {}
                            other => return other,
                        }
                    }
                });
                let Came::Answer(answer, from, came) = answer else { panic!("{answer:?}") };
                assert_eq!((number, from), (u32::from(sequence), ip));
                assert_eq!((answer.sequence, answer.cookie), (echo.sequence, echo.cookie));
                assert!(left.software > 0, "{left:?}");
                if came.software > 0 {
                    assert!(came.software >= left.software, "{left:?} {came:?}");
                    stamped += 1;
                }
                if stamped == 3 {
                    break;
                }
            }
            assert_eq!(stamped, 3, "no answer has a time");
        }
    }
}

fn came(mut read: impl FnMut() -> Option<Came>) -> Came {
    eventually(|| read().ok_or_else(|| "nothing comes".to_owned())).expect("it comes")
}

/// The other end of a tunnel, which answers each echo after so long.
struct Far(Child);

impl Far {
    fn new(net: &Net, milliseconds: u32) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/far.py");
        let enters = format!("--net={}", net.path.display());
        let mut child = Command::new("nsenter")
            .args([&enters, "python3", script, &milliseconds.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("nsenter is there");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("it says");
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_way_that_takes_long_takes_so_long() {
    if skip_without(&["/usr/bin/python3", "/dev/net/tun"]) {
        return;
    }
    let net = Net::new(65);
    let _far = Far::new(&net, 200);
    net.run("busybox ip addr add 10.77.65.1/32 dev far0; busybox ip link set far0 up; busybox ip route add 10.78.65.2/32 dev far0");
    let (_kit, mut running) = from(&net, CONFIG);
    let to: IpAddr = [10, 78, 65, 2].into();
    // Nobody serves there: it is a destination that fails.
    let refused = net.connect((to, 80).into());
    assert!(refused.is_err(), "{refused:?}");
    // The other end holds each for at least so long; how much longer is the scheduler's.
    let took = until(&mut running, |collected| latency(collected, to));
    assert!((0.2..2.0).contains(&took), "{took}");
}
