//! The smallest useful plugin: a typed configuration, a gauge, a counter that
//! outlives upgrades, and a line in the log.
#![forbid(unsafe_code)]

use gantry_plugin_api::{Counter, Error, Family, Host, Manifest, Plugin, Sink, families};
use gantry_plugin_api::{schemars, serde, tracing};

families! { ALL:
    GREETING = Family::gauge("hello_greeting_info", "Always 1; says who is greeted.").labels(&["name"]);
    GREETINGS = Family::counter("hello_greetings_total", "How often somebody was greeted.");
}

/// The table `[plugins.hello.config]`.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(crate = "gantry_plugin_api::serde", default)]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Config {
    /// Who is greeted.
    name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { name: "world".to_owned() }
    }
}

/// One instance.
pub struct Hello {
    config: Config,
    greetings: Counter,
}

impl Plugin for Hello {
    const MANIFEST: Manifest =
        Manifest::new("hello", env!("CARGO_PKG_VERSION"), "Greets at each scrape").claims(&["hello_"]);
    type Config = Config;

    fn families() -> &'static [&'static Family] {
        ALL
    }

    fn start(config: Config, host: Host) -> Result<Self, Error> {
        tracing::info!(name = config.name, "ready to greet");
        let greetings = host.metrics().counter(&GREETINGS, None, &[]);
        Ok(Self { config, greetings })
    }

    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        self.greetings.inc();
        sink.node(&GREETING, &[&self.config.name], 1);
        Ok(())
    }
}

gantry_plugin_api::export_plugin!(Hello);
