//! Before a Docker that behaves: what the host is told, and when.

mod support;

use gantry_plugin_testkit::NewContainer;
use gantry_test_docker::fake::{container, id};
use gantry_test_docker::{Fake, Request};
use support::{CONFIG, HASTY, Rig, comes, kit, socket};

#[test]
fn what_is_there_is_told() {
    let (mut rig, _fake) =
        Rig::before(|fake| (1..=3).for_each(|n| fake.put(container(n, &format!("web-{n}")))));
    for number in 1..=3 {
        let told = rig.told(&id(number), |_| true);
        assert_eq!(
            (told.names["name"].as_str(), told.runtime.as_str()),
            (format!("web-{number}").as_str(), "docker")
        );
        assert_eq!((told.image.as_str(), told.started_at), ("nginx:1.27", 1_795_413_424));
    }
    rig.up(true);
    assert!(rig.running.troubles().expect("has a health").is_empty());
    assert!(
        !rig.running
            .never_emitted()
            .iter()
            .any(|family| { family.starts_with("container_runtime_") && !family.ends_with("_info") })
    );
}

#[test]
fn start_does_not_wait_for_docker() {
    let kit = kit();
    let mut rig = Rig::start(kit.clone(), CONFIG);
    rig.up(false);
    // It does not run: nothing is wrong.
    assert!(rig.running.troubles().expect("has a health").is_empty());
    let _fake = comes(&kit, |fake| fake.put(container(1, "late")));
    rig.told(&id(1), |told| told.names["name"] == "late");
    rig.up(true);
}

#[test]
fn requests_are_shown_from_the_first_contact_on() {
    let kit = kit();
    let mut rig = Rig::start(kit.clone(), CONFIG);
    rig.up(false);
    assert!(!rig.collect().has_family("container_runtime_requests_total"), "nobody is there to be asked");
    let _fake = Fake::start(&socket(&kit));
    rig.up(true);
    rig.counted("version", "ok", 1.0);
    // The first failure is an increase.
    let collected = rig.collect();
    for result in ["not_found", "refused", "unsupported", "timeout", "too_large", "malformed", "failed"] {
        assert_eq!(collected.find(&rig.requests("inspect", result)), Some(0.0), "{result}");
    }
}

#[test]
fn events_are_followed() {
    let (rig, fake) = Rig::before(|fake| fake.put(container(1, "old")));
    rig.told(&id(1), |_| true);
    fake.put(container(1, "renamed"));
    fake.event("rename", &id(1));
    rig.told(&id(1), |told| told.names["name"] == "renamed");
    fake.put(container(2, "new"));
    fake.event("create", &id(2));
    rig.told(&id(2), |told| told.names["name"] == "new");
    fake.remove(&id(1));
    fake.event("destroy", &id(1));
    rig.removed(&id(1));
    assert_eq!(rig.names(), ["new"]);
}

#[test]
fn events_are_listened_to_before_the_list() {
    let (rig, fake) =
        Rig::before_with(HASTY, |fake| fake.mood(Request::Events, gantry_test_docker::Mood::Hang));
    fake.wait_asked(Request::Events, 2);
    assert_eq!(fake.asked(Request::List), 0, "the list of before the events may be too old");
    drop(rig);
}

#[test]
fn what_the_host_wants_is_asked_at_once() {
    let (rig, fake) = Rig::before(|_| ());
    fake.wait_asked(Request::List, 1);
    // No event tells of it.
    fake.put(container(5, "unheard"));
    let web = NewContainer::new("/docker/x").runtime("docker", &id(5));
    let wanted = rig.kit.identity().appear(web);
    rig.kit.identity().want_metadata(wanted);
    rig.told(&id(5), |told| told.names["name"] == "unheard");
}

#[test]
fn of_what_docker_does_not_know_nothing_is_said() {
    let (mut rig, fake) = Rig::before(|fake| fake.put(container(1, "one")));
    rig.told(&id(1), |_| true);
    let identity = rig.kit.identity();
    for (runtime, runtime_id) in
        [("docker", id(9)), ("docker", "../../etc".to_owned()), ("docker", String::new()), ("crio", id(1))]
    {
        let other = identity.appear(NewContainer::new("/x").runtime(runtime, &runtime_id));
        identity.want_metadata(other);
    }
    rig.counted("inspect", "not_found", 1.0);
    assert_eq!(fake.inspected(), [id(1), id(9)], "ids that are none become no part of a path");
    assert_eq!(rig.names(), ["one"]);
    assert!(!rig.kit.provided().any(|provided| provided.metadata.iter().any(|told| told.removed)));
}

#[test]
fn after_a_reconnect_the_host_learns_what_is_gone() {
    let kit = kit();
    let fake = Fake::start(&socket(&kit));
    (1..=3).for_each(|n| fake.put(container(n, &format!("web-{n}"))));
    let mut rig = Rig::start(kit.clone(), CONFIG);
    (1..=3).for_each(|n| drop(rig.told(&id(n), |_| true)));
    drop(fake);
    rig.up(false);
    let _fake = comes(&kit, |fake| {
        fake.put(container(2, "web-2"));
        fake.put(container(4, "web-4"));
    });
    rig.told(&id(4), |_| true);
    rig.removed(&id(1));
    rig.removed(&id(3));
    rig.up(true);
    assert_eq!(rig.names(), ["web-2", "web-4"]);
}

#[test]
fn containers_are_shown_with_what_they_are() {
    let (mut rig, _fake) = Rig::before(|_| ());
    let identity = rig.kit.identity();
    let web = identity.appear(NewContainer::new("/docker/web").runtime("docker", &id(1)).with(|web| {
        web.image = "nginx:1.27".to_owned();
        web.names.insert("name".to_owned(), "web".to_owned());
        web.log_driver = "json-file".to_owned();
    }));
    identity.appear(NewContainer::new("/system.slice/a.service").runtime("systemd", "a.service").with(
        |unit| {
            unit.names.insert("systemd_type".to_owned(), "notify".to_owned());
        },
    ));
    identity.appear(NewContainer::new("/docker/bare").runtime("docker", &id(3)));
    let collected = rig.running.collect().expect("it collects");
    let info = "container_info{container_id=\"/docker/web\",image=\"nginx:1.27\",systemd_triggered_by=\"\",systemd_type=\"\"}";
    assert_eq!(collected.get(info), 1.0);
    assert_eq!(collected.get("container_info{systemd_type=\"notify\"}"), 1.0);
    assert_eq!(collected.of_family("container_info").count(), 2, "of the bare one nothing is known");
    let runtime = format!(
        "container_runtime_info{{container_id=\"/docker/web\",runtime=\"docker\",runtime_id=\"{}\",name=\"web\",log_driver=\"json-file\"}}",
        id(1)
    );
    assert_eq!(collected.get(&runtime), 1.0);
    assert_eq!(collected.of_family("container_runtime_info").count(), 3);
    rig.kit.identity().change(web, |web| web.image = "nginx:1.28".to_owned());
    assert_eq!(
        rig.running.collect().expect("it collects").label_values("container_info", "image")[0],
        "nginx:1.28"
    );
}

#[test]
fn without_metrics_names_are_told_and_nothing_of_containers_is_shown() {
    let config = format!("metrics = false\n{}", support::CONFIG);
    let (mut rig, _fake) = Rig::before_with(&config, |fake| fake.put(container(1, "web")));
    rig.kit.identity().declare(NewContainer::new("/docker/web").runtime("docker", &id(1)).process(7, 1));
    rig.told(&id(1), |told| told.names["name"] == "web" && told.image == "nginx:1.27");
    rig.up(true);
    let collected = rig.running.collect().expect("it collects");
    assert!(collected.has_family("container_runtime_up"));
    let of_containers = gantry_containers::metrics::ALL.iter().filter(|family| family.info().per_container);
    for family in of_containers {
        assert!(!collected.has_family(family.name()), "{}", collected.text());
    }
}

/// What bollard speaks at most, as paths have it.
fn newest() -> String {
    let version = bollard::API_DEFAULT_VERSION;
    format!("v{}.{}", version.major_version, version.minor_version)
}

#[test]
fn it_is_asked_in_the_newest_version_that_both_speak() {
    let newest = newest();
    for (speaks, least, path) in [
        ("1.24", None, "v1.24"),
        ("1.24", Some("1.12"), "v1.24"),
        ("1.44", Some("1.24"), "v1.44"),
        ("1.99", Some("1.44"), &*newest),
        // Nobody says how they would be compared.
        ("1.44", Some("none"), "v1.44"),
    ] {
        let (mut rig, fake) = Rig::before(|fake| {
            fake.speaks(speaks, least);
            fake.put(container(1, "web"));
        });
        rig.told(&id(1), |told| told.names["name"] == "web");
        rig.up(true);
        assert_eq!(fake.asked_in(), [path], "{speaks} {least:?}");
        assert!(rig.running.troubles().expect("has a health").is_empty());
        rig.running.stop().expect("it stops");
    }
}

#[test]
fn one_that_speaks_newer_versions_alone_is_said_with_the_remedy() {
    for (speaks, least) in [("1.99", "1.98"), ("2.1", "2.0")] {
        let (mut rig, fake) = Rig::before(|fake| {
            fake.speaks(speaks, Some(least));
            fake.put(container(1, "web"));
        });
        let since = format!("from version {least} on");
        rig.troubled(&[
            "/run/docker.sock",
            "not offered",
            &since,
            "update this plugin",
            "DOCKER_MIN_API_VERSION",
        ]);
        rig.up(false);
        assert_eq!((fake.asked(Request::Version), fake.asked(Request::List)), (1, 0), "again in a minute");
        rig.running.stop().expect("within its deadline");
    }
}

#[test]
fn two_sockets_are_two_dockers() {
    let kit = kit();
    let fakes = ["a", "b"].map(|name| Fake::start(&kit.tree().path(format!("run/{name}.sock"))));
    fakes[0].put(container(1, "one"));
    fakes[1].put(container(2, "two"));
    let mut rig = Rig::start(
        kit,
        "[docker]\nsocket = [\"/run/a.sock\", \"/run/b.sock\", \"/run/c.sock\"]\ndeadline = \"2s\"",
    );
    rig.told(&id(1), |_| true);
    rig.told(&id(2), |_| true);
    rig.shows("container_runtime_up{socket=\"/run/b.sock\"}", |up| up == 1.0);
    rig.shows("container_runtime_up{socket=\"/run/c.sock\"}", |up| up == 0.0);
}

#[test]
fn counts_go_on_in_the_next_generation() {
    let (mut rig, fake) = Rig::before(|fake| fake.put(container(1, "one")));
    rig.told(&id(1), |_| true);
    // That was perhaps before the plugin was active, and does not count.
    fake.wait_listeners(1);
    fake.put(container(1, "two"));
    fake.event("rename", &id(1));
    rig.told(&id(1), |told| told.names["name"] == "two");
    let series = rig.requests("inspect", "ok");
    let before = rig.collect().find(&series).expect("it is counted");
    assert!(before >= 1.0, "{before}");
    rig.kit.provided().clear();
    let asked = fake.asked(Request::Inspect);
    rig.running = rig.running.upgrade(CONFIG).expect("it is upgraded");
    // What it asked before it was activated does not count: its forerunner did.
    rig.told(&id(1), |_| true);
    fake.wait_asked(Request::Inspect, asked + 1);
    fake.event("update", &id(1));
    rig.counted("inspect", "ok", before + 1.0);
    rig.running.stop().expect("it stops");
}
