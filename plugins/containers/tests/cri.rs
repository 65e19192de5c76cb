//! Before containerd and CRI-O as their documents say they behave: what the host
//! is told, and when.

mod support;

use gantry_plugin_testkit::{Kit, NewContainer};
use std::path::PathBuf;
use support::cri::api::Mount;
use support::cri::{Fake, container, crio as of_crio, id, pod, pod_id};
use support::{Rig, kit};

/// A machine under load takes its time.
const CONFIG: &str = "containerd.enabled = false\n[cri]\ndeadline = \"20s\"";

fn containerd(kit: &Kit) -> PathBuf {
    kit.tree().dir("run/containerd");
    kit.tree().path("run/containerd/containerd.sock")
}

fn crio(kit: &Kit) -> PathBuf {
    kit.tree().dir("run/crio");
    kit.tree().path("run/crio/crio.sock")
}

fn before(make: impl FnOnce(&Kit) -> Fake, fill: impl FnOnce(&Fake)) -> (Rig, Fake) {
    let kit = kit();
    let fake = make(&kit);
    fill(&fake);
    (Rig::start(kit, CONFIG), fake)
}

fn containerd_with(fill: impl FnOnce(&Fake)) -> (Rig, Fake) {
    before(|kit| Fake::containerd(&containerd(kit)), fill)
}

fn crio_with(fill: impl FnOnce(&Fake)) -> (Rig, Fake) {
    before(|kit| Fake::crio(&crio(kit)), fill)
}

fn one_pod(fake: &Fake) {
    fake.put_pod(pod(1, "web-1"));
    fake.put(container(1, 1, "nginx"));
}

/// The same, as CRI-O says it.
fn one_pod_of_crio(fake: &Fake) {
    fake.put_pod(of_crio::pod(1, "web-1"));
    fake.put(of_crio::container(1, 1, "nginx"));
}

/// What the host was told of the container: its pod, and its own name.
fn names(rig: &Rig, id: &str) -> [String; 3] {
    let told = rig.told(id, |_| true);
    ["namespace", "pod", "container"].map(|kind| told.names.get(kind).cloned().unwrap_or_default())
}

#[test]
fn what_is_there_is_told() {
    for (name, make) in [("containerd", containerd_with(one_pod)), ("crio", crio_with(one_pod_of_crio))] {
        let (mut rig, _fake) = make;
        let told = rig.told(&id(1), |_| true);
        assert_eq!(names(&rig, &id(1)), ["shop", "web-1", "nginx"]);
        assert_eq!((told.runtime.as_str(), told.image.as_str()), (name, "docker.io/library/nginx:1.27"));
        assert_eq!((told.started_at, told.host_network), (1_795_413_424, false));
        assert_eq!(
            (told.log_driver.as_str(), told.log_path.as_str()),
            ("cri", "/var/log/pods/shop_web-1_uid-1/nginx/0.log")
        );
        assert_eq!(told.environment["PATH"], "/bin");
        let pause = rig.told(&pod_id(1), |_| true);
        assert_eq!(names(&rig, &pod_id(1)), ["shop", "web-1", ""], "a sandbox has no name but its pod's");
        assert_eq!((pause.labels["app"].as_str(), pause.runtime.as_str()), ("web", name));
        rig.shows(&format!("container_runtime_up{{runtime=\"{name}\",api=\"cri\"}}"), |up| up == 1.0);
        assert!(rig.running.troubles().expect("has a health").is_empty());
    }
}

#[test]
fn start_does_not_wait_for_a_runtime() {
    let kit = kit();
    let mut rig = Rig::start(kit.clone(), CONFIG);
    rig.shows("container_runtime_up{runtime=\"containerd\",api=\"cri\"}", |up| up == 0.0);
    assert!(rig.running.troubles().expect("has a health").is_empty());
    let fake = Fake::containerd(&containerd(&kit));
    one_pod(&fake);
    rig.told(&id(1), |_| true);
}

#[test]
fn without_events_lists_tell_what_changed() {
    let (rig, fake) = containerd_with(one_pod);
    rig.told(&id(1), |_| true);
    fake.put(container(2, 1, "sidecar"));
    rig.told(&id(2), |_| true);
    let asked = fake.asked("ContainerStatus");
    fake.remove(&id(1));
    rig.removed(&id(1));
    assert_eq!(fake.asked("ContainerStatus"), asked, "what did not change is not looked at again");
    assert_eq!(fake.asked("GetContainerEvents"), 0, "they would be taken from the kubelet");
}

#[test]
fn events_are_followed() {
    let fills: [(_, _, fn(&Fake)); 2] =
        [("cri-o", "1.30.1", one_pod_of_crio), ("containerd", "2.0.4", one_pod)];
    for (name, version, fill) in fills {
        let (rig, fake) = before(|kit| Fake::start(&containerd(kit), name, version, true), fill);
        rig.told(&id(1), |_| true);
        gantry_plugin_testkit::eventually(|| {
            (fake.listeners() == 1).then_some(()).ok_or_else(|| "nobody listens".to_owned())
        })
        .expect("it listens");
        fake.put(container(2, 1, "sidecar"));
        fake.event(0, &id(2));
        rig.told(&id(2), |_| true);
        let mut restarted = container(2, 1, "sidecar");
        restarted.status.status.as_mut().expect("a status").started_at = 1_000_000_000;
        fake.put(restarted);
        fake.event(1, &id(2));
        rig.told(&id(2), |told| told.started_at == 1);
        fake.remove(&id(2));
        fake.event(3, &id(2));
        rig.removed(&id(2));
        assert_eq!(fake.asked("ListContainers"), 1, "no list was needed");
    }
}

#[test]
fn a_crio_that_sends_no_events_is_listed() {
    let (rig, fake) = before(|kit| Fake::start(&crio(kit), "cri-o", "1.30.1", false), one_pod_of_crio);
    rig.told(&id(1), |_| true);
    fake.put(of_crio::container(2, 1, "sidecar"));
    rig.told(&id(2), |_| true);
    assert_eq!(fake.asked("GetContainerEvents"), 1);
}

#[test]
fn what_the_host_wants_is_asked_at_once() {
    let (rig, fake) = crio_with(one_pod_of_crio);
    rig.told(&id(1), |_| true);
    fake.put_pod(of_crio::pod(2, "new"));
    fake.put(of_crio::container(5, 2, "unheard"));
    // With the cgroupfs driver a path does not tell which runtime it is.
    for (runtime, wanted) in [("kubernetes", id(5)), ("crio", pod_id(2))] {
        let new = NewContainer::new("/kubepods/x").runtime(runtime, &wanted);
        let new = rig.kit.identity().appear(new);
        rig.kit.identity().want_metadata(new);
        rig.told(&wanted, |told| told.names["pod"] == "new");
    }
    assert_eq!(fake.asked("ListContainers"), 1);
}

#[test]
fn of_what_no_runtime_knows_nothing_is_said() {
    let (mut rig, fake) = crio_with(one_pod_of_crio);
    rig.told(&id(1), |_| true);
    rig.told(&pod_id(1), |_| true);
    let asked = fake.asked("ContainerStatus");
    for (runtime, runtime_id) in [("crio", id(9)), ("crio", "../../etc".to_owned()), ("docker", id(8))] {
        let other = rig.kit.identity().appear(NewContainer::new("/x").runtime(runtime, &runtime_id));
        rig.kit.identity().want_metadata(other);
    }
    // As a container and as a sandbox.
    rig.shows(
        "container_runtime_requests_total{runtime=\"crio\",request=\"status\",result=\"not_found\"}",
        |count| count == 2.0,
    );
    assert_eq!(fake.asked("ContainerStatus"), asked + 1);
    assert!(!rig.kit.provided().any(|provided| provided.metadata.iter().any(|told| told.removed)));
}

#[test]
fn volumes_and_the_network_of_the_node() {
    let claim = "pvc-0a1b2c3d-0000-1111-2222-0123456789ab";
    let (rig, _fake) = containerd_with(|fake| {
        let mut host = pod(1, "web-1");
        let status = host.status.status.as_mut().expect("a status");
        let linux = status.linux.as_mut().and_then(|linux| linux.namespaces.as_mut());
        linux.and_then(|namespaces| namespaces.options.as_mut()).expect("options").network = 2;
        fake.put_pod(host);
        let mut web = container(1, 1, "nginx");
        let mount = |at: &str, host: &str, readonly| Mount {
            container_path: at.to_owned(),
            host_path: host.to_owned(),
            readonly,
            ..Mount::default()
        };
        let csi = format!("/var/lib/kubelet/pods/uid/volumes/kubernetes.io~csi/{claim}/mount");
        web.status.status.as_mut().expect("a status").mounts =
            vec![mount("/data", &csi, false), mount("/config", "/srv/config", true)];
        fake.put(web);
    });
    let told = rig.told(&id(1), |_| true);
    assert!(told.host_network);
    let [config, data] = told.volumes.as_slice() else { panic!("{:?}", told.volumes) };
    assert_eq!((data.mount_point.as_str(), data.name.as_str(), data.read_only), ("/data", claim, false));
    assert_eq!((config.source.as_str(), config.name.as_str(), config.read_only), ("/srv/config", "", true));
}

#[test]
fn a_pod_made_anew_under_its_name_is_another_one() {
    let (rig, fake) = crio_with(|fake| {
        one_pod_of_crio(fake);
        let mut old = of_crio::container(1, 1, "nginx");
        old.state = 2;
        fake.put(old);
        let mut anew = of_crio::pod(2, "web-1");
        anew.status.status.as_mut().and_then(|status| status.metadata.as_mut()).expect("a name").uid =
            "other".to_owned();
        fake.put_pod(anew);
        fake.put(of_crio::container(2, 2, "nginx"));
    });
    let uid = |number| rig.told(&id(number), |_| true).names["pod_uid"].clone();
    assert_eq!((uid(1), uid(2)), ("uid-1".to_owned(), "other".to_owned()));
    for gone in [id(1), pod_id(1)] {
        fake.remove(&gone);
        fake.event(3, &gone);
        rig.removed(&gone);
    }
    assert_eq!(names(&rig, &id(2)), ["shop", "web-1", "nginx"]);
}

#[test]
fn after_a_reconnect_the_host_learns_what_is_gone() {
    let kit = kit();
    let fake = Fake::containerd(&containerd(&kit));
    one_pod(&fake);
    let mut rig = Rig::start(kit.clone(), CONFIG);
    rig.told(&id(1), |_| true);
    rig.told(&pod_id(1), |_| true);
    drop(fake);
    rig.shows("container_runtime_up{runtime=\"containerd\",api=\"cri\"}", |up| up == 0.0);
    let fake = Fake::containerd(&containerd(&kit));
    fake.put_pod(pod(2, "web-2"));
    fake.put(container(2, 2, "nginx"));
    rig.removed(&id(1));
    rig.removed(&pod_id(1));
    rig.told(&id(2), |_| true);
}

#[test]
fn both_runtimes_side_by_side() {
    let kit = kit();
    let (one, other) = (Fake::containerd(&containerd(&kit)), Fake::crio(&crio(&kit)));
    one_pod(&one);
    other.put_pod(of_crio::pod(2, "web-2"));
    other.put(of_crio::container(2, 2, "redis"));
    let rig = Rig::start(kit, CONFIG);
    assert_eq!(rig.told(&id(1), |_| true).runtime, "containerd");
    assert_eq!(rig.told(&id(2), |_| true).runtime, "crio");
}

#[test]
fn who_answers_says_who_it_is() {
    let kit = kit();
    let fake = Fake::start(&kit.tree().path("run/odd.sock"), "cri-o", "1.31.0", true);
    one_pod(&fake);
    let mut rig = Rig::start(kit, "[cri]\nsocket = \"/run/odd.sock\"");
    assert_eq!(rig.told(&id(1), |_| true).runtime, "crio");
    rig.shows("container_runtime_up{runtime=\"crio\"}", |up| up == 1.0);
    fake.event(1, &id(1));
    rig.shows(
        "container_runtime_requests_total{runtime=\"crio\",request=\"status\",result=\"ok\"}",
        |count| count >= 1.0,
    );
}

#[test]
fn what_crio_says_of_itself_is_understood() {
    let own = std::process::id();
    let kit = kit();
    kit.tree()
        .write(format!("proc/{own}/stat"), std::fs::read_to_string("/proc/self/stat").expect("a process"));
    let fake = Fake::crio(&crio(&kit));
    // Nothing runs in a sandbox, but in those whose containers share their processes.
    fake.put_pod(of_crio::pod(1, "web-1"));
    fake.put_pod(of_crio::pod_with_infra(2, "debug", own));
    fake.put(of_crio::container_with(1, 1, "nginx", own));
    // One whose image has no name.
    let mut nameless = of_crio::container(2, 2, "shell");
    nameless.status.status.as_mut().and_then(|status| status.image.as_mut()).expect("an image").image.clear();
    fake.put(nameless);
    let mut by_digest = of_crio::container(3, 2, "digest");
    let digest = format!("quay.io/shop/web@sha256:{}", of_crio::IMAGE_ID);
    by_digest.status.status.as_mut().and_then(|status| status.image.as_mut()).expect("an image").image =
        digest.clone();
    fake.put(by_digest);
    let mut rig = Rig::start(kit, CONFIG);
    let told = rig.told(&id(1), |told| told.init.is_some_and(|init| init.pid == own));
    assert_eq!(told.image, "docker.io/library/nginx:1.27");
    assert_eq!(told.environment["HOSTNAME"], "web");
    assert_eq!((&*told.log_driver, &*told.log_path), ("cri", "/var/log/pods/shop_web-1_uid-1/nginx/0.log"));
    assert!(
        told.labels.keys().all(|label| label.starts_with("io.kubernetes.")),
        "labels, and no annotations: {:?}",
        told.labels
    );
    assert_eq!(rig.told(&id(2), |_| true).image, of_crio::IMAGE_ID);
    assert_eq!(rig.told(&id(3), |_| true).image, digest);
    assert_eq!(rig.told(&pod_id(1), |_| true).init, None);
    assert_eq!(rig.told(&pod_id(2), |_| true).init.map(|init| init.pid), Some(own));
    let collected = rig.collect();
    assert!(!collected.skipped().contains_key("runtime_description_incomplete"), "{collected:?}");
}

#[test]
fn one_runtime_at_two_sockets_tells_the_same_twice() {
    let kit = kit();
    let fakes = ["a", "b"].map(|name| Fake::containerd(&kit.tree().path(format!("run/{name}.sock"))));
    fakes.iter().for_each(one_pod);
    let sockets = "socket = [\"/run/a.sock\", \"/run/b.sock\"]\ndeadline = \"20s\"";
    let rig = Rig::start(kit, &format!("containerd.enabled = false\n[cri]\n{sockets}"));
    let told = || {
        let all = rig.kit.provided().all().into_iter().flat_map(|provided| provided.metadata);
        all.filter(|told| told.runtime_id == id(1)).collect::<Vec<_>>()
    };
    gantry_plugin_testkit::eventually(|| match told().as_slice() {
        [one, other] if one == other => Ok(()),
        all => Err(format!("{all:?}")),
    })
    .expect("both tell it, and the same");
    // One of the two goes: what the other has is not gone.
    let [gone, _stays] = fakes;
    drop(gone);
    rig.told(&id(1), |told| told.names["pod"] == "web-1");
    assert!(!told().iter().any(|told| told.removed), "{:?}", told());
}
