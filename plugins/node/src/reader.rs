//! Reading small files of the kernel, with a bound.

use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The most that is read of one file. The largest that the kernel writes here
/// are `stat` (its line of interrupts: 2 bytes for each of up to some 100,000
/// numbers) and `mountinfo` (10,000 mounts of 300 bytes).
pub const MAX_FILE: usize = 4 << 20;

/// Why a source gave nothing. The path is added where it is shown.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SourceError {
    /// There is no such file.
    #[error("not there")]
    Missing,
    /// It cannot be read, or the call failed.
    #[error("{0}")]
    Unreadable(String),
    /// It is larger than [`MAX_FILE`].
    #[error("larger than {} MiB, the most that is read of one file", MAX_FILE >> 20)]
    TooLarge,
    /// It does not have the form that the kernel gives it.
    #[error("not of the kernel's form: {0}")]
    Malformed(String),
}

impl SourceError {
    /// The reason under which the loss is counted.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "source_missing",
            Self::Unreadable(_) => "source_unreadable",
            Self::TooLarge => "source_too_large",
            Self::Malformed(_) => "source_malformed",
        }
    }
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

impl From<procfs_core::ProcError> for SourceError {
    fn from(error: procfs_core::ProcError) -> Self {
        use procfs_core::ProcError;
        Self::Malformed(match error {
            ProcError::InternalError(inner) => inner.msg,
            ProcError::Incomplete(_) => "incomplete".to_owned(),
            other => other.to_string(),
        })
    }
}

/// Reads a whole file into `buffer`, whose room is used again.
///
/// # Errors
/// See [`SourceError`].
pub fn read(path: &Path, buffer: &mut Vec<u8>) -> Result<(), SourceError> {
    buffer.clear();
    let bound = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    // A FIFO in its place, where /proc is not the kernel's, would hold the plugin for ever.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(SourceError::Unreadable("not a regular file".to_owned()));
    }
    file.take(bound + 1).read_to_end(buffer)?;
    if buffer.len() > MAX_FILE {
        buffer.clear();
        buffer.shrink_to(64 << 10);
        return Err(SourceError::TooLarge);
    }
    Ok(())
}

/// The lines of a file, as texts. One that is no UTF-8 is `None`.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = Option<&str>> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| std::str::from_utf8(line).ok())
}
