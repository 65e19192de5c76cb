//! Before a Podman that plays one: older, newer, a user's, and on bad days.

mod support;

use gantry_plugin_testkit::{NewContainer, eventually};
use gantry_test_docker::fake::{container, id};
use gantry_test_docker::{Fake, Mood, Request};
use serde_json::json;
use support::{Rig, before_podman, kit};

/// A machine under load takes its time.
const CONFIG: &str = "podman.deadline = \"20s\"";
/// For tests that wait for the deadline.
const HASTY: &str = "podman.deadline = \"500ms\"";

/// What Podman says of one with a log of its own kind.
fn says(pod: &str, is_infra: bool) -> serde_json::Value {
    let log = json!({ "Type": "k8s-file", "Path": "/var/lib/x/ctr.log" });
    json!({ "Pod": pod, "IsInfra": is_infra, "HostConfig": { "LogConfig": log } })
}

fn fill(fake: &Fake) {
    fake.put(container(1, "web"));
    fake.libpod(&id(1), says("", false));
}

#[test]
fn its_own_api_is_asked_in_the_version_that_it_speaks() {
    for (version, path) in
        [("3.4.4", "v3.4.4"), ("4.3.1", "v4.3.1"), ("5.4.0", "v5.4.0"), ("6.0-dev", "v4.0.0")]
    {
        let (mut rig, fake) = before_podman(CONFIG, None, |fake| {
            fill(fake);
            fake.podman(version);
        });
        let told = rig.told(&id(1), |_| true);
        assert_eq!((&*told.names["name"], &*told.log_driver), ("web", "k8s-file"), "{version}");
        assert_eq!(fake.libpod_asked(), [path], "{version}");
        rig.running.stop().expect("it stops");
    }
}

#[test]
fn each_request_may_fail_in_each_way() {
    let requests = [
        (Request::Version, "version"),
        (Request::Events, "events"),
        (Request::List, "list"),
        // Asked only where Podman's own API does not answer.
        (Request::Inspect, "inspect"),
        (Request::Libpod, "libpod"),
    ];
    let moods: [(Mood, &[&str]); 5] = [
        (Mood::Hang, &["timeout"]),
        (Mood::Garbage, &["malformed", "failed"]),
        (Mood::Close, &["failed"]),
        (Mood::Status(500), &["refused"]),
        (Mood::Status(403), &["refused"]),
    ];
    for (mood, results) in &moods {
        std::thread::scope(|scope| {
            for (request, name) in requests {
                let body = move || {
                    let config = if *mood == Mood::Hang { HASTY } else { CONFIG };
                    let (mut rig, fake) = before_podman(config, None, |fake| {
                        fill(fake);
                        fake.mood(request, mood.clone());
                        if request == Request::Inspect {
                            fake.mood(Request::Libpod, Mood::Status(500));
                        }
                    });
                    eventually(|| {
                        let collected = rig.running.collect().map_err(|failure| failure.to_string())?;
                        let some = results.iter().any(|result| {
                            collected.find(&rig.requests(name, result)).is_some_and(|count| count > 0.0)
                        });
                        some.then_some(()).ok_or_else(|| format!("{name} {mood:?}: {collected:?}"))
                    })
                    .unwrap_or_else(|failure| panic!("{failure}"));
                    fake.mood(request, Mood::Good);
                    fake.mood(Request::Libpod, Mood::Good);
                    fake.hang_up();
                    rig.told(&id(1), |told| told.log_driver == "k8s-file");
                    rig.up(true);
                    rig.running.stop().expect("it stops");
                };
                let named = std::thread::Builder::new().name(format!("{name}: {mood:?}"));
                drop(named.spawn_scoped(scope, body).expect("a thread"));
            }
        });
    }
}

#[test]
fn one_broken_container_that_has_the_list_refused_takes_no_names() {
    let (mut rig, fake) = before_podman(CONFIG, None, |fake| {
        fill(fake);
        fake.mood(Request::List, Mood::Status(500));
    });
    rig.troubled(&["list: refused", "500", "until all can be listed"]);
    rig.up(true);
    fake.wait_listeners(1);
    // What happens, and what the host wants, is told.
    fake.put(container(2, "late"));
    fake.libpod(&id(2), says("", false));
    fake.event("start", &id(2));
    rig.told(&id(2), |_| true);
    let seen = rig.kit.identity().appear(NewContainer::new("/x").runtime("podman", &id(1)));
    rig.kit.identity().want_metadata(seen);
    rig.told(&id(1), |_| true);
    assert_eq!(fake.asked(Request::Events), 1, "the session went on");
    fake.mood(Request::List, Mood::Good);
    eventually(|| {
        let troubles = rig.running.troubles().map_err(|failure| failure.to_string())?;
        if troubles.is_empty() { Ok(()) } else { Err(format!("{troubles:?}")) }
    })
    .expect("the list is tried again");
}

#[test]
fn one_request_a_container_is_enough_and_one_a_pod() {
    const MEMBERS: usize = 20;
    let put = |fake: &Fake, number: usize| {
        let mut member = container(number, "member");
        member["Mounts"] = json!([{ "Type": "bind", "Source": "/s", "Destination": "/d", "RW": false }]);
        member["Config"]["Labels"] = json!({ "a": "b" });
        // As a Podman elsewhere than in Greenwich has it.
        member["State"]["StartedAt"] = json!("2026-11-23T00:57:04.5-05:00");
        fake.put(member);
        fake.libpod(&id(number), says(&id(99), false));
    };
    let (rig, fake) = before_podman(CONFIG, None, |fake| {
        fake.libpod(&id(99), json!({ "Name": "shop" }));
        put(fake, 1);
    });
    // One after the other: the first asks for the pod.
    for number in 1..=MEMBERS {
        if number > 1 {
            put(&fake, number);
            fake.event("start", &id(number));
        }
        let told = rig.told(&id(number), |_| true);
        assert_eq!((&*told.names["name"], &*told.names["podman_pod"]), ("member", "shop"));
        assert_eq!(
            (&*told.image, &*told.labels["a"], &*told.environment["PATH"]),
            ("nginx:1.27", "b", "/bin")
        );
        assert_eq!((told.volumes.len(), told.networks.as_slice()), (1, &["bridge".to_owned()][..]));
        assert_eq!((told.started_at, &*told.log_path), (1_795_413_424, "/var/lib/x/ctr.log"));
    }
    assert_eq!(fake.asked(Request::Libpod), MEMBERS as u64 + 1);
    assert_eq!(fake.asked(Request::Inspect), 0, "Docker's API would say the same and less");
}

#[test]
fn where_docker_s_requests_alone_are_let_through_they_are_enough() {
    let (mut rig, fake) = before_podman(CONFIG, None, |fake| fake.put(container(1, "web")));
    let told = rig.told(&id(1), |_| true);
    // What it says to Docker's clients of the log is not so.
    assert_eq!((&*told.names["name"], &*told.log_driver, &*told.log_path), ("web", "", ""));
    fake.remove(&id(1));
    fake.event("die", &id(1));
    rig.removed(&id(1));
    rig.running.stop().expect("it stops");
}

#[test]
fn what_its_own_api_did_not_say_is_asked_for_again() {
    let (mut rig, fake) = before_podman(CONFIG, None, |fake| {
        fill(fake);
        fake.libpod(&id(1), says(&id(9), true));
        fake.libpod(&id(9), json!({ "Name": "shop" }));
        fake.mood(Request::Libpod, Mood::Status(500));
    });
    let told = rig.told(&id(1), |_| true);
    assert!(!told.names.contains_key("sandbox") && told.log_driver.is_empty(), "{told:?}");
    rig.skipped("runtime_description_incomplete", 1);
    fake.mood(Request::Libpod, Mood::Good);
    // Nothing else happens.
    assert_eq!(rig.told(&id(1), |told| told.names.contains_key("sandbox")).names["sandbox"], "shop");
}

#[test]
fn one_that_hangs_holds_no_stop() {
    for request in [Request::Version, Request::Events, Request::List, Request::Libpod] {
        let (mut rig, fake) = before_podman(CONFIG, None, |fake| {
            fill(fake);
            fake.mood(request, Mood::Hang);
        });
        fake.wait_asked(request, 1);
        rig.running.stop().expect("within its deadline");
        assert!(!rig.kit.log().any(|line| line.message.contains("left behind")), "{request:?}");
    }
}

#[test]
fn dying_and_returning_again_and_again() {
    let kit = kit();
    kit.tree().dir("run/podman");
    let mut rig = Rig::start_of("podman", kit.clone(), CONFIG);
    rig.up(false);
    assert!(rig.running.troubles().expect("has a health").is_empty(), "it does not run: nothing is wrong");
    for number in 1..=3 {
        let fake = Fake::start(&kit.tree().path("run/podman/podman.sock"));
        fake.podman("4.3.1");
        fake.put(container(number, "web"));
        fake.libpod(&id(number), says("", false));
        // The host waits for it, and so it is not waited for long.
        let seen = rig.kit.identity().appear(NewContainer::new("/x").runtime("podman", &id(number)));
        rig.kit.identity().want_metadata(seen);
        rig.told(&id(number), |told| told.log_driver == "k8s-file");
        if number > 1 {
            rig.removed(&id(number - 1));
        }
        fake.hang_up();
        drop(fake);
    }
    rig.up(false);
    rig.running.stop().expect("it stops");
}

#[test]
fn ten_thousand_containers() {
    let (rig, _fake) = before_podman(CONFIG, None, |fake| {
        (0..10_000).for_each(|number| {
            fake.put(container(number, &format!("web-{number}")));
            fake.libpod(&id(number), says("", false));
        });
    });
    rig.told_all(10_000);
    assert_eq!(rig.names().len(), 10_000);
}

#[test]
fn a_user_s_tells_of_that_user_s_containers() {
    let config = "podman.socket = [\"/run/podman/podman.sock\", \"/run/user/1000/podman/podman.sock\"]\n\
                  podman.deadline = \"20s\"";
    let (mut rig, fake) = before_podman(config, Some(1000), |fake| {
        fill(fake);
        fake.put(container(2, "shop-infra"));
        fake.libpod(&id(2), says(&id(9), true));
        fake.libpod(&id(9), json!({ "Name": "shop" }));
    });
    let told = rig.told(&id(1), |_| true);
    assert_eq!((&*told.names["name"], &*told.names["user"]), ("web", "1000"));
    assert_eq!(rig.told(&id(2), |_| true).names["sandbox"], "shop");
    // The host knows whom it may wait for.
    assert!(rig.kit.provided().any(|provided| {
        provided.runtime == "podman"
            && provided.metadata.iter().any(|told| {
                told.runtime_id.is_empty() && !told.removed && told.container.names["user"] == "1000"
            })
    }));
    fake.remove(&id(1));
    fake.event("remove", &id(1));
    let removed = rig.kit.provided().wait_for(|provided| {
        provided.metadata.iter().any(|told| {
            told.runtime_id == id(1)
                && told.removed
                && told.container.names.get("user").is_some_and(|user| user == "1000")
        })
    });
    removed.expect("it is no more");
    rig.running.stop().expect("it stops");
}

#[test]
fn a_podman_at_docker_s_socket_is_asked_once() {
    let kit = kit();
    kit.tree().dir("run/podman");
    let fake = Fake::start(&kit.tree().path("run/podman/podman.sock"));
    fake.podman("4.3.1");
    fill(&fake);
    // As the package podman-docker has it.
    std::os::unix::fs::symlink("podman/podman.sock", kit.tree().path("run/docker.sock")).expect("a link");
    let mut rig = Rig::start_of("podman", kit, "podman.deadline = \"20s\"\ndocker.deadline = \"20s\"");
    let told = rig.told(&id(1), |_| true);
    assert_eq!((&*told.runtime, &*told.log_driver), ("podman", "k8s-file"));
    rig.unused("podman-docker");
    rig.up(true);
    let asked = fake.asked(Request::Libpod);
    // What happens is asked for once, too, and told under one name.
    fake.put(container(2, "late"));
    fake.libpod(&id(2), says("", false));
    fake.wait_listeners(1);
    fake.event("start", &id(2));
    rig.told(&id(2), |_| true);
    assert_eq!((fake.asked(Request::Libpod), fake.asked(Request::Inspect)), (asked + 1, 0));
    assert!(!rig.kit.provided().any(|provided| {
        provided.runtime == "docker" && provided.metadata.iter().any(|told| !told.runtime_id.is_empty())
    }));
    rig.running.stop().expect("it stops");
}

#[test]
fn a_docker_at_podman_s_socket_is_said_with_the_remedy() {
    let kit = kit();
    kit.tree().dir("run/podman");
    let _fake = Fake::start(&kit.tree().path("run/podman/podman.sock"));
    let mut rig = Rig::start_of("podman", kit, CONFIG);
    rig.troubled(&["no Podman answers there", "podman.socket"]);
}

#[test]
fn users_podmans_are_found_as_they_come_and_forgotten_as_they_go() {
    let kit = kit();
    let comes = |uid: u32, number: usize| {
        let directory = kit.tree().path(format!("run/user/{uid}"));
        // Elsewhere first: it is there with all that it has.
        let elsewhere = kit.tree().path(format!("run/{uid}"));
        std::fs::create_dir_all(elsewhere.join("podman")).expect("a directory");
        let fake = Fake::start(&elsewhere.join("podman/podman.sock"));
        fake.podman("4.3.1");
        fake.put(container(number, "web"));
        fake.libpod(&id(number), says("", false));
        std::fs::create_dir_all(directory.parent().expect("below the root")).expect("a directory");
        std::fs::rename(&elsewhere, &directory).expect("it is there");
        fake
    };
    let user = |uid: u32| move |told: &gantry_plugin_api::Container| told.names["user"] == uid.to_string();
    let _first = comes(1000, 1);
    let mut rig = Rig::start_of("podman", kit.clone(), "podman_users = true\npodman.deadline = \"20s\"");
    rig.told(&id(1), user(1000));
    let _second = comes(1001, 2);
    rig.told(&id(2), user(1001));
    let up = |uid: u32| {
        let socket = format!("/run/user/{uid}/podman/podman.sock");
        format!("container_runtime_up{{runtime=\"podman\",api=\"podman\",socket=\"{socket}\"}}")
    };
    rig.shows(&up(1001), |value| value == 1.0);
    kit.tree().remove("run/user/1000/podman/podman.sock");
    eventually(|| {
        let collected = rig.running.collect().map_err(|failure| failure.to_string())?;
        collected.find(&up(1000)).is_none().then_some(()).ok_or(collected.text())
    })
    .expect("it is asked no more");
    let of_first = |one: &gantry_plugin_api::identity::Metadata| {
        one.removed && one.container.names.get("user").is_some_and(|user| user == "1000")
    };
    assert!(
        kit.provided().any(|told| told.metadata.iter().any(of_first)),
        "no name is waited for from there"
    );
    rig.shows(&up(1001), |value| value == 1.0);
    rig.running.stop().expect("it stops");
}

#[test]
fn without_being_asked_for_no_user_s_podman_is_looked_for() {
    let (mut quiet, left_alone) = before_podman(CONFIG, Some(1000), fill);
    // One that began later, and does look, has found it: so would the first have by now.
    let (asking, _fake) = before_podman(&format!("podman_users = true\n{CONFIG}"), Some(1000), fill);
    asking.told(&id(1), |_| true);
    let collected = quiet.collect();
    assert!(!collected.series().any(|(series, _)| series.contains("/run/user/")), "{collected:?}");
    // Whoever looks is waited for.
    quiet.running.stop().expect("it stops");
    assert!(quiet.names().is_empty(), "{:?}", quiet.names());
    let is_user_s = |told: &gantry_plugin_api::identity::Metadata| told.container.names.contains_key("user");
    assert!(!quiet.kit.provided().any(|told| told.metadata.iter().any(is_user_s)));
    for request in [Request::Version, Request::Events, Request::List, Request::Libpod] {
        assert_eq!(left_alone.asked(request), 0, "{request:?}");
    }
}
