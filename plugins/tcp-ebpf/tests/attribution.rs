//! Whose a connection is, and that none is lost: short-lived processes, cgroups
//! of their own, and generations that follow each other in the middle of it.

mod support;

use gantry_bpf::Kernel;
use gantry_plugin_testkit::NewContainer;
use gantry_tcp_ebpf::engine::{Engine, HASH};
use gantry_tcp_ebpf::handover::State;
use gantry_tcp_ebpf::watch::Watch;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::net::{Net, exchange};
use support::{
    Cgroup, counted, kit, own, scanned, settings, skip_without_root, until, until_exact, until_ledger,
};

/// Where one generation takes longer than this to follow the other, as in a machine
/// that is emulated, three of them are enough.
const SLOW: Duration = Duration::from_millis(500);

/// How long a client of the load rests after each turn.
const LEAST_REST: Duration = Duration::from_millis(1);
const MOST_REST: Duration = Duration::from_millis(20);

const TO: &str = "GANTRY_TEST_CONNECTS_TO";

/// Not a test: what the tests below start as processes of their own. It
/// connects as often as it is told and ends.
#[test]
#[ignore = "is started by other tests"]
fn client() {
    let Some(to) = std::env::var(TO).ok() else { return };
    let (to, times) = to.split_once(' ').expect("an address and a number");
    for _ in 0..times.parse::<u32>().expect("a number") {
        let mut stream = TcpStream::connect(to).expect("somebody listens");
        exchange(&mut stream, 10);
    }
}

/// A client in a cgroup and a namespace; the shell puts itself there first.
fn spawn(net: &Net, cgroup: &Cgroup, to: SocketAddr, times: u32) -> Child {
    let this = std::env::current_exe().expect("this test");
    let script = format!("echo 0 > {}/cgroup.procs && exec \"$0\" \"$@\"", cgroup.path.display());
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", net.path.display()))
        .args(["sh", "-c", &script])
        .arg(this)
        .args(["--exact", "client", "--ignored", "--test-threads=1"])
        .env(TO, format!("{to} {times}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0);
    command.spawn().expect("it starts")
}

/// Processes that do nothing but connect once: each lives for some milliseconds.
#[test]
fn a_process_that_is_gone_is_its_container_s() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(21);
    let server = net.server(8000);
    let (kit, cgroups) = (kit(), [Cgroup::new("one"), Cgroup::new("two")]);
    for (name, cgroup) in ["/docker/one", "/docker/two"].iter().zip(&cgroups) {
        kit.identity().declare(cgroup.of(NewContainer::new(name)));
    }
    let mut running = kit.start("").expect("it starts");
    let times = [8, 5];
    for turn in 0..8 {
        for (cgroup, times) in cgroups.iter().zip(times) {
            if turn < times {
                let ended = spawn(&net, cgroup, server.at, 1).wait().expect("it was started");
                assert!(ended.success());
            }
        }
    }
    for (name, times) in ["/docker/one", "/docker/two"].iter().zip(times) {
        let labels = format!("{{container_id={name:?},destination=\"{}\"}}", server.at);
        let expected = [times, times * 10].map(|count| Some(f64::from(count)));
        until(&mut running, |collected| {
            let count = |family: &str| collected.find(&format!("container_net_tcp_{family}{labels}"));
            match ["successful_connects_total", "bytes_sent_total"].map(count) {
                all if all == expected => Ok(()),
                other => Err(format!("{name}: {other:?} and not {expected:?}")),
            }
        });
    }
    // And the identity service is told of each of them, with its cgroup.
    let observed = kit.observed().all();
    let of = |cgroup: &Cgroup| {
        let place = (cgroup.hierarchy, cgroup.id());
        observed.iter().filter(|seen| (seen.hierarchy, seen.cgroup) == place).count()
    };
    assert_eq!(cgroups.each_ref().map(of), times.map(|times| times as usize));
}

/// What the test does while the plugin is changed.
struct Load {
    ends: AtomicBool,
    made: AtomicU32,
    refused: AtomicU32,
}

/// Connects in three ways: with bytes, kept open over some others, and refused.
fn load(net: &Net, load: &Load, to: SocketAddr, nobody: SocketAddr) {
    net.within(|| {
        let mut kept = Vec::new();
        while !load.ends.load(Relaxed) {
            let begun = Instant::now();
            let mut stream = TcpStream::connect(to).expect("somebody listens");
            exchange(&mut stream, 100);
            load.made.fetch_add(1, Relaxed);
            kept.push(stream);
            if kept.len() > 20 {
                kept.remove(0);
            }
            TcpStream::connect(nobody).expect_err("nobody listens");
            load.refused.fetch_add(1, Relaxed);
            // What changes meanwhile needs the processor too, most of all of a machine
            // that is emulated: there this would be all that it has.
            std::thread::park_timeout((begun.elapsed() * 2).clamp(LEAST_REST, MOST_REST));
        }
    });
}

/// Until nothing is lost meanwhile.
fn under_load(number: u8, change: impl Fn(gantry_plugin_testkit::Running) -> gantry_plugin_testkit::Running) {
    until_exact(|| loaded(number, &change));
}

fn loaded(
    number: u8,
    change: impl FnOnce(gantry_plugin_testkit::Running) -> gantry_plugin_testkit::Running,
) -> bool {
    let net = Net::new(number);
    let server = net.server(8000);
    let nobody = SocketAddr::new(net.v4, 8001);
    let (_kit, mut running) = own();
    let ledger = Load { ends: AtomicBool::new(false), made: AtomicU32::new(0), refused: AtomicU32::new(0) };
    let mut running = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| load(&net, &ledger, server.at, nobody));
        }
        let some = |at_least: u32| {
            gantry_plugin_testkit::eventually(|| {
                let made = ledger.made.load(Relaxed);
                if made >= at_least { Ok(()) } else { Err(format!("{made} made")) }
            })
            .expect("it goes on");
        };
        some(200);
        running.collect().expect("it collects");
        let mut running = change(running);
        some(ledger.made.load(Relaxed) + 200);
        running.collect().expect("it collects");
        ledger.ends.store(true, Relaxed);
        running
    });
    let (made, refused) = (f64::from(ledger.made.load(Relaxed)), f64::from(ledger.refused.load(Relaxed)));
    until_ledger(&mut running, (server.at, made), 100.0, (nobody, refused))
}

#[test]
fn an_upgrade_in_the_middle_of_it_loses_and_doubles_nothing() {
    if skip_without_root() {
        return;
    }
    under_load(22, |mut running| {
        for _ in 0..3 {
            running = running.upgrade("").expect("it upgrades");
        }
        running
    });
}

#[test]
fn without_a_change_nothing_is_lost_or_doubled_either() {
    if skip_without_root() {
        return;
    }
    under_load(23, |mut running| {
        for _ in 0..50 {
            running.collect().expect("it collects");
        }
        running
    });
}

/// As in Linux 5.10; a plugin takes it only where there is nothing better.
#[test]
fn an_upgrade_with_a_hash_in_the_kernel_loses_and_doubles_nothing() {
    if skip_without_root() {
        return;
    }
    let (net, kit) = (Net::new(24), kit());
    let server = net.server(8000);
    let nobody = SocketAddr::new(net.v4, 8001);
    let settings = settings();
    let kernel = Kernel::open(Path::new("/sys")).expect("BTF");
    let watch = || {
        let engine = Engine::load(&kernel, &HASH, &settings).expect("the kernel takes it");
        Watch::over(engine, &kit.host(), settings.clone()).expect("it starts")
    };
    let ledger = Load { ends: AtomicBool::new(false), made: AtomicU32::new(0), refused: AtomicU32::new(0) };
    let last = std::thread::scope(|scope| {
        let mut old = watch();
        old.activate(None);
        for _ in 0..2 {
            scope.spawn(|| load(&net, &ledger, server.at, nobody));
        }
        let more = |more: u32| {
            let until = ledger.made.load(Relaxed) + more;
            gantry_plugin_testkit::eventually(|| {
                let made = ledger.made.load(Relaxed);
                if made >= until { Ok(()) } else { Err(format!("{made} made")) }
            })
            .expect("it goes on");
        };
        let begun = Instant::now();
        for turn in 0..10 {
            if turn >= 3 && begun.elapsed() > SLOW * turn {
                break;
            }
            more(20);
            old.scan();
            let new = watch();
            more(20);
            let state = old.stop().encode();
            more(20);
            new.activate(State::decode(&state));
            old = new;
        }
        ledger.ends.store(true, Relaxed);
        old
    });
    let of = |to: SocketAddr| counted(&scanned(&last).tracker, to);
    let closed = || match of(server.at).1 {
        0 => Ok(()),
        active => Err(format!("{active} active")),
    };
    gantry_plugin_testkit::eventually(closed).expect("they end");
    let (made, refused) = (u64::from(ledger.made.load(Relaxed)), u64::from(ledger.refused.load(Relaxed)));
    let all = of(server.at).0;
    assert_eq!((all.connects, all.sent, all.received), (made, made * 100, made * 100));
    assert_eq!(of(nobody).0.failed(false), refused);
}
