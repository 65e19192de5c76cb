//! A plugin's own table: as JSON, which is how it crosses, with the place of
//! each key, so that a problem found later still has its line.

use super::problem::Problems;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use toml::de::{DeTable, DeValue};

/// A plugin's own configuration. `Debug` shows no values: some are secret.
#[derive(Clone, PartialEq)]
pub struct PluginTable {
    json: Value,
    /// By JSON pointer: line and column.
    places: HashMap<String, (usize, usize)>,
    place: (usize, usize),
}

impl fmt::Debug for PluginTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginTable").field("place", &self.place).finish_non_exhaustive()
    }
}

impl PluginTable {
    pub fn empty(place: (usize, usize)) -> Self {
        Self { json: Value::Object(serde_json::Map::new()), places: HashMap::new(), place }
    }

    pub fn read(table: &DeTable<'_>, place: (usize, usize), section: &str, problems: &mut Problems) -> Self {
        let mut own = Self::empty(place);
        own.json = own.object(table, "", section, problems);
        own
    }

    /// The JSON text that the plugin gets.
    pub fn to_json(&self) -> String {
        self.json.to_string()
    }

    /// Whether another says the same, wherever in the file.
    pub fn same_values(&self, other: &Self) -> bool {
        self.json == other.json
    }

    /// The place of a JSON pointer, or of the nearest thing around it.
    pub fn place_of(&self, pointer: &str) -> (usize, usize) {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.places.get(pointer) {
                return *place;
            }
            match pointer.rfind('/') {
                Some(at) => pointer = &pointer[..at],
                None => return self.place,
            }
        }
    }

    fn object(
        &mut self,
        table: &DeTable<'_>,
        pointer: &str,
        section: &str,
        problems: &mut Problems,
    ) -> Value {
        let mut object = serde_json::Map::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let inner = format!("{pointer}/{}", escape(name));
            self.places.insert(inner.clone(), problems.place(key.span().start));
            let json = self.value_of(value.get_ref(), &inner, section, problems);
            object.insert(name.to_owned(), json);
        }
        Value::Object(object)
    }

    fn value_of(
        &mut self,
        value: &DeValue<'_>,
        pointer: &str,
        section: &str,
        problems: &mut Problems,
    ) -> Value {
        match value {
            DeValue::String(text) => Value::String(text.clone().into_owned()),
            DeValue::Boolean(truth) => Value::Bool(*truth),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.into(),
                Err(_) => self.unreadable(pointer, "a whole number of 64 bits", section, problems),
            },
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .ok()
                .and_then(serde_json::Number::from_f64)
                .map(Value::Number)
                .unwrap_or_else(|| self.unreadable(pointer, "a finite number", section, problems)),
            DeValue::Datetime(time) => Value::String(time.to_string()),
            DeValue::Array(items) => (0..)
                .zip(items.iter())
                .map(|(at, item)| {
                    let inner = format!("{pointer}/{at}");
                    self.places.insert(inner.clone(), problems.place(item.span().start));
                    self.value_of(item.get_ref(), &inner, section, problems)
                })
                .collect(),
            DeValue::Table(table) => self.object(table, pointer, section, problems),
        }
    }

    fn unreadable(&self, pointer: &str, expected: &str, section: &str, problems: &mut Problems) -> Value {
        let key = dotted(section, pointer);
        problems.at_place(self.place_of(pointer), format!("{key} must be {expected}"));
        Value::Null
    }
}

/// `plugins.node.config.filesystems.timeout`
pub fn dotted(section: &str, pointer: &str) -> String {
    let path: String =
        pointer.split('/').skip(1).flat_map(|part| [".", part]).collect::<String>().replace("~1", "/");
    format!("{section}.config{}", path.replace("~0", "~"))
}

/// A key as a part of a JSON pointer (RFC 6901).
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
