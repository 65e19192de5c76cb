//! The whole agent beside a real containerd that runs plain containers.

mod support;

use gantry_test_containerd::{Containerd, IMAGE};
use support::agent::Agent;
use support::private_dir;
use support::series::{scrape_until, value};

const USAGE: &str = "container_resources_cpu_usage_seconds_total";

#[test]
fn plain_containers_have_their_names_beside_pods() {
    let Some(containerd) = Containerd::start("") else { return };
    let socket = containerd.socket();
    let plugins = format!(
        "[plugins.containers]\nenabled = true\n\
         config.docker.enabled = false\nconfig.podman.enabled = false\nconfig.systemd.enabled = false\n\
         config.cri = {{ socket = {socket:?}, deadline = \"20s\" }}\n\
         config.containerd = {{ socket = {socket:?}, deadline = \"20s\" }}\n"
    );
    let host = "[host.identity]\nmetadata_wait = \"30s\"\nmin_container_age = \"0s\"";
    let agent = Agent::start_in(private_dir(), host, &plugins);
    let (redis, namespace) = (format!("{}-redis", containerd.name()), format!("{}-n", containerd.name()));
    // Of no cgroup that other tests of this process number.
    let digest = format!("{:032x}{:032x}", std::process::id(), u64::MAX);
    containerd.import_into("default");
    containerd.import_into(&namespace);
    let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 1000000";
    containerd.plain("default", &redis, &[], busy);
    containerd.plain(&namespace, &digest, &["--label", "nerdctl/name=front"], busy);
    containerd.plain("default", &format!("{redis}-quiet"), &["--env", "GANTRY_DISABLE=containers"], busy);
    let pod = containerd.pod("shop", "web-0", "8d1a1f0e-5c1e-4f0a-9d5a-0a1b2c3d4e5f");
    containerd.container(&pod, "nginx", 0, busy, &[]);
    let (plain, other) = (format!("/containerd/{redis}"), format!("/containerd/{namespace}/front"));
    let text = scrape_until(&agent, "all are shown with their names", |text| {
        [&plain, &other, "/k8s/shop/web-0/nginx"]
            .into_iter()
            .all(|id| value(text, USAGE, &[("container_id", id)]).is_some_and(|used| used > 0.005))
    });
    let info = [("container_id", plain.as_str()), ("image", IMAGE)];
    assert_eq!(value(&text, "container_info", &info), Some(1.0), "{text}");
    let info = [("container_id", other.as_str()), ("runtime", "containerd"), ("runtime_id", &digest)];
    // Though its cgroup lies in a directory that may be any runtime's.
    assert_eq!(value(&text, "container_runtime_info", &info), Some(1.0), "{text}");
    assert!(!text.contains(&format!("{redis}-quiet\"")), "it asked to be left alone: {text}");
    for api in ["cri", "containerd"] {
        assert_eq!(
            value(&text, "container_runtime_up", &[("runtime", "containerd"), ("api", api)]),
            Some(1.0)
        );
    }
    // Its process ends and another one is begun: the same container.
    containerd.stop_plain("default", &redis);
    containerd.start_plain("default", &redis);
    scrape_until(&agent, "it was started again", |text| {
        value(text, "container_restarts_total", &[("container_id", &plain)]) == Some(1.0)
    });
}
