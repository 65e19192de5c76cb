//! The tests of `bad_views.rs` once more, with the plugins in processes of their own.

#[path = "bad_views.rs"]
mod bad_views;
