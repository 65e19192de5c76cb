//! Before a CRI runtime that hangs, lies, dies and returns.

mod support;

use gantry_plugin_testkit::eventually;
use support::cri::{Fake, Mood, container, id, pod, pod_id};
use support::moods::Moods;
use support::{Rig, kit};

/// A machine under load takes its time.
const CONFIG: &str = "[cri]\nsocket = \"/run/cri.sock\"\ndeadline = \"20s\"";
/// For tests that wait for the deadline.
const HASTY: &str = "[cri]\nsocket = \"/run/cri.sock\"\ndeadline = \"500ms\"";

fn before(config: &str, version: &str, fill: impl FnOnce(&Fake)) -> (Rig, Fake) {
    let kit = kit();
    let fake = Fake::start(&kit.tree().path("run/cri.sock"), "containerd", version, true);
    fake.put_pod(pod(1, "web-1"));
    fake.put(container(1, 1, "nginx"));
    fill(&fake);
    (Rig::start(kit, config), fake)
}

/// With lists, and without events.
fn listed(fill: impl FnOnce(&Fake)) -> (Rig, Fake) {
    before(CONFIG, "1.7.0", fill)
}

fn series(request: &str, result: &str) -> String {
    format!(
        "container_runtime_requests_total{{runtime=\"containerd\",api=\"cri\",request=\"{request}\",result=\"{result}\"}}"
    )
}

fn trouble(rig: &mut Rig, text: &str) {
    eventually(|| {
        let troubles = rig.running.troubles().map_err(|failure| failure.to_string())?;
        let said = troubles.iter().any(|trouble| trouble.contains(text));
        said.then_some(()).ok_or_else(|| format!("{text}: {troubles:?}"))
    })
    .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn each_request_may_fail_in_each_way() {
    let methods = [
        ("Version", "version"),
        ("ListPodSandbox", "list"),
        ("ListContainers", "list"),
        ("ContainerStatus", "status"),
    ];
    Moods { methods: &methods, but: &[] }.all(
        |hangs, method, mood| {
            before(if hangs { HASTY } else { CONFIG }, "1.7.0", |fake| fake.mood(method, mood))
        },
        |_, request, result| series(request, result),
        |rig, fake, method| {
            fake.mood(method, Mood::Good);
            rig.told(&id(1), |told| told.names["pod"] == "web-1");
            rig.shows("container_runtime_up{runtime=\"containerd\",api=\"cri\"}", |up| up == 1.0);
        },
    );
}

#[test]
fn what_speaks_no_http2_is_said() {
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x00\xff\xff\xff", b""] {
        let (mut rig, fake) = listed(|fake| fake.raw(Some(bytes)));
        trouble(&mut rig, "version");
        fake.raw(None);
        rig.told(&id(1), |_| true);
    }
}

#[test]
fn a_runtime_without_this_api_is_said_and_asked_rarely() {
    for (api, remedy) in [("runtime.v1alpha2", Some("v1alpha2")), ("none", None)] {
        let (mut rig, fake) = listed(|fake| fake.api(api));
        // What is counted before the plugin is active is not shown; a second try is a minute away.
        rig.shows(&series("version", "unsupported"), |_| true);
        match remedy {
            Some(remedy) => trouble(&mut rig, remedy),
            None => rig.unused("disabled_plugins"),
        }
        assert_eq!(fake.asked("Version"), 2, "once in each form");
        rig.running.stop().expect("within its deadline");
    }
}

#[test]
fn another_runtime_is_said() {
    let kit = kit();
    let _fake = Fake::start(&kit.tree().path("run/cri.sock"), "docker", "28.0", false);
    let mut rig = Rig::start(kit, CONFIG);
    trouble(&mut rig, "neither containerd nor CRI-O");
}

#[test]
fn one_that_hangs_holds_no_stop() {
    for method in ["Version", "ListPodSandbox", "ListContainers", "ContainerStatus"] {
        let (mut rig, fake) = listed(|fake| fake.mood(method, Mood::Hang));
        eventually(|| (fake.asked(method) > 0).then_some(()).ok_or_else(|| method.to_owned()))
            .expect("it is asked");
        rig.running.stop().expect("within its deadline");
        assert!(!rig.kit.log().any(|line| line.message.contains("left behind")), "all threads ended");
    }
}

#[test]
fn one_container_that_hangs_holds_no_other() {
    let (mut rig, fake) = before(HASTY, "1.7.0", |fake| {
        (2..=40).for_each(|number| fake.put(container(number, 1, "web")));
        (20..=31).for_each(|number| fake.mood_of(&id(number), Mood::Hang));
    });
    (1..20).chain(32..=40).for_each(|number| drop(rig.told(&id(number), |_| true)));
    rig.skipped("runtime_container_unknown", 12);
    (20..=31).for_each(|number| fake.mood_of(&id(number), Mood::Good));
    (20..=31).for_each(|number| drop(rig.told(&id(number), |_| true)));
}

#[test]
fn a_description_that_is_too_long_is_asked_for_without_the_rest() {
    let (mut rig, _fake) = listed(|fake| {
        let mut large = container(2, 1, "large");
        let info = format!(r#"{{"runtimeSpec":{{"process":{{"env":["A={}"]}}}}}}"#, "x".repeat(8 << 20));
        large.status.info.insert("info".to_owned(), info);
        fake.put(large);
        let mut nonsense = container(3, 1, "nonsense");
        nonsense.status.info.insert("info".to_owned(), "{\"pid\":".to_owned());
        fake.put(nonsense);
        let mut orphan = container(4, 9, "orphan");
        orphan.status.info.clear();
        fake.put(orphan);
    });
    let told = rig.told(&id(2), |_| true);
    assert_eq!((told.names["container"].as_str(), told.environment.len()), ("large", 0));
    let told = rig.told(&id(3), |_| true);
    assert_eq!((told.names["pod"].as_str(), told.environment.len()), ("web-1", 0), "the list knows its pod");
    let told = rig.told(&id(4), |_| true);
    assert_eq!((told.names.get("pod"), told.labels["io.kubernetes.pod.name"].as_str()), (None, "web-9"));
    rig.skipped("runtime_description_incomplete", 3);
}

#[test]
fn ten_thousand_containers_and_labels_of_a_megabyte() {
    let (mut rig, fake) = listed(|fake| {
        (2..=10_000).for_each(|number| fake.put(container(number, 1, "web")));
        let mut huge = container(1, 1, "nginx");
        let status = huge.status.status.as_mut().expect("a status");
        status.labels.insert("huge".to_owned(), "x".repeat(1 << 20));
        fake.put(huge);
    });
    assert_eq!(rig.told(&id(1), |_| true).labels["huge"].len(), 4096);
    // All of them, and their sandbox.
    rig.told_all(10_001);
    rig.skipped("runtime_labels_cut", 1);
    assert!(fake.asked("PodSandboxStatus") < 20, "the pod is remembered");
}

#[test]
fn a_list_that_is_too_long_is_shortened_to_what_runs() {
    for mood in [Mood::Endless, Mood::Code(8)] {
        let (mut rig, fake) = listed(|fake| fake.mood("ListContainers", mood));
        rig.shows(&series("list", "too_large"), |count| count >= 2.0);
        rig.skipped("runtime_container_unknown", 1);
        // What is wanted is told all the same.
        let new = gantry_plugin_testkit::NewContainer::new("/x").runtime("containerd", &id(1));
        let new = rig.kit.identity().appear(new);
        rig.kit.identity().want_metadata(new);
        rig.told(&id(1), |_| true);
        fake.mood("ListContainers", Mood::Good);
        fake.put(container(2, 1, "late"));
        rig.told(&id(2), |_| true);
    }
}

#[test]
fn ids_that_are_none_become_no_part_of_a_request() {
    let (mut rig, fake) = before(CONFIG, "2.0.0", |fake| {
        let mut odd = container(1, 1, "odd");
        odd.status.status.as_mut().expect("a status").id = "../../x".to_owned();
        fake.put(odd);
    });
    rig.told(&id(1), |_| true);
    rig.skipped("runtime_container_unknown", 1);
    eventually(|| (fake.listeners() == 1).then_some(()).ok_or_else(String::new)).expect("it listens");
    let asked = fake.asked("ContainerStatus");
    fake.event(1, "../../x");
    fake.event(1, "");
    rig.skipped("runtime_event_malformed", 2);
    assert_eq!(fake.asked("ContainerStatus"), asked);
}

#[test]
fn a_container_that_another_answer_is_given_for_is_not_told() {
    let (mut rig, _fake) = listed(|fake| {
        let mut wrong = container(1, 1, "wrong");
        wrong.status.status.as_mut().expect("a status").id = id(7);
        fake.put_as(&id(2), wrong);
    });
    rig.told(&id(1), |_| true);
    rig.skipped("runtime_container_unknown", 1);
    assert!(
        !rig.kit.provided().any(|provided| provided.metadata.iter().any(|told| told.runtime_id == id(7)))
    );
}

#[test]
fn events_that_make_no_sense_give_way_to_lists() {
    let (mut rig, fake) = before(CONFIG, "2.0.0", |_| ());
    rig.told(&id(1), |_| true);
    eventually(|| (fake.listeners() == 1).then_some(()).ok_or_else(String::new)).expect("it listens");
    fake.raw_event(b"\xff\xff\xff\xff garbage");
    rig.skipped("runtime_event_malformed", 1);
    fake.put(container(2, 1, "late"));
    rig.told(&id(2), |_| true);
    rig.shows("container_runtime_up{runtime=\"containerd\",api=\"cri\"}", |up| up == 1.0);
}

#[test]
fn dying_and_returning_again_and_again() {
    let kit = kit();
    let mut rig = Rig::start(kit.clone(), CONFIG);
    for number in 1..=3 {
        let fake = Fake::start(&kit.tree().path("run/cri.sock"), "containerd", "2.0.0", true);
        fake.put_pod(pod(number, "web"));
        fake.put(container(number, number, "nginx"));
        rig.told(&id(number), |_| true);
        rig.told(&pod_id(number), |_| true);
        if number > 1 {
            rig.removed(&id(number - 1));
        }
    }
    rig.shows("container_runtime_up{runtime=\"containerd\",api=\"cri\"}", |up| up == 0.0);
    rig.running.stop().expect("it stops");
}

#[test]
fn a_list_that_is_merely_slow_ends_no_session() {
    let (mut rig, fake) = before(HASTY, "2.0.0", |fake| fake.mood("ListContainers", Mood::Hang));
    rig.shows(&series("list", "timeout"), |count| count >= 2.0);
    trouble(&mut rig, "list: no answer within the deadline");
    eventually(|| (fake.listeners() == 1).then_some(()).ok_or_else(String::new)).expect("it listens");
    fake.event(1, &id(1));
    rig.told(&id(1), |_| true);
    assert_eq!(fake.asked("GetContainerEvents"), 1, "the session went on");
    fake.mood("ListContainers", Mood::Good);
    eventually(|| {
        let troubles = rig.running.troubles().map_err(|failure| failure.to_string())?;
        if troubles.is_empty() { Ok(()) } else { Err(format!("{troubles:?}")) }
    })
    .expect("it is whole again");
}

#[test]
fn a_pod_that_is_not_told_for_a_moment_is_asked_for_again() {
    for mood in [Mood::Code(14), Mood::Code(2), Mood::Garbage] {
        let (rig, fake) = listed(|fake| fake.mood("PodSandboxStatus", mood));
        let told = rig.told(&id(1), |_| true);
        assert!(!told.names.contains_key("pod_uid"), "{told:?}");
        fake.mood("PodSandboxStatus", Mood::Good);
        // Nothing else happens to it.
        assert_eq!(rig.told(&id(1), |told| told.names.contains_key("pod_uid")).names["pod_uid"], "uid-1");
    }
}

#[test]
fn a_cri_that_is_off_where_pods_run_is_a_trouble() {
    let kit = kit();
    let fake = Fake::start(&kit.tree().path("run/cri.sock"), "containerd", "2.0.0", true);
    fake.api("none");
    let pod = gantry_plugin_testkit::NewContainer::new("/kubernetes/x").runtime("kubernetes", &id(1));
    kit.identity().declare(pod.cgroup(&format!("/kubepods/besteffort/poduid/{}", id(1)), 7));
    let mut rig = Rig::start(kit, CONFIG);
    trouble(&mut rig, "ctr plugins ls");
}
