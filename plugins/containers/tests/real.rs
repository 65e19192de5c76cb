//! Before a real Docker: what is told is what `docker inspect` says.

mod support;

use gantry_containers::Containers;
use gantry_plugin_api::Container;
use gantry_plugin_testkit::{Check, Kit, PATIENCE, Tree};
use gantry_test_docker::{Docker, IMAGE};
use support::Rig;

fn rig(docker: &Docker) -> Rig {
    let kit = Kit::of::<Containers>().with_tree(Tree::at("/")).deadline(PATIENCE).allow(Check::Skipped, "");
    // A machine under load takes its time; nothing here is about deadlines.
    Rig::start(kit, &format!("[docker]\nsocket = \"{}\"\ndeadline = \"20s\"", docker.socket().display()))
}

fn name(told: &Container) -> &str {
    told.names.get("name").map_or("", String::as_str)
}

#[test]
fn all_that_is_told_is_what_docker_says() {
    let Some(docker) = Docker::start() else { return };
    // Docker allows [a-zA-Z0-9][a-zA-Z0-9_.-]+ in names.
    let odd_name = format!("0dd_Na.me--{}", "x".repeat(100));
    let long = "v".repeat(4096);
    let before = docker.container(
        &[
            &["--network", "none", "--name", &odd_name],
            &[
                "--label",
                "quotes=\"a\" 'b' \\c",
                "--label",
                "lines=one\ntwo",
                "--label",
                "unicode=é日本\u{1F600}",
            ][..],
            &["--label", &format!("long={long}"), "--label", "empty="],
            &["-e", "GANTRY_DISABLE=logs", "-e", "EQUALS=a=b=c", "-e", "LINES=one\ntwo", "-e", "EMPTY="],
            &["-v", "data:/data", "-v", "/etc:/host etc:ro", "--tmpfs", "/scratch", "-v", "/anonymous"],
        ]
        .concat(),
    );
    let rig = rig(&docker);
    let told = rig.told(&before, |_| true);
    assert_eq!(
        (name(&told), told.image.as_str(), told.runtime.as_str()),
        (odd_name.as_str(), IMAGE, "docker")
    );
    assert_eq!(told.labels["quotes"], "\"a\" 'b' \\c");
    assert_eq!(
        (told.labels["lines"].as_str(), told.labels["unicode"].as_str()),
        ("one\ntwo", "é日本\u{1F600}")
    );
    assert_eq!((&told.labels["long"], told.labels["empty"].as_str()), (&long, ""));
    let variable = |name: &str| told.environment[name].as_str();
    assert_eq!((variable("GANTRY_DISABLE"), variable("EQUALS")), ("logs", "a=b=c"));
    assert_eq!((variable("LINES"), variable("EMPTY")), ("one\ntwo", ""));
    assert_eq!(told.log_driver, "json-file");
    assert_eq!(told.log_path, docker.run(&["inspect", "-f", "{{.LogPath}}", &before]));
    assert!(std::path::Path::new(&told.log_path).is_file());
    let init = told.init.expect("it runs");
    assert_eq!(init.pid.to_string(), docker.run(&["inspect", "-f", "{{.State.Pid}}", &before]));
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", init.pid)).expect("it runs");
    assert!(stat.contains(&format!(" {} ", init.start)), "{stat}: {init:?}");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(told.started_at <= now && told.started_at > now - 3600, "{} {now}", told.started_at);
    assert_eq!((told.networks.as_slice(), told.host_network), (&["none".to_owned()][..], false));

    let [anonymous, data, etc, scratch] = told.volumes.as_slice() else { panic!("{:#?}", told.volumes) };
    assert_eq!((anonymous.mount_point.as_str(), anonymous.name.len()), ("/anonymous", 64));
    assert_eq!(
        (data.mount_point.as_str(), data.name.as_str(), data.kind.as_str()),
        ("/data", "data", "volume")
    );
    assert!(data.source.ends_with("/volumes/data/_data") && !data.read_only, "{data:?}");
    assert_eq!(
        (etc.mount_point.as_str(), etc.source.as_str(), etc.kind.as_str()),
        ("/host etc", "/etc", "bind")
    );
    assert!(etc.read_only && etc.name.is_empty());
    assert_eq!((scratch.mount_point.as_str(), scratch.kind.as_str()), ("/scratch", "tmpfs"));
}

#[test]
fn its_life_is_followed() {
    let Some(docker) = Docker::start() else { return };
    let rig = rig(&docker);
    let first = docker.container(&["--network", "host", "--name", "one"]);
    let told = rig.told(&first, |told| told.init.is_some());
    assert!(told.host_network && told.networks == ["host"], "{told:?}");
    let init = told.init.expect("just asked for");

    docker.run(&["rename", "one", "two"]);
    rig.told(&first, |told| name(told) == "two");
    docker.run(&["restart", "-t", "0", &first]);
    let again = rig.told(&first, |told| told.init.is_some_and(|now| now != init));
    assert!(again.started_at >= told.started_at);
    docker.run(&["kill", &first]);
    rig.told(&first, |told| told.init.is_none() && name(told) == "two");
    docker.run(&["rm", &first]);
    rig.removed(&first);

    // Under the same name it is another one.
    let second = docker.container(&["--network", "none", "--name", "two", "--log-driver", "none"]);
    assert_ne!(first, second);
    let told = rig.told(&second, |told| told.init.is_some());
    assert_eq!((name(&told), told.log_path.as_str(), told.log_driver.as_str()), ("two", "", "none"));
    // One that lives for a moment is known after it is gone.
    let short = docker.run(&["run", "-d", "--rm", "--network", "none", "--name", "short", IMAGE, "true"]);
    rig.removed(&short);
}

#[test]
fn docker_goes_and_comes_back() {
    let Some(mut docker) = Docker::start() else { return };
    let stays = docker.container(&["--network", "none", "--name", "stays"]);
    let goes = docker.container(&["--network", "none", "--name", "goes"]);
    let mut rig = rig(&docker);
    rig.told(&stays, |_| true);
    rig.told(&goes, |_| true);
    rig.up(true);
    docker.run(&["rm", "-f", &goes]);
    rig.removed(&goes);

    docker.stop_daemon();
    rig.up(false);
    rig.kit.provided().clear();
    docker.start_daemon();
    // What stands still is told anew, as a new host would not know it.
    rig.told(&stays, |told| name(told) == "stays" && told.init.is_none());
    rig.up(true);
    let new = docker.container(&["--network", "none", "--name", "new"]);
    rig.told(&new, |told| told.init.is_some());

    docker.kill_daemon();
    rig.up(false);
    rig.running.stop().expect("it stops");
}

#[test]
fn published_ports_and_networks() {
    let Some(docker) = Docker::with_network() else { return };
    let rig = rig(&docker);
    docker.run(&["network", "create", "back"]);
    let web = docker.container(&[
        "--name",
        "web",
        "-p",
        "127.0.0.1:18080:80",
        "-p",
        "18053:53/udp",
        "-p",
        "127.0.0.1::8443",
        "--expose",
        "9000",
    ]);
    let told = rig.told(&web, |told| told.init.is_some() && !told.ports.is_empty());
    let ports: Vec<(&str, u16, u16, &str)> = told
        .ports
        .iter()
        .map(|port| (port.host_address.as_str(), port.host_port, port.container_port, port.protocol.as_str()))
        .collect();
    assert!(ports.contains(&("127.0.0.1", 18080, 80, "tcp")), "{ports:?}");
    assert!(ports.contains(&("0.0.0.0", 18053, 53, "udp")), "{ports:?}");
    let chosen = docker.run(&["port", &web, "8443"]);
    assert!(
        ports.iter().any(|port| port.2 == 8443 && chosen == format!("127.0.0.1:{}", port.1)),
        "{ports:?} {chosen}"
    );
    assert!(!ports.iter().any(|port| port.2 == 9000), "exposed is not published: {ports:?}");
    assert_eq!(told.networks, ["bridge"]);

    docker.run(&["network", "connect", "back", &web]);
    rig.told(&web, |told| told.networks == ["back", "bridge"]);
    docker.run(&["network", "disconnect", "bridge", &web]);
    rig.told(&web, |told| told.networks == ["back"]);
}
