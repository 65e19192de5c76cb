//! Docker for tests: a real one of the test's own ([`Docker`]), and one that
//! only looks like it and can be told to misbehave ([`Fake`]).
//!
//! # Layout
//! * [`real`]: a daemon with all its own, and its end. [`image`]: what its
//!   containers run. [`needs`]: what the machine must have. [`fake`]: the other.
#![forbid(unsafe_code)]

pub mod fake;
pub mod image;
mod left;
pub mod needs;
pub mod real;

pub use fake::{Fake, Mood, Request};
pub use image::IMAGE;
pub use real::Docker;
