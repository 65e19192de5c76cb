//! The agent itself is restarted: counters go on where they were.

mod support;

use std::path::{Path, PathBuf};
use support::agent::{Agent, gantry, sample};
use support::commands::hostile;
use support::series::value;
use support::{copy_to, library, private_dir};

const COLLECTIONS: &str = "hostile_collections_total";

fn agent() -> Agent {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    Agent::start_in(dir, "", &hostile(&file, ""))
}

fn file(dir: &Path) -> PathBuf {
    dir.join("state/handover/hostile")
}

/// What this start of the plugin went on with; a counter's first value is 0.
fn source(agent: &Agent) -> String {
    agent.scrape();
    let text = agent.scrape();
    let sources = ["stop", "snapshot", "none", "damaged", "other_boot"];
    let is = |source: &&str| {
        value(&text, "gantry_plugin_handovers_total", &[("plugin", "hostile"), ("source", source)])
            == Some(1.0)
    };
    let found: Vec<&str> = sources.into_iter().filter(is).collect();
    found.join(" ")
}

/// What Prometheus' `increase()` adds up over scrapes, and the last value.
#[derive(Default)]
struct Increase {
    last: Option<f64>,
    sum: f64,
}

impl Increase {
    fn scraped(&mut self, now: f64) {
        if let Some(last) = self.last {
            // After a fall it takes the counter to have begun anew.
            self.sum += if now >= last { now - last } else { now };
        }
        self.last = Some(now);
    }
}

#[test]
fn twenty_orderly_restarts_lose_nothing_and_nothing_jumps() {
    let mut agent = agent();
    assert_eq!(source(&agent), "none");
    let (mut increase, mut scrapes) = (Increase::default(), 2.0);
    increase.scraped(2.0);
    for restart in 0..20 {
        for _ in 0..=restart % 4 {
            let text = agent.scrape();
            scrapes += 1.0;
            assert_eq!(sample(&text, COLLECTIONS), Some(scrapes), "restart {restart}");
            assert_eq!(sample(&text, "hostile_events_total"), Some(1.0), "it is born once");
            increase.scraped(scrapes);
        }
        assert!(agent.terminate().success());
        agent.again();
    }
    assert_eq!(increase.sum, scrapes - 2.0);
    // The first exposition of each agent shows the true value, not 0.
    assert_eq!(sample(&agent.scrape(), COLLECTIONS), Some(scrapes + 1.0));
    assert_eq!(source(&agent), "stop");
    println!("20 restarts, {scrapes} scrapes, an increase of {}", increase.sum);
}

#[test]
fn a_series_that_was_never_shown_begins_at_zero_after_a_restart() {
    let mut agent = agent();
    // Born, and nobody has scraped.
    assert!(agent.terminate().success());
    agent.again();
    assert_eq!(sample(&agent.scrape(), "hostile_events_total"), Some(0.0), "its first event is an increase");
    assert!(agent.terminate().success());
    agent.again();
    assert_eq!(sample(&agent.scrape(), "hostile_events_total"), Some(1.0), "0 was shown");
}

#[test]
fn after_a_crash_the_last_snapshot_is_used_and_said() {
    use std::os::unix::fs::MetadataExt;
    let mut agent = agent();
    let path = file(agent.dir.path());
    // Each that is written is another file.
    let number = || path.metadata().ok().map(|metadata| metadata.ino());
    let mut of_before = None;
    for crash in 1..=3 {
        agent.scrape();
        agent.scrape();
        agent.wait_until("a snapshot is written", |_| number() != of_before);
        let before = sample(&agent.scrape(), COLLECTIONS).expect("it is shown");
        agent.kill();
        of_before = number();
        agent.again();
        let after = sample(&agent.scrape(), COLLECTIONS).expect("it is shown");
        // The first snapshot goes out within a second, the next not within 15 s:
        // what this agent's scrapes counted since may be missing, and no more.
        assert!(after <= before + 1.0 && after >= before - 4.0, "{after} after {before}, {crash}");
        assert_eq!(source(&agent), "snapshot", "{crash}");
    }
}

#[test]
fn what_nobody_scrapes_is_written_down_too() {
    let dir = private_dir();
    let plugin = copy_to(dir.path(), &library("hostile"));
    let mut command = gantry();
    // Snapshots are looked at where budgets are.
    command.args(["--budgets-every", "50ms"]);
    let mut agent = Agent::start_by(command, dir, "", &hostile(&plugin, ""));
    let path = file(agent.dir.path());
    agent.wait_until("a snapshot is written", |_| path.exists());
    agent.kill();
    agent.again();
    assert_eq!(source(&agent), "snapshot");
}

/// How many series the file says were shown.
fn marks(agent: &Agent) -> u64 {
    let bytes = std::fs::read(file(agent.dir.path())).unwrap_or_default();
    let head = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let head: serde_json::Value = serde_json::from_slice(head).unwrap_or_default();
    head["marks"].as_u64().unwrap_or_default()
}

#[test]
fn crashes_close_together_count_nothing_twice() {
    let mut agent = agent();
    agent.scrape();
    assert_eq!(sample(&agent.scrape(), "hostile_events_total"), Some(1.0));
    // The first snapshot says what was shown, though that came after the collection.
    agent.wait_until("it is written", |agent| marks(agent) >= 2);
    let shown = marks(&agent);
    for crash in 0..2 {
        agent.kill();
        agent.again();
        assert_eq!(sample(&agent.scrape(), "hostile_events_total"), Some(1.0), "crash {crash}: 0 was shown");
        assert!(marks(&agent) >= shown, "crash {crash}");
    }
    // An agent that never got so far keeps what the one before showed.
    agent.kill();
    let library = agent.dir.path().join("libgantry_hostile.so");
    let beside = library.with_extension("beside");
    std::fs::rename(&library, &beside).expect("own file");
    agent.again();
    assert_eq!(agent.state("hostile").0, "failed");
    assert!(agent.terminate().success());
    std::fs::rename(&beside, &library).expect("own file");
    assert!(marks(&agent) >= shown, "it was not begun with");
    agent.again();
    assert_eq!(sample(&agent.scrape(), "hostile_events_total"), Some(1.0));
}

#[test]
fn what_is_not_kept_is_counted() {
    use std::os::unix::fs::PermissionsExt;
    let dir = private_dir();
    let library = copy_to(dir.path(), &library("hostile"));
    // Something else lies where hand-overs are to be.
    std::fs::create_dir(dir.path().join("state")).expect("own directory");
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(dir.path().join("state"), private).expect("own directory");
    std::fs::write(dir.path().join("state/handover"), "").expect("own directory");
    let mut agent = Agent::start_in(dir, "", &hostile(&library, ""));
    let lost = [("plugin", "hostile"), ("reason", "disk")];
    assert_eq!(value(&agent.scrape(), "gantry_plugin_handovers_lost_total", &lost), Some(0.0));
    agent.wait_until("it is counted", |agent| {
        value(&agent.scrape(), "gantry_plugin_handovers_lost_total", &lost).is_some_and(|lost| lost >= 1.0)
    });
    agent.wait_for_log("its hand-over cannot be kept");
}

#[test]
fn what_cannot_be_used_is_passed_over_and_said() {
    let mut agent = agent();
    (0..5).for_each(|_| drop(agent.scrape()));
    assert!(agent.terminate().success());
    let path = file(agent.dir.path());
    let good = std::fs::read(&path).expect("it was written");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(path.metadata().expect("it is there").permissions().mode() & 0o7777, 0o600);
    let head = String::from_utf8_lossy(&good).lines().next().expect("a head").to_owned();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux");
    let of_another_boot = String::from_utf8_lossy(&good[..head.len()])
        .replace(boot.trim(), "00000000-0000-0000-0000-000000000000")
        .into_bytes();
    let other: Vec<u8> = of_another_boot.into_iter().chain(good[head.len()..].iter().copied()).collect();
    let half = good[..good.len() - 1].to_vec();
    for (bytes, expected, line) in [
        (other, "other_boot", "is of another boot, and passed over"),
        (half, "damaged", "cannot be used"),
        (b"garbage".to_vec(), "damaged", "cannot be used"),
        (Vec::new(), "damaged", "cannot be used"),
    ] {
        std::fs::write(&path, bytes).expect("own file");
        agent.again();
        agent.wait_for_log(line);
        assert_eq!(source(&agent), expected);
        assert_eq!(sample(&agent.scrape(), COLLECTIONS), Some(3.0), "it begins anew");
        assert!(agent.terminate().success());
    }
    // A sparse file of a gigabyte is not read.
    std::fs::File::create(&path).and_then(|file| file.set_len(1 << 30)).expect("own file");
    agent.again();
    agent.wait_for_log("it is larger than");
    assert_eq!(source(&agent), "damaged");
    // What is disabled is forgotten.
    agent.good(&["disable", "hostile"]);
    agent.wait_until("it is forgotten", |_| !path.exists());
    agent.good(&["enable", "hostile"]);
    assert_eq!(source(&agent), "damaged", "counted once");
    agent.scrape();
    assert_eq!(sample(&agent.scrape(), COLLECTIONS), Some(4.0));
}
