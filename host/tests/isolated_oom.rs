//! The tests of `oom.rs` once more, with the plugins in processes of their own.

#[path = "oom.rs"]
mod oom;
