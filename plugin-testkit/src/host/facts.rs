//! Node facts: what the test sets, and what the plugin does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of the node, as `region`.
#[derive(Debug, Default)]
pub struct Facts {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    facts: BTreeMap<String, String>,
    by_plugin: BTreeMap<String, Option<String>>,
    expected: Vec<String>,
}

impl Facts {
    /// Sets a fact as another plugin would; `None` takes it away.
    pub fn set(&self, name: &str, value: Option<&str>) {
        self.lock().put(name, value);
    }

    /// A fact, whoever set it.
    pub fn get(&self, name: &str) -> Option<String> {
        self.lock().facts.get(name).cloned()
    }

    /// What the plugin set, by name: its last value, or `None` where it took
    /// the fact away.
    pub fn set_by_plugin(&self) -> BTreeMap<String, Option<String>> {
        self.lock().by_plugin.clone()
    }

    /// What the plugin said that it will set, in order.
    pub fn expected(&self) -> Vec<String> {
        self.lock().expected.clone()
    }

    pub(crate) fn plugin_sets(&self, name: &str, value: Option<&str>) {
        let mut state = self.lock();
        state.put(name, value);
        state.by_plugin.insert(name.to_owned(), value.map(str::to_owned));
    }

    pub(crate) fn plugin_expects(&self, name: &str) {
        let mut state = self.lock();
        if !state.expected.iter().any(|known| known == name) {
            state.expected.push(name.to_owned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.facts.insert(name.to_owned(), value.to_owned()),
            None => self.facts.remove(name),
        };
    }
}
