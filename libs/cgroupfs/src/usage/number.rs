//! Numbers and lines of the kernel's files.

use memchr::{memchr, memchr_iter};

/// A number: decimal digits and nothing else; `None` also beyond 64 bits.
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The same of a file that has a number alone.
pub fn alone(text: &[u8]) -> Option<u64> {
    number(text.trim_ascii_end())
}

/// The lines that are not empty.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = memchr_iter(b'\n', text).chain((!text.ends_with(b"\n")).then_some(text.len()));
    let lines = ends.map(move |end| &text[std::mem::replace(&mut start, end + 1)..end]);
    lines.filter(|line| !line.is_empty())
}

/// `KEY VALUE` of a line.
pub fn pair(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b' ', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, b""),
    }
}

/// Counts what is not of the kernel's form.
#[derive(Debug, Default)]
pub struct Bad(pub u32);

impl Bad {
    /// The value; none is counted.
    pub fn check<T>(&mut self, value: Option<T>) -> Option<T> {
        self.0 += u32::from(value.is_none());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_of_64_bits() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"0018446744073709551615"), Some(u64::MAX));
        for bad in
            ["", "18446744073709551616", "99999999999999999999999", "-1", "+1", "1 ", "1.5", "0x1", "max"]
        {
            assert_eq!(number(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(alone(b"42\n"), Some(42));
        assert_eq!(alone(b"\n"), None);
    }

    #[test]
    fn a_line_may_lack_its_value() {
        assert_eq!(pair(b"a 1 2"), (&b"a"[..], &b"1 2"[..]));
        assert_eq!(pair(b"a"), (&b"a"[..], &b""[..]));
        assert_eq!(lines(b"\n\na\nb").count(), 2);
    }
}
