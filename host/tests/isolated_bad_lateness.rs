//! The tests of `bad_lateness.rs` once more, with the plugins in processes of their own.

#[path = "bad_lateness.rs"]
mod bad_lateness;
