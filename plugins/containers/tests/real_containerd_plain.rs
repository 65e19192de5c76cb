//! Before a real containerd: what it runs for others than the kubelet.

mod support;

use gantry_containers::Containers;
use gantry_plugin_testkit::{Check, Kit, PATIENCE, Tree};
use gantry_test_containerd::{Containerd, IMAGE};
use support::Rig;

const SLEEP: &str = "sleep 1000000";

fn rig(containerd: &Containerd) -> Rig {
    let kit = Kit::of::<Containers>().with_tree(Tree::at("/")).deadline(PATIENCE).allow(Check::Skipped, "");
    let off = "docker.enabled = false\npodman.enabled = false\nsystemd.enabled = false\ncri.enabled = false";
    let socket = containerd.socket();
    let own = format!("[containerd]\nsocket = \"{}\"\ndeadline = \"20s\"", socket.display());
    Rig::start_of("containerd", kit, &format!("{off}\n{own}"))
}

fn digest(of: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    format!("{:016x}", hasher.finish()).repeat(4)
}

#[test]
fn a_plain_container_s_life_is_told() {
    let Some(containerd) = Containerd::start("") else { return };
    containerd.import_into("default");
    let web = format!("{}-web", containerd.name());
    let mount = format!("type=bind,src={},dst=/data,options=rbind:ro", containerd.dir().display());
    let options = ["--env", "GANTRY_DISABLE=logs", "--label", "team=shop", "--mount", &mount];
    containerd.plain("default", &web, &options, SLEEP);
    let pod = containerd.pod("shop", "web-0", "8d1a1f0e-5c1e-4f0a-9d5a-0a1b2c3d4e5f");
    let mut rig = rig(&containerd);

    let told = rig.told(&web, |told| told.init.is_some());
    assert_eq!((&*told.runtime, &*told.image, &*told.names["name"]), ("containerd", IMAGE, &*web));
    assert_eq!((&*told.labels["team"], &*told.environment["GANTRY_DISABLE"]), ("shop", "logs"));
    assert!(told.host_network && !told.names.contains_key("containerd_namespace"), "{told:?}");
    let first = told.init.expect("it runs");
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", first.pid)).expect("it runs");
    assert!(cgroup.contains(&format!("/default/{web}\n")), "as the host's table has it: {cgroup}");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!((now - 3600..=now + 1).contains(&told.started_at), "{} {now}", told.started_at);
    let volumes: Vec<_> =
        told.volumes.iter().map(|one| (&*one.mount_point, &*one.kind, one.read_only)).collect();
    assert_eq!(volumes, [("/data", "bind", true)], "and nothing that each container has");
    rig.up(true);

    // Its process ends and another one is begun, its labels change.
    containerd.stop_plain("default", &web);
    rig.told(&web, |told| told.init.is_none());
    containerd.start_plain("default", &web);
    rig.told(&web, |told| told.init.is_some_and(|init| init != first));
    containerd.label_plain("default", &web, "team=other");
    rig.told(&web, |told| told.labels["team"] == "other");

    // A namespace that comes later, with what nerdctl keeps in labels.
    let (namespace, id) = (format!("{}-n", containerd.name()), digest(&web));
    containerd.import_into(&namespace);
    let log = containerd.dir().join(format!("{id}-json.log"));
    std::fs::write(&log, "").expect("the test's own directory");
    let state_dir = format!("nerdctl/state-dir={}", containerd.dir().display());
    let within = format!("nerdctl/namespace={namespace}");
    let labels = ["--label", "nerdctl/name=front", "--label", &within, "--label", &state_dir];
    containerd.plain(&namespace, &id, &labels, SLEEP);
    let told = rig.told(&id, |told| told.init.is_some());
    assert_eq!((&*told.names["name"], &*told.names["containerd_namespace"]), ("front", &*namespace));
    assert_eq!((&*told.log_driver, &*told.log_path), ("json-file", &*log.to_string_lossy()));

    // A name of its own in another namespace is that of nobody the host sees.
    containerd.plain(&namespace, &web, &[], SLEEP);
    containerd.remove_plain(&namespace, &id);
    rig.removed(&id);
    containerd.remove_plain("default", &web);
    rig.removed(&web);
    let others = |told: &gantry_plugin_api::identity::Metadata| {
        told.runtime_id == pod.id
            || told.container.names.contains_key("containerd_namespace") && told.runtime_id == web
    };
    assert!(!rig.kit.provided().any(|provided| provided.metadata.iter().any(others)), "neither a pod's");
    assert!(rig.running.troubles().expect("has a health").is_empty());
    rig.running.stop().expect("it stops");
}

#[test]
fn containerd_goes_and_comes_back() {
    let Some(mut containerd) = Containerd::start("\"io.containerd.grpc.v1.cri\"") else { return };
    containerd.import_into("default");
    let web = format!("{}-web", containerd.name());
    containerd.plain("default", &web, &[], SLEEP);
    let mut rig = rig(&containerd);
    rig.told(&web, |told| told.init.is_some());
    containerd.kill_daemon();
    rig.up(false);
    rig.kit.provided().clear();
    containerd.start_daemon();
    rig.told(&web, |told| told.init.is_some());
    rig.up(true);
    rig.running.stop().expect("it stops");
}
