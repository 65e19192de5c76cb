//! A plugin that does the wrong thing it is asked for.
#![allow(dead_code, reason = "each test file uses its part")]

use gantry_plugin_api::abi::abi_stable::std_types::RSlice;
use gantry_plugin_api::plugin::Reconfigured;
use gantry_plugin_api::{
    ContainerRef, Error, Family, Host, Manifest, Plugin, Sink, Unit, families, schemars, serde,
};
use serde_json::{Value, json};

families! {
    /// All but one.
    ALL:
    GOOD = Family::gauge("bad_good", "Always there.");
    READ = Family::counter_read("bad_read_total", "Read from somewhere.");
    LABELLED = Family::gauge("bad_labelled", "Two labels.").labels(&["one", "two"]);
    OF_CONTAINER = Family::gauge("bad_of_container", "A container's.").per_container();
    WAIT = Family::histogram("bad_wait_seconds", "Waits.", &[0.1, 1.0]).unit(Unit::Seconds);
    INFO = Family::gauge("bad_build_info", "Always 1, as it says.");
}
families! { UNLISTED: UNDECLARED = Family::gauge("bad_undeclared", "In no list."); }

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gantry_plugin_api::serde", default, deny_unknown_fields)]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Config {
    ask: String,
    read: f64,
    waits: [u64; 3],
    count: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { ask: String::new(), read: 5.0, waits: [1, 2, 3], count: 100 }
    }
}

pub struct Misbehaving {
    config: Config,
    host: Host,
}

pub fn asked(what: &str) -> Value {
    json!({ "ask": what })
}

impl Plugin for Misbehaving {
    const MANIFEST: Manifest = Manifest::new("bad", "1.0.0", "Does the wrong thing").claims(&["bad_"]);
    type Config = Config;

    fn families() -> &'static [&'static Family] {
        ALL
    }
    fn start(config: Config, host: Host) -> Result<Self, Error> {
        Ok(Self { config, host })
    }
    fn reconfigure(&mut self, config: Config) -> Result<Reconfigured, Error> {
        self.config = config;
        Ok(Reconfigured::Applied)
    }
    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        sink.node(&GOOD, &[], 1);
        let web = self.host.containers().first().copied();
        let ask = self.config.ask.as_str();
        let [fast, slow, all] = self.config.waits;
        match ask {
            "negative" => sink.node(&READ, &[], -1),
            "nan" => sink.node(&READ, &[], f64::NAN),
            "infinite" => sink.node(&READ, &[], f64::INFINITY),
            "a histogram for a number" => sink.histogram(&READ, None, &[], &[], 0.0, 0),
            _ => sink.node(&READ, &[], self.config.read),
        }
        match ask {
            "falling counts" => sink.histogram(&WAIT, None, &[], &[5, 3], 1.0, 9),
            "too few counts" => sink.histogram(&WAIT, None, &[], &[5], 1.0, 9),
            "more than all" => sink.histogram(&WAIT, None, &[], &[1, 9], 1.0, 2),
            "a sum of nan" => sink.histogram(&WAIT, None, &[], &[1, 2], f64::NAN, 2),
            "falling bounds" => {
                let (bounds, counts) = ([1.0, 0.1], [1, 2]);
                let (bounds, counts) = (RSlice::from_slice(&bounds), RSlice::from_slice(&counts));
                sink.abi().histogram(4, 0, RSlice::EMPTY, bounds, counts, 1.0, 2);
            }
            "a number for a histogram" => sink.node(&WAIT, &[], 1),
            _ => sink.histogram(&WAIT, None, &[], &[fast, slow], 1.0, all),
        }
        match ask {
            "too few labels" => sink.node(&LABELLED, &["x"], 1),
            "too many labels" => sink.node(&LABELLED, &["x", "y", "z"], 1),
            "utf8" => {
                let labels = [RSlice::from_slice(&b"x"[..]), RSlice::from_slice(&b"\xff"[..])];
                sink.abi().sample(2, 0, RSlice::from_slice(&labels), 1.0);
            }
            "a long label" => sink.node(&LABELLED, &["x", &"\n".repeat(20_000)], 1),
            "duplicates" => (0..3).for_each(|value| sink.node(&LABELLED, &["a", "b"], value)),
            // Not through its family: builds with debug assertions refuse that earlier.
            "undeclared" => sink.abi().sample(u32::MAX, 0, RSlice::EMPTY, 1.0),
            "no container" => sink.node(&OF_CONTAINER, &[], 1),
            "a container too many" => {
                let web = web.expect("the test declares one");
                sink.container(&LABELLED, web, &["a", "b"], 1);
            }
            "an unknown container" => {
                let unknown = ContainerRef::from_handle(7).expect("the number is not 0");
                sink.container(&OF_CONTAINER, unknown, &[], 1);
            }
            "each container" => {
                self.host.containers().into_iter().for_each(|of| sink.container(&OF_CONTAINER, of, &[], 1));
            }
            "info" => sink.node(&INFO, &[], 2),
            "skipped" => sink.skipped("unreadable", 2),
            "a flood" => {
                let count = self.config.count;
                (0..count).for_each(|one| sink.node(&LABELLED, &[&one.to_string(), ""], 1));
            }
            "many" => (0..100).for_each(|_| sink.node(&LABELLED, &[], 1)),
            _ => {}
        }
        Ok(())
    }
}
