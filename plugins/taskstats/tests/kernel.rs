//! Against this kernel, in the test kit: what processes waited, by the kernel's
//! own files, and ends of those that live for moments.

mod support;

use gantry_plugin_api::Process;
use gantry_plugin_testkit::{Kit, NewContainer, PATIENCE};
use gantry_taskstats::Taskstats;
use serde_json::json;
use std::time::{Duration, Instant};
use support::{Hog, Ticking, cpu_delay, has_kernel, kit, schedstat, started, until};

#[test]
fn all_that_it_declares_is_right() {
    Kit::of::<Taskstats>().check().expect("it is right");
}

/// Two that fight for one CPU, against the kernel's files.
#[test]
fn what_a_container_waited_is_what_the_kernel_s_files_say() {
    if !has_kernel() {
        return;
    }
    for config in [json!({}), json!({ "netlink": false })] {
        let kit = kit();
        let container = kit.identity().declare(NewContainer::new("/docker/hogs"));
        let mut running = kit.start(&config).expect("it starts");
        kit.clock().advance(Duration::from_secs(1));
        let hogs = [Hog::start(), Hog::start()];
        for hog in &hogs {
            kit.identity().process_starts(Some(container), started(&kit, hog.pid()));
        }
        running.collect().expect("it collects");
        let waited = |of: &[Hog]| of.iter().map(|hog| schedstat(hog.pid())).sum::<f64>();
        let until = Instant::now() + PATIENCE;
        while waited(&hogs) < 1.0 {
            assert!(Instant::now() < until, "they never waited");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        hogs.iter().for_each(Hog::freeze);
        let counted = cpu_delay(&running.collect().expect("it collects"), "/docker/hogs");
        let waited = waited(&hogs);
        assert!(
            (counted - waited).abs() <= waited / 100.0,
            "{config}: {counted}, and the kernel says {waited}"
        );
    }
}

/// Nobody can ask for them: each is gone before somebody collects.
#[test]
fn those_that_live_for_moments_count_when_they_end() {
    if !has_kernel() {
        return;
    }
    let kit = kit();
    let container = kit.identity().declare(NewContainer::new("/docker/moments"));
    let mut running = kit.start(json!({})).expect("it starts");
    kit.clock().advance(Duration::from_secs(1));
    let _ticking = Ticking::start(&kit);
    let hog = Hog::start();
    let mut waited = 0.0;
    for _ in 0..20 {
        let moment = Hog::start();
        let process = started(&kit, moment.pid());
        kit.identity().process_starts(Some(container), process);
        let until = Instant::now() + PATIENCE;
        while schedstat(moment.pid()) < 0.01 {
            assert!(Instant::now() < until, "it never waited");
            std::thread::park_timeout(Duration::from_millis(2));
        }
        moment.freeze();
        waited += schedstat(moment.pid());
        // Killed while it is stopped, it waits for a CPU once more.
        drop(moment);
        kit.identity().process_exits(process);
    }
    drop(hog);
    until(&mut running, "all are counted", |collected| cpu_delay(collected, "/docker/moments") >= waited);
    let counted = cpu_delay(&running.collect().expect("it collects"), "/docker/moments");
    assert!(counted < waited * 1.5 + 0.5, "{counted} of {waited}");
    let mut next = running.upgrade(json!({})).expect("it is upgraded");
    let then = cpu_delay(&next.collect().expect("it collects"), "/docker/moments");
    assert!((then - counted).abs() < 1e-9, "{then} after {counted}");
}

/// As of a machine whose processes have run for days.
#[test]
fn what_was_there_before_counts_from_what_it_had_and_goes_on_across_an_upgrade() {
    if !has_kernel() {
        return;
    }
    let kit = kit();
    let hogs = [Hog::start(), Hog::start()];
    let pid = hogs[0].pid();
    let until_waited = |least: f64| {
        let until = Instant::now() + PATIENCE;
        while schedstat(pid) < least {
            assert!(Instant::now() < until, "it never waited");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    };
    until_waited(0.2);
    hogs.iter().for_each(Hog::freeze);
    let before = schedstat(pid);
    kit.identity().declare(NewContainer::new("/docker/old").process(pid, 5));
    let mut running = kit.start(json!({})).expect("it starts");
    assert!(cpu_delay(&running.collect().expect("it collects"), "/docker/old") < 0.05);
    for least in [0.4, 0.6] {
        hogs.iter().for_each(Hog::go_on);
        until_waited(least);
        running = running.upgrade(json!({})).expect("it is upgraded");
        running.collect().expect("it collects");
    }
    hogs.iter().for_each(Hog::freeze);
    let counted = cpu_delay(&running.collect().expect("it collects"), "/docker/old");
    let waited = schedstat(pid) - before;
    assert!((counted - waited).abs() < 0.01, "{counted} of {waited}");
    // An agent that ends and comes again: the kernel counted on.
    hogs.iter().for_each(Hog::go_on);
    let mut running = running.restart(json!({})).expect("it comes again");
    until_waited(schedstat(pid) + 0.1);
    hogs.iter().for_each(Hog::freeze);
    let counted = cpu_delay(&running.collect().expect("it collects"), "/docker/old");
    let waited = schedstat(pid) - before;
    assert!((counted - waited).abs() < 0.01, "{counted} of {waited}");
}

#[test]
fn a_buffer_that_runs_over_is_counted_and_all_is_looked_at() {
    if !has_kernel() {
        return;
    }
    let kit = kit();
    let container = kit.identity().declare(NewContainer::new("/docker/flood"));
    let mut running = kit.start(json!({ "buffer": "4KiB" })).expect("it starts");
    kit.clock().advance(Duration::from_secs(1));
    let until = Instant::now() + PATIENCE;
    loop {
        for _ in 0..100 {
            let mut child = std::process::Command::new("/bin/true").spawn().expect("it starts");
            let process = started(&kit, child.id());
            kit.identity().process_starts(Some(container), process);
            child.wait().expect("it is ours");
            kit.identity().process_exits(process);
        }
        let collected = running.collect().expect("it collects");
        let of = |name: &str| collected.get(name);
        if of("taskstats_overruns_total") > 0.0 && of("taskstats_resyncs_total") > 0.0 {
            assert!(of("taskstats_lost_total{reason=\"overrun\"}") > 0.0, "{collected:?}");
            assert!(of("taskstats_exits_total") > 0.0, "{collected:?}");
            return;
        }
        assert!(Instant::now() < until, "it never ran over: {collected:?}");
    }
}

#[test]
fn without_netlink_it_says_what_is_missing() {
    let kit = kit();
    let mut running = kit.start(json!({ "netlink": false })).expect("it starts");
    let troubles = running.troubles().expect("has a health");
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    assert!(troubles[0].starts_with("netlink = false; delays of a CPU are read from"), "{troubles:?}");
    kit.identity().appear(NewContainer::new("/docker/x"));
    let collected = running.collect().expect("it collects");
    assert!(!collected.has_family("container_resources_disk_delay_seconds_total"), "{collected:?}");
    // Neither netlink nor files.
    let kit = Kit::of::<Taskstats>();
    let probe = kit.probe(json!({ "netlink": false })).expect("it answers");
    assert!(probe.unsupported[0].contains("schedstat"), "{probe:?}");
}

#[test]
fn the_view_names_who_waits() {
    if !has_kernel() {
        return;
    }
    let kit = kit();
    let container = kit.identity().declare(NewContainer::new("/docker/hogs"));
    let mut running = kit.start(json!({})).expect("it starts");
    kit.clock().advance(Duration::from_secs(1));
    let hogs = [Hog::start(), Hog::start()];
    let pid = hogs[0].pid();
    kit.identity().process_starts(Some(container), started(&kit, pid));
    kit.identity().process_starts(Some(container), Process { pid: std::process::id(), start: 3_000_000 });
    until(&mut running, "it waited", |collected| cpu_delay(collected, "/docker/hogs") > 0.1);
    let table = running.view("processes").expect("it is there");
    let text = format!("{table:?}");
    assert!(text.contains(&pid.to_string()), "{text}");
}

/// Not a test: a process of several threads that never sleep, of which one ends now
/// and then.
#[test]
#[ignore = "is started by another test"]
fn many_threads() {
    let busy = |long: Duration| {
        let begun = Instant::now();
        while begun.elapsed() < long {
            std::hint::spin_loop();
        }
    };
    for _ in 0..2 {
        std::thread::spawn(move || busy(PATIENCE));
    }
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        std::thread::spawn(move || busy(Duration::from_millis(5))).join().expect("it ends");
    }
}

/// Each thread that ends has a message of its own, and the last one that of the whole.
#[test]
fn threads_that_end_count_once_in_their_process() {
    if !has_kernel() {
        return;
    }
    let kit = kit();
    let container = kit.identity().declare(NewContainer::new("/docker/threads"));
    let mut running = kit.start(json!({})).expect("it starts");
    kit.clock().advance(Duration::from_secs(1));
    let _ticking = Ticking::start(&kit);
    let own = std::env::current_exe().expect("it runs");
    let own = own.to_str().expect("UTF-8");
    let many = Hog::of(&[own, "--exact", "many_threads", "--ignored"]);
    let process = started(&kit, many.pid());
    kit.identity().process_starts(Some(container), process);
    until(&mut running, "it waited", |collected| cpu_delay(collected, "/docker/threads") > 0.3);
    many.freeze();
    let living = schedstat(many.pid());
    let counted = cpu_delay(&running.collect().expect("it collects"), "/docker/threads");
    assert!(counted >= living * 0.99, "{counted}, and those that live waited {living}");
    drop(many);
    kit.identity().process_exits(process);
    // Its end is counted when a process that ended after it is.
    let after = Hog::of(&["/bin/sh", "-c", "exit 0"]);
    let other = kit.identity().declare(NewContainer::new("/docker/after"));
    let process = started(&kit, after.pid());
    kit.identity().process_starts(Some(other), process);
    drop(after);
    kit.identity().process_exits(process);
    until(&mut running, "both ended", |collected| cpu_delay(collected, "/docker/after") > 0.0);
    let last = cpu_delay(&running.collect().expect("it collects"), "/docker/threads");
    assert!((counted..counted * 1.2 + 0.2).contains(&last), "{last} after {counted}");
}
