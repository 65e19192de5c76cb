//! Why the cgroups of a machine cannot be read at all.

use std::io;
use std::path::PathBuf;

/// Why the cgroups of a machine cannot be read at all. What happens to a single
/// file of a cgroup is a [`Failure`](crate::Failure).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// The error of the call.
        source: io::Error,
    },
    /// A file is larger than what is read of it.
    #[error("{} is larger than {limit} bytes, the most that is read of it", path.display())]
    TooLarge {
        /// Which one.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
    /// No hierarchy was found below the root.
    #[error("{} has no cgroup hierarchy; is the node's /sys/fs/cgroup mounted there?", root.display())]
    NoHierarchy {
        /// Where it was looked for.
        root: PathBuf,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io { path: path.into(), source: source.into() }
    }
}
