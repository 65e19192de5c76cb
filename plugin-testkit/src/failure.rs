//! Why a call of the kit did not do what it should.

use crate::check::Problem;
use gantry_plugin_api::Error;
use gantry_plugin_api::error::ErrorKind;
use std::fmt;
use std::time::Duration;

/// Why a call of the kit did not do what it should: what, where and the
/// remedy, a line each. `Debug` prints the same, so that `unwrap` in a test
/// shows it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The plugin answered with an error.
    #[error("{call}: {error}")]
    Call {
        /// The call of the plugin's life.
        call: &'static str,
        /// What it answered.
        error: Error,
    },
    /// The plugin panicked. The instance is asked nothing more, as in the agent.
    #[error("{message}; return an error instead: the agent makes a new instance after a panic")]
    Panicked {
        /// The call of the plugin's life.
        call: &'static str,
        /// The panic's message, after the names of plugin and call.
        message: String,
    },
    /// The call did not come back in time. The instance and its thread are left behind.
    #[error(
        "{call}: not back after its deadline of {deadline:?}; bound what it waits for, \
         or wait on a thread of the plugin's own (Kit::deadline sets another)"
    )]
    Deadline {
        /// The call of the plugin's life.
        call: &'static str,
        /// How long it had.
        deadline: Duration,
    },
    /// The instance cannot be asked any more.
    #[error("{call}: not asked, since {why}; start another instance")]
    Gone {
        /// The call that was not made.
        call: &'static str,
        /// What happened before.
        why: String,
    },
    /// The probe said that it cannot work here.
    #[error("probe: unsupported: {}; give the fake host what it lacks, or call Kit::probe to see the answer", .0.join("; "))]
    Unsupported(Vec<String>),
    /// The configuration is neither TOML nor a JSON object.
    #[error("the configuration of this test: {0}; write the plugin's own table, without its heading")]
    Config(String),
    /// The file is no plugin that can be opened.
    #[error("{path}: {reason}")]
    File {
        /// Which file.
        path: String,
        /// Why not, with the remedy.
        reason: String,
    },
    /// What the plugin declared or gave did not pass.
    #[error("{}", lines(.0))]
    Checks(Vec<Problem>),
    /// It differs from the golden file.
    #[error("{0}")]
    Golden(String),
    /// What was waited for did not come.
    #[error("{0}")]
    NeverCame(String),
}

impl Failure {
    /// What a plugin's error is.
    pub(crate) fn of(call: &'static str, error: Error) -> Self {
        match error.kind() {
            ErrorKind::Panicked => {
                let own = error.message().starts_with(call);
                let message =
                    if own { error.message().to_owned() } else { format!("{call}: {}", error.message()) };
                Failure::Panicked { call, message }
            }
            _ => Failure::Call { call, error },
        }
    }

    /// A panic with the plugin's name in front: a test may have several.
    pub(crate) fn named(self, plugin: &str) -> Self {
        match self {
            Failure::Panicked { call, message } => {
                Failure::Panicked { call, message: format!("{plugin}: {message}") }
            }
            other => other,
        }
    }

    /// The plugin's own error, where it answered with one.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Failure::Call { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The checks that did not pass; empty where it failed otherwise.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Failure::Checks(problems) => problems,
            _ => &[],
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
