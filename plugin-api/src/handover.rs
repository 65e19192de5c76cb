//! State that outlives an instance: from one generation to the next at an
//! upgrade, and as a snapshot across a crash or a restart.
//!
//! The bytes hold two parts: what the kept [`crate::Metrics`] count, and what
//! the author adds with a version number of his own.

/// An author's part of a hand-over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handover {
    /// The author's version of `bytes`. A plugin that does not know it starts
    /// without.
    pub version: u32,
    /// Anything.
    pub bytes: Vec<u8>,
}

/// The form of the envelope, and its first bytes.
const MAGIC: u64 = u64::from_le_bytes(*b"gantryH1");

pub(crate) fn seal(kept: &[u8], own: Option<&Handover>) -> Vec<u8> {
    let mut out = Writer::default();
    out.number(MAGIC);
    out.bytes(kept);
    if let Some(own) = own {
        out.number(u64::from(own.version));
        out.bytes(&own.bytes);
    }
    out.into_bytes()
}

/// The two parts, or `None` where it is not an envelope of this form.
pub(crate) fn open(sealed: &[u8]) -> Option<(&[u8], Option<Handover>)> {
    let mut input = Reader::new(sealed);
    if input.number()? != MAGIC {
        return None;
    }
    let kept = input.bytes()?;
    if input.is_empty() {
        return Some((kept, None));
    }
    let version = u32::try_from(input.number()?).ok()?;
    let bytes = input.bytes()?.to_vec();
    input.is_empty().then_some((kept, Some(Handover { version, bytes })))
}

/// Writes numbers as 8 bytes, little endian, and bytes after their length.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads what [`Writer`] wrote. `None` means cut or wrong.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }
    /// How many of something follow, each at least 8 bytes long: a number that
    /// the rest cannot hold is wrong, and must not become an allocation.
    pub(crate) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len() / 8).then_some(count)
    }
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_come_back() {
        let own = Handover { version: 3, bytes: b"offsets".to_vec() };
        let sealed = seal(b"kept", Some(&own));
        assert_eq!(open(&sealed), Some((&b"kept"[..], Some(own))));
        assert_eq!(open(&seal(b"", None)), Some((&b""[..], None)));
    }

    #[test]
    fn damage_is_seen() {
        let sealed = seal(b"kept", Some(&Handover { version: 1, bytes: vec![1; 9] }));
        // An envelope cut exactly behind the first part is a whole one without the second.
        let whole_without_own = 8 + 8 + 4;
        for end in (0..sealed.len()).filter(|end| *end != whole_without_own) {
            assert_eq!(open(&sealed[..end]), None, "cut at {end}");
        }
        assert_eq!(open(b"garbage that is long enough to be read"), None);
    }
}
