//! What a plugin in a process of its own does to itself: the agent and `node`
//! beside it do not notice, and it is made anew with its counters.

mod support;

use support::agent::{Agent, sample};
use support::commands::hostile_with;
use support::day::{Day, after, fault, side_by_side};
use support::process::{children, lives, runners, threads};
use support::watch::Rule;
use support::{copy_to, library, private_dir};

const PATIENT: &str = "20s";

/// Ten of them are the second after which it is killed.
const SHORT: &str = "100ms";

const HUNG: &str = "gantry_plugin_hung_threads{plugin=\"hostile\"";

/// The processes of the fixture.
fn processes(day: &Day) -> Vec<u32> {
    runners(day.agent.pid(), "hostile")
}

/// One that works is there, and nothing of those before.
fn recovers(day: &mut Day) {
    let before = day.collections();
    day.go_on();
    day.recovers_from(before);
    day.agent.wait_until("the threads of the others end", |agent| {
        threads(agent.pid()).iter().filter(|name| name.ends_with(":hostile")).count() <= 3
    });
    assert_eq!(sample(&day.agent.scrape(), HUNG), Some(0.0));
    assert_eq!(processes(day).len(), 1);
    for child in children(day.agent.pid()) {
        assert!(lives(child), "a process that nobody waited for");
    }
}

#[test]
fn a_process_that_dies_is_told_of_in_words_and_made_anew() {
    let cases = [
        ("null_write", "was ended by signal 11 (SIGSEGV, a segmentation fault)"),
        ("write_own_code", "was ended by signal"),
        ("abort", "was ended by signal 6 (SIGABRT, its own abort)"),
        ("stack_overflow", "was ended by signal"),
        ("stack_overflow_thread", "was ended by signal"),
        ("exit", "ended by itself with status 3"),
        ("own_handlers", "ended by itself with status 7"),
    ];
    for some in cases.chunks(3) {
        side_by_side(some, |(bad, words)| {
            let mut day = Day::new(PATIENT, &fault(bad, "collect", after("collect")));
            let line = day.agent.wait_for_log("plugin hostile is failed: its process ");
            assert!(line.contains(words), "{line}");
            recovers(&mut day);
            day.ends_well();
        });
    }
}

#[test]
fn a_death_in_any_call_is_the_plugins_alone() {
    let calls = ["probe", "start", "activate", "view", "reconfigure", "health", "snapshot"];
    for some in calls.chunks(4) {
        side_by_side(some, |at| {
            let config = fault("abort", at, after(at));
            let mut day = Day::new(PATIENT, &config);
            day.provoke(at, PATIENT, &config);
            day.agent.wait_for_log("its process was ended by signal 6");
            recovers(&mut day);
            day.ends_well();
        });
    }
    side_by_side(&["stop", "drop"], |at| {
        let mut day = Day::new(PATIENT, &fault("abort", at, ""));
        day.collects(2.0);
        let before = day.collections();
        let answer = day.agent.command("plugins/hostile/restart");
        assert!(answer.text().contains("hostile: running"), "{}", answer.text());
        day.recovers_from(before);
        day.ends_well();
    });
}

#[test]
fn last_words_are_told() {
    let mut day = Day::new(PATIENT, &fault("stack_overflow", "collect", after("collect")));
    let line = day.agent.wait_for_log("plugin hostile is failed: its process ");
    assert!(line.contains("its last words: ") && line.contains("overflowed its stack"), "{line}");
    day.ends_well();
}

#[test]
fn what_does_not_come_back_is_killed() {
    let cases = [("hang", "start"), ("spin", "start"), ("hang", "collect"), ("spin", "collect")];
    side_by_side(&cases, |(bad, at)| {
        let mut day = Day::new(SHORT, &fault(bad, at, after(at)));
        day.agent.wait_for_log(&format!(
            "plugin hostile is hung: {at} did not come back within 1s; its process was killed"
        ));
        assert_eq!(sample(&day.agent.scrape(), HUNG), Some(0.0));
        // What spins forever never looks whether it may go on.
        recovers(&mut day);
        day.ends_well();
    });
}

#[test]
fn a_stop_that_does_not_come_back_is_killed() {
    side_by_side(&["hang", "spin"], |bad| {
        let mut day = Day::new(PATIENT, &fault(bad, "stop", ""));
        day.collects(2.0);
        let answer = day.agent.command("plugins/hostile/restart");
        assert!(answer.text().contains("hostile: running"), "{}", answer.text());
        day.agent.wait_for_log("stop did not come back within 5s; its process was killed");
        recovers(&mut day);
        day.ends_well();
    });
}

#[test]
fn a_thread_left_behind_ends_with_its_process() {
    let mut day = Day::new(PATIENT, &fault("leave_thread", "stop", ""));
    for _ in 0..3 {
        let before = day.collections();
        day.collects(before);
        let old = processes(&day);
        day.agent.command("plugins/hostile/restart");
        day.recovers_from(before);
        assert!(old.iter().all(|old| !lives(*old)));
        assert_eq!(processes(&day).len(), 1);
    }
    assert!(!threads(day.agent.pid()).iter().any(|name| name == "hostile-left"));
    day.ends_well();
}

#[test]
fn it_starts_no_programs() {
    let mut day = Day::new(PATIENT, &fault("fork", "collect", "after = 2\ncount = 20\n"));
    day.agent.wait_for_log("0 of 20 programs were started");
    for child in processes(&day) {
        assert_eq!(children(child), Vec::<u32>::new());
    }
    day.ends_well();
}

#[test]
fn nor_does_it_fork() {
    let mut day = Day::new(PATIENT, &fault("raw_fork", "collect", "after = 2\ncount = 20\n"));
    let line = day.agent.wait_for_log("0 of 20 forks went well");
    // By the filter: there may be threads, whose number is not bounded.
    assert!(line.contains("Operation not permitted"), "{line}");
    for child in processes(&day) {
        assert_eq!(children(child), Vec::<u32>::new());
    }
    day.ends_well();
}

#[test]
fn descriptors_and_memory_have_an_end_before_the_systems() {
    let memory = format!("{PATIENT}\"\nmemory = \"48MiB");
    side_by_side(
        &[("leak_descriptors", " descriptors: "), ("grow", "memory allocation of ")],
        |(bad, words)| {
            let mut day = Day::new(&memory, &fault(bad, "collect", after("collect")));
            let line = day.agent.wait_for_log("plugin hostile is failed: ");
            assert!(line.contains(words), "{line}");
            assert!(support::process::peak_memory(day.agent.pid()) < 300 << 20);
            recovers(&mut day);
            day.ends_well();
        },
    );
}

#[test]
fn what_it_prints_goes_into_the_log_and_a_flood_is_counted() {
    let config = fault("output_flood", "collect", "after = 2\ncount = 20000\nbytes = 100\n");
    let mut day = Day::new(PATIENT, &config);
    let line = day.agent.wait_for_log("complained 0 xxx");
    assert!(line.contains("hostile") && line.contains("stderr") && line.contains("WARN"), "{line}");
    let line = day.agent.wait_for_log("printed 0 xxx");
    assert!(line.contains("stdout") && line.contains("INFO"), "{line}");
    day.agent.wait_until("what was lost is counted", |agent| {
        sample(&agent.scrape(), "gantry_plugin_log_lines_dropped_total{plugin=\"hostile\"")
            .is_some_and(|lost| lost > 1000.0)
    });
    day.go_on();
    day.ends_well();
}

#[test]
fn it_reaches_neither_the_agents_memory_nor_its_life() {
    if !support::needs::root() {
        return;
    }
    side_by_side(
        &[("write_parent", "its parent's memory: "), ("kill_parent", "signals to its parent: ")],
        |(bad, words)| {
            let mut day = Day::new(PATIENT, &fault(bad, "collect", "after = 2\n"));
            let line = day.agent.wait_for_log(words);
            let refused = if *bad == "write_parent" {
                line.contains("Err(PermissionDenied)")
            } else {
                line.matches("Err(").count() == 2
            };
            assert!(refused, "{line}");
            day.ends_well();
        },
    );
}

/// What CAP_SYS_PTRACE is there for: reading what belongs to other processes. The
/// kernel asks for nothing more where their memory is opened for writing.
#[test]
fn one_that_was_granted_cap_sys_ptrace_reaches_the_agents_memory_and_cannot_end_it() {
    if !support::needs::root() {
        return;
    }
    side_by_side(
        &[("write_parent", "its parent's memory: "), ("kill_parent", "signals to its parent: ")],
        |(bad, words)| {
            let dir = private_dir();
            let file = copy_to(dir.path(), &library("hostile"));
            let keys = "grant = [\"CAP_SYS_PTRACE\", \"CAP_KILL\"]";
            let section = hostile_with(&file, keys, &fault(bad, "collect", "after = 2\n"));
            let section = section.replace("isolation = \"none\"", "isolation = \"process\"");
            let mut agent = Agent::start_in(dir, "", &section);
            agent.wait_until("it has tried", |agent| {
                agent.scrape();
                agent.log.iter().any(|line| line.contains(words))
            });
            let line = agent.wait_for_log(words);
            if *bad == "write_parent" {
                assert!(line.contains("Ok(())"), "{line}");
            } else {
                assert_eq!(line.matches("Err(").count(), 2, "{line}");
            }
            assert!(agent.terminate().success());
        },
    );
}

#[test]
fn signals_that_it_ignores_do_not_keep_it() {
    let mut day =
        Day::watched(PATIENT, &fault("ignore_signals", "start", ""), "/metrics", Rule::MayBeginAnew);
    day.collects(2.0);
    let old = processes(&day);
    day.agent.command("plugins/hostile/disable?until_restart");
    day.agent.wait_until("its process is gone", |_| old.iter().all(|old| !lives(*old)));
    day.agent.command("plugins/hostile/enable?until_restart");
    day.collects(1.0);
    day.ends_well();
}

#[test]
fn nonsense_on_its_sockets_ends_it_alone() {
    side_by_side(&[1, 7, 100, 5000], |bytes| {
        let more = format!("after = 4\nbytes = {bytes}\n");
        // What looks like the beginning of a frame is waited for until the deadline.
        let mut day = Day::new("200ms", &fault("garbage", "collect", &more));
        day.agent.wait_until("its process is ended", |agent| {
            let ended =
                |line: &String| line.contains("its process was killed") || line.contains("its process ended");
            agent.log.iter().any(ended)
        });
        recovers(&mut day);
        day.ends_well();
    });
}

#[test]
fn a_snapshot_that_is_too_large_is_not_kept() {
    let mut day = Day::new(PATIENT, &fault("large_handover", "snapshot", ""));
    day.agent.wait_for_log("no snapshot can be kept");
    day.collects(5.0);
    assert_eq!(processes(&day).len(), 1);
    day.rest();
    day.ends_well();
}
