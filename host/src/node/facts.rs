//! Facts about the node that plugins set and others label by.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

/// Facts by name.
#[derive(Debug, Default)]
pub struct Facts {
    facts: RwLock<BTreeMap<String, String>>,
}

/// A longer value is cut: facts become labels of every container's series.
const MAX_VALUE: usize = 256;

impl Facts {
    pub fn get(&self, name: &str) -> Option<String> {
        self.facts.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Sets or, with `None`, takes away.
    pub fn set(&self, name: &str, value: Option<String>) {
        let mut facts = self.facts.write().unwrap_or_else(PoisonError::into_inner);
        match value {
            Some(mut value) => {
                value.truncate(value.floor_char_boundary(MAX_VALUE));
                facts.insert(name.to_owned(), value);
            }
            None => drop(facts.remove(name)),
        }
    }
}
