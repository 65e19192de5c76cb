//! The tests of `rollback.rs` once more, with the plugins in processes of their own.

#[path = "rollback.rs"]
mod rollback;
