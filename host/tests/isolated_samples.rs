//! The tests of `samples.rs` once more, with the plugins in processes of their own.

#[path = "samples.rs"]
mod samples;
