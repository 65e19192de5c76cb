//! The tests of `docker.rs` once more, with the plugins in processes of their own.

#[path = "docker.rs"]
mod docker;
