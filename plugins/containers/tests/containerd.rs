//! Before a fake containerd, over its own API, on good days.

mod support;

use gantry_plugin_testkit::{NewContainer, eventually};
use support::containerd::{Fake, id, nerdctl, plain};
use support::{Rig, kit};

const CONFIG: &str = "cri.enabled = false\n[containerd]\nsocket = \"/run/c.sock\"\ndeadline = \"20s\"";

fn before(fill: impl FnOnce(&Fake)) -> (Rig, Fake) {
    let kit = kit();
    let fake = Fake::start(&kit.tree().path("run/c.sock"));
    fill(&fake);
    (Rig::start_of("containerd", kit, CONFIG), fake)
}

fn listens(fake: &Fake) {
    eventually(|| (fake.listeners() == 1).then_some(()).ok_or_else(String::new)).expect("it listens");
}

#[test]
fn what_others_than_the_kubelet_and_docker_run_is_told() {
    let (mut rig, _fake) = before(|fake| {
        fake.namespace("shop");
        fake.put("default", plain("redis"));
        fake.put("shop", nerdctl(&id(1), "front"));
        fake.put("k8s.io", plain(&id(2)));
        fake.put("moby", plain(&id(3)));
        // Its cgroup would be `/shop/redis`, which may be anybody's.
        fake.put("shop", nerdctl("redis", "other"));
    });
    let told = rig.told("redis", |_| true);
    assert_eq!((&*told.names["name"], &*told.image), ("redis", "docker.io/library/redis:7"));
    assert_eq!((&*told.labels["team"], &*told.environment["A"], told.host_network), ("shop", "b", false));
    let volumes: Vec<_> =
        told.volumes.iter().map(|one| (&*one.mount_point, &*one.kind, &*one.name)).collect();
    assert_eq!(volumes, [("/data", "bind", "")]);
    let told = rig.told(&id(1), |_| true);
    assert_eq!((&*told.names["name"], &*told.names["containerd_namespace"]), ("front", "shop"));
    assert_eq!((&*told.volumes[0].name, &*told.volumes[0].kind), ("data", "volume"));
    assert_eq!((&*told.networks[0], &*told.log_driver), ("bridge", "json-file"));
    assert!(
        told.log_path.ends_with(&format!("/containers/shop/{0}/{0}-json.log", id(1))),
        "{}",
        told.log_path
    );
    rig.up(true);
    let all = rig.kit.provided().all().into_iter().flat_map(|provided| provided.metadata);
    let ids: std::collections::BTreeSet<String> = all.map(|told| told.runtime_id).collect();
    assert!(!ids.contains(&id(2)) && !ids.contains(&id(3)), "{ids:?}");
    assert_eq!(rig.names(), ["front", "redis"]);
    rig.running.stop().expect("it stops");
}

#[test]
fn changes_are_heard() {
    let (mut rig, fake) = before(|fake| fake.put("default", plain("redis")));
    rig.told("redis", |_| true);
    listens(&fake);
    let filters = fake.filters();
    assert!(filters.iter().all(|one| one.contains("namespace!=moby,namespace!=k8s.io")), "{filters:?}");
    let mut changed = plain("redis");
    changed.container.labels.insert("team".to_owned(), "other".to_owned());
    fake.put("default", changed);
    fake.event("default", "/containers/update", "redis");
    rig.told("redis", |told| told.labels["team"] == "other");
    // In a namespace that is new.
    fake.put("late", nerdctl(&id(7), "late"));
    fake.event("late", "/tasks/start", &id(7));
    assert_eq!(rig.told(&id(7), |_| true).names["containerd_namespace"], "late");
    fake.remove("default", "redis");
    fake.event("default", "/containers/delete", "redis");
    rig.removed("redis");
    // Of others, and what changes nothing.
    let asked = fake.asked("Containers/Get");
    fake.event("k8s.io", "/tasks/start", &id(8));
    fake.event("moby", "/tasks/start", &id(8));
    fake.event("late", "/tasks/exec-started", &id(7));
    fake.event("late", "/tasks/start", "redis");
    fake.event("late", "/tasks/start", "../x");
    rig.skipped("runtime_event_malformed", 1);
    assert_eq!(fake.asked("Containers/Get"), asked);
    rig.running.stop().expect("it stops");
}

#[test]
fn what_the_host_wants_is_looked_for_in_each_namespace() {
    let (rig, fake) = before(|fake| fake.namespace("shop"));
    listens(&fake);
    eventually(|| (fake.asked("Containers/ListStream") >= 2).then_some(()).ok_or_else(String::new))
        .expect("it lists both");
    // Nobody tells of it.
    fake.put("shop", nerdctl(&id(4), "web"));
    let new = rig.kit.identity().appear(NewContainer::new("/x").runtime("containerd", &id(4)));
    rig.kit.identity().want_metadata(new);
    rig.told(&id(4), |_| true);
    // Below `kubepods` is what the CRI tells of.
    let asked = fake.asked("Containers/Get");
    let pod = rig.kit.identity().appear(NewContainer::new("/y").runtime("kubernetes", &id(5)));
    rig.kit.identity().want_metadata(pod);
    fake.put("shop", nerdctl(&id(6), "after"));
    let after = rig.kit.identity().appear(NewContainer::new("/z").runtime("containerd", &id(6)));
    rig.kit.identity().want_metadata(after);
    rig.told(&id(6), |_| true);
    assert!(fake.asked("Containers/Get") <= asked + 2, "in two namespaces, of one container");
}

#[test]
fn what_did_not_change_is_not_asked_for_again() {
    let (rig, fake) = before(|fake| (1..=5).for_each(|number| fake.put("default", plain(&id(number)))));
    (1..=5).for_each(|number| drop(rig.told(&id(number), |_| true)));
    listens(&fake);
    let asked = fake.asked("Containers/Get");
    let mut changed = plain(&id(3));
    changed.updated = 2;
    changed.container.image = "other".to_owned();
    fake.put("default", changed);
    // Listeners end: from then on it lists.
    fake.raw_event(b"\xff\xff\xff\xff garbage");
    rig.told(&id(3), |told| told.image == "other");
    assert_eq!(fake.asked("Containers/Get"), asked + 1);
}

#[test]
fn older_and_newer_ones_are_asked_alike() {
    for version in ["1.6.20~ds1", "v2.1.4", ""] {
        let (mut rig, fake) = before(|fake| {
            fake.version(version);
            fake.put("default", plain("redis"));
        });
        rig.told("redis", |told| told.image == "docker.io/library/redis:7");
        listens(&fake);
        fake.put("default", plain(&id(1)));
        fake.event("default", "/tasks/start", &id(1));
        rig.told(&id(1), |_| true);
        rig.up(true);
        assert!(rig.running.troubles().expect("has a health").is_empty(), "{version}");
        rig.running.stop().expect("it stops");
    }
}
