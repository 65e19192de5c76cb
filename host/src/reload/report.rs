//! What came of a change, for whoever asked for it.

use serde::{Deserialize, Serialize};

/// One thing that was done, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub text: String,
    /// Not as it was asked for.
    pub bad: bool,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub lines: Vec<Line>,
}

impl Report {
    pub fn good(&mut self, text: impl Into<String>) {
        self.lines.push(Line { text: text.into(), bad: false });
    }

    pub fn bad(&mut self, text: impl Into<String>) {
        self.lines.push(Line { text: text.into(), bad: true });
    }
}
