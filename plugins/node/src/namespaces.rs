//! Whether the node's namespaces are the agent's own.

use crate::sources::{Roots, State};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Which namespace to ask in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The agent's own, and why, where that is worth knowing.
    Own(Option<Doubt>),
    /// Another, by its file.
    Other(PathBuf),
}

/// Why it is not known that the agent's own namespace is the node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    text: String,
    /// Whether it is likely to be another one.
    grave: bool,
}

impl Place {
    /// The state of a source that was read here.
    pub fn state(&self) -> State {
        match self {
            Place::Own(None) | Place::Other(_) => State::Good,
            Place::Own(Some(doubt)) if doubt.grave => State::Partly(doubt.text.clone()),
            Place::Own(Some(doubt)) => State::Noted(format!("ok; {}", doubt.text)),
        }
    }
}

/// Where the node's first process has its namespace of a kind (`net`, `uts`).
pub fn place(roots: &Roots, kind: &str) -> Place {
    let path = roots.proc.join("1/ns").join(kind);
    // Of the agent itself, so not beneath the root that it was given.
    let own = std::fs::metadata(Path::new("/proc/self/ns").join(kind));
    let same = |one: &std::fs::Metadata, other: &std::fs::Metadata| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    match std::fs::metadata(&path) {
        Ok(first) if own.as_ref().is_ok_and(|own| same(own, &first)) => Place::Own(None),
        Ok(_) => Place::Other(path),
        Err(error) => Place::Own(Some(Doubt {
            text: format!("read in the agent's own namespace, {} is not to be had: {error}", path.display()),
            // With a /proc that is not its own the agent is in a container.
            grave: roots.proc != Path::new("/proc") && error.kind() != std::io::ErrorKind::NotFound,
        })),
    }
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
