//! Victims of the running kernel, in cgroups of the tests' own with a limit of 16 MiB.

mod support;

use gantry_bpf::Kernel;
use gantry_oom::config::Config;
use gantry_oom::engine::{BY_PID, Engine, PID, RING, TASK, Variant};
use gantry_oom::record::Mark;
use gantry_oom::state::State;
use gantry_plugin_testkit::eventually;
use std::path::Path;
use support::{Cgroup, LIMIT, is_v2, kit, now, scopes, skip};

const ONE: &str = "/docker/one";

/// Not a test: what the tests below start as processes of their own.
#[test]
#[ignore = "is started by other tests"]
fn hog() {
    support::hog();
}

#[test]
fn each_victim_counts_once_with_its_memory_and_the_limit() {
    if skip() {
        return;
    }
    let (cgroup, other) = (Cgroup::new("each").limited(), Cgroup::new("other").limited());
    let kit = kit();
    kit.identity().declare(cgroup.container(ONE));
    kit.identity().declare(other.container("/docker/other"));
    let mut running = kit.start("").expect("it starts");
    assert_eq!(running.troubles().expect("has a health"), [""; 0]);
    assert_eq!(now(&mut running, ONE), (0.0, [0.0; 4]), "from the first collection on");
    for number in 1..=3_u32 {
        let hog = cgroup.hog(if number == 2 { "thread" } else { "alone" });
        let pid = hog.pid();
        hog.dies();
        let count = f64::from(number);
        assert_eq!(now(&mut running, ONE), (count, [count, 0.0, 0.0, 0.0]), "in the next collection");
        let view = running.view("kills").expect("has the view");
        assert_eq!(view.rows().len(), number as usize);
        assert_eq!((view.text(0, "pid"), view.text(0, "scope")), (pid.to_string(), "container".to_owned()));
        let bytes = |column| view.text(0, column).parse::<f64>().expect("a number");
        assert_eq!(bytes("limit"), LIMIT as f64);
        assert!(bytes("memory") > LIMIT as f64 * 0.3 && bytes("memory") < LIMIT as f64 * 2.0, "{view:?}");
        assert!(view.text(0, "command").starts_with("kernel-"), "{view:?}");
        let said = kit.log().wait_for(|line| line.message.contains(&format!("process {pid} ")));
        let said = said.expect("a line").message;
        assert!(said.contains(ONE) && said.contains("at the container's limit of 16.0 MiB"), "{said}");
    }
    assert_eq!((cgroup.kills(), other.kills()), (3, 0));
    assert_eq!(now(&mut running, "/docker/other"), (0.0, [0.0; 4]));
}

/// The limit of a cgroup above is an ancestor's for the container, and its own where the
/// container made the cgroup that the victim is in.
#[test]
fn whose_limit_it_was_is_told() {
    if skip() {
        return;
    }
    let pod = Cgroup::new("pod").limited();
    let within = pod.within("one");
    let kit = kit();
    kit.identity().declare(within.container(ONE));
    let mut running = kit.start("").expect("it starts");
    within.kill();
    assert_eq!(now(&mut running, ONE), (1.0, [0.0, 1.0, 0.0, 0.0]));
    let view = running.view("kills").expect("has the view");
    assert_eq!(view.text(0, "limit"), (LIMIT as f64).to_string());

    let nested = support::kit();
    let (pid, whole) = (std::process::id(), pod.container("/docker/whole"));
    let container = nested.identity().declare(whole.process(pid, 1));
    let mut running = nested.start("").expect("it starts");
    within.kill();
    // The host has it by its process alone; here it is told of the cgroup as well.
    nested.identity().change(container, |container| {
        let mut inner = container.cgroups[0].clone();
        (inner.path, inner.id) = (within.path.clone(), within.id);
        container.cgroups.push(inner);
    });
    eventually(|| match now(&mut running, "/docker/whole") {
        (1.0, [1.0, 0.0, 0.0, 0.0]) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("it is the container's own");
}

#[test]
fn a_container_that_is_gone_at_once_and_known_late_counts() {
    if skip() {
        return;
    }
    let kit = kit();
    let mut running = kit.start("").expect("it starts");
    let cgroup = Cgroup::new("gone").limited();
    cgroup.kill();
    let container = cgroup.container(ONE);
    let place = (cgroup.hierarchy, cgroup.id);
    drop(cgroup);
    // The identity service is told where the process was.
    kit.observed().wait_for(|seen| (seen.hierarchy, seen.cgroup) == place).expect("it is told");
    let collected = running.collect().expect("it collects");
    assert_eq!(support::kills(&collected, ONE), None);
    let container = kit.identity().appear(container);
    assert_eq!(now(&mut running, ONE), (1.0, [1.0, 0.0, 0.0, 0.0]));
    kit.identity().vanish(container);
    assert_eq!(now(&mut running, ONE).0, 1.0, "as long as it is shown");
}

#[test]
fn kills_before_it_began_are_no_new_ones() {
    if skip() {
        return;
    }
    let cgroup = Cgroup::new("before").limited();
    cgroup.kill();
    cgroup.kill();
    let kit = kit();
    kit.identity().declare(cgroup.container(ONE));
    for config in ["", "ebpf = false"] {
        let mut running = kit.start(config).expect("it starts");
        for _ in 0..3 {
            assert_eq!(now(&mut running, ONE), (0.0, [0.0; 4]), "{config}");
        }
        cgroup.kill();
        assert_eq!(now(&mut running, ONE).0, 1.0, "{config}");
    }
}

#[test]
fn without_programs_the_counters_tell_and_the_scope_is_unknown() {
    if skip() {
        return;
    }
    let cgroup = Cgroup::new("without").limited();
    let kit = kit();
    kit.identity().declare(cgroup.container(ONE));
    let mut running = kit.start("ebpf = false").expect("it starts");
    cgroup.kill();
    assert_eq!(now(&mut running, ONE), (1.0, [0.0, 0.0, 0.0, 1.0]));
    // One that came later, and was never looked at while it had none.
    let young = Cgroup::new("young").limited();
    young.kill();
    kit.identity().appear(young.container("/docker/young"));
    assert_eq!(now(&mut running, "/docker/young"), (1.0, [0.0, 0.0, 0.0, 1.0]));
    // Another generation has programs: nothing is counted again.
    let mut running = running.upgrade("").expect("it is upgraded");
    cgroup.kill();
    for _ in 0..3 {
        assert_eq!(now(&mut running, ONE), (2.0, [1.0, 0.0, 0.0, 1.0]));
        assert_eq!(now(&mut running, "/docker/young").0, 1.0);
    }
}

#[test]
fn generations_follow_each_other_and_nothing_is_lost_or_doubled() {
    if skip() {
        return;
    }
    let cgroup = Cgroup::new("upgrade").limited();
    let kit = kit();
    kit.identity().declare(cgroup.container(ONE));
    let mut running = kit.start("").expect("it starts");
    running.collect().expect("it collects");
    let (killer, mut running) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| (0..12).for_each(|_| cgroup.kill()));
        while !killer.is_finished() {
            running = running.upgrade("").expect("it is upgraded");
            running.collect().expect("it collects");
        }
        (killer.join(), running)
    });
    killer.expect("all were killed");
    for _ in 0..3 {
        assert_eq!(now(&mut running, ONE), (12.0, [12.0, 0.0, 0.0, 0.0]));
    }
    assert_eq!(cgroup.kills(), 12);
    assert_eq!(running.view("kills").expect("has the view").rows().len(), 12);
}

/// The cgroup's number says what nobody saw.
#[test]
fn kills_while_nobody_looked_are_found_by_the_counter() {
    if skip() {
        return;
    }
    let cgroup = Cgroup::new("nobody").limited();
    let kit = kit();
    kit.identity().declare(cgroup.container(ONE));
    let mut running = kit.start("").expect("it starts");
    cgroup.kill();
    assert_eq!(now(&mut running, ONE).0, 1.0);
    let handover = running.stop().expect("it stops");
    cgroup.kill();
    let mut running = kit.start_from("", Some(&handover)).expect("it starts");
    cgroup.kill();
    eventually(|| match now(&mut running, ONE) {
        (3.0, [2.0, 0.0, 0.0, 1.0]) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("the one between is known by its number");
    assert_eq!(now(&mut running, ONE).0, 3.0, "once");
}

fn take(engine: &mut Engine, cgroup: &Cgroup) -> Vec<Mark> {
    let mut marks = Vec::new();
    engine.drain(100, |mark| marks.extend((mark.cgroup == cgroup.id).then_some(mark)));
    marks
}

/// A ring that is full loses events, and counts them; the counter has them.
#[test]
fn what_a_full_ring_loses_the_counter_tells() {
    if skip() {
        return;
    }
    // 4 KiB hold 30 records of 136 bytes; others' are in it as well.
    const KILLS: u32 = 40;
    let cgroup = Cgroup::new("full").limited();
    let kit = kit();
    kit.identity().declare(cgroup.container(ONE));
    let kernel = Kernel::open(Path::new("/sys")).expect("BTF");
    let variant = [&TASK, &PID].into_iter().find_map(|variant| Engine::load(&kernel, variant, 4096).ok());
    drop(kernel);
    // Nobody reads it until a collection.
    let mut state = State::new(&kit.host(), Config::default(), variant);
    state.activate(&kit.host(), None);
    for _ in 0..KILLS {
        cgroup.kill();
    }
    let mut collect = || kit.emitted(|sink| state.collect(&kit.host(), sink));
    let first = collect();
    let [told, ..] = scopes(&first, ONE);
    assert!(told > 0.0 && told < f64::from(KILLS), "{told}");
    let lost = *first.skipped().get("ring_full_lost").expect("it is said") as f64;
    assert!(told + lost >= f64::from(KILLS), "{told} told, {lost} lost");
    let second = collect();
    assert_eq!(support::kills(&second, ONE), Some(f64::from(KILLS)));
    assert_eq!(scopes(&second, ONE), [told, 0.0, 0.0, f64::from(KILLS) - told]);
}

#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static OF_TASK: &Aligned<[u8]> = &Aligned(*include_bytes!("../bpf/oom_pid_of_task.bpf.o"));

/// Each object is taken where it fits alone; what one with the pid does is tried by an
/// object that takes the pid out of the task.
#[test]
fn a_tracepoint_that_gives_the_pid_alone_is_enough() {
    if skip() {
        return;
    }
    let kernel = Kernel::open(Path::new("/sys")).expect("BTF");
    let fits = [&TASK, &PID].map(|variant| Engine::load(&kernel, variant, RING).is_ok());
    assert!(fits[0] != fits[1], "{fits:?}");
    let of_task = Variant { name: "oom_pid_of_task", bytes: &OF_TASK.0, programs: BY_PID };
    let variant = if fits[0] { &of_task } else { &PID };
    let mut engine = Engine::load(&kernel, variant, RING).expect("it is taken");
    let cgroup = Cgroup::new("pid").limited();
    for number in 1..=2 {
        let hog = cgroup.hog("alone");
        let pid = hog.pid();
        hog.dies();
        let marks = take(&mut engine, &cgroup);
        assert_eq!(marks.len(), 1, "{marks:?}");
        let mark = &marks[0];
        assert_eq!((mark.pid, mark.exit_code, mark.kills), (pid, 9, Some(number)));
        assert!(mark.limit.is_some_and(|limit| limit.of == cgroup.id && limit.bytes == LIMIT), "{mark:?}");
    }
    // Somebody else's SIGKILL marks nobody.
    let hog = cgroup.hog("alone");
    drop(hog);
    assert_eq!(take(&mut engine, &cgroup), []);
}

/// Version 2 alone has it.
#[test]
fn all_of_a_group_that_is_killed_together_count() {
    if skip() || !is_v2() {
        return;
    }
    let cgroup = Cgroup::new("group").limited();
    cgroup.write("memory.oom.group", "1");
    let kit = kit();
    kit.identity().declare(cgroup.container(ONE));
    let mut running = kit.start("").expect("it starts");
    let mut rests = [cgroup.hog("alone"), cgroup.hog("alone")];
    // They are in it, and wait.
    let is_in = || std::fs::read_to_string(cgroup.directory.join("cgroup.procs")).expect("it is there");
    eventually(|| if is_in().lines().count() == 2 { Ok(()) } else { Err(is_in()) }).expect("both are in it");
    cgroup.kill();
    rests.iter_mut().for_each(support::Hog::wait);
    // The kernel counts the one that it chose twice.
    assert_eq!(cgroup.kills(), 4);
    for _ in 0..3 {
        assert_eq!(now(&mut running, ONE), (3.0, [3.0, 0.0, 0.0, 0.0]));
    }
    // One alone is the most ordinary group.
    cgroup.kill();
    for _ in 0..3 {
        assert_eq!(now(&mut running, ONE), (4.0, [4.0, 0.0, 0.0, 0.0]));
    }
}
