//! The configuration, and what is declared.

mod support;

use gantry_containers::Containers;
use gantry_plugin_testkit::Kit;
use support::{CONFIG, Rig, kit, socket};

#[test]
fn wrong_values_are_refused_by_their_key() {
    for (config, expected) in [
        ("[docker]\nsocket = \"run/docker.sock\"", "docker.socket"),
        ("[docker]\nsocket = [\"/a\", \"/b/../c\"]", "docker.socket"),
        ("[docker]\nsocket = [\"/a\", \"/a\"]", "docker.socket"),
        ("[docker]\nsocket = 5", "docker.socket"),
        ("[docker]\ndeadline = \"10ms\"", "docker.deadline"),
        ("[docker]\ndeadline = \"2m\"", "docker.deadline"),
        ("[docker]\nunknown = 1", "docker"),
        ("[cri]\nsocket = \"run/crio.sock\"", "cri.socket"),
        ("[cri]\nsocket = [\"/a\", \"/a\"]", "cri.socket"),
        ("[cri]\ndeadline = \"10ms\"", "cri.deadline"),
        ("[cri]\nunknown = 1", "cri"),
        ("[systemd]\nsocket = \"run/dbus/system_bus_socket\"", "systemd.socket"),
        ("[systemd]\nsocket = []\ndeadline = \"10ms\"", "systemd.deadline"),
        ("[systemd]\nunknown = 1", "systemd"),
        ("unknown = 1", "unknown"),
    ] {
        let Err(failure) = kit().start(config) else { panic!("{config} was taken") };
        let error = failure.error().expect("the plugin says it");
        assert_eq!(error.kind(), gantry_plugin_api::error::ErrorKind::Config, "{error}");
        assert!(error.message().contains(expected), "{config}: {error}");
    }
}

#[test]
fn what_is_declared_is_in_order() {
    Kit::of::<Containers>().check().expect("manifest, families and views pass");
}

#[test]
fn another_configuration_needs_a_restart_and_the_same_none() {
    let mut rig = Rig::start(kit(), CONFIG);
    assert!(rig.running.reconfigure(CONFIG).expect("it is the same"));
    assert!(!rig.running.reconfigure(format!("metrics = false\n{CONFIG}")).expect("it is a good one"));
    assert!(!rig.running.reconfigure("[docker]\nenabled = false").expect("it is a good one"));
}

const NOBODY: &str =
    "docker.enabled = false\npodman.enabled = false\ncri.enabled = false\nsystemd.enabled = false";

#[test]
fn without_runtimes_no_thread_asks() {
    let kit = kit();
    let mut rig = Rig::start(kit, NOBODY);
    let collected = rig.running.collect().expect("it collects");
    assert!(!collected.has_family("container_runtime_up"));
    rig.running.stop().expect("it stops");
}

#[test]
fn the_probe_says_what_it_found() {
    let kit = kit();
    let note = |kit: &Kit| kit.probe("").expect("it is asked").notes;
    assert!(note(&kit)[0].contains("is not there"), "{:?}", note(&kit));
    kit.tree().write("run/docker.sock", "");
    assert!(note(&kit)[0].contains("is no socket"), "{:?}", note(&kit));
    kit.tree().remove("run/docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(socket(&kit)).expect("a socket");
    assert!(note(&kit)[0].contains("is there"), "{:?}", note(&kit));
    let none = kit.probe(NOBODY).expect("it is asked").notes;
    assert!(none[0].contains("no runtime is asked"), "{none:?}");
    assert!(kit.probe("").expect("it is asked").unsupported.is_empty());
}
