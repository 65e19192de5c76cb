//! A plugin that emits what it should not: the bad samples are dropped and
//! counted, the good ones and every other plugin are shown.

mod support;

use support::agent::{Agent, sample};
use support::http::get_with;
use support::{copy_to, library, private_dir};

fn agent(config: &str) -> Agent {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let plugins = format!(
        "[plugins.node]\nenabled = true\n[plugins.hostile]\nenabled = true\npath = {file:?}\nisolation = \"none\"\n\
         max_series = 1000\ndeadline = \"20s\"\n[plugins.hostile.config]\n{config}\n"
    );
    Agent::start_in(dir, "", &plugins)
}

/// Two scrapes: refusals of a collection are counted in the next exposition.
fn scraped(agent: &Agent) -> String {
    agent.scrape();
    agent.scrape()
}

fn refused(scraped: &str, reason: &str) -> f64 {
    sample(scraped, &format!("gantry_samples_refused_total{{plugin=\"hostile\",reason=\"{reason}\""))
        .unwrap_or(0.0)
}

fn good(scraped: &str) {
    for kind in ["first", "last"] {
        assert_eq!(sample(scraped, &format!("hostile_good{{kind=\"{kind}\"")), Some(1.0), "{scraped}");
    }
    assert!(sample(scraped, "node_uptime_seconds").is_some(), "{scraped}");
    assert_eq!(sample(scraped, "gantry_plugin_up{plugin=\"hostile\""), Some(1.0));
}

#[test]
fn bad_samples_cost_themselves_alone() {
    for (emit, reasons) in [
        ("bad_names", &["name"][..]),
        ("reserved", &["reserved"]),
        ("clash", &["reserved", "clash"]),
        ("duplicates", &["duplicate"]),
        ("utf8", &["utf8"]),
        ("numbers", &["value", "histogram"]),
        ("labels", &["labels", "label_too_long"]),
        ("unknown_family", &["unknown_family"]),
        ("scope", &["scope", "unknown_container"]),
        ("created", &[]),
    ] {
        let agent = agent(&format!("emit = \"{emit}\""));
        let scraped = scraped(&agent);
        good(&scraped);
        for reason in reasons {
            assert!(refused(&scraped, reason) > 0.0, "{emit}: {reason} is not counted:\n{scraped}");
        }
    }
}

#[test]
fn names_are_refused_with_their_owner_s_name() {
    let mut agent = agent("");
    for words in [
        ["gantry_hostile", "gantry"],
        ["node_uptime_seconds", "node"],
        ["node_net_hostile", "node"],
        ["hostile_host_label", "machine_id"],
    ] {
        let line = agent.wait_for_log(words[0]);
        assert!(line.contains(words[1]), "{line}");
    }
    // The first owner's is shown as it was declared.
    assert!(agent.scrape().contains("# TYPE node_uptime_seconds gauge"));
}

#[test]
fn numbers_are_written_as_both_formats_have_them() {
    let agent = agent("emit = \"numbers\"");
    for accept in ["text/plain", "application/openmetrics-text"] {
        let answer = get_with(agent.address, "/metrics", &[&format!("Accept: {accept}")]);
        let value = |kind: &str| {
            let start = format!("hostile_value{{kind=\"{kind}\"");
            let line = answer.text().lines().find(|line| line.starts_with(&start)).expect("the sample");
            line.rsplit(' ').next().expect("a value").to_owned()
        };
        assert_eq!([value("nan"), value("infinity"), value("minus_infinity")], ["NaN", "+Inf", "-Inf"]);
        assert_eq!(value("negative").parse(), Ok(-1.0));
    }
}

#[test]
fn a_million_series_are_capped_and_counted() {
    let agent = agent("emit = \"flood\"\ncount = 1000000");
    let scraped = scraped(&agent);
    assert!(sample(&scraped, "node_uptime_seconds").is_some());
    let shown = scraped.lines().filter(|line| line.starts_with("hostile_series{")).count();
    assert!((900..=1000).contains(&shown), "{shown} series of at most 1000");
    assert!(sample(&scraped, "hostile_series{n=\"0\"").is_some(), "the first ones stay");
    assert!(refused(&scraped, "series_cap") + refused(&scraped, "overflow") >= 990_000.0, "{scraped}");
    assert!(
        sample(&scraped, "gantry_plugin_series{plugin=\"hostile\"").is_some_and(|series| series <= 1000.0)
    );
}

#[test]
fn what_a_plugin_skipped_is_counted_under_its_own_words() {
    let agent = agent("emit = \"skipped\"\ncount = 5000");
    let scraped = scraped(&agent);
    good(&scraped);
    let skipped: Vec<_> =
        scraped.lines().filter(|line| line.starts_with("gantry_samples_skipped_total{")).collect();
    assert!(skipped.iter().any(|line| line.contains("reason=\"unreadable\"")), "{skipped:?}");
    assert!(skipped.len() < 200, "the number of reasons is bounded: {}", skipped.len());
}

#[test]
fn a_counter_that_is_born_with_an_event_begins_at_zero() {
    let agent = agent("");
    let events = |text: &str| sample(text, "hostile_events_total");
    // What nobody sees does not use the zero up.
    let head = b"HEAD /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    assert_eq!(support::http::raw(agent.address, head).expect("an answer").status, 200);
    assert_eq!(events(agent.scrape_of("?exclude[]=hostile").text()), None);
    let first = agent.scrape();
    assert_eq!(events(&first), Some(0.0), "the first time");
    assert_eq!(events(&agent.scrape()), Some(1.0), "the next time");
    let open = get_with(agent.address, "/metrics", &["Accept: application/openmetrics-text"]);
    let created = sample(open.text(), "hostile_events_created").expect("its creation time");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((now - 300.0..=now + 1.0).contains(&created), "{created} is about {now}");
    // What the kernel counted before is shown as it is.
    let cpu = sample(&first, "node_resources_cpu_usage_seconds_total{mode=\"idle\"");
    assert!(cpu.is_some_and(|seconds| seconds > 0.0), "{cpu:?}");
}

#[test]
fn a_plugin_that_panics_takes_nobody_with_it() {
    let agent = agent("fault = \"panic\"\nat = \"collect\"\nafter = 2");
    agent.wait_for_sample("gantry_plugin_panics_total{plugin=\"hostile\"", 1.0);
    let (state, reasons) = agent.state("hostile");
    assert_eq!(state, "failed");
    assert!(reasons.contains("collect: panicked: a fault on request"), "{reasons}");
    let scraped = agent.scrape();
    assert!(sample(&scraped, "node_uptime_seconds").is_some());
    assert_eq!(sample(&scraped, "gantry_plugin_up{plugin=\"hostile\""), Some(0.0));
}

#[test]
fn a_late_plugin_is_served_stale_and_then_no_more() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let go_on = dir.path().join("go-on");
    let plugins = format!(
        "[plugins.node]\nenabled = true\n[plugins.hostile]\nenabled = true\npath = {file:?}\nisolation = \"none\"\n\
         deadline = \"200ms\"\n[plugins.hostile.config]\nfault = \"hang\"\nat = \"collect\"\nafter = 2\nuntil = {go_on:?}\n"
    );
    let agent = Agent::start_in(dir, "stale = \"2s\"", &plugins);
    assert_eq!(sample(&agent.scrape(), "gantry_plugin_stale{plugin=\"hostile\""), Some(0.0));
    let late = agent.scrape();
    assert_eq!(sample(&late, "gantry_plugin_stale{plugin=\"hostile\""), Some(1.0), "{late}");
    assert_eq!(sample(&late, "hostile_good{kind=\"first\""), Some(1.0), "the last samples are shown");
    assert!(sample(&late, "node_uptime_seconds").is_some());
    let other = agent.scrape_of("?collect[]=gantry");
    assert_eq!(sample(other.text(), "gantry_plugin_stale{plugin=\"hostile\""), Some(1.0), "for whoever asks");
    agent.wait_for_sample("gantry_plugin_stale{plugin=\"hostile\"", 0.0);
    assert_eq!(sample(&agent.scrape(), "hostile_good"), None, "too old to be shown");
    std::fs::write(&go_on, b"").expect("temporary file");
    agent.wait_for_sample("gantry_plugin_up{plugin=\"hostile\"", 1.0);
    let scraped = agent.scrape();
    good(&scraped);
    assert!(
        sample(&scraped, "gantry_plugin_deadlines_missed_total{plugin=\"hostile\"")
            .is_some_and(|missed| missed > 0.0)
    );
}

#[test]
fn a_secret_is_seen_nowhere() {
    let mut agent = agent("secret = \"hunter2-hunter2\"");
    agent.wait_for_log("started");
    assert!(!agent.log.concat().contains("hunter2"), "{:?}", agent.log);
    assert!(!agent.scrape().contains("hunter2"));
    assert!(!support::http::get(agent.address, "/plugins").text().contains("hunter2"));
    let stored = agent.dir.path().join("state/store");
    for file in std::fs::read_dir(stored).expect("the store") {
        let bytes = std::fs::read(file.expect("an entry").path()).expect("own file");
        assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"));
    }
}

#[test]
fn a_plugin_that_hangs_in_its_start_holds_nobody_up() {
    let mut agent = agent("fault = \"hang\"\nat = \"start\"");
    agent.wait_for_log("still starting after 5 s: hostile");
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
    assert_eq!(agent.state("hostile").0, "created");
    assert_eq!(support::http::get(agent.address, "/-/ready").status, 503);
    // The end does not wait for it for ever either; the test's patience is longer.
    assert!(agent.terminate().success());
}

#[test]
fn faults_in_each_call_of_the_start_are_said() {
    for (at, fault, state, words) in [
        ("probe", "unsupported", "unsupported", "this node has no such thing"),
        ("probe", "panic", "failed", "probe: panicked"),
        ("start", "panic", "failed", "start: panicked"),
        ("start", "error", "failed", "an error on request"),
        ("activate", "panic_payload", "failed", "activate: panicked"),
        ("collect", "error", "failed", "an error on request"),
        ("health", "panic", "failed", "health: panicked"),
    ] {
        let mut agent = agent(&format!("fault = \"{fault}\"\nat = \"{at}\""));
        // It is asked for its health beside the first scrape, not before it.
        let reasons = agent.wait_for_state("hostile", state);
        assert!(reasons.contains(words), "{fault} at {at}: {reasons}");
        assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
    }
}
