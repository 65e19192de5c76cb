//! What a child prints, as lines of its plugin in the log.

use crate::logging;
use std::collections::VecDeque;

/// A longer line goes into the log in pieces, each of which counts as a line.
const MAX_LINE: usize = 4 * 1024;

/// The last lines of standard error, of which a death is told with.
const LAST_LINES: usize = 4;
const LAST_BYTES: usize = 600;

/// One of the child's two streams.
#[derive(Debug)]
pub struct Stream {
    name: &'static str,
    level: u32,
    line: Vec<u8>,
    last: VecDeque<String>,
}

impl Stream {
    pub fn output() -> Self {
        Self::new("stdout", 3)
    }

    /// What is printed there is rarely meant well.
    pub fn errors() -> Self {
        Self::new("stderr", 2)
    }

    fn new(name: &'static str, level: u32) -> Self {
        Self { name, level, line: Vec::new(), last: VecDeque::new() }
    }

    /// Takes some bytes, and logs the lines that end in them, for a plugin
    /// that logs from a level on.
    pub fn take(&mut self, plugin: &str, from_level: u32, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            for part in text.chunks(MAX_LINE) {
                if self.line.len() + part.len() > MAX_LINE {
                    self.end_line(plugin, from_level);
                }
                self.line.extend_from_slice(part);
            }
            if ends {
                self.end_line(plugin, from_level);
            }
        }
    }

    /// The stream has ended; a line may lack its end.
    pub fn end(&mut self, plugin: &str, from_level: u32) {
        self.end_line(plugin, from_level);
        self.line = Vec::new();
    }

    fn end_line(&mut self, plugin: &str, from_level: u32) {
        let text = String::from_utf8_lossy(&self.line);
        let text = text.trim_end();
        if !text.is_empty() {
            if self.level <= from_level {
                logging::from_plugin(plugin, self.level, self.name, text);
            }
            self.last.push_back(text[..text.floor_char_boundary(LAST_BYTES)].to_owned());
            while self.last.len() > LAST_LINES {
                self.last.pop_front();
            }
        }
        self.line.clear();
    }

    /// The last lines, in one.
    pub fn last_words(&self) -> Option<String> {
        let words = self.last.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" / ");
        // The end says more than the beginning.
        let from = words.ceil_char_boundary(words.len().saturating_sub(LAST_BYTES));
        let words: String = words[from..].chars().filter(|character| !character.is_control()).collect();
        (!words.is_empty()).then_some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::tests::logged;

    #[test]
    fn lines_are_put_together_bounded_and_logged_under_the_plugins_name() {
        let mut stream = Stream::errors();
        let said = logged(|| {
            stream.take("output-a", 3, b"first\nsec");
            stream.take("output-a", 3, b"ond\n\n\n");
            stream.take("output-a", 3, &[b'x'; 3 * MAX_LINE + 1]);
            stream.end("output-a", 3);
        });
        assert!(said.contains("first") && said.contains("second") && said.contains("output-a"), "{said}");
        assert_eq!(said.lines().count(), 6, "{said}");
        assert!(stream.line.capacity() == 0);
    }

    #[test]
    fn what_the_plugins_level_hides_still_explains_a_death() {
        let mut stream = Stream::errors();
        let said = logged(|| stream.take("output-b", 1, b"memory allocation of 1 bytes failed\n"));
        assert_eq!(said, "");
        assert_eq!(stream.last_words().as_deref(), Some("memory allocation of 1 bytes failed"));
        (0..50).for_each(|at| {
            stream.take("output-b", 0, format!("line {at} {}\n", "y".repeat(2000)).as_bytes());
        });
        assert!(
            stream
                .last_words()
                .is_some_and(|words| words.len() <= LAST_BYTES && stream.last.len() == LAST_LINES)
        );
    }
}
