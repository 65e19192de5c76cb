//! The tests of `hello.rs` once more, with the plugins in processes of their own.

#[path = "hello.rs"]
mod hello;
