//! For tests of other packages that want variants of the boundary.

pub mod build;
pub mod patches;
