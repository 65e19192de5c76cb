//! Before a real Podman of the test's own: what is told is what it says.

mod support;

use gantry_containers::Containers;
use gantry_plugin_testkit::{Check, Kit, PATIENCE, Tree};
use gantry_test_podman::{IMAGE, Podman};
use support::Rig;

fn rig(podman: &Podman) -> Rig {
    let kit = Kit::of::<Containers>().with_tree(Tree::at("/")).deadline(PATIENCE).allow(Check::Skipped, "");
    let config = format!(
        "docker.enabled = false\ncri.enabled = false\nsystemd.enabled = false\n\
         [podman]\nsocket = \"{}\"\ndeadline = \"20s\"",
        podman.socket().display()
    );
    Rig::start_of("podman", kit, &config)
}

#[test]
fn a_container_s_life_is_told() {
    let Some(podman) = Podman::start() else { return };
    let first =
        podman.container(&["--name", "web", "--label", "a=b", "-e", "FOO=bar", "-v", "/etc:/host:ro"]);
    let mut rig = rig(&podman);
    let told = rig.told(&first, |told| told.init.is_some());
    assert_eq!((told.names["name"].as_str(), told.runtime.as_str()), ("web", "podman"));
    assert_eq!((told.image.as_str(), told.labels["a"].as_str()), (IMAGE, "b"));
    assert_eq!(told.environment["FOO"], "bar");
    assert!(told.host_network);
    let volume = told.volumes.iter().find(|volume| volume.mount_point == "/host").expect("it is mounted");
    assert!(volume.read_only && volume.source == "/etc", "{volume:?}");
    // To Docker's clients Podman says `json-file`, which it is not.
    assert_eq!(told.log_driver, "k8s-file");
    assert_eq!(told.log_path, podman.run(&["inspect", "-f", "{{.HostConfig.LogConfig.Path}}", &first]));
    assert_eq!(
        told.init.expect("it runs").pid.to_string(),
        podman.run(&["inspect", "-f", "{{.State.Pid}}", &first])
    );
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", told.init.expect("it runs").pid));
    assert!(cgroup.expect("it runs").contains(&format!("/libpod-{first}")), "as the host's table has it");
    rig.up(true);
    // Its own API has said all of that.
    let asked = rig.collect();
    assert_eq!(asked.find(&rig.requests("inspect", "ok")), Some(0.0));
    assert!(asked.find(&rig.requests("libpod", "ok")).is_some_and(|count| count >= 1.0));
    assert!(told.started_at > 0);

    podman.run(&["rename", "web", "shop"]);
    podman.run(&["restart", "-t", "0", &first]);
    rig.told(&first, |again| {
        again.init.is_some() && again.init != told.init && again.names["name"] == "shop"
    });
    podman.run(&["rm", "-f", "-t", "0", &first]);
    rig.removed(&first);
    let second = podman.container(&["--name", "late"]);
    rig.told(&second, |told| told.init.is_some() && told.names["name"] == "late");
    rig.running.stop().expect("it stops");
}

#[test]
fn pods_are_told_and_what_holds_their_namespaces() {
    let Some(podman) = Podman::start() else { return };
    podman.run(&["pod", "create", "--name", "shop", "--infra=false"]);
    let inside = podman.container_in("shop", &["--name", "front", "--network", "host"]);
    let mut rig = rig(&podman);
    let told = rig.told(&inside, |told| told.init.is_some());
    assert_eq!((told.names["name"].as_str(), told.names["podman_pod"].as_str()), ("front", "shop"));
    assert!(!told.names.contains_key("pod"), "that is one of Kubernetes");
    let pod = podman.run(&["pod", "create", "--name", "held", "--infra-image", IMAGE, "--network", "host"]);
    let infra = podman.run(&["pod", "inspect", "-f", "{{.InfraContainerID}}", &pod]);
    assert_eq!(rig.told(&infra, |_| true).names["sandbox"], "held");
    rig.running.stop().expect("it stops");
}

#[test]
fn podman_goes_and_comes_back() {
    let Some(mut podman) = Podman::start() else { return };
    let stays = podman.container(&["--name", "stays"]);
    let mut rig = rig(&podman);
    rig.told(&stays, |told| told.init.is_some());
    podman.kill_service();
    rig.up(false);
    let goes = podman.container(&["--name", "meanwhile"]);
    podman.serve();
    rig.told(&goes, |told| told.init.is_some());
    rig.up(true);
    rig.running.stop().expect("it stops");
}
