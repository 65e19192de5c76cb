//! Waiting (Documentation/accounting/psi.rst).

use super::Stall;
use super::number::{Bad, lines, number};

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=12` and `full …`.
pub fn stall(text: &[u8], bad: &mut Bad) -> Stall {
    let mut stall = Stall::default();
    for line in lines(text) {
        let mut words = line.split(|byte| *byte == b' ');
        let kind = match words.next() {
            Some(b"some") => &mut stall.some,
            Some(b"full") => &mut stall.full,
            _ => continue,
        };
        *kind = bad.check(words.find_map(|word| word.strip_prefix(b"total=")).and_then(number));
    }
    stall
}
