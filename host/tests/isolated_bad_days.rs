//! The tests of `identity_bad_days.rs` once more, with the plugins in processes of their own.

#[path = "identity_bad_days.rs"]
mod identity_bad_days;
