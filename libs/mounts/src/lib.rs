//! What is mounted, and how full it is: for the node itself, and for what its
//! containers see.
//!
//! # Layout
//! * [`mountinfo`]: the lines of `/proc/PID/mountinfo`.
//! * [`statfs`]: asking file systems how full they are, on threads of their own.
#![forbid(unsafe_code)]

pub mod mountinfo;
pub mod statfs;

pub use mountinfo::Mount;
pub use statfs::{Answer, Asker, Usage};
