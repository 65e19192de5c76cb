//! A plugin's life in the kit: the order of its calls, deadlines, panics, and
//! how one generation follows another.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use gantry_plugin_api::plugin::{Health, Probe, Reconfigured};
use gantry_plugin_api::{
    Counter, Error, Family, Handover, Host, Manifest, Plugin, Sink, families, schemars, serde, tracing,
};
use gantry_plugin_testkit::{Failure, Instance, Kit, PATIENCE};
use serde_json::{Value, json};
use std::sync::mpsc;
use std::time::Duration;

families! { ALL: KEPT = Family::counter("life_kept_total", "Kept by the boundary.");
OWN = Family::counter("life_own_total", "Kept by the plugin."); }

#[derive(Debug, Default, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gantry_plugin_api::serde", default, deny_unknown_fields)]
#[schemars(crate = "gantry_plugin_api::schemars")]
struct Config {
    panic_in: String,
    error_in: String,
    hang_in: String,
    /// Whether its own counter is handed over.
    forgets: bool,
    degraded: bool,
}

struct Life {
    config: Config,
    kept: Counter,
    own: u64,
}

impl Config {
    fn call(&self, name: &str) -> Result<(), Error> {
        tracing::info!("{name}");
        if self.panic_in == name {
            panic!("a fault in {name}");
        }
        if self.hang_in == name {
            // Nobody sends.
            let (_sender, receiver) = mpsc::channel::<()>();
            while receiver.recv_timeout(Duration::from_secs(3600)).is_err() {}
        }
        if self.error_in == name { Err(Error::new("an error on request")) } else { Ok(()) }
    }
}

impl Plugin for Life {
    const MANIFEST: Manifest = Manifest::new("life", "1.0.0", "Lives");
    type Config = Config;

    fn families() -> &'static [&'static Family] {
        ALL
    }
    fn probe(config: &Config, _: &Host) -> Probe {
        match config.call("probe") {
            Ok(()) => Probe::supported(),
            Err(error) => Probe::unsupported(error.message()),
        }
    }
    fn start(config: Config, host: Host) -> Result<Self, Error> {
        config.call("start")?;
        Ok(Self { config, kept: host.metrics().counter(&KEPT, None, &[]), own: 0 })
    }
    fn activate(&mut self, handover: Option<Handover>) -> Result<(), Error> {
        self.config.call("activate")?;
        let bytes = handover.and_then(|handover| handover.bytes.try_into().ok());
        self.own = bytes.map_or(0, u64::from_le_bytes);
        Ok(())
    }
    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        self.config.call("collect")?;
        self.kept.inc();
        self.own += 1;
        sink.node(&OWN, &[], self.own);
        Ok(())
    }
    fn reconfigure(&mut self, config: Config) -> Result<Reconfigured, Error> {
        config.call("reconfigure")?;
        Ok(Reconfigured::NeedsRestart)
    }
    fn health(&self) -> Health {
        if self.config.degraded { Health::Degraded(vec!["something".to_owned()]) } else { Health::Good }
    }
    fn stop(&mut self, _: Duration) -> Result<Option<Handover>, Error> {
        self.config.call("stop")?;
        self.snapshot()
    }
    fn snapshot(&mut self) -> Result<Option<Handover>, Error> {
        let own = Handover { version: 1, bytes: self.own.to_le_bytes().to_vec() };
        Ok((!self.config.forgets).then_some(own))
    }
}

fn calls(kit: &Kit) -> Vec<String> {
    kit.log().all().into_iter().map(|line| line.message).collect()
}

#[test]
fn the_beginning_is_the_agent_s() {
    let kit = Kit::of::<Life>();
    let mut running = kit.start("").unwrap();
    assert_eq!(calls(&kit), ["probe", "start", "collect", "activate"]);
    let collected = running.collect().unwrap();
    assert_eq!((collected.get("life_kept_total"), collected.get("life_own_total")), (1.0, 1.0));
    assert!(!running.reconfigure("").unwrap());
    assert!(running.troubles().unwrap().is_empty());
    drop(running);
    assert_eq!(calls(&kit)[4..], ["collect", "reconfigure", "stop"], "who is dropped is stopped");
    assert_eq!(kit.start("degraded = true").unwrap().troubles().unwrap(), ["something"]);
}

#[test]
fn counters_go_on_where_they_were() {
    let kit = Kit::of::<Life>();
    let mut running = kit.start("").unwrap();
    running.collect().unwrap();
    let mut values = Vec::new();
    let mut look = |running: &mut gantry_plugin_testkit::Running| {
        let collected = running.collect().unwrap();
        values.push((collected.get("life_kept_total"), collected.get("life_own_total")));
    };
    let mut running = running.restart("").unwrap();
    look(&mut running);
    let mut running = running.upgrade("").unwrap();
    look(&mut running);
    let mut running = running.crash_and_restore("").unwrap();
    look(&mut running);
    let handover = running.stop().unwrap();
    look(&mut kit.start_from("", Some(&handover)).unwrap());
    assert_eq!(values, [(2.0, 2.0), (3.0, 3.0), (4.0, 4.0), (5.0, 5.0)]);
}

#[test]
fn what_is_not_handed_over_is_seen() {
    let expected = "life_own_total: a counter that went back from 2 to 1; keep it in host.metrics(), \
                    which hands it over, or hand its value over yourself";
    let begin = || {
        let mut running = Kit::of::<Life>().start("forgets = true").unwrap();
        (0..2).for_each(|_| drop(running.collect().unwrap()));
        running
    };
    for mut next in [begin().restart("").unwrap(), begin().upgrade("").unwrap()] {
        assert_eq!(next.collect().unwrap_err().to_string(), expected);
    }
    let mut next = begin().crash_and_restore("").unwrap();
    assert_eq!(next.collect().unwrap_err().to_string(), expected);
}

#[test]
fn the_next_generation_is_tried_before_the_old_one_stops() {
    let kit = Kit::of::<Life>();
    let running = kit.start("").unwrap();
    kit.log().clear();
    let running = running.upgrade("").unwrap();
    assert_eq!(calls(&kit), ["probe", "start", "collect", "stop", "activate"]);
    kit.log().clear();
    let running = running.restart("").unwrap();
    assert_eq!(calls(&kit), ["stop", "probe", "start", "collect", "activate"]);
    kit.log().clear();
    running.crash();
    assert!(calls(&kit).is_empty(), "a crash is no stop");
}

/// An instance of which one call hangs, up to that call: those before it have
/// all the time they need, whatever else the machine does.
fn up_to(call: &str) -> Instance {
    let kit = Kit::of::<Life>().deadline(PATIENCE);
    let mut instance = kit.create().unwrap();
    let config = json!({ "hang_in": call });
    let earlier: [fn(&mut Instance, &Value); 3] = [
        |instance, config| drop(instance.probe(config).unwrap()),
        |instance, config| instance.start(config).unwrap(),
        |instance, _| instance.activate(None).unwrap(),
    ];
    let place = ["probe", "start", "activate"].iter().position(|name| *name == call);
    earlier.iter().take(place.unwrap_or(earlier.len())).for_each(|do_it| do_it(&mut instance, &config));
    let _ = kit.deadline(Duration::from_millis(50));
    instance
}

#[test]
fn a_call_that_does_not_come_back_is_named() {
    let config = |call: &str| json!({ "hang_in": call });
    for (call, failure) in [
        ("probe", up_to("probe").probe(config("probe")).unwrap_err()),
        ("start", up_to("start").start(config("start")).unwrap_err()),
        ("activate", up_to("activate").activate(None).unwrap_err()),
        ("collect", up_to("collect").collect_unchecked().unwrap_err()),
        ("stop", up_to("stop").stop().unwrap_err()),
    ] {
        assert_eq!(
            failure.to_string(),
            format!(
                "{call}: not back after its deadline of 50ms; bound what it waits for, or wait on a \
                 thread of the plugin's own (Kit::deadline sets another)"
            )
        );
    }
}

#[test]
fn who_hangs_is_asked_no_more() {
    let mut instance = up_to("collect");
    assert!(matches!(instance.collect(), Err(Failure::Deadline { call: "collect", .. })));
    let after = instance.health().unwrap_err().to_string();
    assert_eq!(after, "health: not asked, since collect did not come back; start another instance");
    let mut running = Kit::of::<Life>().start("").unwrap();
    running.stop().unwrap();
    let after = running.collect().unwrap_err().to_string();
    assert_eq!(after, "collect: not asked, since it was stopped; start another instance");
}

#[test]
fn a_panic_is_told_with_its_call() {
    for call in ["probe", "start", "collect", "activate"] {
        let failure = Kit::of::<Life>().start(json!({ "panic_in": call })).unwrap_err();
        let expected = format!(
            "life: {call}: panicked: a fault in {call}; return an error instead: the agent makes a new instance \
             after a panic"
        );
        assert_eq!(failure.to_string(), expected);
    }
}

#[test]
fn errors_are_the_plugin_s_own() {
    let failure = Kit::of::<Life>().start(r#"error_in = "start""#).unwrap_err();
    assert_eq!(failure.to_string(), "start: an error on request");
    assert_eq!(failure.error().unwrap().message(), "an error on request");
    let failure = Kit::of::<Life>().start(r#"error_in = "probe""#).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "probe: unsupported: an error on request; give the fake host what it lacks, or call Kit::probe to \
         see the answer"
    );
    let failure = Kit::of::<Life>().start("degraded = 1").unwrap_err();
    assert_eq!(failure.to_string(), "probe: degraded: invalid type: integer, expected a boolean");
    let failure = Kit::of::<Life>().start("degraded =").unwrap_err().to_string();
    assert!(failure.starts_with("the configuration of this test: TOML parse error"), "{failure}");
    let failure = Kit::of::<Life>().start(json!([])).unwrap_err().to_string();
    assert!(failure.contains("[] is no JSON object"), "{failure}");
}
