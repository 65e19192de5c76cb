//! Facts about the node that plugins set and others label by.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Facts by name.
#[derive(Debug, Default)]
pub struct Facts {
    facts: RwLock<BTreeMap<String, Fact>>,
    /// By plugin and fact: values that were not taken.
    conflicts: Mutex<BTreeMap<(String, String), u64>>,
    /// The plugins in the order of the configuration.
    order: Mutex<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fact {
    value: String,
    /// Who set it.
    plugin: String,
}

/// A longer value is cut: facts become labels of every container's series.
const MAX_VALUE: usize = 256;

impl Facts {
    pub fn get(&self, name: &str) -> Option<String> {
        let facts = self.facts.read().unwrap_or_else(PoisonError::into_inner);
        facts.get(name).map(|fact| fact.value.clone())
    }

    /// The plugins in the order of the configuration: of two that set one
    /// fact, the first is believed.
    pub fn set_order(&self, plugins: &[&str]) {
        *lock(&self.order) = plugins.iter().map(|&name| name.to_owned()).collect();
    }

    /// A plugin sets or, with `None`, takes away. A fact that a plugin before
    /// it has set stays, and that is counted.
    pub fn set(&self, plugin: &str, name: &str, value: Option<String>) {
        let mut facts = self.facts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = facts.get(name)
            && known.plugin != plugin
            && (value.is_none() || self.place(&known.plugin) < self.place(plugin))
        {
            *lock(&self.conflicts).entry((plugin.to_owned(), name.to_owned())).or_default() += 1;
            return;
        }
        match value {
            Some(mut value) => {
                value.truncate(value.floor_char_boundary(MAX_VALUE));
                facts.insert(name.to_owned(), Fact { value, plugin: plugin.to_owned() });
            }
            None => drop(facts.remove(name)),
        }
    }

    /// How many values of whom were not taken.
    pub fn conflicts(&self) -> Vec<((String, String), u64)> {
        lock(&self.conflicts).iter().map(|(key, count)| (key.clone(), *count)).collect()
    }

    fn place(&self, plugin: &str) -> usize {
        lock(&self.order).iter().position(|name| name == plugin).unwrap_or(usize::MAX)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_plugins_the_first_in_the_file_is_believed() {
        let facts = Facts::default();
        facts.set_order(&["cloudmeta", "other"]);
        let set = |plugin: &str, value: Option<&str>| facts.set(plugin, "az", value.map(str::to_owned));
        set("other", Some("b"));
        assert_eq!(facts.get("az").as_deref(), Some("b"));
        set("cloudmeta", Some("a"));
        set("other", Some("b"));
        set("other", None);
        assert_eq!(facts.get("az").as_deref(), Some("a"));
        assert_eq!(facts.conflicts(), [(("other".to_owned(), "az".to_owned()), 2)]);
        set("cloudmeta", None);
        set("other", Some("b"));
        assert_eq!(facts.get("az").as_deref(), Some("b"));
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let facts = Facts::default();
        facts.set("x", "az", Some("é".repeat(200)));
        assert_eq!(facts.get("az").map(|value| value.len()), Some(256));
    }
}
