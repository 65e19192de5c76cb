//! What became of a request to a runtime.

use crate::metrics::RUNTIME_REQUESTS;
use gantry_plugin_api::{Counter, Metrics};
use std::fmt;

/// What became of one request; the label `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Ok,
    /// The runtime does not know what was asked for.
    NotFound,
    /// It answered that it cannot or will not.
    Refused,
    /// It does not have this kind of request: it is too old, or set up so.
    Unsupported,
    /// It did not answer within the deadline.
    Timeout,
    /// The answer was longer than is read.
    TooLarge,
    /// The answer makes no sense.
    Malformed,
    /// The connection broke, or there was none.
    Failed,
}

/// All of them, in the order of the enum.
const ALL: [Outcome; 8] = [
    Outcome::Ok,
    Outcome::NotFound,
    Outcome::Refused,
    Outcome::Unsupported,
    Outcome::Timeout,
    Outcome::TooLarge,
    Outcome::Malformed,
    Outcome::Failed,
];

impl Outcome {
    /// As the label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "answered",
            Self::NotFound => "unknown there",
            Self::Refused => "refused",
            Self::Unsupported => "not offered",
            Self::Timeout => "no answer within the deadline",
            Self::TooLarge => "the answer is too long",
            Self::Malformed => "the answer makes no sense",
            Self::Failed => "the connection failed",
        })
    }
}

/// The counters of one kind of request.
#[derive(Debug, Clone)]
pub struct Requests {
    counters: [Counter; ALL.len()],
}

impl Requests {
    /// Of a runtime's requests over an API of this kind. All results are there
    /// from the beginning, so that the first failure is seen as an increase.
    pub fn new(metrics: &Metrics, [runtime, api, request]: [&str; 3]) -> Self {
        let counter = |outcome: Outcome| {
            metrics.counter(&RUNTIME_REQUESTS, None, &[runtime, api, request, outcome.as_str()])
        };
        Self { counters: ALL.map(counter) }
    }

    /// One more.
    pub fn count(&self, outcome: Outcome) {
        self.counters[outcome as usize].inc();
    }
}
