//! The life of plugins: each has a unit that all may ask, and a thread that
//! alone calls it.
//!
//! * [`state`]: the states and what is known of a plugin.
//! * [`mod@unit`]: one plugin, as the rest of the agent sees it.
//! * [`worker`]: its thread.
//! * [`sink`]: where its samples go.
//! * [`services`]: the host, as it sees it.
//! * [`fleet`]: all of them, started and stopped in order.

mod fleet;
mod services;
mod sink;
mod state;
mod unit;
mod worker;

pub use fleet::{Fleet, Parts, config_problems};
pub use services::Services;
pub use sink::ArenaSink;
pub use state::State;
pub use unit::{Freshness, Unit};
