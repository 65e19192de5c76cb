//! A plugin that does not come back from a call: it is given up after ten
//! deadlines and made anew, and what comes back later counts no more.

mod support;

use support::agent::{Agent, sample};
use support::day::{Day, after, fault, side_by_side};
use support::process::threads_named;
use support::watch::Rule;

/// Ten of them are the second after which a call hangs.
const DEADLINE: &str = "100ms";

const HUNG: &str = "gantry_plugin_hung_threads{plugin=\"hostile\"";

fn threads(agent: &Agent) -> usize {
    threads_named(agent.pid(), "p:hostile")
}

/// All that were left behind come back and end, and one that works is there.
fn recovers(day: &mut Day) {
    let before = day.collections();
    day.go_on();
    day.recovers_from(before);
    day.agent.wait_for_sample(HUNG, 0.0);
    day.agent.wait_until("the threads that hung end", |agent| threads(agent) == 1);
    let before = day.collections();
    day.recovers_from(before);
}

#[test]
fn a_call_that_hangs_leaves_its_thread_behind_and_a_new_instance_is_made() {
    let calls = ["probe", "start", "activate", "collect", "view", "reconfigure", "health", "snapshot"];
    for some in calls.chunks(4) {
        side_by_side(some, |at| {
            let config = fault("hang", at, after(at));
            let mut day = Day::new(DEADLINE, &config);
            let answer = day.provoke(at, DEADLINE, &config);
            if let Some(answer) = answer.filter(|_| *at == "view") {
                assert_eq!(answer.status, 504, "{}", answer.text());
            }
            // The state may be over already: a reload does not wait for the back-off.
            day.agent.wait_for_log(&format!(
                "plugin hostile is hung: {at} did not come back within 1s; its thread was left behind"
            ));
            assert!(sample(&day.agent.scrape(), HUNG).is_some_and(|hung| hung >= 1.0), "{at}");
            recovers(&mut day);
            if *at == "reconfigure" {
                assert_eq!(day.rows(), 7, "the new instance has the configuration of the file");
            }
            day.ends_well();
        });
    }
}

#[test]
fn a_stop_that_hangs_holds_up_neither_a_restart_nor_the_end() {
    side_by_side(&["stop", "drop"], |at| {
        let config = fault("hang", at, "");
        let mut day = Day::new(DEADLINE, &config);
        day.recovers_from(2.0);
        let answer = day.provoke(at, DEADLINE, &config).expect("an answer");
        assert!(answer.text().contains("hostile: running"), "{}", answer.text());
        day.agent.wait_for_log("stop did not come back within 5s; its thread was left behind");
        assert_eq!(sample(&day.agent.scrape(), HUNG), Some(1.0), "{at}");
        assert_eq!(threads(&day.agent), 2, "{at}");
        recovers(&mut day);
        day.ends_well();
    });
}

#[test]
fn a_stop_that_hangs_ends_in_disabled_and_says_so() {
    let mut day = Day::watched(DEADLINE, &fault("hang", "stop", ""), "/metrics", Rule::MayBeginAnew);
    day.recovers_from(0.0);
    let answer = day.agent.command("plugins/hostile/disable?until_restart");
    assert!(answer.text().contains("its thread was left behind"), "{}", answer.text());
    assert_eq!(day.agent.state("hostile").0, "disabled");
    assert_eq!(day.agent.plugin("hostile")["hung_threads"], 1);
    assert_eq!(threads(&day.agent), 1);
    day.go_on();
    day.agent.wait_until("the thread that hung ends", |agent| threads(agent) == 0);
    assert_eq!(day.agent.plugin("hostile")["hung_threads"], 0);
    let answer = day.agent.command("plugins/hostile/enable?until_restart");
    assert!(answer.text().contains("hostile: running"), "{}", answer.text());
    day.recovers_from(0.0);
    day.ends_well();
}

#[test]
fn what_a_thread_that_comes_back_says_counts_no_more() {
    for at in ["collect", "snapshot"] {
        // Not the watch's scrapes, but the test's own decide when it collects.
        let config = fault("hang", at, "after = 6\napplies = true");
        let mut day = Day::watched(DEADLINE, &config, "/metrics?exclude[]=hostile", Rule::NeverBack);
        day.agent.wait_until("it hangs", |agent| {
            agent.scrape();
            agent.state("hostile").0 == "hung"
        });
        let hung_at = day.collections();
        day.agent.wait_for_state("hostile", "running");
        day.recovers_from(hung_at + 2.0);
        let shown = day.collections();
        // The old one comes back, and nothing is asked of the new one meanwhile.
        day.go_on();
        day.agent.wait_until("it comes back", |agent| agent.plugin("hostile")["hung_threads"] == 0);
        // The new one panics: the next one begins where this one's snapshot was.
        day.write(DEADLINE, "fault = \"panic\"\nat = \"view\"\napplies = true\nuntil = \"/nowhere\"");
        let answer = day.reload();
        assert!(answer.text().contains("took its new configuration while running"), "{}", answer.text());
        assert_eq!(day.agent.view("hostile", "state").status, 500);
        day.agent.wait_for_state("hostile", "failed");
        day.agent.wait_for_state("hostile", "running");
        let after = day.collections();
        assert!(after >= shown, "{at}: the counter went back from {shown} to {after}");
        day.ends_well();
    }
}
