//! What the tests of the host share: an agent of their own, on a port of its
//! own, with a state directory of its own, and a client that scrapes it.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::print_stderr, reason = "what a test skips, and why it failed, is said to people")]

pub mod agent;
pub mod cgroup;
pub mod commands;
pub mod compiled;
pub mod control;
pub mod day;
pub mod http;
pub mod kernel;
pub mod ledger;
pub mod mount;
pub mod needs;
pub mod process;
pub mod prometheus;
pub mod series;
pub mod terminal;
pub mod traffic;
pub mod upgrading;
pub mod versions;
pub mod watch;

use std::path::{Path, PathBuf};

/// Where plugins of tests run: those of a file `isolated_….rs` in processes of
/// their own, so that it can hold the tests of another file once more.
pub fn isolation() -> &'static str {
    if env!("CARGO_CRATE_NAME").starts_with("isolated") { "process" } else { "none" }
}

/// The directory where cargo put host and plugins.
pub fn built() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_gantry")).parent().expect("a binary lies in a directory").to_owned()
}

/// A plugin's library as cargo built it.
pub fn library(name: &str) -> PathBuf {
    let path = built().join(format!("libgantry_{}.so", name.replace('-', "_")));
    assert!(path.exists(), "{} is not built; run `cargo xtask test`, which builds it first", path.display());
    path
}

/// A private directory: 0700, whatever the umask is.
pub fn private_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix("gantry-test-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
        .expect("a temporary directory")
}

/// A copy of a library that only its owner can change, as the host insists.
pub fn copy_to(dir: &Path, library: &Path) -> PathBuf {
    let copy = dir.join(library.file_name().expect("a library is a file"));
    write_library(&copy, &std::fs::read(library).expect("the built library"));
    copy
}

/// Bytes as a file that only its owner can change.
pub fn write_library(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, bytes).expect("a file in a temporary directory");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("own file");
}
