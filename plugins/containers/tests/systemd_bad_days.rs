//! Before a systemd that hangs, lies, dies and returns.

mod support;

use support::systemd::{CONFIG, DENIED, Fake, HASTY, Mood, NO_PROPERTY, OWNER, Request, service, value};
use support::{Rig, kit};

/// All that is asked, with the label that it has.
const REQUESTS: [(Request, &str); 8] = [
    (Request::Auth, "version"),
    (Request::Hello, "version"),
    (Request::AddMatch, "events"),
    (Request::Owner, "version"),
    (Request::Subscribe, "events"),
    (Request::List, "list"),
    (Request::Unit, "inspect"),
    (Request::Property, "inspect"),
];

#[test]
fn each_request_may_fail_in_each_way() {
    let moods: [(Mood, &[&str]); 5] = [
        (Mood::Hang, &["timeout"]),
        (Mood::Garbage, &["malformed"]),
        (Mood::Close, &["failed"]),
        (DENIED, &["refused"]),
        (Mood::Huge, &["too_large", "failed"]),
    ];
    for (mood, results) in moods {
        std::thread::scope(|scope| {
            for (request, name) in REQUESTS {
                let mood = &mood;
                scope.spawn(move || {
                    let config = if *mood == Mood::Hang { HASTY } else { CONFIG };
                    let (mut rig, fake) = Rig::before_systemd(config, |fake| {
                        (1..=9)
                            .for_each(|number| fake.put(&format!("{number}.service"), service("exec", &[])));
                        fake.mood(request, mood.clone());
                    });
                    let counted: Vec<String> =
                        results.iter().map(|result| rig.requests(name, result)).collect();
                    gantry_plugin_testkit::eventually(|| {
                        let collected = rig.collect();
                        let some = counted
                            .iter()
                            .any(|series| collected.find(series).is_some_and(|count| count > 0.0));
                        some.then_some(()).ok_or_else(|| format!("{request:?} {mood:?}: {collected:?}"))
                    })
                    .unwrap_or_else(|failure| panic!("{failure}"));
                    fake.mood(request, Mood::Good);
                    // A list that was too long is not asked for again.
                    (1..=9).for_each(|number| rig.sees(&format!("{number}.service")));
                    (1..=9).for_each(|number| drop(rig.told(&format!("{number}.service"), |_| true)));
                    rig.up(true);
                    rig.running.stop().expect("it stops");
                });
            }
        });
    }
}

#[test]
fn what_is_wrong_is_said_with_the_remedy_and_without_their_words() {
    for (request, words) in [
        (Request::Subscribe, ["system_bus_socket", "events", "access denied", "run as root"]),
        (Request::List, ["system_bus_socket", "list", "access denied", "on a timer"]),
        (Request::Auth, ["system_bus_socket", "version", "refused", "run as root"]),
    ] {
        let (mut rig, _fake) = Rig::before_systemd(CONFIG, |fake| fake.mood(request, DENIED));
        rig.troubled(&words);
        let troubles = rig.running.troubles().expect("has a health");
        assert!(!troubles.iter().any(|trouble| trouble.contains("SECRET")), "{troubles:?}");
    }
}

#[test]
fn properties_of_other_types_are_left_out() {
    let (mut rig, fake) = Rig::before_systemd(CONFIG, |_| ());
    // What is asked before the plugin is active does not count.
    rig.up(true);
    let odd = |kind, triggers, pid, since| {
        vec![("Type", kind), ("TriggeredBy", triggers), ("MainPID", pid), ("ExecMainStartTimestamp", since)]
    };
    fake.put("a.service", odd(value(5_u32), value("a.timer"), value("pid"), value(-1_i64)));
    let nested = value(vec![value(vec!["deep"])]);
    fake.put("b.service", odd(nested, value(vec![1_u8]), value(u32::MAX), value(u64::MAX)));
    fake.put("c.service", service(&"x".repeat(1 << 20), &["c.timer"; 10_000]));
    ["a.service", "b.service", "c.service"].iter().for_each(|unit| rig.sees(unit));
    let a = rig.told("a.service", |_| true);
    assert_eq!((a.names.len(), a.started_at, a.init), (1, 0, None));
    let b = rig.told("b.service", |_| true);
    assert_eq!((b.names.len(), b.started_at, b.init), (1, 0, None));
    let c = rig.told("c.service", |_| true);
    assert_eq!((c.names["systemd_type"].len(), c.names["systemd_triggered_by"].as_str()), (4096, "c.timer"));
    rig.counted("inspect", "malformed", 6.0);
    rig.skipped("runtime_description_incomplete", 6);
    rig.skipped("runtime_text_cut", 1);
    rig.up(true);
}

#[test]
fn a_list_that_makes_no_sense_is_done_without() {
    let (mut rig, fake) = Rig::before_systemd(CONFIG, |fake| {
        fake.put("a.service", service("exec", &[]));
        fake.mood(Request::List, Mood::Wrong);
    });
    rig.counted("list", "malformed", 1.0);
    rig.skipped("runtime_container_unknown", 1);
    rig.sees("a.service");
    rig.told("a.service", |_| true);
    rig.up(true);
    // It is tried again, and nothing else has to happen.
    fake.put("b.service", service("exec", &[]));
    fake.mood(Request::List, Mood::Good);
    rig.told("b.service", |_| true);
    assert_eq!(fake.asked(Request::Hello), 1, "the connection was kept");
}

#[test]
fn one_unit_that_hangs_holds_no_other() {
    let (mut rig, fake) = Rig::before_systemd(HASTY, |fake| {
        (0..20).for_each(|number| fake.put(&format!("{number}.service"), service("exec", &[])));
        (0..6).for_each(|number| fake.mood_of(&format!("{number}.service"), Mood::Hang));
    });
    (6..20).for_each(|number| drop(rig.told(&format!("{number}.service"), |_| true)));
    rig.counted("inspect", "timeout", 6.0);
    rig.skipped("runtime_container_unknown", 6);
    rig.up(true);
    (0..6).for_each(|number| fake.mood_of(&format!("{number}.service"), Mood::Good));
    (0..6).for_each(|number| drop(rig.told(&format!("{number}.service"), |_| true)));
    assert_eq!(fake.asked(Request::Hello), 1, "the session went on");
}

#[test]
fn a_systemd_that_hangs_holds_no_stop() {
    for (request, _) in REQUESTS {
        let (mut rig, fake) = Rig::before_systemd(CONFIG, |fake| {
            fake.put("a.service", service("exec", &[]));
            fake.mood(request, Mood::Hang);
        });
        fake.wait_asked(request, 1);
        rig.running.stop().expect("within its deadline");
        assert!(!rig.kit.log().any(|line| line.message.contains("left behind")), "all threads ended");
    }
}

#[test]
fn signals_may_be_anything() {
    let (mut rig, fake) = Rig::before_systemd(CONFIG, |fake| fake.put("a.service", service("exec", &[])));
    rig.told("a.service", |_| true);
    fake.manager(OWNER, "JobRemoved", &("a.service",));
    fake.manager(OWNER, "UnitRemoved", &(5_u8, 6_u8));
    fake.manager(OWNER, "Reloading", &"false");
    fake.manager(OWNER, "UnitNew", &("a.service",));
    for unit in ["", "../x.service", "é.service", "a.service\n", &"x".repeat(60_000)] {
        fake.job_removed(unit);
        fake.manager(OWNER, "UnitRemoved", &(unit, support::systemd::path("a")));
    }
    // Everybody may send this to everybody.
    fake.manager(":1.66", "JobRemoved", &("x".repeat(200_000),));
    fake.put("a.service", service("notify", &[]));
    fake.job_removed("a.service");
    rig.told("a.service", |told| told.names["systemd_type"] == "notify");
    rig.skipped("runtime_event_malformed", 4);
    assert!(!rig.kit.provided().any(|provided| provided.metadata.iter().any(|told| told.removed)));
    assert_eq!(fake.asked(Request::Hello), 1, "the connection was kept");
}

#[test]
fn dying_and_returning_again_and_again() {
    let kit = kit();
    kit.tree().dir("run/dbus");
    let socket = kit.tree().path("run/dbus/system_bus_socket");
    let mut rig = Rig::start_of("systemd", kit, CONFIG);
    rig.up(false);
    assert!(rig.running.troubles().expect("has a health").is_empty(), "it does not run: nothing is wrong");
    for number in 1..=3 {
        let fake = Fake::start(&socket);
        let unit = format!("{number}.service");
        fake.put(&unit, service("exec", &[]));
        // The host waits for it, and so it is not waited for long.
        rig.sees(&unit);
        rig.told(&unit, |_| true);
        if number > 1 {
            rig.removed(&format!("{}.service", number - 1));
        }
    }
    rig.up(false);
    rig.running.stop().expect("it stops");
}

#[test]
fn ten_thousand_units() {
    let (rig, fake) = Rig::before_systemd(CONFIG, |fake| {
        (0..10_000).for_each(|number| fake.put(&format!("web@{number}.service"), service("exec", &[])));
        fake.mood(Request::Property, NO_PROPERTY);
    });
    rig.told_all(10_000);
    assert_eq!(rig.names().len(), 10_000);
    assert_eq!(fake.asked(Request::List), 1);
    let most = rig.kit.provided().all().iter().map(|provided| provided.metadata.len()).max();
    assert!(most <= Some(64), "{most:?}");
}
