//! The tests of `handover.rs` once more, with the plugins in processes of their own.

#[path = "handover.rs"]
mod handover;
