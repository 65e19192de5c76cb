//! The tests of `identity.rs` once more, with the plugins in processes of their own.

#[path = "identity.rs"]
mod identity;
