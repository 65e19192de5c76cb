//! Before a Docker that hangs, lies, dies and returns.

mod support;

use gantry_plugin_testkit::{NewContainer, eventually};
use gantry_test_docker::fake::{container, id};
use gantry_test_docker::{Fake, Mood, Request};
use serde_json::json;
use support::{CONFIG, HASTY, Rig, comes, kit, socket};

/// All that Docker may be asked, in the order in which it is.
const REQUESTS: [(Request, &str); 4] = [
    (Request::Version, "version"),
    (Request::Events, "events"),
    (Request::List, "list"),
    (Request::Inspect, "inspect"),
];

/// What the label `result` then has.
fn moods() -> Vec<(Mood, &'static [&'static str])> {
    vec![
        (Mood::Hang, &["timeout"]),
        (Mood::Garbage, &["malformed", "failed"]),
        (Mood::Close, &["failed"]),
        (Mood::Status(500), &["refused"]),
    ]
}

fn config(mood: &Mood) -> &'static str {
    if matches!(mood, Mood::Hang | Mood::HangInBody) { HASTY } else { CONFIG }
}

#[test]
fn each_request_may_fail_in_each_way() {
    for (mood, results) in moods() {
        std::thread::scope(|scope| {
            for (request, name) in REQUESTS {
                let mood = &mood;
                let named = std::thread::Builder::new().name(format!("{name}: {mood:?}"));
                let body = move || {
                    let (mut rig, fake) = Rig::before_with(config(mood), |fake| {
                        // More than are asked for side by side: not one of them is answered.
                        (1..=9).for_each(|number| fake.put(container(number, "web")));
                        fake.mood(request, mood.clone());
                    });
                    let counted: Vec<String> =
                        results.iter().map(|result| rig.requests(name, result)).collect();
                    gantry_plugin_testkit::eventually(|| {
                        let collected = rig.running.collect().map_err(|failure| failure.to_string())?;
                        let some = counted
                            .iter()
                            .any(|series| collected.find(series).is_some_and(|count| count > 0.0));
                        some.then_some(()).ok_or_else(|| format!("{name} {mood:?}: {collected:?}"))
                    })
                    .unwrap_or_else(|failure| panic!("{failure}"));
                    fake.mood(request, Mood::Good);
                    rig.told(&id(1), |told| told.names["name"] == "web");
                    rig.up(true);
                    rig.running.stop().expect("it stops");
                };
                drop(named.spawn_scoped(scope, body).expect("a thread"));
            }
        });
    }
}

#[test]
fn bodies_may_be_broken_in_each_way() {
    let bad: [(Mood, &str); 8] = [
        (Mood::HangInBody, "timeout"),
        (Mood::Half, "failed"),
        (Mood::Endless, "too_large"),
        (Mood::Body(b"[1, 2".to_vec()), "malformed"),
        (Mood::Body(b"{\"Id\": 5}".to_vec()), "malformed"),
        (Mood::Body(b"\"\xff\xfe\"".to_vec()), "malformed"),
        (Mood::Body(vec![b'['; 100_000]), "malformed"),
        (Mood::Body(b"".to_vec()), "malformed"),
    ];
    std::thread::scope(|scope| {
        for (mood, result) in bad {
            scope.spawn(move || {
                for (request, name) in [REQUESTS[0], REQUESTS[2]] {
                    let (mut rig, fake) = Rig::before_with(config(&mood), |fake| {
                        fake.put(container(1, "web"));
                        fake.mood(request, mood.clone());
                    });
                    rig.counted(name, result, 1.0);
                    fake.mood(request, Mood::Good);
                    rig.told(&id(1), |_| true);
                    rig.running.stop().expect("it stops");
                }
            });
        }
    });
}

#[test]
fn a_description_that_cannot_be_read_is_replaced_by_the_list_s_row() {
    let (mut rig, fake) = Rig::before(|_| {});
    // They come when it runs: what was asked before that is not counted.
    fake.wait_listeners(1);
    fake.put(container(1, "endless"));
    fake.mood_of(&id(1), Mood::Endless);
    fake.put(container(2, "nonsense"));
    fake.mood_of(&id(2), Mood::Body(b"{\"Id\":\"x\",\"State\":7}".to_vec()));
    let mut large = container(3, "large");
    large["Config"]["Env"] = json!([format!("SECRET={}", "x".repeat(10 << 20))]);
    fake.put(large);
    fake.put(container(4, "good"));
    (1..=4).for_each(|number| fake.event("start", &id(number)));
    for (number, name) in [(1, "endless"), (2, "nonsense"), (3, "large"), (4, "good")] {
        let told = rig.told(&id(number), |told| told.names["name"] == name);
        assert_eq!(told.image, "nginx:1.27");
        assert_eq!(told.environment.is_empty(), number != 4);
    }
    rig.skipped("runtime_description_incomplete", 3);
    rig.counted("inspect", "too_large", 2.0);
    rig.counted("inspect", "malformed", 1.0);
    rig.up(true);
    drop(fake);
}

#[test]
fn one_container_that_hangs_holds_no_other() {
    let (mut rig, fake) = Rig::before_with(HASTY, |fake| {
        (1..=40).for_each(|number| fake.put(container(number, &format!("web-{number}"))));
        (20..=31).for_each(|number| fake.mood_of(&id(number), Mood::Hang));
    });
    for number in (1..20).chain(32..=40) {
        rig.told(&id(number), |_| true);
    }
    rig.counted("inspect", "timeout", 12.0);
    rig.skipped("runtime_container_unknown", 12);
    rig.up(true);
    assert_eq!(fake.asked(Request::Events), 1, "the session went on");
    (20..=31).for_each(|number| fake.mood_of(&id(number), Mood::Good));
    // They are tried again, and nothing else has to happen.
    (20..=31).for_each(|number| drop(rig.told(&id(number), |_| true)));
}

#[test]
fn a_docker_that_hangs_holds_no_stop() {
    for request in REQUESTS.map(|(request, _)| request) {
        let (mut rig, fake) = Rig::before(|fake| {
            fake.put(container(1, "web"));
            fake.mood(request, Mood::Hang);
        });
        fake.wait_asked(request, 1);
        rig.running.stop().expect("within its deadline");
        assert!(!rig.kit.log().any(|line| line.message.contains("left behind")), "all threads ended");
    }
}

#[test]
fn no_connection_is_left_of_what_hung() {
    let (mut rig, fake) = Rig::before_with(HASTY, |fake| {
        (1..=30).for_each(|number| fake.put(container(number, "web")));
        fake.mood(Request::Inspect, Mood::Hang);
    });
    rig.counted("inspect", "timeout", 16.0);
    fake.mood(Request::Inspect, Mood::Good);
    rig.told(&id(30), |_| true);
    gantry_plugin_testkit::eventually(|| match fake.connections() {
        1 => Ok(()),
        open => Err(format!("{open} connections are open, where only events need one")),
    })
    .expect("the others end");
}

#[test]
fn events_may_be_anything() {
    let (mut rig, fake) = Rig::before(|fake| fake.put(container(1, "web")));
    rig.told(&id(1), |_| true);
    fake.wait_listeners(1);
    for bad in [
        &b"garbage\n"[..],
        b"{}\n",
        b"\xff\xfe\n",
        b"{\"Type\":\"container\",\"Actor\":{\"ID\":\"../x\"}}\n",
        b"\n",
        b"[[[[[\n",
    ] {
        fake.raw_event(bad);
    }
    // In two pieces, and two in one.
    let whole = |number: usize| {
        format!("{{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{{\"ID\":\"{}\"}}}}\n", id(number))
    };
    (2..=4).for_each(|number| fake.put(container(number, "web")));
    let two = whole(2);
    let (first, rest) = two.split_at(30);
    fake.raw_event(first.as_bytes());
    fake.raw_event(rest.as_bytes());
    fake.raw_event(format!("{}{}", whole(3), whole(4)).as_bytes());
    (2..=4).for_each(|number| drop(rig.told(&id(number), |_| true)));
    rig.skipped("runtime_event_malformed", 5);
    assert_eq!(fake.asked(Request::Version), 1, "the connection was kept");
}

#[test]
fn an_event_without_end_is_passed_over() {
    let (mut rig, fake) = Rig::before(|fake| fake.put(container(1, "web")));
    fake.wait_listeners(1);
    let piece = vec![b'x'; 1 << 20];
    (0..6).for_each(|_| fake.raw_event(&piece));
    fake.raw_event(b"\n");
    fake.put(container(2, "next"));
    fake.event("start", &id(2));
    rig.told(&id(2), |_| true);
    rig.skipped("runtime_event_malformed", 1);
}

#[test]
fn dying_and_returning_again_and_again() {
    let kit = kit();
    let mut rig = Rig::start(kit.clone(), CONFIG);
    for number in 1..=4 {
        let fake = Fake::start(&socket(&kit));
        fake.put(container(number, "web"));
        // The host waits for it, and so it is not waited for long.
        let seen = rig.kit.identity().appear(NewContainer::new("/x").runtime("docker", &id(number)));
        rig.kit.identity().want_metadata(seen);
        rig.told(&id(number), |_| true);
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
fn a_socket_without_anybody_is_said() {
    let kit = kit();
    kit.tree().write("run/docker.sock", "a file and no socket");
    let mut rig = Rig::start(kit, CONFIG);
    rig.troubled(&["/run/docker.sock", "version"]);
    rig.counted("version", "failed", 1.0);
}

#[test]
fn ten_thousand_containers() {
    let (rig, fake) = Rig::before(|fake| {
        (0..10_000).for_each(|number| fake.put(container(number, &format!("web-{number}"))));
    });
    rig.told_all(10_000);
    assert_eq!(rig.names().len(), 10_000);
    assert_eq!(fake.asked(Request::List), 21, "pages of 500, and one that is not full");
    let most = rig.kit.provided().all().iter().map(|provided| provided.metadata.len()).max();
    assert!(most <= Some(64), "{most:?}");
}

#[test]
fn rows_that_are_huge_come_in_smaller_pages() {
    let (mut rig, fake) = Rig::before(|fake| {
        for number in 0..60 {
            let mut large = container(number, &format!("web-{number}"));
            large["Config"]["Labels"] =
                json!({ "huge": "x".repeat(1 << 20), "io.kubernetes.pod.name": "pod" });
            fake.put(large);
        }
    });
    for number in 0..60 {
        let told = rig.told(&id(number), |_| true);
        assert_eq!(
            (told.labels["huge"].len(), told.labels["io.kubernetes.pod.name"].as_str()),
            (4096, "pod")
        );
    }
    rig.skipped("runtime_labels_cut", 60);
    // What was asked before the plugin was active is not counted: once more.
    fake.hang_up();
    rig.counted("list", "too_large", 1.0);
    drop(fake);
}

#[test]
fn a_container_removed_between_two_pages_begins_the_list_anew() {
    let (mut rig, fake) = Rig::before(|fake| {
        (0..1200).for_each(|number| fake.put(container(number, "web")));
        fake.mood_of(&id(700), Mood::Hang);
    });
    // At the end of the first page stands 700: it goes before the second is asked for, or after.
    fake.remove(&id(700));
    fake.event("destroy", &id(700));
    (0..1200).filter(|number| *number != 700).for_each(|number| drop(rig.told(&id(number), |_| true)));
    rig.up(true);
    assert!(fake.asked(Request::List) >= 3, "pages of 500");
}

#[test]
fn a_docker_that_hangs_is_noticed_though_nothing_happens() {
    let (mut rig, fake) =
        Rig::before_with("docker.deadline = \"300ms\"", |fake| fake.put(container(1, "web")));
    rig.told(&id(1), |_| true);
    rig.up(true);
    [Request::Version, Request::Events].into_iter().for_each(|request| fake.mood(request, Mood::Hang));
    rig.up(false);
    rig.troubled(&["version: no answer within the deadline"]);
    [Request::Version, Request::Events].into_iter().for_each(|request| fake.mood(request, Mood::Good));
    rig.up(true);
}

#[test]
fn the_first_look_without_an_answer_is_a_reason_to_ask_whether_it_lives() {
    let (mut rig, fake) = Rig::before_with(HASTY, |fake| fake.put(container(1, "web")));
    rig.told(&id(1), |_| true);
    fake.wait_listeners(1);
    let asked = fake.asked(Request::Version);
    fake.mood(Request::Inspect, Mood::Hang);
    fake.event("update", &id(1));
    rig.counted("inspect", "timeout", 1.0);
    fake.wait_asked(Request::Version, asked + 1);
    fake.mood(Request::Inspect, Mood::Good);
    rig.up(true);
}

#[test]
fn a_list_that_is_refused_takes_no_names() {
    let (mut rig, fake) = Rig::before(|fake| {
        fake.put(container(1, "web"));
        fake.mood(Request::List, Mood::Status(500));
    });
    rig.troubled(&["list: refused (status 500)", "until all can be listed"]);
    rig.up(true);
    let seen = rig.kit.identity().appear(NewContainer::new("/x").runtime("docker", &id(1)));
    rig.kit.identity().want_metadata(seen);
    rig.told(&id(1), |_| true);
    assert_eq!(fake.asked(Request::Events), 1, "the session went on");
}

#[test]
fn what_waited_for_a_list_that_is_refused_is_asked_for() {
    let kit = kit();
    let seen = kit.identity().appear(NewContainer::new("/x").runtime("docker", &id(1)));
    // Nobody wants it any more: that was said long before Docker came.
    let _ = seen;
    let fake = Fake::start(&socket(&kit));
    fake.put(container(1, "web"));
    fake.mood(Request::List, Mood::Status(500));
    let rig = Rig::start(kit, CONFIG);
    rig.told(&id(1), |_| true);
}

#[test]
fn wishes_for_an_absent_docker_are_no_loss() {
    let kit = kit();
    let mut rig = Rig::start(kit.clone(), CONFIG);
    for number in 0..8300 {
        let seen = NewContainer::new(&format!("/docker/{number}")).runtime("docker", &id(number));
        let seen = kit.identity().appear(seen);
        kit.identity().want_metadata(seen);
    }
    // All of them are heard.
    for _ in 0..3 {
        let collected = rig.collect();
        assert!(!collected.skipped().keys().any(|reason| reason == "runtime_wanted_lost"), "{collected:?}");
    }
    let _fake = comes(&kit, |fake| (0..8300).for_each(|number| fake.put(container(number, "web"))));
    rig.told_all(8300);
    rig.counted("inspect", "ok", 8300.0);
    let collected = rig.collect();
    assert!(!collected.skipped().keys().any(|reason| reason == "runtime_wanted_lost"), "{collected:?}");
}

/// The runtimes that are asked, by the id of what each has.
const RUNTIMES: [(&str, &str); 5] = [
    ("docker", "0000000000000000000000000000000000000000000000000000000000000001"),
    ("podman", "0000000000000000000000000000000000000000000000000000000000000002"),
    ("cri", "0000000000000000000000000000000000000000000000000000000000000003"),
    ("containerd", "redis"),
    ("systemd", "a.service"),
];

#[test]
fn one_runtime_that_hangs_holds_no_other() {
    std::thread::scope(|scope| {
        for (hanging, _) in RUNTIMES {
            let named = std::thread::Builder::new().name(format!("{hanging} hangs"));
            drop(named.spawn_scoped(scope, move || holds_no_other(hanging)).expect("a thread"));
        }
    });
}

fn holds_no_other(hanging: &str) {
    let kit = kit();
    ["run/podman", "run/dbus"].into_iter().for_each(|dir| kit.tree().dir(dir));
    let docker = Fake::start(&socket(&kit));
    docker.put(container(1, "front"));
    let podman = Fake::start(&kit.tree().path("run/podman/podman.sock"));
    podman.podman("4.3.1");
    podman.put(container(2, "web"));
    let pods = support::cri::Fake::containerd(&kit.tree().path("run/cri.sock"));
    pods.put_pod(support::cri::pod(1, "web-1"));
    pods.put(support::cri::container(3, 1, "nginx"));
    let own = support::containerd::Fake::start(&kit.tree().path("run/c.sock"));
    own.put("default", support::containerd::plain("redis"));
    let systemd = support::systemd::Fake::start(&kit.tree().path("run/dbus/system_bus_socket"));
    systemd.put("a.service", support::systemd::service("exec", &[]));
    match hanging {
        "docker" => docker.mood(Request::Version, Mood::Hang),
        "podman" => podman.mood(Request::Version, Mood::Hang),
        "cri" => pods.mood("Version", support::cri::Mood::Hang),
        "containerd" => own.mood("Version/Version", support::grpc::Mood::Hang),
        _ => systemd.mood(support::systemd::Request::Auth, support::systemd::Mood::Hang),
    }
    let config = "docker.deadline = \"20s\"\npodman.deadline = \"20s\"\nsystemd.deadline = \"20s\"\n\
                  cri = { socket = \"/run/cri.sock\", deadline = \"20s\" }\n\
                  containerd = { socket = \"/run/c.sock\", deadline = \"20s\" }";
    let mut rig = Rig::start(kit, config);
    for (_, told) in RUNTIMES.iter().filter(|(name, _)| *name != hanging) {
        rig.told(told, |_| true);
    }
    let is_asked = || match hanging {
        "docker" => docker.asked(Request::Version),
        "podman" => podman.asked(Request::Version),
        "cri" => pods.asked("Version"),
        "containerd" => own.asked("Version/Version"),
        _ => systemd.asked(support::systemd::Request::Auth),
    };
    eventually(|| if is_asked() > 0 { Ok(()) } else { Err(hanging.to_owned()) }).expect("it is asked");
    let of = RUNTIMES.iter().find(|(name, _)| *name == hanging).expect("one of them").1;
    assert!(
        !rig.kit.provided().any(|provided| provided.metadata.iter().any(|told| told.runtime_id == of)),
        "{hanging} hangs"
    );
    rig.running.stop().expect("within its deadline");
    assert!(!rig.kit.log().any(|line| line.message.contains("left behind")), "all threads ended");
}
