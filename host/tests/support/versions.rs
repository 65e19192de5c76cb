//! Builds of the fixtures of other versions.

#[path = "../fixtures/hostile/patch.rs"]
pub mod patch;

use super::{library, write_library};
use std::path::{Path, PathBuf};

/// A build of the fixture that misbehaves; a version has as many characters as
/// its own.
pub fn build(dir: &Path, version: &str) -> PathBuf {
    build_of("hostile", dir, version)
}

pub fn build_of(name: &str, dir: &Path, version: &str) -> PathBuf {
    let mut bytes = std::fs::read(library(name)).expect("the built fixture");
    patch::version(&mut bytes, version);
    let file = dir.join(format!("{name}-{version}.so"));
    write_library(&file, &bytes);
    file
}
