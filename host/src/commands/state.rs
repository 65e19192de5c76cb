//! A state directory for commands that keep nothing.

use super::Failure;
use std::path::{Path, PathBuf};

/// The directory that was asked for, or a temporary one that goes with it.
pub struct StateDir {
    path: PathBuf,
    temporary: bool,
}

impl StateDir {
    pub fn for_command(given: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = given {
            return Ok(Self { path: path.to_owned(), temporary: false });
        }
        let name = format!("gantry-{}-{}", std::process::id(), rustix::process::geteuid().as_raw());
        let path = std::env::temp_dir().join(name);
        // Made by this process or not at all: /tmp is everybody's.
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Failure::no(format!("{}: {error}; name a directory with --state-dir", path.display()))
        })?;
        Ok(Self { path, temporary: true })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if self.temporary {
            // What is left behind in a temporary directory harms nobody.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
