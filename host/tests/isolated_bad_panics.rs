//! The tests of `bad_panics.rs` once more, with the plugins in processes of their own.

#[path = "bad_panics.rs"]
mod bad_panics;
