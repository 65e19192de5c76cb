//! Names from outside, made fit for an id.

use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// A longer part is cut: names of files, units and Kubernetes' objects have at
/// most 255 bytes.
const MAX_PART: usize = 255;

/// A longer id is cut. A pod's is 400 bytes at the very most: 63 for the
/// namespace, 253 for the pod, 63 for the container.
const MAX_ID: usize = 512;

/// Separates a name that was changed from the digest of what it was. A name
/// that has it itself is changed too, so that no name looks like another's.
const MARK: char = '~';

/// One part of an id. Plain names stay as they are. A name with a slash, a
/// control character or the mark, one that is too long, or one that is `.`,
/// `..` or `_` (which stands for "none") gets a digest of the whole.
pub fn part(name: &str) -> Cow<'_, str> {
    let odd = |c: char| c == '/' || c == MARK || c.is_control();
    if name.is_empty() {
        return Cow::Borrowed("_");
    }
    let plain = name.len() <= MAX_PART && !matches!(name, "." | ".." | "_") && !name.contains(odd);
    if plain { Cow::Borrowed(name) } else { Cow::Owned(marked(name)) }
}

/// A name with the digest of the whole, whatever it is.
pub fn marked(name: &str) -> String {
    let digest = digest(name);
    let clean: String =
        name.chars().map(|c| if c == '/' || c == MARK || c.is_control() { '_' } else { c }).collect();
    format!("{}{MARK}{digest}", cut(&clean, MAX_PART - digest.len() - 1))
}

/// `/A/B/C`.
pub fn joined(parts: &[&str]) -> String {
    parts.iter().flat_map(|name| [Cow::Borrowed("/"), part(name)]).collect()
}

/// An id that is not too long; one that was cut ends in a digest of the whole.
pub fn bounded(id: String) -> String {
    if id.len() <= MAX_ID {
        return id;
    }
    let digest = digest(&id);
    format!("{}{MARK}{digest}", cut(&id, MAX_ID - digest.len() - 1))
}

/// 64 bits, which nobody finds a second name for, as hexadecimal digits.
fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// At most so many bytes, and whole characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
