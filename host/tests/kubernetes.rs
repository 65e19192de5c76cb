//! The whole agent beside a real containerd that runs pods as a kubelet asks.

mod support;

use gantry_test_containerd::Containerd;
use support::agent::Agent;
use support::kernel::Disk;
use support::series::{scrape_until, value};
use support::{needs, private_dir};

const UID: &str = "8d1a1f0e-5c1e-4f0a-9d5a-0a1b2c3d4e5f";
const OTHER_UID: &str = "9e2b2f1f-6d2f-4a1b-8e6b-1b2c3d4e5f60";
const SLEEP: &str = "sleep 1000000";
const USAGE: &str = "container_resources_cpu_usage_seconds_total";

/// An agent that shows containers as soon as they have their names.
fn agent(containerd: &Containerd) -> Agent {
    let plugins = format!(
        "[plugins.containers]\nenabled = true\n\
         config.docker.enabled = false\nconfig.podman.enabled = false\nconfig.systemd.enabled = false\n\
         config.cri = {{ socket = {:?}, deadline = \"20s\" }}\n",
        containerd.socket()
    );
    let host = "[host.identity]\nmetadata_wait = \"30s\"\nmin_container_age = \"0s\"";
    Agent::start_in(private_dir(), host, &plugins)
}

fn of(text: &str, name: &str, id: &str) -> Option<f64> {
    value(text, name, &[("container_id", id)])
}

#[test]
fn a_pod_s_containers_have_its_name_and_stay_themselves_when_they_are_started_again() {
    let Some(containerd) = Containerd::start("") else { return };
    let agent = agent(&containerd);
    let pod = containerd.pod("shop", "web-7d4b9c6f5-x2x7k", UID);
    containerd.container(&pod, "migrate", 0, "true", &[]);
    let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 1000000";
    let first = containerd.container(&pod, "nginx", 0, busy, &[]);
    let (id, app) = ("/k8s/shop/web-7d4b9c6f5-x2x7k/nginx", "/k8s/shop/web");
    // Its cgroup's path does not tell the runtime.
    let info = [("container_id", id), ("app_id", app), ("runtime", "containerd"), ("runtime_id", &*first)];
    let text = scrape_until(&agent, "it is shown with its name and what it used", |text| {
        of(text, USAGE, id).is_some_and(|seconds| seconds > 0.005)
            && value(text, "container_runtime_info", &info) == Some(1.0)
    });
    assert_eq!(of(&text, "container_restarts_total", id), Some(0.0));
    let used = of(&text, USAGE, id).expect("it is shown");

    // What the kubelet does when a container ended: another one of its name.
    containerd.stop(&first);
    let second = containerd.container(&pod, "nginx", 1, SLEEP, &[]);
    containerd.remove(&first);
    let text = scrape_until(&agent, "it was started again", |text| {
        of(text, "container_restarts_total", id) == Some(1.0)
    });
    assert!(of(&text, USAGE, id).is_some_and(|seconds| seconds >= used), "its counters go on: {text}");
    for raw in [first, second, pod.id] {
        assert!(!text.contains(&format!("container_id=\"/containerd/{raw}")), "none is shown by its raw id");
        assert!(!text.contains(&format!("container_id=\"/kubernetes/{raw}")), "none is shown by its raw id");
    }
}

#[test]
fn a_claim_is_shown_by_its_volume_with_how_full_it_is() {
    let Some(containerd) = Containerd::start("") else { return };
    let disk = Disk::of(containerd.dir());
    if !needs::have("a disk below /tmp", disk.is_some()) {
        return;
    }
    let (disk, claim) = (disk.expect("just looked").name, "pvc-0a1b2c3d-0000-1111-2222-0123456789ab");
    // As the kubelet has a driver of CSI mount it.
    let volume = containerd.dir().join(format!("pods/{UID}/volumes/kubernetes.io~csi/{claim}/mount"));
    std::fs::create_dir_all(&volume).expect("the test's own directory");
    let agent = agent(&containerd);
    let pod = containerd.pod("shop", "db-0", UID);
    containerd.container(&pod, "postgres", 0, SLEEP, &[(&volume, "/data", false)]);
    let labels = [
        ("container_id", "/k8s/shop/db-0/postgres"),
        ("mount_point", "/data"),
        ("device", &*disk),
        ("volume", claim),
    ];
    let shown = |text: &str, what: &str| value(text, &format!("container_resources_disk_{what}"), &labels);
    let stat = rustix::fs::statvfs(&volume).expect("it is there");
    let size = (stat.f_blocks * stat.f_frsize) as f64;
    let text = scrape_until(&agent, "it is shown", |text| shown(text, "size_bytes").is_some());
    assert_eq!(shown(&text, "size_bytes"), Some(size), "{text}");
    assert_eq!(shown(&text, "hung"), Some(0.0), "{text}");
    for part in ["used_bytes", "reserved_bytes"] {
        assert!(shown(&text, part).is_some_and(|bytes| (0.0..=size).contains(&bytes)), "{part}: {text}");
    }
    let of_claim = text
        .lines()
        .filter(|line| line.starts_with("container_resources_disk_size_bytes{") && line.contains(claim));
    assert_eq!(of_claim.count(), 1, "the sandbox does not show it: {text}");
}

#[test]
fn a_pod_that_is_made_anew_under_its_name_goes_on_while_the_old_one_lingers() {
    let Some(containerd) = Containerd::start("") else { return };
    let agent = agent(&containerd);
    let (id, name) = ("/k8s/shop/db-0/postgres", "db-0");
    let old = containerd.pod("shop", name, UID);
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 1000000";
    let first = containerd.container(&old, "postgres", 0, busy, &[]);
    let text = scrape_until(&agent, "it is shown with what it used", |text| {
        of(text, USAGE, id).is_some_and(|seconds| seconds > 0.02)
    });
    let used = of(&text, USAGE, id).expect("it is shown");
    // The runtime keeps both for a while: the old pod's cgroup has its sandbox in
    // it. For one whose container's own lingers see `crio.rs`.
    let lingers = || {
        let pod = format!("{}/kubepods/besteffort/pod{UID}/{}", containerd.name(), old.id);
        support::cgroup::hierarchies().iter().any(|root| root.join(&pod).is_dir())
    };
    containerd.stop(&first);
    let new = containerd.pod("shop", name, OTHER_UID);
    containerd.container(&new, "postgres", 0, SLEEP, &[]);
    let text =
        scrape_until(&agent, "it runs again", |text| of(text, "container_restarts_total", id) == Some(1.0));
    assert!(of(&text, USAGE, id).is_some_and(|seconds| seconds >= used), "{text}");
    assert!(lingers(), "the old one is there");
    let meanwhile = of(&text, USAGE, id).expect("it is shown");
    containerd.remove_pod(&old.id);
    assert!(!lingers(), "the old one is gone");
    let text = scrape_until(&agent, "the new one stays", |text| of(text, USAGE, id).is_some());
    assert!(of(&text, USAGE, id).is_some_and(|seconds| seconds >= meanwhile), "{text}");
    assert_eq!(of(&text, "container_restarts_total", id), Some(1.0));
}

#[test]
fn what_lives_for_moments_is_folded_with_its_namespace() {
    let Some(containerd) = Containerd::start("") else { return };
    let plugins = format!(
        "[plugins.containers]\nenabled = true\n\
         config.docker.enabled = false\nconfig.podman.enabled = false\nconfig.systemd.enabled = false\n\
         config.cri = {{ socket = {:?}, deadline = \"20s\" }}\n",
        containerd.socket()
    );
    let agent = Agent::start_in(private_dir(), "[host.identity]\nmetadata_wait = \"30s\"", &plugins);
    // No other test's: each agent sees all containers of the machine.
    let pod = containerd.pod("moments", "web-7d4b9c6f5-x2x7k", UID);
    agent.scrape();
    for name in ["one", "two", "three"] {
        containerd.container(&pod, name, 0, "true", &[]);
    }
    let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
    containerd.container(&pod, "busy", 0, busy, &[]);
    // The pod's cgroup keeps what those in it used; its sandbox is there still.
    let parent = format!("{}/kubepods/besteffort/pod{UID}", containerd.name());
    let sandbox = format!("{parent}/{}", pod.id);
    let text = scrape_until(&agent, "what they used is in the fold of their namespace", |text| {
        let used = cpu_seconds(&parent) - cpu_seconds(&sandbox);
        let folded = of(text, USAGE, "/k8s/moments/~short-lived").unwrap_or_default();
        // The busy one lives long enough to be read, whatever else the machine does.
        folded > 0.005 && folded >= 0.99 * used
    });
    assert!(!text.contains("web-7d4b9c6f5-x2x7k/"), "none has a series of its own: {text}");
}

/// Seconds of CPU time of a cgroup.
fn cpu_seconds(path: &str) -> f64 {
    let root = std::path::Path::new("/sys/fs/cgroup");
    if let Ok(nanos) = std::fs::read_to_string(root.join("cpuacct").join(path).join("cpuacct.usage")) {
        return nanos.trim().parse::<f64>().expect("a number") / 1e9;
    }
    let stat = std::fs::read_to_string(root.join(path).join("cpu.stat")).expect("one of both");
    let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).expect("usage");
    micros.parse::<f64>().expect("a number") / 1e6
}
