//! Texts of others, made harmless for people's terminals.

/// A text that a terminal neither obeys nor shows in another order or place
/// than it is written: what could do that is escaped.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let steering = steers(character);
            let escaped = steering.then(|| character.escape_default());
            let plain = (!steering).then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// Control characters, and those of Unicode that are not seen but reorder,
/// hide or break what is. The two joiners (U+200C, U+200D) stay: Persian,
/// Indic scripts and emoji are wrong without them, and they move nothing.
pub fn steers(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' // soft hyphen
                | '\u{61c}' // Arabic letter mark
                | '\u{180e}' // Mongolian vowel separator
                | '\u{200b}' // zero width space
                | '\u{200e}' | '\u{200f}' // direction marks
                | '\u{2028}'..='\u{202e}' // line and paragraph separators, embeddings, overrides
                | '\u{2060}'..='\u{206f}' // word joiner, invisible operators, isolates, deprecated
                | '\u{feff}' // byte order mark
                | '\u{fff9}'..='\u{fffb}' // interlinear annotations
                | '\u{e0000}'..='\u{e007f}' // tags
        )
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_line_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc é"), "a\\u{1b}[2Jb\\nc é");
        assert_eq!(printable("\t\r\u{0}\u{7f}\u{9b}31m"), "\\t\\r\\u{0}\\u{7f}\\u{9b}31m");
    }

    #[test]
    fn nothing_unseen_reorders_hides_or_breaks_a_line() {
        for unseen in ('\u{200e}'..='\u{200f}')
            .chain('\u{2028}'..='\u{202e}')
            .chain('\u{2060}'..='\u{2069}')
            .chain(['\u{ad}', '\u{61c}', '\u{200b}', '\u{feff}', '\u{fffa}', '\u{e0041}'])
        {
            assert_eq!(printable(&format!("a{unseen}b")), format!("a\\u{{{:x}}}b", u32::from(unseen)));
        }
    }

    #[test]
    fn people_s_own_scripts_stay_as_they_are() {
        for text in
            ["naïve", "日本語", "می\u{200c}خواهم", "👩\u{200d}👩\u{200d}👧", "e\u{301}", "❤\u{fe0f}", "\\n"]
        {
            assert_eq!(printable(text), text);
        }
    }
}
