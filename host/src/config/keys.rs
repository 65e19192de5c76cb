//! Reading a table key by key: each key is taken once, and what is left over
//! is reported.

use super::problem::Problems;
use gantry_plugin_api::HumanDuration;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table of which keys are taken.
pub struct Keys<'a, 'i> {
    table: &'a DeTable<'i>,
    /// The table's name in messages: `host.paths`.
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
            let kind = value.get_ref().type_str();
            problems.at(value.span(), format!("{}.{key} must be {expected}, not {kind}", self.name));
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
            let kind = value.get_ref().type_str();
            problems.at(
                value.span(),
                format!("{}.{key} must be a text or a list of texts, not {kind}", self.name),
            );
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in list.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push((text, item.span())),
                None => {
                    let kind = item.get_ref().type_str();
                    problems.at(item.span(), format!("{}.{key} must hold texts only, not {kind}", self.name));
                }
            }
        }
        texts
    }

    pub fn duration(&mut self, key: &'static str, problems: &mut Problems) -> Option<Duration> {
        let (text, span) = self.typed(key, problems, "a duration such as \"30s\"", DeValue::as_str)?;
        match HumanDuration::parse(text) {
            Ok(duration) if !duration.0.is_zero() => return Some(duration.0),
            Ok(_) => problems.at(span, format!("{}.{key} must be longer than zero", self.name)),
            Err(error) => problems.at(span, format!("{}.{key}: {error}", self.name)),
        }
        None
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
                format!("{}.{name} is not built yet in this version; remove it", self.name)
            } else {
                format!(
                    "unknown key {name:?} in [{}]{}",
                    self.name,
                    suggestion(name, self.known.iter().copied())
                )
            };
            problems.at(key.span(), what);
        }
    }
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
