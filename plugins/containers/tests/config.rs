//! The configuration, and what is declared.

mod support;

use gantry_containers::Containers;
use gantry_plugin_api::identity::Metadata;
use gantry_plugin_testkit::Kit;
use gantry_test_docker::Fake;
use gantry_test_docker::fake::container;
use support::{CONFIG, Rig, kit, socket};

#[test]
fn wrong_values_are_refused_by_their_key() {
    for (config, expected) in [
        ("[docker]\nsocket = \"run/docker.sock\"", "docker.socket"),
        ("[docker]\nsocket = [\"/a\", \"/b/../c\"]", "docker.socket"),
        ("[docker]\nsocket = [\"/a\", \"/a\"]", "docker.socket"),
        ("[docker]\nsocket = 5", "docker.socket"),
        ("[docker]\nsocket = []", "docker.socket"),
        ("[docker]\ndeadline = \"10ms\"", "docker.deadline"),
        ("[docker]\ndeadline = \"2m\"", "docker.deadline"),
        ("[docker]\nunknown = 1", "docker"),
        ("[cri]\nsocket = \"run/crio.sock\"", "cri.socket"),
        ("[cri]\nsocket = [\"/a\", \"/a\"]", "cri.socket"),
        ("[cri]\ndeadline = \"10ms\"", "cri.deadline"),
        ("[cri]\nunknown = 1", "cri"),
        ("[podman]\nsocket = \"run/p.sock\"", "podman.socket"),
        ("[containerd]\nsocket = \"run/c.sock\"", "containerd.socket"),
        ("[containerd]\ndeadline = \"10ms\"", "containerd.deadline"),
        ("[containerd]\nunknown = 1", "containerd"),
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

const NOBODY: &str = "docker.enabled = false\npodman.enabled = false\ncri.enabled = false\n\
                      containerd.enabled = false\nsystemd.enabled = false";

/// Of which the host was told that they are not asked.
fn not_asked(config: &str) -> Vec<String> {
    let kit = kit();
    let _rig = Rig::start(kit.clone(), config);
    let told = kit.provided().all().into_iter();
    let not_asked =
        told.filter(|told| told.metadata.iter().any(|one| one.removed && one.runtime_id.is_empty()));
    not_asked.map(|told| told.runtime).collect()
}

#[test]
fn the_host_is_told_which_runtimes_are_not_asked() {
    assert_eq!(not_asked(CONFIG), [""; 0]);
    assert_eq!(not_asked("systemd.enabled = false"), ["systemd"]);
    assert_eq!(not_asked("cri.enabled = false"), ["crio"], "containerd is asked over its own API");
    assert_eq!(not_asked("cri.enabled = false\ncontainerd.enabled = false"), ["containerd", "crio"]);
    assert_eq!(not_asked(NOBODY), ["docker", "podman", "containerd", "crio", "systemd"]);
    let users = "podman.socket = \"/run/user/1000/podman/podman.sock\"";
    assert_eq!(not_asked(users), ["podman"], "root's is not");
}

#[test]
fn without_runtimes_no_thread_asks() {
    let kit = kit();
    let mut rig = Rig::start(kit, NOBODY);
    let collected = rig.running.collect().expect("it collects");
    assert!(!collected.has_family("container_runtime_up"));
    rig.running.stop().expect("it stops");
}

#[test]
fn the_host_is_told_when_all_is_told_that_there_is_at_first() {
    let kit = kit();
    let fake = Fake::start(&socket(&kit));
    (1..=20).for_each(|number| fake.put(container(number, &format!("web-{number}"))));
    let rig = Rig::start(kit, CONFIG);
    let is_listed =
        |told: &Metadata| told.runtime_id.is_empty() && told.container.names.contains_key("listed");
    for runtime in ["podman", "containerd", "crio", "systemd", "docker"] {
        // Of those that are not there as well.
        let listed = rig
            .kit
            .provided()
            .wait_for(|provided| provided.runtime == runtime && provided.metadata.iter().any(is_listed));
        listed.unwrap_or_else(|failure| panic!("{runtime}: {failure}"));
    }
    let of_docker = rig.kit.provided().all().into_iter().filter(|provided| provided.runtime == "docker");
    let before = of_docker.flat_map(|provided| provided.metadata).take_while(|told| !is_listed(told));
    assert_eq!(before.filter(|told| !told.runtime_id.is_empty()).count(), 20);
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

/// A directory and a socket that this user may not use.
const FORBIDDEN: &str = "docker.socket = \"/run/shut/docker.sock\"\ncri.socket = \"/run/closed.sock\"\n\
                         containerd.socket = [\"/run/file/c.sock\", \"/run/shut.c.sock\"]\n\
                         podman.socket = \"/run/shut.p.sock\"\nsystemd.socket = \"/run/shut.bus\"";

#[test]
fn what_may_not_be_looked_for_is_no_absence() {
    if !rustix::process::geteuid().is_root() {
        return as_a_user_who_may_not();
    }
    // Root may go everywhere.
    let own = std::env::current_exe().expect("a program");
    let directory = tempfile::tempdir().expect("a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("it is ours");
    let program = directory.path().join("test");
    std::fs::copy(own, &program).expect("a copy");
    let mut command = std::process::Command::new(&program);
    command.args(["--exact", "what_may_not_be_looked_for_is_no_absence", "--nocapture"]);
    std::os::unix::process::CommandExt::uid(&mut command, 65534);
    let output = command.current_dir("/").output().expect("it starts");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn as_a_user_who_may_not() {
    use std::os::unix::fs::PermissionsExt;
    let kit = kit();
    kit.tree().dir("run/shut");
    kit.tree().write("run/file", "");
    let sockets = ["run/closed.sock", "run/shut.c.sock", "run/shut.p.sock", "run/shut.bus"];
    let _closed = sockets
        .map(|socket| std::os::unix::net::UnixListener::bind(kit.tree().path(socket)).expect("a socket"));
    let mode = |path: &str, mode| {
        std::fs::set_permissions(kit.tree().path(path), PermissionsExt::from_mode(mode)).expect("it is ours");
    };
    mode("run/shut", 0);
    sockets.into_iter().for_each(|socket| mode(socket, 0));
    let notes = kit.probe(FORBIDDEN).expect("it is asked").notes;
    let of = |socket: &str| notes.iter().find(|note| note.contains(socket)).expect("it has a note").clone();
    assert!(of("shut").contains("may not be looked for by this user: run as root"), "{notes:?}");
    assert!(of("shut").contains("add CAP_DAC_READ_SEARCH to grant"), "{notes:?}");
    for socket in sockets {
        assert!(of(socket).contains("may not be opened by this user"), "{socket}: {notes:?}");
    }
    assert!(of("file").contains("is no directory"), "{notes:?}");
    let mut rig = Rig::start(kit.clone(), FORBIDDEN);
    rig.troubled(&["/run/shut/docker.sock", "Permission denied", "run as root"]);
    for socket in sockets {
        let socket = format!("/{socket}:");
        rig.troubled(&[&socket, "version", "Permission denied", "add CAP_DAC_OVERRIDE to grant"]);
    }
    rig.troubled(&["/run/file/c.sock", "Not a directory"]);
    // Of one socket that is asked over two APIs it is said once.
    let twice = "docker.enabled = false\npodman.enabled = false\nsystemd.enabled = false\n\
                 cri.socket = \"/run/shut/c.sock\"\ncontainerd.socket = \"/run/shut/c.sock\"";
    let mut rig = Rig::start(kit.clone(), twice);
    rig.troubled(&["/run/shut/c.sock", "add CAP_DAC_READ_SEARCH to grant"]);
    let fails = |line: &gantry_plugin_testkit::Line| line.message.contains("/run/shut/c.sock: connect");
    gantry_plugin_testkit::eventually(|| {
        let failed = kit.log().all().iter().filter(|line| fails(line)).count();
        if failed >= 2 { Ok(()) } else { Err(format!("{failed} of two")) }
    })
    .unwrap_or_else(|failure| panic!("{failure}"));
    let troubles = rig.running.troubles().expect("it has a health");
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    // So that it can be taken away.
    mode("run/shut", 0o755);
}
