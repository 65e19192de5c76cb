//! One instance of a plugin, in plain Rust types.

use gantry_plugin_api::abi::abi_stable::std_types::{ROption, RSlice};
use gantry_plugin_api::abi::types::result;
use gantry_plugin_api::abi::{PluginBox, SinkRef, ViewSinkRef};
use gantry_plugin_api::{Error, Health, Probe};
use std::fmt;
use std::time::Duration;

/// An instance. Its calls come from one thread at a time.
pub struct Instance {
    plugin: PluginBox,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").finish_non_exhaustive()
    }
}

impl Instance {
    /// Around what crossed.
    pub fn new(plugin: PluginBox) -> Self {
        Self { plugin }
    }

    /// Can it work here?
    pub fn probe(&self, config: &str) -> Result<Probe, Error> {
        read(&result(self.plugin.probe(config.into()))?)
    }

    /// Starts it with a configuration, a JSON object.
    pub fn start(&mut self, config: &str) -> Result<(), Error> {
        result(self.plugin.start(config.into()))
    }

    /// Begins to count, from a hand-over or from nothing.
    pub fn activate(&mut self, handover: Option<&[u8]>) -> Result<(), Error> {
        result(self.plugin.activate(ROption::from(handover.map(RSlice::from_slice))))
    }

    /// Collects into a sink.
    pub fn collect(&mut self, sink: SinkRef<'_>) -> Result<(), Error> {
        result(self.plugin.collect(sink))
    }

    /// Fills a view.
    pub fn view(&mut self, name: &str, rows: ViewSinkRef<'_>) -> Result<(), Error> {
        result(self.plugin.view(name.into(), rows))
    }

    /// `true`: the new configuration is in force; `false`: it needs a restart.
    pub fn reconfigure(&mut self, config: &str) -> Result<bool, Error> {
        result(self.plugin.reconfigure(config.into()))
    }

    /// How it is.
    pub fn health(&self) -> Result<Health, Error> {
        read(&result(self.plugin.health())?)
    }

    /// Ends it; gives the hand-over.
    pub fn stop(&mut self, deadline: Duration) -> Result<Vec<u8>, Error> {
        let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        result(self.plugin.stop(millis)).map(Into::into)
    }

    /// What would be handed over now. Also answered after a panic, without
    /// the author's part.
    pub fn snapshot(&mut self) -> Result<Vec<u8>, Error> {
        result(self.plugin.snapshot()).map(Into::into)
    }

    /// 0 nothing, 1 error, to 5 trace.
    pub fn set_log_level(&self, level: u32) {
        self.plugin.set_log_level(level);
    }

    /// Live bytes of the library's allocator.
    pub fn heap_bytes(&self) -> u64 {
        self.plugin.heap_bytes()
    }

    /// The threads that allocated in the library, also those that have ended:
    /// a running number in the upper half, the thread's number in the lower.
    pub fn threads(&self) -> Vec<u64> {
        self.plugin.threads().into()
    }
}

fn read<T: gantry_plugin_api::serde::de::DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| Error::new(format!("its answer cannot be read: {error}")))
}
