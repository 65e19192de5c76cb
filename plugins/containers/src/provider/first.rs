//! When all was told that runtimes have at first: at its start the host waits for
//! names as long as more may come at once, and no longer. A runtime that is not
//! there, or does not answer, has told all for now.

use gantry_plugin_api::identity::Metadata;
use gantry_plugin_api::{Container, Host, tracing};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// How many sockets of each runtime have not told all yet.
#[derive(Debug, Clone, Default)]
pub struct Firsts(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Firsts {
    /// One more socket, at which one of these runtimes listens. For all, before the first of them tells.
    pub fn of(&self, runtimes: Vec<&'static str>) -> First {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runtimes.iter().for_each(|runtime| *open.entry(runtime).or_default() += 1);
        First { firsts: self.clone(), runtimes, is_over: AtomicBool::new(false) }
    }

    /// Those of which this was the last socket.
    fn over(&self, runtimes: &[&'static str]) -> Vec<&'static str> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_last = |runtime: &&'static str| {
            let count = open.get_mut(runtime)?;
            *count -= 1;
            (*count == 0).then_some(*runtime)
        };
        runtimes.iter().filter_map(is_last).collect()
    }
}

/// That of one socket. By default of none, which tells nobody.
#[derive(Debug, Default)]
pub struct First {
    firsts: Firsts,
    runtimes: Vec<&'static str>,
    is_over: AtomicBool,
}

impl First {
    /// All was told that is there; what comes from now on is new.
    pub fn is_over(&self, host: &Host) {
        if self.is_over.swap(true, Relaxed) {
            return;
        }
        for runtime in self.firsts.over(&self.runtimes) {
            let mut container = Container::default();
            container.names.insert(Metadata::LISTED.to_owned(), "yes".to_owned());
            let listed = Metadata { runtime_id: String::new(), container, removed: false };
            if let Err(error) = host.provide(runtime, &[listed]) {
                tracing::debug!("the host did not take that all of {runtime} is listed: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_plugin_testkit::Kit;

    #[test]
    fn the_last_socket_of_a_runtime_says_it_once() {
        let kit = Kit::of::<crate::Containers>();
        let firsts = Firsts::default();
        let (cri, plain) = (firsts.of(vec!["containerd", "crio"]), firsts.of(vec!["containerd"]));
        let said = || -> Vec<String> { kit.provided().all().into_iter().map(|one| one.runtime).collect() };
        cri.is_over(&kit.host());
        cri.is_over(&kit.host());
        assert_eq!(said(), ["crio"]);
        plain.is_over(&kit.host());
        assert_eq!(said(), ["crio", "containerd"]);
        First::default().is_over(&kit.host());
        assert_eq!(said().len(), 2);
        let all = kit.provided().all();
        let told = &all[0].metadata[0];
        assert!(told.runtime_id.is_empty() && !told.removed && told.container.names["listed"] == "yes");
    }
}
