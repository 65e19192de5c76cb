//! The section of one kind of runtimes: the same keys for each. They are checked
//! where they are read, so that the host refuses a wrong one with the whole file,
//! before anything changes.

use super::sockets::{self, Sockets};
use gantry_plugin_api::HumanDuration;
use gantry_plugin_api::schemars::JsonSchema;
use gantry_plugin_api::serde::de::Error as _;
use gantry_plugin_api::serde::{Deserialize, Deserializer, Serialize};
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Shorter, a runtime under load would be called hung; longer, a container would
/// be shown without its name before one that hangs is given up.
const DEADLINES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// Where a kind of runtimes listens unless something else is configured. Its own
/// schema gives the section's a name.
pub trait Where: JsonSchema {
    /// Absolute paths.
    const SOCKETS: &'static [&'static str];
}

/// `[plugins.containers.config.RUNTIME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, bound = "W: Where", crate = "gantry_plugin_api::serde")]
#[schemars(bound = "W: Where", crate = "gantry_plugin_api::schemars")]
pub struct Section<W> {
    /// Whether it is asked.
    pub enabled: bool,
    /// Its socket, or a list of them, beneath the node's root directory. One
    /// that is not there is waited for.
    #[serde(deserialize_with = "sockets::checked")]
    pub socket: Sockets,
    /// How long one request may take: 100ms to 60s.
    #[serde(deserialize_with = "deadline")]
    pub deadline: HumanDuration,
    #[serde(skip)]
    at: PhantomData<W>,
}

impl<W> Section<W> {
    /// The sockets that are asked.
    pub fn asked(&self) -> impl Iterator<Item = &String> {
        self.socket.all().iter().filter(|_| self.enabled)
    }
}

impl<W: Where> Default for Section<W> {
    fn default() -> Self {
        Self {
            enabled: true,
            socket: Sockets::of(W::SOCKETS),
            deadline: HumanDuration(Duration::from_secs(5)),
            at: PhantomData,
        }
    }
}

fn deadline<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HumanDuration, D::Error> {
    let deadline = HumanDuration::deserialize(deserializer)?;
    if DEADLINES.contains(&deadline.0) {
        return Ok(deadline);
    }
    Err(D::Error::custom("must be between 100ms and 60s"))
}
