//! The one thread that watches the machine, and tells
//! [`State`](super::state::State) what it sees.
//!
//! # Layout
//! * [`tree`]: directories of cgroups. [`place`]: what a process's cgroups say;
//!   [`seen`]: what it tells besides, [`memory`]: where that may hang.
//!   [`order`]: what a row of events says; [`leaderless`]: ends that are not told.
//! * [`keeper`]: the thread's loop. [`sources`]: what it hears of the kernel.

mod keeper;
mod leaderless;
mod memory;
mod order;
mod place;
mod seen;
mod sources;
mod tree;

pub use keeper::{Machine, Watcher};
pub use place::Places;
