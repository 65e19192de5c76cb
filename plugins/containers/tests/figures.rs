//! What is shown is what the cgroups' files say, in each version, and nothing
//! of a file that is not there.

#[path = "support/machine.rs"]
mod machine;

use gantry_cgroupfs::{Mode, Resource, Usage};
use gantry_plugin_testkit::{Collected, NewContainer};
use machine::{CONFIG, Machine, series};

const MODES: [Mode; 3] = [Mode::V1, Mode::V2, Mode::Hybrid];

/// Each family with what it must show, where the kernel says it.
fn wanted(usage: &Usage) -> Vec<(&'static str, &'static str, Option<f64>)> {
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    let nanos = |value: Option<u64>| value.map(|value| value as f64 / 1e9);
    let micros = |value: Option<u64>| value.map(|value| value as f64 / 1e6);
    let (cpu, memory, pressure) = (&usage.cpu, &usage.memory, &usage.pressure);
    vec![
        ("cpu_usage_seconds_total", "", nanos(cpu.usage)),
        ("cpu_throttled_seconds_total", "", nanos(cpu.throttled)),
        ("cpu_periods_total", "", whole(cpu.periods)),
        ("cpu_throttled_periods_total", "", whole(cpu.throttled_periods)),
        ("cpu_limit_cores", "", cpu.limit.own),
        ("cpu_binding_limit_cores", "", cpu.limit.binding),
        ("memory_rss_bytes", "", whole(memory.rss)),
        ("memory_cache_bytes", "", whole(memory.cache)),
        ("memory_working_set_bytes", "", whole(memory.working_set)),
        ("memory_swap_bytes", "", whole(memory.swap)),
        ("memory_limit_bytes", "", whole(memory.limit.own)),
        ("memory_binding_limit_bytes", "", whole(memory.limit.binding)),
        ("memory_swap_limit_bytes", "", whole(memory.swap_limit.own)),
        ("memory_major_faults_total", "", whole(memory.major_faults)),
        ("cpu_pressure_waiting_seconds_total", "some", micros(pressure.cpu.some)),
        ("cpu_pressure_waiting_seconds_total", "full", micros(pressure.cpu.full)),
        ("memory_pressure_waiting_seconds_total", "some", micros(pressure.memory.some)),
        ("memory_pressure_waiting_seconds_total", "full", micros(pressure.memory.full)),
        ("io_pressure_waiting_seconds_total", "some", micros(pressure.io.some)),
        ("io_pressure_waiting_seconds_total", "full", micros(pressure.io.full)),
    ]
}

#[track_caller]
fn shows(collected: &Collected, id: &str, usage: &Usage) {
    for (family, kind, value) in wanted(usage) {
        assert_eq!(collected.find(&series(family, id, kind)), value, "{family} {kind}");
    }
}

#[test]
fn each_family_has_the_figures_of_the_files() {
    for mode in MODES {
        let machine = Machine::new(mode);
        let usages = [machine.fixture.figures(7), machine.fixture.figures(1_000_003)];
        for (number, usage) in usages.iter().enumerate() {
            machine.write(&format!("/docker/{number}"), usage);
            machine.container(&format!("/docker/{number}"), &[&format!("/docker/{number}")]);
        }
        let mut running = machine.start();
        for _ in 0..2 {
            let collected = running.collect().expect("it collects");
            for (number, usage) in usages.iter().enumerate() {
                shows(&collected, &format!("/docker/{number}"), usage);
            }
            assert!(collected.skipped().is_empty(), "{mode:?}: {:?}", collected.skipped());
        }
    }
}

#[test]
fn what_the_kernel_does_not_have_has_no_series() {
    for mode in MODES {
        let machine = Machine::new(mode);
        // No swap, no limits, no accounting of pressure: files or lines are not there.
        let mut usage = machine.fixture.figures(5);
        usage.memory.swap = None;
        usage.memory.limit = Default::default();
        usage.memory.swap_limit = Default::default();
        usage.cpu.limit = Default::default();
        usage.pressure = Default::default();
        machine.write("/docker/a", &usage);
        for resource in Resource::ALL {
            let directory = machine.fixture.directory(resource, "/docker/a");
            for file in ["cpu.pressure", "memory.pressure", "io.pressure", "memory.memsw.limit_in_bytes"] {
                // Where this version has it.
                let _ = std::fs::remove_file(directory.join(file));
            }
        }
        machine.container("/docker/a", &["/docker/a"]);
        let mut running = machine.start();
        let collected = running.collect().expect("it collects");
        shows(&collected, "/docker/a", &usage);
        assert!(!collected.has_family("container_resources_cpu_pressure_waiting_seconds_total"));
        assert!(collected.skipped().is_empty(), "{mode:?}: {:?}", collected.skipped());
    }
}

#[test]
fn files_that_make_no_sense_are_counted_and_the_others_shown() {
    let machine = Machine::new(Mode::V2);
    let usage = machine.fixture.figures(5);
    for path in ["/docker/good", "/docker/bad"] {
        machine.write(path, &usage);
        machine.container(path, &[path]);
    }
    let bad = machine.fixture.directory(Resource::Memory, "/docker/bad");
    for (file, text) in
        [("memory.stat", &b"anon \xff\xfe\nfile 99999999999999999999999\n"[..]), ("cpu.max", b"x y\n")]
    {
        std::fs::write(bad.join(file), text).expect("written");
    }
    let mut running = machine.start();
    let collected = running.collect().expect("it collects");
    shows(&collected, "/docker/good", &usage);
    assert_eq!(collected.find(&series("memory_rss_bytes", "/docker/bad", "")), None);
    assert!(collected.find(&series("cpu_usage_seconds_total", "/docker/bad", "")).is_some());
    assert!(collected.skipped()["cgroup_malformed"] >= 1, "{:?}", collected.skipped());
}

#[test]
fn a_limit_above_binds() {
    for mode in MODES {
        let machine = Machine::new(mode);
        let mut pod = machine.fixture.figures(9);
        pod.cpu.limit.own = Some(0.5);
        pod.memory.limit.own = Some(64 << 20);
        machine.write("/kubepods/pod", &pod);
        let mut usage = machine.fixture.figures(9);
        (usage.cpu.limit.own, usage.memory.limit.own) = (Some(2.0), Some(256 << 20));
        // The first version's kernel says it in `memory.stat` of the container itself.
        usage.memory.limit.binding = Some(64 << 20);
        machine.write("/kubepods/pod/web", &usage);
        machine.container("/k8s/web", &["/kubepods/pod/web"]);
        let collected = machine.start().collect().expect("it collects");
        let value = |family: &str| collected.find(&series(family, "/k8s/web", ""));
        assert_eq!(value("cpu_limit_cores"), Some(2.0), "{mode:?}");
        assert_eq!(value("cpu_binding_limit_cores"), Some(0.5), "{mode:?}");
        assert_eq!(value("memory_limit_bytes"), Some(f64::from(256 << 20)), "{mode:?}");
        assert_eq!(value("memory_binding_limit_bytes"), Some(f64::from(64 << 20)), "{mode:?}");
    }
}

#[test]
fn several_cgroups_of_one_container_are_summed() {
    let machine = Machine::new(Mode::V2);
    let usages = [machine.fixture.figures(10), machine.fixture.figures(500)];
    machine.write("/system.slice/a", &usages[0]);
    machine.write("/system.slice/b", &usages[1]);
    machine.container("/system.slice/ab", &["/system.slice/a", "/system.slice/b"]);
    let collected = machine.start().collect().expect("it collects");
    let sums = wanted(&usages[0]).into_iter().zip(wanted(&usages[1]));
    for ((family, kind, one), (_, _, other)) in sums {
        let sum = one.zip(other).map(|(one, other)| one + other);
        assert_eq!(collected.find(&series(family, "/system.slice/ab", kind)), sum, "{family}");
    }
}

#[test]
fn a_cgroup_that_lingers_allows_nobody_anything() {
    for mode in MODES {
        let machine = Machine::new(mode);
        let [mut old, new] = [machine.fixture.figures(10), machine.fixture.figures(500)];
        old.pids.current = Some(0);
        // Before the new one in the order of their names, and after it.
        for (name, paths) in [("web", ["/pods/1", "/pods/2"]), ("db", ["/pods/4", "/pods/3"])] {
            machine.write(paths[0], &old);
            machine.write(paths[1], &new);
            machine.container(&format!("/k8s/{name}"), &paths);
        }
        let collected = machine.start().collect().expect("it collects");
        for id in ["/k8s/web", "/k8s/db"] {
            for ((family, kind, of_new), (_, _, of_old)) in wanted(&new).into_iter().zip(wanted(&old)) {
                let value = collected.find(&series(family, id, kind));
                let sum = of_new.zip(of_old).map(|(new, old)| new + old);
                assert_eq!(value, if family.contains("limit") { of_new } else { sum }, "{mode:?} {family}");
            }
        }
    }
}

#[test]
fn a_limit_above_two_cgroups_of_one_container_is_there_once() {
    for mode in MODES {
        let machine = Machine::new(mode);
        let mut pod = machine.fixture.figures(9);
        (pod.cpu.limit.own, pod.memory.limit.own) = (Some(0.5), Some(64 << 20));
        machine.write("/kubepods/pod", &pod);
        let mut usage = machine.fixture.figures(9);
        (usage.cpu.limit.own, usage.memory.limit.own) = (Some(2.0), None);
        usage.memory.limit.binding = Some(64 << 20);
        let paths = ["/kubepods/pod/1", "/kubepods/pod/2"];
        paths.iter().for_each(|path| machine.write(path, &usage));
        machine.container("/k8s/web", &paths);
        let collected = machine.start().collect().expect("it collects");
        let value = |family: &str| collected.find(&series(family, "/k8s/web", ""));
        assert_eq!(value("cpu_limit_cores"), Some(4.0), "{mode:?}");
        assert_eq!(value("cpu_binding_limit_cores"), Some(0.5), "{mode:?}");
        assert_eq!(value("memory_limit_bytes"), None, "{mode:?}");
        assert_eq!(value("memory_binding_limit_bytes"), Some(f64::from(64 << 20)), "{mode:?}");
    }
}

#[test]
fn counters_never_go_back_not_even_in_the_next_generation() {
    let machine = Machine::new(Mode::V2);
    let usage = |seconds: u64| {
        let mut usage = machine.fixture.figures(3);
        usage.cpu.usage = Some(seconds * 1_000_000_000);
        usage
    };
    let used = series("cpu_usage_seconds_total", "/docker/web", "");
    machine.write("/docker/web", &usage(10));
    machine.container("/docker/web", &["/docker/web"]);
    let mut running = machine.start();
    assert_eq!(running.collect().expect("it collects").get(&used), 10.0);
    // It was removed and made anew, between two collections.
    machine.write("/docker/web", &usage(2));
    assert_eq!(running.collect().expect("it collects").get(&used), 12.0);
    let mut running = running.upgrade(CONFIG).expect("it is upgraded");
    assert_eq!(running.collect().expect("it collects").get(&used), 12.0);
    machine.write("/docker/web", &usage(5));
    assert_eq!(running.collect().expect("it collects").get(&used), 15.0);
    let mut running = running.crash_and_restore(CONFIG).expect("it is restored");
    machine.write("/docker/web", &usage(6));
    assert_eq!(running.collect().expect("it collects").get(&used), 16.0);
}

#[test]
fn one_that_is_gone_keeps_what_it_counted_and_loses_what_it_had() {
    let machine = Machine::new(Mode::V2);
    let usage = machine.fixture.figures(3);
    machine.write("/docker/web", &usage);
    let web = machine.container("/docker/web", &["/docker/web"]);
    let mut running = machine.start();
    shows(&running.collect().expect("it collects"), "/docker/web", &usage);
    machine.kit.identity().change(web, |web| web.gone = true);
    let collected = running.collect().expect("it collects");
    assert!(collected.find(&series("cpu_usage_seconds_total", "/docker/web", "")).is_some());
    assert_eq!(collected.find(&series("memory_rss_bytes", "/docker/web", "")), None);
}

#[test]
fn an_opted_out_container_has_no_series_here() {
    let machine = Machine::new(Mode::V2);
    for path in ["/docker/in", "/docker/out"] {
        machine.write(path, &machine.fixture.figures(3));
    }
    machine.container("/docker/in", &["/docker/in"]);
    let out = machine.new_container("/docker/out", &["/docker/out"]);
    machine.kit.identity().declare(out.with(|out| out.opted_out = vec!["containers".to_owned()]));
    let collected = machine.start().collect().expect("it collects");
    assert!(collected.find(&series("cpu_usage_seconds_total", "/docker/in", "")).is_some());
    assert!(!collected.text().contains("/docker/out"));
}

#[test]
fn one_that_opts_out_later_has_no_series_from_then_on() {
    let machine = Machine::new(Mode::V2);
    machine.write("/docker/out", &machine.fixture.figures(3));
    let out = machine.container("/docker/out", &["/docker/out"]);
    let mut running = machine.start();
    assert!(running.collect().expect("it collects").text().contains("/docker/out"));
    for gone in [false, true] {
        machine.kit.identity().change(out, |out| {
            (out.opted_out, out.gone) = (vec!["containers".to_owned()], gone);
        });
        assert!(!running.collect().expect("it collects").text().contains("/docker/out"), "gone: {gone}");
    }
}

#[test]
fn other_hierarchies_that_are_heard_of_later_are_read_too() {
    let machine = Machine::new(Mode::V1);
    let usage = machine.fixture.figures(3);
    machine.write("/docker/web", &usage);
    let all = machine.new_container("/docker/web", &["/docker/web"]);
    let memory = NewContainer::new("/docker/web").cgroup_v1(3, &["memory"], "/docker/web", 1);
    let web = machine.kit.identity().declare(memory);
    let mut running = machine.start();
    let used = series("cpu_usage_seconds_total", "/docker/web", "");
    assert_eq!(running.collect().expect("it collects").find(&used), None);
    let all = machine.kit.identity().container(machine.kit.identity().declare(all)).expect("declared");
    machine.kit.identity().change(web, |web| web.cgroups = all.cgroups);
    assert!(running.collect().expect("it collects").find(&used).is_some());
}
