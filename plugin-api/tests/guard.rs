//! The guard: no panic crosses, a panicked instance is asked nothing more, and
//! what the kept metrics count outlives it.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::{RNone, RSome};
use gantry_plugin_api::abi::types::result;
use gantry_plugin_api::abi::{AbiPlugin, AbiViewSink_TO};
use gantry_plugin_api::error::ErrorKind;
use gantry_plugin_api::plugin::{Health, Probe, Reconfigured};
use gantry_plugin_api::{
    Counter, Error, Family, Guard, Handover, Host, Manifest, NoConfig, Plugin, Rows, Secret, Sink, families,
};
use gantry_plugin_api::{schemars, serde};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use support::{FakeRows, FakeSink, Log};

families! { ALL:
    COUNTED = Family::counter("faulty_counted_total", "Kept.");
}

#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gantry_plugin_api::serde", default)]
#[schemars(crate = "gantry_plugin_api::schemars")]
struct Config {
    panic_in: String,
    port: u16,
    token: Option<Secret>,
    /// The place in [`DROPS`] where a drop of the instance is counted.
    drops: usize,
}

static DROPS: [AtomicUsize; 16] = [const { AtomicUsize::new(0) }; 16];

struct Faulty {
    config: Config,
    host: Host,
}

impl Config {
    fn perhaps(&self, call: &str) {
        if self.panic_in == call {
            panic!("a fault in {call}");
        }
        if self.panic_in == format!("{call} payload") {
            std::panic::panic_any(Payload);
        }
    }
}

struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("the payload's drop");
    }
}

impl Plugin for Faulty {
    const MANIFEST: Manifest = Manifest::new("faulty", "1.0.0", "Panics on request");
    type Config = Config;

    fn families() -> &'static [&'static Family] {
        ALL
    }
    fn probe(config: &Config, _: &Host) -> Probe {
        config.perhaps("probe");
        Probe::supported()
    }
    fn start(config: Config, host: Host) -> Result<Self, Error> {
        config.perhaps("start");
        Ok(Self { config, host })
    }
    fn activate(&mut self, _: Option<Handover>) -> Result<(), Error> {
        self.config.perhaps("activate");
        Ok(())
    }
    fn collect(&mut self, _: &mut Sink<'_>) -> Result<(), Error> {
        self.host.metrics().counter(&COUNTED, None, &[]).inc();
        self.config.perhaps("collect");
        Ok(())
    }
    fn view(&mut self, _: &str, _: &mut Rows<'_>) -> Result<(), Error> {
        self.config.perhaps("view");
        Ok(())
    }
    fn reconfigure(&mut self, _: Config) -> Result<Reconfigured, Error> {
        self.config.perhaps("reconfigure");
        Ok(Reconfigured::Applied)
    }
    fn health(&self) -> Health {
        self.config.perhaps("health");
        Health::Good
    }
    fn stop(&mut self, _: Duration) -> Result<Option<Handover>, Error> {
        self.config.perhaps("stop");
        Ok(Some(Handover { version: 1, bytes: b"own".to_vec() }))
    }
    fn snapshot(&mut self) -> Result<Option<Handover>, Error> {
        self.config.perhaps("snapshot");
        Ok(None)
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        DROPS[self.config.drops].fetch_add(1, Relaxed);
        self.config.perhaps("drop");
    }
}

fn guard() -> Guard<Faulty> {
    Guard::new(Log::default().host(), || 0)
}

fn started(panic_in: &str, drops: usize) -> Guard<Faulty> {
    let mut guard = guard();
    let config = format!(r#"{{"panic_in":"{panic_in}","drops":{drops}}}"#);
    result(guard.start(config.as_str().into())).unwrap();
    guard
}

/// The error of a call.
fn call(guard: &mut Guard<Faulty>, name: &str) -> Option<Error> {
    let mut sink = FakeSink::default();
    let mut rows = FakeRows::default();
    match name {
        "activate" => result(guard.activate(RNone)).err(),
        "collect" => result(guard.collect(sink.crossing())).err(),
        "view" => {
            result(guard.view("x".into(), AbiViewSink_TO::from_ptr(RMut::new(&mut rows), TD_Opaque))).err()
        }
        "reconfigure" => result(guard.reconfigure("{}".into())).err(),
        "health" => result(guard.health()).err(),
        "snapshot" => result(guard.snapshot()).err(),
        other => panic!("there is no call {other}"),
    }
}

/// What a new instance counts after it was given these bytes.
fn counted_after(handover: &[u8]) -> f64 {
    let host = Log::default().host();
    let mut next = Guard::<Faulty>::new(host.clone(), || 0);
    result(next.start("{}".into())).unwrap();
    result(next.activate(RSome(handover.into()))).unwrap();
    host.metrics().counter(&COUNTED, None, &[]).get()
}

#[test]
fn a_panic_in_any_call_is_caught_and_poisons() {
    for (drops, name) in
        ["activate", "collect", "view", "reconfigure", "health", "snapshot", "collect payload"]
            .iter()
            .enumerate()
    {
        // Place 0 is everybody's.
        let drops = drops + 1;
        let mut guard = started(name, drops);
        let base = name.split(' ').next().unwrap_or(name);
        let error = call(&mut guard, base).expect("it panicked");
        assert_eq!(error.kind(), ErrorKind::Panicked, "{name}: {error}");
        assert!(error.message().starts_with(&format!("{base}: ")), "{error}");
        // Asked nothing more, whatever is asked.
        for next in ["collect", "health", "view", "reconfigure"] {
            assert_eq!(
                call(&mut guard, next).map(|error| error.kind()),
                Some(ErrorKind::Panicked),
                "{name}, {next}"
            );
        }
        drop(guard);
        assert_eq!(DROPS[drops].load(Relaxed), 0, "{name}: a broken instance is forgotten, not dropped");
    }
}

#[test]
fn a_panic_after_which_nothing_is_asked_drops_nothing_either() {
    let mut guard = started("health", 8);
    assert!(call(&mut guard, "health").is_some());
    drop(guard);
    assert_eq!(DROPS[8].load(Relaxed), 0);
}

#[test]
fn panics_before_there_is_an_instance() {
    let probe = guard();
    assert_eq!(
        result(probe.probe(r#"{"panic_in":"probe"}"#.into())).unwrap_err().kind(),
        ErrorKind::Panicked
    );
    let mut start = guard();
    let error = result(start.start(r#"{"panic_in":"start"}"#.into())).unwrap_err();
    assert!(error.message().contains("a fault in start"), "{error}");
    assert_eq!(call(&mut start, "collect").map(|error| error.kind()), Some(ErrorKind::Panicked));
}

#[test]
fn what_is_kept_outlives_a_panic() {
    let mut guard = started("view", 9);
    (0..3).for_each(|_| assert!(call(&mut guard, "collect").is_none()));
    assert!(call(&mut guard, "view").is_some());
    assert_eq!(counted_after(&result(guard.snapshot()).unwrap()), 3.0);
    // As soon as it is poisoned, also where the instance was only lent.
    let mut guard = started("health", 10);
    assert!(call(&mut guard, "collect").is_none());
    assert!(call(&mut guard, "health").is_some());
    assert_eq!(counted_after(&result(guard.snapshot()).unwrap()), 1.0);
}

#[test]
fn stop_hands_over_whatever_happens() {
    for (drops, panic_in) in [(11, "stop"), (12, "drop"), (13, "")] {
        let mut guard = started(panic_in, drops);
        assert!(call(&mut guard, "collect").is_none());
        assert_eq!(counted_after(&result(guard.stop(1000)).unwrap()), 1.0, "{panic_in:?}");
    }
}

#[test]
fn a_panicking_destructor_does_not_cross() {
    drop(started("drop", 14));
    assert_eq!(DROPS[14].load(Relaxed), 1);
}

#[test]
fn an_instance_is_started_once_and_asked_after() {
    let mut early = guard();
    assert!(call(&mut early, "collect").is_some_and(|error| error.message().contains("not started")));
    let mut twice = started("", 15);
    assert!(result(twice.start("{}".into())).is_err());
    assert!(call(&mut twice, "collect").is_none());
}

#[test]
fn a_wrong_configuration_is_told_by_its_key_and_not_by_its_value() {
    for (json, key) in [
        (r#"{"port":"hunter2","token":"hunter2"}"#, "port"),
        (r#"{"token":["hunter2"]}"#, "token"),
        (r#"{"token":{"hunter2":"hunter2"}}"#, "token"),
        (r#"{"port":77777777}"#, "port"),
    ] {
        let error = result(guard().start(json.into())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().starts_with(&format!("{key}: ")), "{error}");
        assert!(!error.message().contains("hunter2") && !error.message().contains("7777"), "{error}");
    }
}

#[test]
fn the_library_s_heap_is_told() {
    use gantry_plugin_api::abi::heap::CountedHeap;
    static HEAP: CountedHeap = CountedHeap::new();
    assert_eq!(Guard::<Faulty>::new(Log::default().host(), || 7).heap_bytes(), 7);
    assert_eq!(HEAP.live(), 0);
}

#[test]
fn a_hand_over_that_is_no_one_is_passed_over() {
    for bytes in [&b""[..], b"garbage", &[0xff; 64]] {
        assert_eq!(counted_after(bytes), 0.0);
    }
}

/// Its state is half the SDK's and half its own: how far it read.
struct Reader {
    read: u64,
    lines: Counter,
}

impl Plugin for Reader {
    const MANIFEST: Manifest = Manifest::new("reader", "0.1.0", "Counts what it reads");
    type Config = NoConfig;
    fn families() -> &'static [&'static Family] {
        ALL
    }
    fn start(_: NoConfig, host: Host) -> Result<Self, Error> {
        Ok(Self { read: 0, lines: host.metrics().counter(&COUNTED, None, &[]) })
    }
    fn collect(&mut self, _: &mut Sink<'_>) -> Result<(), Error> {
        self.read += 1;
        self.lines.inc();
        assert!(self.read < 3, "the third is too much");
        Ok(())
    }
    fn stop(&mut self, _: Duration) -> Result<Option<Handover>, Error> {
        Err(Error::new("it cannot say how far it read"))
    }
    fn snapshot(&mut self) -> Result<Option<Handover>, Error> {
        Ok(Some(Handover { version: 1, bytes: self.read.to_le_bytes().to_vec() }))
    }
}

#[test]
fn what_belongs_together_is_handed_over_together_or_not_at_all() {
    let collect = |guard: &mut Guard<Reader>| result(guard.collect(FakeSink::default().crossing()));
    let reader = || {
        let mut guard = Guard::<Reader>::new(Log::default().host(), || 0);
        result(guard.start("{}".into())).expect("it starts");
        result(guard.activate(RNone)).expect("it counts");
        guard
    };
    let mut guard = reader();
    collect(&mut guard).unwrap();
    assert!(result(guard.snapshot()).is_ok());
    collect(&mut guard).unwrap();
    assert!(collect(&mut guard).is_err(), "it panics");
    let error = result(guard.snapshot()).expect_err("counted lines without how far it read");
    assert_eq!(error.kind(), ErrorKind::Panicked);
    let mut guard = reader();
    assert!(result(guard.snapshot()).is_ok());
    assert!(result(guard.stop(1000)).is_err());
}
