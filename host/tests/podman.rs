//! The whole agent beside a real Podman: names, figures and lives of containers.

mod support;

use gantry_test_podman::{IMAGE, Podman};
use support::agent::Agent;
use support::private_dir;
use support::series::{scrape_until, value};

const USAGE: &str = "container_resources_cpu_usage_seconds_total";
const RESTARTS: &str = "container_restarts_total";

/// An agent that shows containers as soon as they have their names.
fn agent(podman: &Podman) -> Agent {
    let plugins = format!(
        "[plugins.containers]\nenabled = true\n\
         config.docker.enabled = false\nconfig.cri.enabled = false\nconfig.systemd.enabled = false\n\
         config.containerd.enabled = false\n\
         config.podman = {{ socket = {:?}, deadline = \"20s\" }}\n",
        podman.socket()
    );
    let host = "[host.identity]\nmetadata_wait = \"30s\"\nmin_container_age = \"0s\"";
    Agent::start_in(private_dir(), host, &plugins)
}

fn of(text: &str, name: &str, id: &str) -> Option<f64> {
    value(text, name, &[("container_id", id)])
}

#[test]
fn a_container_has_its_name_and_stays_itself_when_it_is_started_again() {
    let Some(podman) = Podman::start() else { return };
    let agent = agent(&podman);
    let raw = podman.container(&["--name", "web", "--memory", "64m"]);
    let id = "/podman/web";
    let runtime = [
        ("container_id", id),
        ("runtime", "podman"),
        ("runtime_id", &*raw),
        ("name", "web"),
        ("log_driver", "k8s-file"),
    ];
    let text = scrape_until(&agent, "it is shown with its name and what it used", |text| {
        of(text, USAGE, id).is_some_and(|seconds| seconds > 0.0)
            && value(text, "container_runtime_info", &runtime) == Some(1.0)
    });
    assert_eq!(
        value(&text, "container_info", &[("container_id", id), ("image", IMAGE)]),
        Some(1.0),
        "{text}"
    );
    assert_eq!(of(&text, "container_resources_memory_limit_bytes", id), Some(f64::from(64 << 20)), "{text}");
    assert_eq!(of(&text, RESTARTS, id), Some(0.0));
    let up = [("runtime", "podman"), ("api", "podman")];
    assert_eq!(value(&text, "container_runtime_up", &up), Some(1.0), "{text}");
    let used = of(&text, USAGE, id).expect("it is shown");

    podman.run(&["restart", "-t", "0", "web"]);
    let text = scrape_until(&agent, "it was started again", |text| of(text, RESTARTS, id) == Some(1.0));
    assert!(of(&text, USAGE, id).is_some_and(|seconds| seconds >= used), "its counters go on: {text}");
    assert!(!text.contains(&format!("container_id=\"/podman/{raw}")), "it is shown by its raw id: {text}");
    assert!(!text.contains("conmon"), "what watches it is no container: {text}");
}

#[test]
fn a_pod_s_containers_are_shown_and_what_holds_its_namespaces_is_not() {
    let Some(podman) = Podman::start() else { return };
    let agent = agent(&podman);
    podman.run(&["pod", "create", "--name", "shop", "--infra-image", IMAGE, "--network", "host"]);
    let infra = podman.run(&["pod", "inspect", "-f", "{{.InfraContainerID}}", "shop"]);
    podman.container_in("shop", &["--name", "front"]);
    let id = "/podman/front";
    // Podman lists a container before it can tell all of it.
    let text = scrape_until(&agent, "it is shown with its image", |text| {
        of(text, USAGE, id).is_some()
            && value(text, "container_info", &[("container_id", id), ("image", IMAGE)]) == Some(1.0)
    });
    let name = podman.run(&["inspect", "-f", "{{.Name}}", &infra]);
    for hidden in [&infra, &name] {
        assert!(!text.contains(&format!("\"/podman/{hidden}")), "{hidden}: {text}");
    }
    let skipped = |text: &str| {
        let rows = agent.table(&["containers", "--where", "runtime=podman"]);
        assert!(!text.is_empty());
        rows.iter().any(|row| row["shown"].as_str().is_some_and(|shown| shown.contains("pause")))
    };
    scrape_until(&agent, "the host knows what holds the pod's namespaces", skipped);
}
