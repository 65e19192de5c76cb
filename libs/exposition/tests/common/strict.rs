//! A reader of both formats that takes nothing which is not exactly right. It
//! shares no code with what writes them.

use gantry_exposition::Format;
use std::collections::{BTreeMap, BTreeSet};

/// A sample's name and labels.
pub type Series = (String, BTreeMap<String, String>);

#[derive(Debug, Default, PartialEq)]
pub struct Parsed {
    /// Type by family.
    pub types: BTreeMap<String, String>,
    pub help: BTreeMap<String, String>,
    pub units: BTreeMap<String, String>,
    /// The value's bits, NaN always the same.
    pub samples: BTreeMap<Series, u64>,
}

impl Parsed {
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).map(|&bits| f64::from_bits(bits))
    }
}

/// Reads a whole exposition.
///
/// # Panics
/// At the first thing that is not right.
pub fn parse(text: &str, format: Format) -> Parsed {
    let mut parsed = Parsed::default();
    let mut body = text;
    if format == Format::OpenMetrics {
        body = text.strip_suffix("# EOF\n").expect("ends with EOF");
    }
    assert!(body.is_empty() || body.ends_with('\n'), "the last line ends");
    let (mut family, mut seen, mut has_samples) = (String::new(), BTreeSet::new(), true);
    for line in body.split_terminator('\n') {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut parts = comment.splitn(3, ' ');
            let (what, name, rest) =
                (parts.next().expect(line), parts.next().expect(line), parts.next().expect(line));
            if name != family {
                assert!(has_samples, "{family} has samples");
                assert!(seen.insert(name.to_owned()), "{name} has one header");
                (family, has_samples) = (name.to_owned(), false);
            }
            assert!(!has_samples, "comments stand before samples: {line}");
            let map = match what {
                "TYPE" => &mut parsed.types,
                "HELP" => &mut parsed.help,
                "UNIT" if format == Format::OpenMetrics => {
                    assert!(name.ends_with(&format!("_{rest}")), "{line}");
                    &mut parsed.units
                }
                _ => panic!("{line}"),
            };
            let old = map.insert(name.to_owned(), unescape(rest, what == "HELP" && format == Format::Text));
            assert!(old.is_none(), "once: {line}");
            continue;
        }
        has_samples = true;
        let (series, value) = sample(line);
        let kind = parsed.types.get(&family).expect("a family has a type");
        assert!(
            suffixes(kind, format).contains(&series.0.strip_prefix(&family[..]).expect(line)),
            "{kind}: {line}"
        );
        assert!(parsed.samples.insert(series, value).is_none(), "twice: {line}");
    }
    parsed
}

fn suffixes(kind: &str, format: Format) -> &'static [&'static str] {
    match (kind, format) {
        ("counter", Format::OpenMetrics) => &["_total", "_created"],
        ("histogram", Format::OpenMetrics) => &["_bucket", "_sum", "_count", "_created"],
        ("histogram", Format::Text) => &["_bucket", "_sum", "_count"],
        ("gauge", _) | ("counter" | "untyped", Format::Text) | ("unknown", Format::OpenMetrics) => &[""],
        _ => panic!("type {kind}"),
    }
}

fn sample(line: &str) -> (Series, u64) {
    let at = line.find(|character: char| !is_name(character)).expect(line);
    let (name, mut rest) = line.split_at(at);
    assert!(!name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").expect(line);
            assert!(!label.is_empty() && label.chars().all(is_name) && !label.starts_with("__"), "{line}");
            let end = end_of_value(value).expect(line);
            assert!(
                labels.insert(label.to_owned(), unescape(&value[..end], false)).is_none(),
                "twice: {line}"
            );
            rest = &value[end + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect(line);
    }
    let value = rest.strip_prefix(' ').expect(line);
    assert!(
        matches!(value, "NaN" | "+Inf" | "-Inf")
            || value.bytes().all(|byte| b"0123456789+-.e".contains(&byte))
    );
    let number: f64 = value.parse().expect(line);
    ((name.to_owned(), labels), if number.is_nan() { f64::NAN.to_bits() } else { (number + 0.0).to_bits() })
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Where the quote is that ends the value.
fn end_of_value(value: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str, quotes_stand: bool) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        out.push(match characters.next() {
            Some('n') => '\n',
            Some('\\') => '\\',
            Some('"') if !quotes_stand => '"',
            other => panic!("escape of {other:?} in {text}"),
        });
    }
    out
}
