//! The one thread that watches the machine, and tells
//! [`State`](super::state::State) what it sees.
//!
//! # Layout
//! * [`tree`]: directories of cgroups. [`place`]: what a process's cgroups say.
//! * [`keeper`]: the thread's loop.

mod keeper;
mod place;
mod tree;

pub use keeper::{Sources, Watcher};
pub use place::Places;
