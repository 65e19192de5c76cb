//! Before a systemd that behaves: what the host is told, and when.

mod support;

use gantry_plugin_testkit::NewContainer;
use support::systemd::{CONFIG, Fake, Request, service, value};
use support::{Rig, kit};

fn name<'a>(told: &'a gantry_plugin_api::Container, kind: &str) -> &'a str {
    told.names.get(kind).map_or("", String::as_str)
}

#[test]
fn what_runs_is_told() {
    let (mut rig, fake) = Rig::before_systemd(CONFIG, |fake| {
        fake.put("ssh.service", service("notify", &["ssh.socket"]));
        fake.put("backup.service", service("oneshot", &["backup.timer"]));
        let mut instance = service("forking", &[]);
        instance.last_mut().expect("its slice").1 = value("system-postgresql.slice");
        fake.put("postgresql@14-main.service", instance);
        fake.put("once.service", vec![("Type", value("oneshot"))]);
        fake.put("dead.service", Vec::new());
        fake.put("data.mount", service("", &[]));
    });
    let ssh = rig.told("ssh.service", |_| true);
    assert_eq!((ssh.runtime.as_str(), name(&ssh, "name")), ("systemd", "ssh.service"));
    assert_eq!((name(&ssh, "systemd_type"), name(&ssh, "systemd_triggered_by")), ("notify", "ssh.socket"));
    assert_eq!((ssh.started_at, name(&ssh, "systemd_slice")), (1_795_413_424, "system.slice"));
    let backup = rig.told("backup.service", |_| true);
    assert_eq!(
        (name(&backup, "systemd_type"), name(&backup, "systemd_triggered_by")),
        ("oneshot", "backup.timer")
    );
    let instance = rig.told("postgresql@14-main.service", |_| true);
    assert_eq!(
        (name(&instance, "systemd_template"), name(&instance, "systemd_instance")),
        ("postgresql@.service", "14-main")
    );
    assert_eq!(name(&instance, "systemd_slice"), "system-postgresql.slice");
    assert!(!instance.names.contains_key("systemd_triggered_by") && instance.environment.is_empty());
    // Those of which nothing runs, and other kinds, only where the host sees processes in them.
    rig.sees("data.mount");
    rig.told("data.mount", |told| {
        !told.names.contains_key("systemd_type")
            && told.init.is_none()
            && name(told, "systemd_slice") == "system.slice"
    });
    assert_eq!(rig.names().len(), 4);
    assert!(!fake.looked_at().iter().any(|unit| unit == "once.service" || unit == "dead.service"));
    rig.up(true);
    assert!(rig.running.troubles().expect("has a health").is_empty());
}

#[test]
fn the_first_process_is_told_with_its_start() {
    let kit = kit();
    let own = std::process::id();
    kit.tree()
        .write(format!("proc/{own}/stat"), std::fs::read_to_string("/proc/self/stat").expect("a process"));
    kit.tree().dir("run/dbus");
    let fake = Fake::start(&kit.tree().path("run/dbus/system_bus_socket"));
    fake.put("a.service", service("simple", &[]));
    let rig = Rig::start_of("systemd", kit, CONFIG);
    rig.told("a.service", |told| told.init.is_some_and(|init| init.pid == own && init.start > 0));
}

#[test]
fn a_unit_is_told_by_what_its_cgroup_is_called() {
    // As long as a directory's name may be.
    let odd = format!("{}abc.service", r"\x2d".repeat(61));
    assert_eq!(odd.len(), 255);
    let (rig, _fake) = Rig::before_systemd(CONFIG, |fake| {
        fake.put("memory.service", service("simple", &[]));
        fake.put(r"a\x2db@c\x2fd.service", service("simple", &[]));
        fake.put(&odd, service("simple", &[]));
        fake.put(r"dev-disk-by\x2duuid.swap", service("", &[]));
    });
    assert_eq!(name(&rig.told("_memory.service", |_| true), "name"), "memory.service");
    assert_eq!(name(&rig.told(r"a\x2db@c\x2fd.service", |_| true), "systemd_instance"), r"c\x2fd");
    assert_eq!(name(&rig.told(&odd, |_| true), "name"), odd);
    for seen in ["_memory.service", r"dev-disk-by\x2duuid.swap", &odd] {
        rig.sees(seen);
    }
    rig.told(r"dev-disk-by\x2duuid.swap", |_| true);
}

#[test]
fn what_the_host_wants_is_asked_at_once() {
    let (rig, fake) = Rig::before_systemd(CONFIG, |_| ());
    fake.wait_asked(Request::List, 1);
    // No signal tells of it.
    fake.put("unheard.service", service("exec", &[]));
    rig.sees("unheard.service");
    rig.told("unheard.service", |told| name(told, "systemd_type") == "exec");
}

#[test]
fn of_what_systemd_does_not_know_nothing_is_said() {
    let (mut rig, fake) = Rig::before_systemd(CONFIG, |fake| fake.put("a.service", service("exec", &[])));
    rig.told("a.service", |_| true);
    for nobodys in
        ["kubelet", "../../x.service", "/user.slice/user-0.slice/a.service", "a b.service", "session-3.scope"]
    {
        rig.sees(nobodys);
    }
    for runtime in ["docker", "kubernetes", "oci"] {
        let other = NewContainer::new(&format!("/{runtime}")).runtime(runtime, "b.service");
        let other = rig.kit.identity().appear(other);
        rig.kit.identity().want_metadata(other);
    }
    rig.sees("gone.service");
    rig.counted("inspect", "not_found", 1.0);
    assert_eq!(fake.looked_at(), ["a.service", "gone.service"]);
    assert_eq!(rig.names(), ["a.service"]);
}

#[test]
fn a_unit_that_restarts_stays_itself() {
    let (rig, fake) = Rig::before_systemd(CONFIG, |fake| fake.put("a.service", service("exec", &[])));
    rig.told("a.service", |told| told.started_at == 1_795_413_424);
    let mut again = service("exec", &[]);
    again[3].1 = value(1_800_000_000_000_000_u64);
    fake.put("a.service", again);
    fake.job_removed("a.service");
    rig.told("a.service", |told| told.started_at == 1_800_000_000);
    assert!(!rig.kit.provided().any(|provided| provided.metadata.iter().any(|told| told.removed)));
    // It is unloaded, and nobody looks at it for that: this would load it anew.
    let looks = fake.looked_at().len();
    fake.remove("a.service");
    fake.unit_removed("a.service");
    rig.removed("a.service");
    assert_eq!(fake.looked_at().len(), looks);
}

#[test]
fn settings_that_are_read_anew_are_told() {
    let (rig, fake) = Rig::before_systemd(CONFIG, |fake| fake.put("a.service", service("simple", &[])));
    rig.told("a.service", |_| true);
    fake.put("a.service", service("oneshot", &["a.timer"]));
    fake.manager(support::systemd::OWNER, "Reloading", &(true,));
    fake.manager(support::systemd::OWNER, "Reloading", &(false,));
    rig.told("a.service", |told| name(told, "systemd_triggered_by") == "a.timer");
}

#[test]
fn settings_that_are_read_anew_many_times_on_end_are_asked_for_once() {
    let (rig, fake) = Rig::before_systemd(CONFIG, |fake| {
        (0..5).for_each(|number| fake.put(&format!("{number}.service"), service("simple", &[])));
    });
    (0..5).for_each(|number| drop(rig.told(&format!("{number}.service"), |_| true)));
    let looks = fake.looked_at().len();
    (0..5).for_each(|number| fake.put(&format!("{number}.service"), service("exec", &[])));
    for _ in 0..20 {
        fake.manager(support::systemd::OWNER, "Reloading", &(false,));
        // Signals come in their order: the one before this one was heard.
        fake.job_removed("0.service");
    }
    (0..5).for_each(|number| {
        rig.told(&format!("{number}.service"), |told| name(told, "systemd_type") == "exec");
    });
    let looked_at = fake.looked_at();
    let others = looked_at[looks..].iter().filter(|unit| *unit != "0.service").count();
    // A machine under load may be in the next five seconds by the last signal.
    assert!((4..=8).contains(&others), "not each time: {looked_at:?}");
}

#[test]
fn signals_are_believed_of_systemd_alone() {
    let (rig, fake) = Rig::before_systemd(CONFIG, |fake| {
        fake.put("a.service", service("exec", &[]));
        fake.put("b.service", service("exec", &[]));
    });
    rig.told("a.service", |_| true);
    rig.told("b.service", |_| true);
    let looks = fake.looked_at().len();
    fake.job_removed_by(":1.66", "a.service");
    fake.manager(":1.66", "UnitRemoved", &("a.service", support::systemd::path("a.service")));
    fake.manager(":1.66", "Reloading", &(false,));
    // Signals come in their order: those before this one were heard.
    fake.put("b.service", service("notify", &[]));
    fake.job_removed("b.service");
    rig.told("b.service", |told| name(told, "systemd_type") == "notify");
    assert_eq!(fake.looked_at()[looks..], ["b.service"]);
    assert!(!rig.kit.provided().any(|provided| provided.metadata.iter().any(|told| told.removed)));
}

#[test]
fn systemd_itself_is_asked_where_there_is_no_bus() {
    let (mut rig, fake) = Rig::before_systemd(CONFIG, |fake| {
        fake.be_peer();
        fake.put("a.service", service("notify", &[]));
    });
    rig.told("a.service", |told| name(told, "systemd_type") == "notify");
    rig.up(true);
    fake.put("a.service", service("exec", &[]));
    fake.job_removed("a.service");
    rig.told("a.service", |told| name(told, "systemd_type") == "exec");
    assert_eq!((fake.asked(Request::AddMatch), fake.asked(Request::Owner)), (0, 0));
}

#[test]
fn a_bus_without_systemd_is_no_trouble_and_it_may_come_and_go() {
    let (mut rig, fake) = Rig::before_systemd(CONFIG, |fake| {
        fake.away(true);
        fake.put("a.service", service("exec", &[]));
    });
    fake.wait_asked(Request::Owner, 1);
    rig.up(false);
    assert!(rig.running.troubles().expect("has a health").is_empty());
    rig.sees("a.service");
    fake.away(false);
    rig.told("a.service", |_| true);
    rig.up(true);
    fake.away(true);
    rig.up(false);
    fake.put("a.service", service("notify", &[]));
    fake.away(false);
    rig.told("a.service", |told| name(told, "systemd_type") == "notify");
    rig.up(true);
    assert_eq!(fake.asked(Request::Hello), 1, "the connection was kept");
}

#[test]
fn an_older_systemd_tells_what_it_knows() {
    let (rig, fake) = Rig::before_systemd(CONFIG, |fake| {
        fake.be_old();
        fake.put("a.service", service("exec", &[])[..2].to_vec());
        fake.put("dead.service", Vec::new());
        fake.put("b.mount", service("", &[]));
    });
    let told = rig.told("a.service", |_| true);
    assert_eq!((name(&told, "systemd_type"), told.started_at, told.init), ("exec", 0, None));
    assert_eq!(fake.asked(Request::List), 2, "by the newer method, then by the older one");
    assert_eq!(rig.names(), ["a.service"]);
}
