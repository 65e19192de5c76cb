//! The tests of `taskstats.rs` once more, with the plugins in processes of their own.

#[path = "taskstats.rs"]
mod taskstats;
