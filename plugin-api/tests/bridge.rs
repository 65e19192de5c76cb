//! The log bridge and the panic hook, as a library has them: one a process, so
//! this is one test.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use gantry_plugin_api::abi::PluginBox;
use gantry_plugin_api::abi::types::result;
use gantry_plugin_api::export::entry;
use gantry_plugin_api::{Error, Family, Host, Manifest, NoConfig, Plugin, tracing};
use support::Log;

struct Quiet;

impl Plugin for Quiet {
    const MANIFEST: Manifest = Manifest::new("quiet", "1.0.0", "Does nothing");
    type Config = NoConfig;
    fn families() -> &'static [&'static Family] {
        &[]
    }
    fn start(_: NoConfig, _: Host) -> Result<Self, Error> {
        Ok(Self)
    }
}

struct Unlisted;

impl Plugin for Unlisted {
    const MANIFEST: Manifest = Manifest::new("unlisted", "1.0.0", "Panics where nobody expects it");
    type Config = NoConfig;
    fn families() -> &'static [&'static Family] {
        panic!("no list of families today")
    }
    fn start(_: NoConfig, _: Host) -> Result<Self, Error> {
        Ok(Self)
    }
}

fn create(log: &Log, level: u32) -> PluginBox {
    result(entry::create::<Quiet>(log.boxed(), level, || 0, Vec::new)).unwrap()
}

#[test]
fn events_and_panics_reach_the_newest_living_instance() {
    let (first, second) = (Log::default(), Log::default());
    let old = create(&first, 3);
    tracing::info!(answer = 42, text = "a\nb", "one");
    assert_eq!(first.lines(), ["3 bridge one answer=42 text=\"a\\nb\""]);
    tracing::debug!("not at this level");
    old.set_log_level(4);
    tracing::debug!("at this level");
    old.set_log_level(1);
    tracing::info!("no more");
    old.set_log_level(3);
    assert_eq!(first.lines().len(), 2, "{:?}", first.lines());

    // An upgrade that is tried and given up.
    let new = create(&second, 3);
    tracing::info!("two");
    assert!(second.has("two") && !first.has("two"));
    drop(new);
    assert_eq!(second.writers(), 0, "nothing of a gone instance is kept");
    tracing::info!("three");
    assert!(first.has("three"), "the older one is still heard");

    // The other way round: the upgrade stays.
    let new = create(&second, 3);
    drop(old);
    assert_eq!(first.writers(), 0);
    tracing::info!("four");
    assert!(second.has("four") && !first.has("four"));

    // A panic on a thread of the author's.
    let worker = std::thread::Builder::new().name("worker".to_owned()).spawn(|| panic!("in the worker"));
    assert!(worker.unwrap().join().is_err());
    assert!(second.has("thread \"worker\" panicked: in the worker ("), "{:?}", second.lines());

    // An instance that never was keeps nobody's host.
    let third = Log::default();
    let error = result(entry::create::<Unlisted>(third.boxed(), 3, || 0, Vec::new)).map(drop).unwrap_err();
    assert!(error.message().contains("no list of families today"), "{error}");
    assert_eq!(third.writers(), 0);
    tracing::info!("five");
    assert!(second.has("five"));

    let long = "ä".repeat(1 << 20);
    tracing::info!("{long}");
    assert!(second.lines().last().is_some_and(|line| line.len() < 10_000));
    drop(new);
    tracing::info!("to nobody");
}
