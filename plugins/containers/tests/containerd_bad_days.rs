//! Before a containerd that hangs, lies, dies and returns, over its own API.

mod support;

use gantry_plugin_testkit::eventually;
use support::containerd::{Fake, id, plain};
use support::grpc::Mood;
use support::moods::Moods;
use support::{Rig, kit};

/// A machine under load takes its time.
const CONFIG: &str = "cri.enabled = false\n[containerd]\nsocket = \"/run/c.sock\"\ndeadline = \"20s\"";
/// For tests that wait for the deadline.
const HASTY: &str = "cri.enabled = false\n[containerd]\nsocket = \"/run/c.sock\"\ndeadline = \"500ms\"";

fn before(config: &str, fill: impl FnOnce(&Fake)) -> (Rig, Fake) {
    let kit = kit();
    let fake = Fake::start(&kit.tree().path("run/c.sock"));
    fake.put("default", plain("redis"));
    fill(&fake);
    (Rig::start_of("containerd", kit, config), fake)
}

#[test]
fn each_request_may_fail_in_each_way() {
    let methods = [
        ("Version/Version", "version"),
        ("Namespaces/List", "list"),
        ("Containers/ListStream", "list"),
        ("Containers/Get", "inspect"),
        ("Tasks/Get", "task"),
    ];
    // The end of a list is where its server says so.
    let moods = Moods { methods: &methods, but: &[("Containers/ListStream", Mood::Half)] };
    moods.all(
        |hangs, method, mood| before(if hangs { HASTY } else { CONFIG }, |fake| fake.mood(method, mood)),
        Rig::requests,
        |rig, fake, method| {
            fake.mood(method, Mood::Good);
            rig.told("redis", |_| true);
            rig.up(true);
        },
    );
}

#[test]
fn another_runtime_is_said_with_the_remedy() {
    let (mut rig, _fake) = before(CONFIG, |fake| fake.mood("Version/Version", Mood::Code(12)));
    rig.troubled(&["no containerd answers there", "containerd.socket"]);
    rig.running.stop().expect("within its deadline");
}

#[test]
fn a_shim_that_hangs_costs_its_container_the_process_alone() {
    let (mut rig, fake) = before(HASTY, |fake| {
        (1..=20).for_each(|number| fake.put("default", plain(&id(number))));
        (5..=15).for_each(|number| fake.mood_of("Tasks/Get", &id(number), Mood::Hang));
    });
    (1..=20).for_each(|number| drop(rig.told(&id(number), |told| told.names["name"] == id(number))));
    rig.skipped("runtime_description_incomplete", 11);
    rig.up(true);
    // And it is looked at again.
    rig.kit.provided().clear();
    (5..=15).for_each(|number| fake.mood_of("Tasks/Get", &id(number), Mood::Good));
    (5..=15).for_each(|number| drop(rig.told(&id(number), |_| true)));
}

#[test]
fn one_namespace_that_is_refused_takes_nothing_from_the_others() {
    let (mut rig, fake) = before(CONFIG, |fake| fake.mood("Containers/ListStream", Mood::Code(7)));
    rig.troubled(&["list: refused", "until all can be listed"]);
    // What is wanted, and what changes, is told all the same.
    fake.put("default", plain(&id(1)));
    let new = gantry_plugin_testkit::NewContainer::new("/x").runtime("containerd", &id(1));
    let new = rig.kit.identity().appear(new);
    rig.kit.identity().want_metadata(new);
    rig.told(&id(1), |_| true);
    fake.mood("Containers/ListStream", Mood::Good);
    rig.told("redis", |_| true);
    eventually(|| {
        let troubles = rig.running.troubles().map_err(|failure| failure.to_string())?;
        if troubles.is_empty() { Ok(()) } else { Err(format!("{troubles:?}")) }
    })
    .expect("it is whole again");
}

#[test]
fn what_speaks_no_http2_is_said() {
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x00\xff\xff\xff", b""] {
        let (mut rig, fake) = before(CONFIG, |fake| fake.raw(Some(bytes)));
        rig.troubled(&["version"]);
        fake.raw(None);
        rig.told("redis", |_| true);
    }
}

#[test]
fn one_that_hangs_holds_no_stop() {
    for method in
        ["Version/Version", "Namespaces/List", "Containers/ListStream", "Containers/Get", "Tasks/Get"]
    {
        let (mut rig, fake) = before(CONFIG, |fake| fake.mood(method, Mood::Hang));
        eventually(|| (fake.asked(method) > 0).then_some(()).ok_or_else(|| method.to_owned()))
            .expect("it is asked");
        rig.running.stop().expect("within its deadline");
        assert!(!rig.kit.log().any(|line| line.message.contains("left behind")), "all threads ended");
    }
}

#[test]
fn ten_thousand_containers() {
    let (rig, fake) = before(CONFIG, |fake| {
        (1..10_000).for_each(|number| fake.put("default", plain(&id(number))));
    });
    rig.told_all(10_000);
    assert_eq!(fake.asked("Containers/Get"), 10_000, "each once");
}

#[test]
fn descriptions_that_make_no_sense_cost_what_is_in_them() {
    let (mut rig, _fake) = before(CONFIG, |fake| {
        let mut odd = plain(&id(1));
        odd.container.spec.as_mut().expect("it has one").value = b"{".to_vec();
        fake.put("default", odd);
        let mut other = plain(&id(2));
        other.container.spec.as_mut().expect("it has one").type_url = "windows".to_owned();
        fake.put("default", other);
        fake.put_as("default", &id(3), plain(&id(4)));
        let mut huge = plain(&id(5));
        huge.container.labels.insert("huge".to_owned(), "x".repeat(1 << 20));
        fake.put("default", huge);
    });
    for number in [1, 2] {
        let told = rig.told(&id(number), |_| true);
        assert_eq!((&*told.image, told.environment.len()), ("docker.io/library/redis:7", 0));
    }
    assert_eq!(rig.told(&id(5), |_| true).labels["huge"].len(), 4096);
    rig.skipped("runtime_description_incomplete", 2);
    rig.skipped("runtime_container_unknown", 1);
    assert!(
        !rig.kit.provided().any(|provided| provided.metadata.iter().any(|told| told.runtime_id == id(4)))
    );
}

#[test]
fn dying_and_returning_again_and_again() {
    let kit = kit();
    let mut rig = Rig::start_of("containerd", kit.clone(), CONFIG);
    rig.up(false);
    assert!(rig.running.troubles().expect("has a health").is_empty(), "it does not run: nothing is wrong");
    for number in 1..=3 {
        let fake = Fake::start(&kit.tree().path("run/c.sock"));
        fake.put("default", plain(&id(number)));
        rig.told(&id(number), |_| true);
        if number > 1 {
            rig.removed(&id(number - 1));
        }
    }
    rig.up(false);
    rig.running.stop().expect("it stops");
}
