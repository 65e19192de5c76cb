//! Metrics: what a family is, how samples are emitted, and counters that a
//! plugin keeps.
//!
//! Everything is pulled: the host asks at a scrape and the plugin emits. A
//! plugin that counts as events happen keeps [`Counter`]s (atomics of its own)
//! in [`Metrics`]; these are emitted, handed over and restored by themselves.

mod family;
mod kept;
mod sink;
mod state;

#[doc(hidden)]
pub use family::number;
pub use family::{Family, MAX_LABELS, Unit};
pub use kept::{Counter, Gauge, Histogram, Metrics};
pub use sink::{Sink, Value};
