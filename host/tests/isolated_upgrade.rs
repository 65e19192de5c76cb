//! The tests of `upgrade.rs` once more, with the plugins in processes of their own.

#[path = "upgrade.rs"]
mod upgrade;
