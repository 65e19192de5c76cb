//! Escapes of both text formats.

/// Writes a label's value; the quotes are the caller's. Both formats escape
/// the same three bytes.
pub(crate) fn label(out: &mut Vec<u8>, value: &[u8]) {
    escaped(out, value, true);
}

/// Writes a help text. OpenMetrics escapes quotes there too, 0.0.4 must not.
pub(crate) fn help(out: &mut Vec<u8>, text: &str, quotes: bool) {
    escaped(out, text.as_bytes(), quotes);
}

/// What follows in `written` after `value` as [`label`] writes it, or `None`
/// where it begins otherwise.
pub(crate) fn strip_label<'a>(written: &'a [u8], value: &[u8]) -> Option<&'a [u8]> {
    let (mut written, mut rest) = (written, value);
    while let Some(at) = rest.iter().position(|&byte| is_special(byte)) {
        written = written.strip_prefix(&rest[..at])?.strip_prefix(escape_of(rest[at]))?;
        rest = &rest[at + 1..];
    }
    written.strip_prefix(rest)
}

/// None of the three bytes is part of a longer UTF-8 character, so text may be
/// cut at them.
fn escaped(out: &mut Vec<u8>, text: &[u8], quotes: bool) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| is_special(byte) && (quotes || byte != b'"')) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(escape_of(rest[at]));
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// A special byte as two.
fn escape_of(byte: u8) -> &'static [u8; 2] {
    match byte {
        b'\n' => b"\\n",
        b'"' => b"\\\"",
        _ => b"\\\\",
    }
}

/// Whether the byte is written as two in a label's value.
pub(crate) fn is_special(byte: u8) -> bool {
    matches!(byte, b'\\' | b'"' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_special_byte() {
        let mut out = Vec::new();
        label(&mut out, "a\\b\"c\nd\r\tü\\".as_bytes());
        assert_eq!(out, "a\\\\b\\\"c\\nd\r\tü\\\\".as_bytes());
        out.clear();
        help(&mut out, "say \"a\\b\"\n", false);
        assert_eq!(out, b"say \"a\\\\b\"\\n");
        out.clear();
        help(&mut out, "say \"a\\b\"\n", true);
        assert_eq!(out, b"say \\\"a\\\\b\\\"\\n");
    }
}
