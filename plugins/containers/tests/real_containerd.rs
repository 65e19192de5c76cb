//! Before a real containerd: what is told is what it was asked for, as a kubelet asks.

mod support;

use gantry_containers::Containers;
use gantry_plugin_api::Container;
use gantry_plugin_testkit::{Check, Kit, PATIENCE, Tree, eventually};
use gantry_test_containerd::{Containerd, IMAGE};
use support::Rig;

const UID: &str = "8d1a1f0e-5c1e-4f0a-9d5a-0a1b2c3d4e5f";
/// Of a static pod: a digest of its manifest.
const STATIC_UID: &str = "0123456789abcdef0123456789abcdef";
const SLEEP: &str = "echo started; sleep 1000000";

fn rig(containerd: &Containerd) -> Rig {
    let kit = Kit::of::<Containers>().with_tree(Tree::at("/")).deadline(PATIENCE).allow(Check::Skipped, "");
    let socket = containerd.socket();
    Rig::start(
        kit,
        &format!("[docker]\nenabled = false\n[cri]\nsocket = \"{}\"\ndeadline = \"20s\"", socket.display()),
    )
}

fn names(told: &Container) -> [&str; 4] {
    ["namespace", "pod", "container", "pod_uid"].map(|kind| told.names.get(kind).map_or("", String::as_str))
}

#[test]
fn a_pod_s_life_is_told() {
    let Some(containerd) = Containerd::start("") else { return };
    let claim = "pvc-0a1b2c3d-0000-1111-2222-0123456789ab";
    let volume = containerd.dir().join(format!("volumes/{claim}/mount"));
    std::fs::create_dir_all(&volume).expect("the test's own directory");
    let pod = containerd.pod("shop", "web-0", UID);
    let init = containerd.container(&pod, "migrate", 0, "true", &[]);
    let web = containerd.container(
        &pod,
        "nginx",
        0,
        SLEEP,
        &[(&volume, "/data", false), (containerd.dir(), "/config", true)],
    );
    let mut rig = rig(&containerd);

    let told = rig.told(&web, |told| told.init.is_some());
    assert_eq!(names(&told), ["shop", "web-0", "nginx", UID]);
    assert_eq!((told.runtime.as_str(), told.image.as_str(), told.host_network), ("containerd", IMAGE, true));
    assert_eq!(
        (told.labels["io.kubernetes.pod.uid"].as_str(), told.environment["GANTRY_DISABLE"].as_str()),
        (UID, "logs")
    );
    let first = told.init.expect("it runs");
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", first.pid)).expect("it runs");
    assert!(cgroup.contains(&format!("/kubepods/besteffort/pod{UID}/{web}\n")), "{cgroup}");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(told.started_at <= now && told.started_at > now - 3600, "{} {now}", told.started_at);
    assert_eq!(told.log_path, format!("{}/nginx/0.log", pod.config.log_directory));
    eventually(|| {
        let log = std::fs::read_to_string(&told.log_path).map_err(|error| error.to_string())?;
        // A time, the stream, whether the line is whole.
        if log.ends_with(" stdout F started\n") { Ok(()) } else { Err(log) }
    })
    .expect("it is written as the kubelet reads it");
    let volumes: Vec<(&str, &str, bool)> =
        told.volumes.iter().map(|one| (one.mount_point.as_str(), one.name.as_str(), one.read_only)).collect();
    assert_eq!(volumes, [("/config", "", true), ("/data", claim, false)]);

    let done = rig.told(&init, |told| told.started_at > 0);
    assert_eq!((names(&done), done.init), (["shop", "web-0", "migrate", UID], None));
    let pause = rig.told(&pod.id, |told| told.init.is_some());
    assert_eq!((names(&pause), pause.labels["app"].as_str()), (["shop", "web-0", "", UID], "web"));
    assert!(pause.host_network && pause.started_at > 0);

    // Another attempt is another container of the same name.
    containerd.stop(&web);
    rig.told(&web, |told| told.init.is_none());
    let again = containerd.container(&pod, "nginx", 1, SLEEP, &[]);
    let debugger = containerd.container(&pod, "debugger-x7k2p", 0, SLEEP, &[]);
    let told = rig.told(&again, |told| told.init.is_some_and(|init| init != first));
    assert_eq!(names(&told), ["shop", "web-0", "nginx", UID]);
    assert!(told.log_path.ends_with("/nginx/1.log"), "{}", told.log_path);
    assert_eq!(
        names(&rig.told(&debugger, |told| told.init.is_some())),
        ["shop", "web-0", "debugger-x7k2p", UID]
    );
    containerd.remove(&web);
    rig.removed(&web);

    let proxy = containerd.pod("kube-system", "kube-proxy-node1", STATIC_UID);
    let of_proxy = containerd.container(&proxy, "kube-proxy", 0, SLEEP, &[]);
    let told = rig.told(&of_proxy, |told| told.init.is_some());
    assert_eq!(names(&told), ["kube-system", "kube-proxy-node1", "kube-proxy", STATIC_UID]);
    containerd.remove_pod(&proxy.id);
    rig.removed(&proxy.id);
    rig.removed(&of_proxy);
    rig.shows("container_runtime_up{runtime=\"containerd\",api=\"cri\"}", |up| up == 1.0);
    assert!(rig.running.troubles().expect("has a health").is_empty());
    rig.running.stop().expect("it stops");
}

#[test]
fn containerd_goes_and_comes_back() {
    let Some(mut containerd) = Containerd::start("") else { return };
    let pod = containerd.pod("shop", "web-0", UID);
    let web = containerd.container(&pod, "nginx", 0, SLEEP, &[]);
    let mut rig = rig(&containerd);
    rig.told(&web, |told| told.init.is_some());
    containerd.kill_daemon();
    rig.shows("container_runtime_up{runtime=\"containerd\",api=\"cri\"}", |up| up == 0.0);
    rig.kit.provided().clear();
    containerd.start_daemon();
    rig.told(&web, |told| told.init.is_some() && told.names["pod"] == "web-0");
    rig.shows("container_runtime_up{runtime=\"containerd\",api=\"cri\"}", |up| up == 1.0);
    rig.running.stop().expect("it stops");
}

#[test]
fn a_cri_that_is_switched_off_is_said() {
    let Some(containerd) = Containerd::start("\"io.containerd.grpc.v1.cri\"") else { return };
    let mut rig = rig(&containerd);
    rig.unused("disabled_plugins");
    rig.running.stop().expect("it stops");
}
