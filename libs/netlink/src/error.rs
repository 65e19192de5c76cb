//! Why a netlink exchange did not work.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a netlink exchange did not work. After any of these the socket may
/// still hold parts of an answer: drop it and open another.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{call}: {source}")]
    Call {
        /// Which one.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
    /// Another namespace could not be entered.
    #[error("setns to {}: {source}", path.display())]
    Namespace {
        /// The namespace's file.
        path: PathBuf,
        /// The error of opening it, or of `setns`.
        source: io::Error,
    },
    /// The kernel did not answer to the end in time.
    #[error("the kernel's answer was not complete after {0:?}")]
    TimedOut(Duration),
    /// The kernel had more to say than the socket could hold (ENOBUFS).
    #[error("the socket's receive buffer ran over")]
    Overrun,
    /// The kernel refused the request.
    #[error("the kernel refused {request}: {source}")]
    Refused {
        /// What was asked, as `RTM_GETLINK`.
        request: &'static str,
        /// The reason it gave.
        source: io::Error,
    },
    /// The answer is larger than the bounds allow.
    #[error("the answer is larger than {0}")]
    TooLarge(&'static str),
    /// The answer is not of the form that netlink has.
    #[error("the answer cannot be read: {0}")]
    Malformed(String),
}

impl Error {
    /// Whether a new socket and another try may help at once.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Overrun | Self::Malformed(_) | Self::Call { .. })
    }
}
