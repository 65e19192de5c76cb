//! The one thread that watches the machine, and tells
//! [`State`](super::state::State) what it sees.
//!
//! # Layout
//! * [`tree`]: directories of cgroups. [`place`]: what a process's cgroups say;
//!   [`seen`]: what it tells besides. [`order`]: what a row of events says.
//! * [`keeper`]: the thread's loop.

mod keeper;
mod order;
mod place;
mod seen;
mod tree;

pub use keeper::{Sources, Watcher};
pub use place::Places;
