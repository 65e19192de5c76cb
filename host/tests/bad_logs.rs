//! A plugin that logs without end: what is kept of it is bounded.

mod support;

use support::agent::sample;
use support::day::{Day, fault};
use support::http::get;
use support::process::peak_memory;
use support::watch::Rule;

/// The longest line that a plugin's library sends.
const LINE: u64 = 8 << 10;
const GIGABYTE: u64 = 1 << 30;

/// Of an agent that has a queue of such lines, which may be escaped and copied.
const MEMORY: u64 = 256 << 20;

#[test]
fn a_gigabyte_of_log_lines_costs_neither_memory_nor_a_scrape() {
    // In a view, which happens once: it is answered late, and goes on.
    let lines = GIGABYTE / LINE;
    let config = fault("log_flood", "view", &format!("bytes = {LINE}\ncount = {lines}\n"));
    let mut day = Day::watched("3s", &config, "/metrics", Rule::AlwaysThere);
    day.agent.wait_for_sample("gantry_plugin_up{plugin=\"hostile\"", 1.0);
    let before = day.collections();
    let view = get(day.agent.address, "/plugins/hostile/state");
    assert!([200, 504].contains(&view.status), "{}", view.text());
    // Its thread collects again when all lines are written, or are not.
    day.recovers_from(before);
    day.agent.wait_for_sample("gantry_plugin_up{plugin=\"hostile\"", 1.0);
    day.agent.wait_for_log("a flood on request");
    let peak = peak_memory(day.agent.pid());
    assert!(peak < MEMORY, "the agent had {peak} bytes");
    let scraped = day.agent.scrape();
    let count = |name: &str| sample(&scraped, name);
    let lost = count("gantry_log_lines_lost_total").expect("it is always there");
    if let Some(dropped) = count("gantry_plugin_log_lines_dropped_total{plugin=\"hostile\"") {
        assert!(dropped > 0.9 * lines as f64, "{dropped} of {lines} were dropped, {lost} lost");
    }
    assert_eq!(count("gantry_plugin_hung_threads{plugin=\"hostile\""), Some(0.0), "it was not that slow");
    day.ends_well();
}
