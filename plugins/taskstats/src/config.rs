//! The plugin's configuration.

use gantry_plugin_api::ByteSize;
use gantry_plugin_api::schemars::JsonSchema;
use gantry_plugin_api::serde::de::Error as _;
use gantry_plugin_api::serde::{Deserialize, Deserializer, Serialize};
use std::ops::RangeInclusive;

const BUFFERS: RangeInclusive<u64> = (4 << 10)..=(64 << 20);

/// The configuration of the `taskstats` plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "gantry_plugin_api::serde")]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Config {
    /// Sets `kernel.task_delayacct` to 1, and back when the plugin is stopped.
    /// The kernel counts all delays but those of a CPU only of threads that
    /// start while it is 1.
    pub enable_delay_accounting: bool,
    /// What the kernel may keep of ends of processes that were not read yet:
    /// 4KiB to 64MiB. One takes about 1.3 KB.
    #[serde(deserialize_with = "checked")]
    pub buffer: ByteSize,
    /// Whether the kernel is asked over netlink at all; without, the files
    /// `schedstat` of all threads are read.
    pub netlink: bool,
}

fn checked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = ByteSize::deserialize(deserializer)?;
    if BUFFERS.contains(&size.0) {
        return Ok(size);
    }
    Err(D::Error::custom("must be between 4KiB and 64MiB"))
}

impl Default for Config {
    fn default() -> Self {
        Self { enable_delay_accounting: false, buffer: ByteSize(4 << 20), netlink: true }
    }
}

impl Config {
    /// The buffer in bytes.
    pub fn bytes(&self) -> usize {
        // It is 64 MiB at most.
        usize::try_from(self.buffer.0).unwrap_or(usize::MAX)
    }
}
