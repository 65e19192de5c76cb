//! Reading a table key by key: each key is taken once, and what is left over
//! is reported.

use super::problem::Problems;
use gantry_plugin_api::{ByteSize, HumanDuration};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table of which keys are taken.
pub struct Keys<'a, 'i> {
    table: &'a DeTable<'i>,
    /// The table's name in messages: `host.paths`; empty for the whole file.
    name: String,
    known: BTreeSet<&'static str>,
}

/// What was built so far refuses these by name: a key that did nothing would
/// be worse.
pub struct NotBuilt(pub &'static [&'static str]);

impl<'a, 'i> Keys<'a, 'i> {
    pub fn new(name: impl Into<String>, table: &'a DeTable<'i>) -> Self {
        Self { table, name: name.into(), known: BTreeSet::new() }
    }

    pub fn take(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.known.insert(key);
        self.table.get(key)
    }

    /// A key's name in messages.
    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
        expected: &str,
        read: impl FnOnce(&'a DeValue<'i>) -> Option<T>,
    ) -> Option<(T, Range<usize>)> {
        let value = self.take(key)?;
        let found = read(value.get_ref());
        if found.is_none() {
            let kind = kind(value.get_ref());
            problems.at(value.span(), format!("{} must be {expected}, not {kind}", self.path(key)));
        }
        found.map(|found| (found, value.span()))
    }

    pub fn bool(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        self.typed(key, problems, "true or false", DeValue::as_bool).map(|(value, _)| value)
    }

    pub fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<(&'a str, Range<usize>)> {
        self.typed(key, problems, "a text", DeValue::as_str)
    }

    /// One text or a list of them.
    pub fn texts(&mut self, key: &'static str, problems: &mut Problems) -> Vec<(&'a str, Range<usize>)> {
        let Some(value) = self.take(key) else { return Vec::new() };
        if let Some(text) = value.get_ref().as_str() {
            return vec![(text, value.span())];
        }
        let Some(list) = value.get_ref().as_array() else {
            let kind = kind(value.get_ref());
            let key = self.path(key);
            problems.at(value.span(), format!("{key} must be a text or a list of texts, not {kind}"));
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in list.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push((text, item.span())),
                None => {
                    let kind = kind(item.get_ref());
                    problems.at(item.span(), format!("{} must hold texts only, not {kind}", self.path(key)));
                }
            }
        }
        texts
    }

    /// Longer than zero.
    pub fn duration(&mut self, key: &'static str, problems: &mut Problems) -> Option<Duration> {
        let (duration, span) = self.duration_or_zero(key, problems)?;
        if duration.is_zero() {
            problems.at(span, format!("{} must be longer than zero", self.path(key)));
            return None;
        }
        Some(duration)
    }

    pub fn duration_or_zero(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<(Duration, Range<usize>)> {
        let (text, span) = self.typed(key, problems, "a duration such as \"30s\"", DeValue::as_str)?;
        match HumanDuration::parse(text) {
            Ok(duration) => Some((duration.0, span)),
            Err(error) => {
                problems.at(span, format!("{}: {error}", self.path(key)));
                None
            }
        }
    }

    /// In bytes.
    pub fn size(&mut self, key: &'static str, problems: &mut Problems) -> Option<(u64, Range<usize>)> {
        let (text, span) = self.typed(key, problems, "a size such as \"64MiB\"", DeValue::as_str)?;
        match ByteSize::parse(text) {
            Ok(size) => Some((size.0, span)),
            Err(error) => {
                problems.at(span, format!("{}: {error}", self.path(key)));
                None
            }
        }
    }

    /// Whole or not.
    pub fn number(&mut self, key: &'static str, problems: &mut Problems) -> Option<(f64, Range<usize>)> {
        let number = |value: &DeValue<'_>| {
            let text = match value {
                DeValue::Float(number) => number.as_str().to_owned(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
                _ => return None,
            };
            text.replace('_', "").parse::<f64>().ok().filter(|number| number.is_finite())
        };
        self.typed(key, problems, "a number", number)
    }

    pub fn count(&mut self, key: &'static str, problems: &mut Problems) -> Option<usize> {
        let whole = |value: &DeValue<'_>| {
            let integer = value.as_integer()?;
            usize::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|count| *count > 0)
        };
        self.typed(key, problems, "a whole number above 0", whole).map(|(value, _)| value)
    }

    pub fn table(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<(&'a DeTable<'i>, Range<usize>)> {
        self.typed(key, problems, "a table", DeValue::as_table)
    }

    /// Reports every key that was not taken.
    pub fn finish(self, not_built: &NotBuilt, problems: &mut Problems) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(name) {
                continue;
            }
            let what = if not_built.0.contains(&name) {
                format!("{} is not built yet in this version; remove it", self.path(name))
            } else {
                let hint = match other_word(name).filter(|known| self.known.contains(known)) {
                    Some(known) => format!("; did you mean {known:?}?"),
                    None => suggestion(name, self.known.iter().copied()),
                };
                let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
                format!("unknown key {name:?}{place}{hint}")
            };
            problems.at(key.span(), what);
        }
    }
}

/// What a value is, where it is not what it should be. Numbers stand for
/// themselves; of texts only the type is told, as they may be secret.
fn kind(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Integer(_) => "a whole number that large".to_owned(),
        DeValue::String(_) => "a text".to_owned(),
        DeValue::Datetime(_) => "a time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// What some call a key that is there.
fn other_word(name: &str) -> Option<&'static str> {
    match name {
        "cap" | "caps" | "capability" | "capabilities" => Some("grant"),
        "digest" | "checksum" | "sha" => Some("sha256"),
        "file" | "library" => Some("path"),
        _ => None,
    }
}

/// More names than these are not listed.
const MOST_NAMES: usize = 20;

/// `there are: a, b; did you mean "b"?` for a name that is not among them.
pub fn there_are<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let count = known.clone().count();
    let names: Vec<&str> = known.clone().take(MOST_NAMES).collect();
    let more = if count > MOST_NAMES { format!(" and {} more", count - MOST_NAMES) } else { String::new() };
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!("there are: {names}{more}{}", suggestion(name, known))
}

/// A name that is no plugin's, in the same words wherever somebody asks.
pub fn no_plugin<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    format!("there is no plugin {name:?}; {}", there_are(name, known))
}

/// `; did you mean "x"?` where something is near.
pub fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len())
        .min()
        .map(|(_, known)| format!("; did you mean {known:?}?"))
        .unwrap_or_default()
}
