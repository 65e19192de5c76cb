//! The tests of `runtimes.rs` once more, with the plugins in processes of their own.

#[path = "runtimes.rs"]
mod runtimes;
