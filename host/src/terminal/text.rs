//! How wide a text is on a terminal, and its cutting. The texts are already
//! harmless: see [`crate::logging::printable`].

use std::borrow::Cow;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// What stands for the rest of a text.
const REST: &str = "…";

/// How many columns of a terminal a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Which part of a text is left when it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Start,
    End,
}

/// A text in at most so many columns, never cut within what a reader sees as
/// one character.
pub fn cut(text: &str, columns: usize, keep: Keep) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let Some(left) = columns.checked_sub(width(REST)) else { return Cow::Borrowed("") };
    Cow::Owned(match keep {
        Keep::Start => format!("{}{REST}", text[..fitting(text.graphemes(true), left)].trim_end()),
        Keep::End => {
            let kept = text.len() - fitting(text.graphemes(true).rev(), left);
            format!("{REST}{}", text[kept..].trim_start())
        }
    })
}

/// How many bytes of these characters fit so many columns.
fn fitting<'a>(characters: impl Iterator<Item = &'a str>, mut columns: usize) -> usize {
    let mut bytes = 0;
    for character in characters {
        let Some(rest) = columns.checked_sub(width(character)) else { break };
        columns = rest;
        bytes += character.len();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::Keep::{End, Start};
    use super::*;

    #[test]
    fn a_text_that_fits_is_not_cut() {
        assert_eq!(cut("nginx", 5, Start), "nginx");
        assert_eq!(cut("", 0, Start), "");
        assert_eq!(cut("日本", 4, Start), "日本");
    }

    #[test]
    fn a_cut_text_says_so_and_fits() {
        assert_eq!(cut("postgres", 5, Start), "post…");
        assert_eq!(cut("a b c", 3, Start), "a…");
        assert_eq!(cut("abc", 1, Start), "…");
        assert_eq!(cut("abc", 0, Start), "");
        // Two columns each: the third would end in the column of the `…`.
        assert_eq!(cut("日本語です", 6, Start), "日本…");
    }

    #[test]
    fn of_some_texts_the_end_is_kept() {
        assert_eq!(cut("/k8s/shop/cart/nginx", 8, End), "…t/nginx");
        assert_eq!(cut("日本語です", 6, End), "…です");
        assert_eq!(cut("a b c", 3, End), "…c");
        assert_eq!(cut("xe\u{301}e\u{301}", 2, End), "…e\u{301}");
        assert_eq!(cut("abc", 1, End), "…");
    }

    #[test]
    fn what_is_seen_as_one_character_stays_whole() {
        let family = "👩\u{200d}👩\u{200d}👧";
        assert_eq!(cut(&format!("{family}{family}"), 3, Start), format!("{family}…"));
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 2, Start), "e\u{301}…");
        for columns in 0..20 {
            for text in ["🇩🇪🇫🇷🇮🇹🇪🇸", "a日b本c", "نص عربي لا", family] {
                for keep in [Start, End] {
                    assert!(width(&cut(text, columns, keep)) <= columns, "{text} at {columns}");
                }
            }
        }
    }
}
