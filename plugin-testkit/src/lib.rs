//! A fake host for authors of plugins: it runs a plugin from its crate
//! ([`Kit::of`]) or a built library ([`Kit::library`]), leads it through its
//! life as the agent does, and checks what it emits.
//!
//! ```
//! use gantry_plugin_api::{Error, Family, Host, Manifest, NoConfig, Plugin, Sink, Unit, families};
//! use gantry_plugin_testkit::{Failure, Kit};
//!
//! families! { ALL:
//!     UPTIME = Family::gauge("demo_uptime_seconds", "Time since boot.").unit(Unit::Seconds);
//! }
//!
//! struct Demo(Host);
//!
//! impl Plugin for Demo {
//!     const MANIFEST: Manifest = Manifest::new("demo", "0.1.0", "Reads /proc/uptime");
//!     type Config = NoConfig;
//!
//!     fn families() -> &'static [&'static Family] {
//!         ALL
//!     }
//!     fn start(_: NoConfig, host: Host) -> Result<Self, Error> {
//!         Ok(Demo(host))
//!     }
//!     fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
//!         let text = std::fs::read_to_string(self.0.proc().join("uptime"))?;
//!         match text.split(' ').next().and_then(|word| word.parse::<f64>().ok()) {
//!             Some(seconds) => sink.node(&UPTIME, &[], seconds),
//!             None => sink.skipped("uptime_malformed", 1),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Failure> {
//! let kit = Kit::of::<Demo>();
//! kit.tree().write("proc/uptime", "42.5 1.0\n");
//! let mut running = kit.start("")?;
//! assert_eq!(running.collect()?.get("demo_uptime_seconds"), 42.5);
//!
//! kit.tree().write("proc/uptime", "no number\n");
//! let failure = running.collect().unwrap_err().to_string();
//! assert!(failure.contains("uptime_malformed"), "{failure}");
//! running.stop()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! * [`Kit`]: the fake host around one plugin; [`Running`]: a plugin that was
//!   started, with hand-over, upgrade and crash; [`Instance`]: its single calls,
//!   each under a deadline. [`Bench`]: one for benchmarks.
//! * [`Tree`], [`Clock`], [`Identity`], [`Facts`], [`Noted`]: what the plugin
//!   sees of the host, and what the host saw of the plugin.
//! * [`Collected`]: the samples of one collection; [`Table`]: the rows of a view.
//! * [`check`]: what is wrong with them, each [`Problem`] with its remedy.
//! * [`Failure`]: why a call of the kit did not do what it should.
#![forbid(unsafe_code)]

mod bench;
pub mod check;
mod collected;
mod config;
mod failure;
mod golden;
mod host;
mod instance;
mod kit;
mod ledger;
mod log;
mod query;
mod record;
mod running;
mod sample;
mod shared;
mod source;
mod table;
mod thread;
mod wait;

pub use bench::Bench;
pub use check::{Check, Problem, Report};
pub use collected::Collected;
pub use config::ToConfig;
pub use failure::Failure;
pub use host::{Clock, Facts, Identity, Line, NewContainer, Noted, Provided, Tree};
pub use instance::Instance;
pub use kit::Kit;
pub use running::Running;
pub use sample::{Histogram, Sample, Value};
pub use table::{Cell, Table};
pub use wait::{PATIENCE, eventually};

// The README's example is compiled and run too.
#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
