//! The boundary between the Gantry node agent and its plugins.
//!
//! A plugin is a shared library (`crate-type = ["cdylib"]`) that implements
//! [`Plugin`] and names it once with [`export_plugin!`]. The host loads it,
//! gives it a [`Host`] (container identity, node facts, clock, paths, log) and
//! asks it for metrics through a [`Sink`] whenever somebody scrapes.
//!
//! ```
//! use gantry_plugin_api::{Error, Family, Host, Manifest, Plugin, Sink, families};
//!
//! families! { ALL:
//!     ANSWER = Family::gauge("demo_answer", "The answer.");
//! }
//!
//! struct Demo;
//!
//! impl Plugin for Demo {
//!     const MANIFEST: Manifest = Manifest::new("demo", "0.1.0", "Knows the answer");
//!     type Config = gantry_plugin_api::NoConfig;
//!
//!     fn families() -> &'static [&'static Family] {
//!         ALL
//!     }
//!     fn start(_config: Self::Config, _host: Host) -> Result<Self, Error> {
//!         Ok(Demo)
//!     }
//!     fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
//!         sink.node(&ANSWER, &[], 42);
//!         Ok(())
//!     }
//! }
//! // In a cdylib: gantry_plugin_api::export_plugin!(Demo);
//! ```
//!
//! # Layout
//! * [`plugin`]: the trait and its life.
//! * [`host`], [`identity`]: what the host offers.
//! * [`metrics`]: families, samples, and counters that a plugin keeps.
//! * [`view`]: tables for people.
//! * [`config`]: types for a plugin's typed configuration.
//! * [`manifest`], [`description`]: what a plugin says of itself.
//! * [`handover`]: state that outlives an instance.
//! * [`export`]: the macro that makes a library of it.
//! * [`abi`]: what crosses. No author needs it; the only module with `unsafe`.
#![deny(unsafe_code)]

pub mod abi;
pub mod config;
pub mod description;
pub mod error;
pub mod export;
mod guard;
pub mod handover;
pub mod host;
pub mod identity;
#[doc(hidden)]
pub mod log;
pub mod manifest;
pub mod metrics;
pub mod plugin;
mod read;
mod schema;
pub mod view;

pub use config::{ByteSize, HumanDuration, NoConfig, Secret};
pub use error::Error;
pub use handover::Handover;
pub use host::Host;
pub use identity::{Container, ContainerRef, Process};
pub use manifest::{Manifest, Need};
pub use metrics::{Counter, Family, Gauge, Histogram, Metrics, Sink, Unit, Value};
pub use plugin::{Health, Plugin, Probe, Reconfigured};
pub use view::{Cell, Column, Rows, View};

pub use guard::Guard;
pub use {schemars, serde, serde_json, tracing};

/// The version of this boundary, `MAJOR.MINOR`: the crate's own, without its
/// patch level. A host takes plugins of the same major.
pub const API_VERSION: &str = "1.0";
