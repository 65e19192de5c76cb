//! What is wrong with what a plugin declares and emits. Every [`Problem`] names
//! the family or series, what is wrong, and the remedy, in one line.

mod counters;
mod families;
mod lasting;
mod manifest;
mod names;
mod samples;
mod views;

pub(crate) use counters::Previous;
pub(crate) use families::declared;
pub(crate) use lasting::Lasting;
pub(crate) use manifest::manifest;
pub(crate) use samples::examine;
pub(crate) use views::{views, words};

use crate::failure::Failure;
use std::fmt;

/// What was looked at. A test that expects one of them to fail allows it with
/// [`crate::Kit::allow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// A family or claim that the host refuses: no valid name, the host's own
    /// or another's, or one that clashes.
    Refused,
    /// A name that is against the conventions of Prometheus.
    Convention,
    /// A unit that is no base unit, or not the one in the name.
    Unit,
    /// A help text that is missing.
    Help,
    /// Label values that are not one for each declared label, or are too long.
    Labels,
    /// A text that is not UTF-8.
    Utf8,
    /// A number that such a family cannot have.
    Value,
    /// A series that was emitted twice in one collection.
    Duplicate,
    /// More samples or series than a plugin may have.
    Cap,
    /// A sample of no declared family.
    UnknownFamily,
    /// A sample of a container that the host does not know.
    UnknownContainer,
    /// A container's sample in a family of the node, or the reverse.
    Scope,
    /// Buckets that make no histogram.
    Histogram,
    /// A counter or histogram that went back between two collections.
    WentBack,
    /// Samples that the plugin said it could not make.
    Skipped,
    /// The manifest.
    Manifest,
    /// The declaration of a view, or its rows.
    View,
    /// A family that was declared and never emitted.
    NeverEmitted,
}

/// One thing that is wrong: where, what, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    check: Check,
    subject: String,
    message: String,
}

/// The longest line of a problem, in bytes: label values may be enormous.
const MAX_LINE: usize = 600;

impl Problem {
    pub(crate) fn new(check: Check, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { check, subject: subject.into(), message: message.into() }
    }

    /// What was looked at.
    pub fn check(&self) -> Check {
        self.check
    }

    /// The family, series, view or part of the manifest.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What is wrong, and the remedy.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let half = |text: &str| {
            let end = text.floor_char_boundary(MAX_LINE / 2);
            let cut = if end < text.len() { "…" } else { "" };
            let line = text[..end].replace(|character: char| character.is_control(), " ");
            format!("{line}{cut}")
        };
        write!(f, "{}: {}", half(&self.subject), half(&self.message))
    }
}

/// What the checks found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    problems: Vec<Problem>,
    notes: Vec<Problem>,
}

impl Report {
    /// Sorts what was found by whether a test allows it: [`Allowed`].
    pub(crate) fn new(found: Vec<Problem>, notes: Vec<Problem>, allowed: &Allowed) -> Self {
        let (fine, problems): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|problem| allowed.covers(problem));
        Self { problems, notes: [notes, fine].concat() }
    }

    /// What is wrong.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What may be as it is, and what the test allows.
    pub fn notes(&self) -> &[Problem] {
        &self.notes
    }

    /// A failure with every problem, where there is one.
    pub fn result(&self) -> Result<(), Failure> {
        if self.problems.is_empty() { Ok(()) } else { Err(Failure::Checks(self.problems.clone())) }
    }

    pub(crate) fn and(mut self, other: Report) -> Self {
        self.problems.extend(other.problems);
        self.notes.extend(other.notes);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems.iter().try_for_each(|problem| writeln!(f, "{problem}"))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

/// What a test allows: a check, for subjects that begin with a text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowed(Vec<(Check, String)>);

impl Allowed {
    pub(crate) fn add(&mut self, check: Check, subject: &str) {
        self.0.push((check, subject.to_owned()));
    }

    fn covers(&self, problem: &Problem) -> bool {
        self.0.iter().any(|(check, start)| *check == problem.check && problem.subject.starts_with(start))
    }
}
