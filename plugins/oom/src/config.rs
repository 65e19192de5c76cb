//! The plugin's configuration.

use gantry_plugin_api::schemars::JsonSchema;
use gantry_plugin_api::serde::{Deserialize, Serialize};

/// The configuration of the `oom` plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "gantry_plugin_api::serde")]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Config {
    /// Whether programs are loaded at all; without, kills are known by the counters of
    /// cgroups that are there when metrics are collected.
    pub ebpf: bool,
    /// Whether each victim is a line of the log, up to 20 between two collections.
    pub log_kills: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { ebpf: true, log_kills: true }
    }
}
