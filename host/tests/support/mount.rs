//! File systems of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Unmounted at the end.
pub struct Mounted(PathBuf);

impl Mounted {
    pub fn tmpfs(at: &Path, options: &str) -> Self {
        std::fs::create_dir_all(at).expect("a mount point");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "gantry-test"]).arg(at).status();
        assert!(status.expect("mount runs").success(), "mount -o {options}");
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: the agent may still have a library mapped from it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
