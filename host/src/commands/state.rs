//! A state directory for commands that keep nothing.

use super::Failure;
use std::os::unix::fs::DirBuilderExt;
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
        let made = (0..100).find_map(|attempt| {
            let path = std::env::temp_dir().join(format!("gantry-{}-{attempt}", std::process::id()));
            // Made by this process or not at all: /tmp is everybody's, and a
            // killed process of the same number may have left one behind.
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
                made => {
                    Some(made.map(|()| path.clone()).map_err(|error| format!("{}: {error}", path.display())))
                }
            }
        });
        let path = made
            .unwrap_or_else(|| Err("a hundred temporary directories are there already".to_owned()))
            .map_err(|error| Failure::no(format!("{error}; name a directory with --state-dir")))?;
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
