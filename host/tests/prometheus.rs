//! A real Prometheus, its linter, and Python's strict parsers.

mod formats;
mod support;

use formats::hostile;
use std::time::Duration;
use support::agent::Agent;
use support::prometheus::Prometheus;
use support::{needs, private_dir};

#[test]
fn prometheus_scrapes_for_a_minute_without_a_warning() {
    if !needs::program("prometheus") {
        return;
    }
    let dir = private_dir();
    let plugins = hostile(dir.path(), "good");
    let agent = Agent::start_in(dir, "", &plugins);
    let data = private_dir();
    let mut prometheus = Prometheus::scraping(agent.address, data.path());
    prometheus.wait_for("count_over_time(up[5m])", Duration::from_secs(120), |count| count >= 60.0);
    assert_eq!(prometheus.query("min_over_time(up[5m])"), Some(1.0));
    let increase = prometheus.query("increase(hostile_events_total[5m])").expect("the counter");
    // Extrapolation to the edges of the range adds a few per cent.
    assert!((0.98..1.2).contains(&increase), "increase() says {increase}");
    assert!(prometheus.query("count({__name__=~\"node_.*\"})").is_some_and(|count| count > 20.0));
    assert_eq!(prometheus.query("count(up{job=\"gantry\"})"), Some(1.0));
    let warnings = prometheus.warnings();
    assert!(warnings.is_empty(), "{warnings:#?}");
}
