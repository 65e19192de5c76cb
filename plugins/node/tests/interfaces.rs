//! Interfaces of every kind, in a network namespace of the test's own.

mod support;

use gantry_plugin_testkit::{Collected, Tree};
use std::process::Command;
use support::tree::whole;
use support::{Rig, eventually, skip};

/// A network namespace, removed when dropped.
struct Namespace {
    name: String,
}

impl Namespace {
    /// `None`, said loudly, where none can be made.
    fn new(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("network namespaces need root");
            return None;
        }
        let name = format!("gantry-{test}-{}", std::process::id());
        match Command::new("ip").args(["netns", "add", &name]).output() {
            Ok(made) if made.status.success() => Some(Self { name }),
            Ok(made) => {
                skip(&format!("ip netns add: {}", String::from_utf8_lossy(&made.stderr)));
                None
            }
            Err(error) => {
                skip(&format!("ip: {error}"));
                None
            }
        }
    }
    /// `ip` in the namespace; whether it did as told.
    fn ip(&self, arguments: &str) -> bool {
        let arguments = arguments.split(' ');
        let done = Command::new("ip").args(["-n", &self.name]).args(arguments).output().expect("ip runs");
        done.status.success()
    }
    #[track_caller]
    fn must(&self, arguments: &str) {
        assert!(self.ip(arguments), "ip {arguments}");
    }
    /// A tree whose first process lives in this namespace.
    fn tree(&self) -> Tree {
        let tree = whole();
        tree.symlink(format!("/run/netns/{}", self.name), "proc/1/ns/net");
        tree
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Where it fails there is nobody to tell.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

#[test]
fn kinds_are_shown_or_left_out_whatever_their_names() {
    let Some(namespace) = Namespace::new("kinds") else { return };
    // Kinds that this kernel was built without are not tried.
    let mut expected = Vec::new();
    for (name, how) in [
        // First, since others lie on it.
        ("eth7", "type bridge"),
        ("eth6", "type dummy"),
        ("bond7", "type bond"),
        ("eth7.5", "link eth7 type vlan id 5"),
        ("macv0", "link eth7 type macvlan"),
        ("ipv0", "link eth7 type ipvlan"),
        ("vx0", "type vxlan id 7 dstport 4789 local 192.0.2.9"),
        ("team7", "type team"),
        ("wg0", "type wireguard"),
    ] {
        if namespace.ip(&format!("link add {name} {how}")) {
            expected.push(name);
        }
    }
    assert!(expected.contains(&"eth7"), "a bridge is the least");
    if namespace.ip("tuntap add tap7 mode tap") {
        expected.push("tap7");
    }
    // With names that upstream would have shown.
    assert!(namespace.ip("link add eth8 type veth peer name ens9"), "veth");
    namespace.ip("link add eno1 type ifb");

    let tree = namespace.tree();
    let mut rig = Rig::start(tree.root());
    let samples = rig.collect();
    let mut shown = samples.label_values("node_net_interface_up", "interface");
    // Fallback devices that some kernels put into each namespace.
    shown.retain(|name| {
        !["tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0"]
            .contains(&name.as_str())
    });
    expected.sort_unstable();
    assert_eq!(shown, expected);
    for family in ["bytes", "packets", "errors", "dropped"] {
        for direction in ["received", "transmitted"] {
            let name = format!("node_net_{direction}_{family}_total");
            assert!(samples.find(&format!("{name}{{interface=\"eth7\"}}")).is_some(), "{name}");
        }
    }
    assert!(!rig.troubles().iter().any(|trouble| trouble.contains("rtnetlink")), "{:?}", rig.troubles());
}

#[test]
fn addresses_and_states_are_followed() {
    let Some(namespace) = Namespace::new("addresses") else { return };
    namespace.must("link add eth7 type bridge");
    for address in ["192.0.2.1/24", "192.0.2.1/32", "169.254.7.7/16", "192.0.2.7 peer 192.0.2.8/32"] {
        namespace.must(&format!("addr add {address} dev eth7"));
    }
    namespace.must("addr add 2001:db8::7/64 dev eth7");
    namespace.must("link set lo up");
    namespace.must("link set eth7 up");
    let tree = namespace.tree();
    let mut rig = Rig::start(tree.root());
    let samples = rig.collect();
    let ips = samples.label_values("node_net_interface_ip", "ip");
    assert_eq!(ips, ["192.0.2.1", "192.0.2.7", "2001:db8::7"]);
    let up = |samples: &Collected| samples.get("node_net_interface_up{interface=\"eth7\"}");
    assert_eq!(up(&samples), 0.0, "a bridge without a port");
    namespace.must("link add port type veth peer name other");
    namespace.must("link set port master eth7");
    namespace.must("link set port up");
    namespace.must("link set other up");
    // While links change, a reading of the table may fail, and the files stand in.
    let is_up = |samples: &Collected| samples.find("node_net_interface_up{interface=\"eth7\"}") == Some(1.0);
    eventually(|| if is_up(&rig.collect()) { Ok(()) } else { Err("the bridge is down".into()) });
    assert!(rig.view("interfaces").iter().any(|row| row[..3] == ["eth7", "bridge", "up"]));
    namespace.must("link del eth7");
    eventually(|| match rig.collect().has_family("node_net_interface_up") {
        false => Ok(()),
        true => Err("an interface is shown".into()),
    });
}

#[test]
fn many_interfaces_fit() {
    let Some(namespace) = Namespace::new("many") else { return };
    let script: String = (0..300).map(|number| format!("link add many{number} type bridge\n")).collect();
    let tree = namespace.tree();
    tree.write("batch", script);
    namespace.must(&format!("-batch {}", tree.path("batch").display()));
    let mut rig = Rig::start(tree.root());
    let names = rig.collect().label_values("node_net_interface_up", "interface");
    assert_eq!(names.iter().filter(|name| name.starts_with("many")).count(), 300);
}

/// Interfaces that come and go under the reader, in their hundreds.
#[test]
fn a_table_that_changes_is_read_again() {
    let Some(namespace) = Namespace::new("changing") else { return };
    namespace.must("link add steady0 type bridge");
    let tree = namespace.tree();
    // Whoever makes an interface holds a lock that a reader has to wait for;
    // where that takes too long sysfs, which needs none, is read.
    tree.write("sys/class/net/steady0/operstate", "down\n");
    let script: String = (0..40)
        .map(|number| format!("link add come{number} type bridge\n"))
        .chain((0..40).map(|number| format!("link del come{number}\n")))
        .collect();
    tree.write("batch", script);
    let mut rig = Rig::start(tree.root());
    std::thread::scope(|scope| {
        let changing = scope.spawn(|| namespace.ip(&format!("-batch {}", tree.path("batch").display())));
        while !changing.is_finished() {
            let samples = rig.collect();
            let steady = samples.find("node_net_interface_up{interface=\"steady0\"}").is_some();
            assert!(steady, "{:?} {:?}", rig.troubles(), samples.skipped());
        }
        assert!(changing.join().expect("no panic"));
    });
    eventually(|| {
        rig.collect();
        rig.troubles().iter().find(|trouble| trouble.contains("rtnetlink")).cloned().map_or(Ok(()), Err)
    });
}

#[test]
fn a_namespace_that_cannot_be_entered_is_said() {
    let tree = whole();
    // A file that is there, is not our namespace, and is none at all.
    tree.write("proc/1/ns/net", "");
    let mut rig = Rig::start(tree.root());
    rig.collect();
    let troubles = rig.troubles();
    assert!(
        troubles.iter().any(|trouble| trouble.contains("proc/1/ns/net") && trouble.contains("CAP_SYS_ADMIN")),
        "{troubles:?}"
    );
}

#[test]
fn without_rtnetlink_the_files_of_sysfs_do() {
    use gantry_node::config::{Config, Settings};
    let tree = whole();
    for name in ["eth9", "veth12", "lo", "ifb0", "bond0"] {
        for file in [
            "rx_packets",
            "tx_packets",
            "rx_bytes",
            "tx_bytes",
            "rx_errors",
            "tx_errors",
            "rx_dropped",
            "tx_dropped",
        ] {
            tree.write(format!("sys/class/net/{name}/statistics/{file}"), format!("{}\n", file.len()));
        }
    }
    tree.write("sys/class/net/bonding_masters", "bond0\n");
    let settings = Settings::of(&Config::default()).expect("valid");
    let mut links = Vec::new();
    gantry_node::class_net::read(&tree.path("sys/class/net"), &settings.interfaces, &mut links)
        .expect("read");
    links.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(
        links.iter().map(|link| (link.name.as_str(), link.up)).collect::<Vec<_>>(),
        [("bond0", false), ("eth9", true)]
    );
    assert_eq!(links[1].counters.map(|counters| (counters.rx_bytes, counters.tx_packets)), Some((8, 10)));
}
