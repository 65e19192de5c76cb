//! Why a call of a plugin, or of the host, did not work.

use std::fmt;

/// An error that crosses the boundary: a kind that the host acts on, and a
/// sentence for people that says what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What the host does about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It failed; the host tries again after a while.
    Failed,
    /// The configuration is wrong; trying again does not help.
    Config,
    /// This node cannot do it; the message says what is missing.
    Unsupported,
    /// The plugin panicked; its instance is poisoned and must be made anew.
    Panicked,
    /// The other side does not know the thing that was asked for.
    Unknown,
}

impl Error {
    /// An ordinary failure.
    pub fn new(message: impl fmt::Display) -> Self {
        Self::of(ErrorKind::Failed, message)
    }

    /// A wrong configuration. Name the key in the message, never a secret value.
    pub fn config(message: impl fmt::Display) -> Self {
        Self::of(ErrorKind::Config, message)
    }

    /// Something that this node lacks.
    pub fn unsupported(message: impl fmt::Display) -> Self {
        Self::of(ErrorKind::Unsupported, message)
    }

    pub(crate) fn panicked(message: impl fmt::Display) -> Self {
        Self::of(ErrorKind::Panicked, message)
    }

    /// Something unknown was asked for: a view, a container.
    pub fn unknown(message: impl fmt::Display) -> Self {
        Self::of(ErrorKind::Unknown, message)
    }

    fn of(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// What the host does about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn code(&self) -> u32 {
        match self.kind {
            ErrorKind::Failed => 1,
            ErrorKind::Config => 2,
            ErrorKind::Unsupported => 3,
            ErrorKind::Panicked => 4,
            ErrorKind::Unknown => 5,
        }
    }

    /// From the number that crossed. One that this version does not know is a
    /// plain failure.
    pub(crate) fn from_code(code: u32, message: String) -> Self {
        let kind = match code {
            2 => ErrorKind::Config,
            3 => ErrorKind::Unsupported,
            4 => ErrorKind::Panicked,
            5 => ErrorKind::Unknown,
            _ => ErrorKind::Failed,
        };
        Self { kind, message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}
