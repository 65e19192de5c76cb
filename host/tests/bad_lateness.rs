//! A plugin whose collections come too late: its last samples are shown and
//! marked, and after three in a row it is degraded until it is quick again.

mod support;

use support::agent::sample;
use support::day::Day;
use support::watch::Rule;

const DEADLINE: &str = "100ms";

const SLOW: &str = "fault = \"slow\"\nat = \"collect\"\ndelay = \"150ms\"\nafter = 3\napplies = true\n";

fn late() -> Day {
    let mut day = Day::watched(DEADLINE, SLOW, "/metrics", Rule::AlwaysThere);
    let reasons = day.agent.wait_for_state("hostile", "degraded");
    assert!(
        reasons.contains("its collections are late: 3 or more in a row took longer than 100ms"),
        "{reasons}"
    );
    day
}

#[test]
fn a_plugin_that_is_late_for_ever_is_degraded_and_shown_stale_and_never_absent() {
    let mut day = late();
    let before = day.collections();
    // What it collects too late is shown by the next scrape.
    for _ in 0..20 {
        let scraped = day.agent.scrape();
        assert_eq!(sample(&scraped, "gantry_plugin_up{plugin=\"hostile\""), Some(0.0), "{scraped}");
        assert_eq!(sample(&scraped, "gantry_plugin_stale{plugin=\"hostile\""), Some(1.0), "{scraped}");
        assert_eq!(sample(&scraped, "hostile_good{kind=\"last\""), Some(1.0), "{scraped}");
        assert_eq!(day.agent.state("hostile").0, "degraded");
    }
    day.agent.wait_until("its late samples are new ones", |agent| {
        sample(&agent.scrape(), "hostile_collections_total").is_some_and(|now| now > before + 2.0)
    });
    let row = day.agent.plugin("hostile");
    assert_eq!((&row["failures"], &row["hung_threads"]), (&0.into(), &0.into()), "late is no failure");
    day.ends_well();
}

#[test]
fn a_plugin_that_is_quick_again_runs_again() {
    let mut day = late();
    day.go_on();
    day.agent.wait_for_state("hostile", "running");
    day.agent.wait_for_sample("gantry_plugin_up{plugin=\"hostile\"", 1.0);
    day.agent.wait_for_sample("gantry_plugin_stale{plugin=\"hostile\"", 0.0);
    day.ends_well();
}

#[test]
fn a_configuration_or_a_deadline_that_helps_is_taken_while_it_is_late() {
    let mut day = late();
    day.write("20s", SLOW);
    let answer = day.reload();
    assert!(answer.text().contains("its settings are in force"), "{}", answer.text());
    day.agent.wait_for_state("hostile", "running");
    day.write(DEADLINE, SLOW);
    day.reload();
    day.agent.wait_for_state("hostile", "degraded");
    day.write(DEADLINE, "applies = true\n");
    let answer = day.reload();
    assert!(answer.text().contains("took its new configuration while running"), "{}", answer.text());
    day.agent.wait_for_state("hostile", "running");
    assert_eq!(
        sample(&day.agent.scrape(), "gantry_plugin_restarts_total{plugin=\"hostile\""),
        Some(0.0),
        "all of it was one instance"
    );
    day.ends_well();
}
