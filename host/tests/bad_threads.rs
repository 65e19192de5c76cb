//! A plugin that leaves threads behind which ask the host for ever, also when
//! their instance has ended.

mod support;

use support::agent::sample;
use support::day::{Day, fault};
use support::process::threads_named;
use support::watch::Rule;

const DEADLINE: &str = "10s";
const LEFT: &str = "hostile-left";

#[test]
fn threads_left_behind_by_collections_harm_nobody() {
    // One a collection: enough of them, and few enough for a small machine.
    let mut day = Day::new(DEADLINE, &fault("leave_thread", "collect", "after = 2\napplies = true\n"));
    day.agent.wait_until("it leaves threads behind", |agent| {
        agent.scrape();
        threads_named(agent.pid(), LEFT) >= 5
    });
    day.write(DEADLINE, "applies = true\n");
    day.reload();
    let before = day.collections();
    let answer = day.agent.command("plugins/hostile/restart");
    assert!(answer.text().contains("hostile: running"), "{}", answer.text());
    day.recovers_from(before);
    assert!(threads_named(day.agent.pid(), LEFT) >= 5, "they still ask");
    assert_eq!(sample(&day.agent.scrape(), "gantry_plugin_hung_threads{plugin=\"hostile\""), Some(0.0));
    day.ends_well();
}

#[test]
fn a_thread_left_behind_by_its_stop_outlives_restart_and_disable() {
    let mut day = Day::watched(DEADLINE, &fault("leave_thread", "stop", ""), "/metrics", Rule::MayBeginAnew);
    day.collects(1.0);
    for round in 1..=2 {
        let answer = day.agent.command("plugins/hostile/restart");
        assert!(answer.text().contains("hostile: running"), "{}", answer.text());
        // A thread gives itself its name, after whoever made it went on.
        day.agent.wait_until("it lingers", |agent| threads_named(agent.pid(), LEFT) == round);
        day.collects(1.0);
    }
    let answer = day.agent.command("plugins/hostile/disable?until_restart");
    assert!(answer.text().contains("hostile: disabled"), "{}", answer.text());
    day.agent.wait_until("it lingers", |agent| threads_named(agent.pid(), LEFT) == 3);
    day.agent.wait_until("its own ends", |agent| threads_named(agent.pid(), "p:hostile") == 0);
    assert!(!day.agent.scrape().contains("\nhostile_"), "nothing of it is shown");
    let answer = day.agent.command("plugins/hostile/enable?until_restart");
    assert!(answer.text().contains("hostile: running"), "{}", answer.text());
    day.collects(1.0);
    day.ends_well();
}
