//! Problems of a configuration, each with its place.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One problem: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: PathBuf,
    /// Line and column, from 1; none where the file as a whole is meant.
    pub place: Option<(usize, usize)>,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// All problems of one file, gathered in one pass.
#[derive(Debug)]
pub struct Problems {
    file: PathBuf,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
    text: String,
    found: Vec<Problem>,
}

impl Problems {
    pub fn new(file: &Path, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Self { file: file.to_owned(), lines, text: text.to_owned(), found: Vec::new() }
    }

    /// A problem at a place of the text.
    pub fn at(&mut self, span: Range<usize>, message: impl Into<String>) {
        let place = Some(self.place(span.start));
        self.found.push(Problem { file: self.file.clone(), place, message: message.into() });
    }

    /// A problem at a line and column that were kept.
    pub fn at_place(&mut self, place: (usize, usize), message: impl Into<String>) {
        self.found.push(Problem { file: self.file.clone(), place: Some(place), message: message.into() });
    }

    /// Line and column of a byte, from 1; columns are characters.
    pub fn place(&self, at: usize) -> (usize, usize) {
        let at = at.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines[line - 1];
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// In the order of the file.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort();
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lines_and_characters() {
        let problems = Problems::new(Path::new("x"), "ab\nüé=1\n");
        assert_eq!(problems.place(0), (1, 1));
        assert_eq!(problems.place(3), (2, 1));
        assert_eq!(problems.place(7), (2, 3));
        assert_eq!(problems.place(999), (3, 1));
    }
}
