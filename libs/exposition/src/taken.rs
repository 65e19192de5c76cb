//! What came of a collection.

use crate::arena::Sample;
use crate::declared::Declared;
use crate::labels::values;
use crate::reason::Reason;
use std::fmt::Write;

/// The longest description of a refused sample, in bytes.
const MAX_EXAMPLE: usize = 200;

/// What [`crate::Table::take`] made of a collection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taken {
    /// Samples that were taken; a histogram is one.
    pub samples: usize,
    /// Series that are now written; see [`crate::Table::series`].
    pub series: usize,
    /// Series that the table now keeps, which its cap bounds; see
    /// [`crate::Table::kept`].
    pub kept: usize,
    /// How many samples were refused, by reason; each reason at most once,
    /// none with 0.
    pub refused: Vec<(Reason, u64)>,
    /// The first sample that was refused, in one line of at most 200 bytes for
    /// a log.
    pub example: Option<String>,
}

/// Counts refusals while a collection is taken.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    refused: Vec<(Reason, u64)>,
    /// The place of the sample in the arena comes first.
    example: Option<(usize, String)>,
}

impl Tally {
    pub(crate) fn count(&mut self, reason: Reason, number: u64) {
        if number == 0 {
            return;
        }
        match self.refused.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, total)) => *total += number,
            None => self.refused.push((reason, number)),
        }
    }

    /// Counts the sample at a place of the arena, and describes the first.
    pub(crate) fn refuse(
        &mut self,
        reason: Reason,
        place: usize,
        sample: &Sample<'_>,
        family: Option<&Declared>,
    ) {
        self.count(reason, 1);
        if self.example.as_ref().is_none_or(|(first, _)| place < *first) {
            self.example = Some((place, describe(reason, sample, family)));
        }
    }

    pub(crate) fn into_taken(self, samples: usize, series: usize, kept: usize) -> Taken {
        Taken { samples, series, kept, refused: self.refused, example: self.example.map(|(_, text)| text) }
    }
}

/// Label values may be any bytes, so they are escaped for a log.
fn describe(reason: Reason, sample: &Sample<'_>, family: Option<&Declared>) -> String {
    let mut text = format!("{}: ", reason.as_str());
    // Writing to a string cannot fail.
    let _ = match family {
        Some(family) => write!(text, "{}", family.info.name.escape_debug()),
        None => write!(text, "family {}", sample.family),
    };
    if sample.container != 0 {
        let _ = write!(text, " of container {}", sample.container);
    }
    let names = family.map_or(&[][..], |family| &family.info.labels);
    for (at, value) in values(sample.labels).enumerate() {
        if text.len() > MAX_EXAMPLE {
            break;
        }
        let name = names.get(at).map_or("?", |name| name);
        let head = &value[..value.len().min(MAX_EXAMPLE)];
        let _ = write!(text, " {name}=\"{}\"", head.escape_ascii());
    }
    let _ = write!(text, " value {}", sample.value);
    if text.len() > MAX_EXAMPLE {
        text.truncate(text.floor_char_boundary(MAX_EXAMPLE - "…".len()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arena;

    #[test]
    fn the_first_is_described_in_one_short_line() {
        let mut arena = Arena::with_limit(3);
        let bytes: [&[u8]; 2] = [b"a\nb\"\xff", &[b'x'; 500]];
        arena.sample(7, 3, bytes.into_iter(), -1.0);
        arena.sample(8, 0, std::iter::empty(), f64::NAN);
        let mut tally = Tally::default();
        tally.refuse(Reason::Value, 1, &arena.get(1), None);
        tally.refuse(Reason::UnknownFamily, 0, &arena.get(0), None);
        tally.refuse(Reason::Value, 1, &arena.get(1), None);
        tally.count(Reason::Overflow, 0);
        let taken = tally.into_taken(0, 0, 0);
        assert_eq!(taken.refused, [(Reason::Value, 2), (Reason::UnknownFamily, 1)]);
        let example = taken.example.unwrap();
        assert!(
            example.starts_with("unknown_family: family 7 of container 3 ?=\"a\\nb\\\"\\xff\" ?=\"xxx"),
            "{example}"
        );
        assert_eq!(example.len(), MAX_EXAMPLE);
        assert_eq!(describe(Reason::Value, &arena.get(1), None), "value: family 8 value NaN");
    }
}
