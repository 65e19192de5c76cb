//! What the host was told of a runtime's containers, and what it is told next.

use gantry_plugin_api::identity::Metadata;
use gantry_plugin_api::{Container, Error, Host};
use std::collections::HashSet;

/// Told at once: a call costs some microseconds, and a container some more.
const BATCH: usize = 64;
/// Bytes of texts that are told at once.
const BATCH_BYTES: usize = 1 << 20;
/// Ids that are remembered. Of more the host is not told when they are removed;
/// it sees by itself when their cgroups go.
const MOST: usize = 100_000;

/// The ids of which the host was told, and what it was not told yet.
#[derive(Debug, Default)]
pub struct Told {
    ids: HashSet<Box<str>>,
    batch: Vec<Metadata>,
    bytes: usize,
}

impl Told {
    /// What is known of a container now. True where [`Self::flush`] is due.
    pub fn put(&mut self, container: Container) -> bool {
        let runtime_id = container.runtime_id.clone();
        if self.ids.len() < MOST {
            self.ids.insert(runtime_id.as_str().into());
        }
        self.bytes += size(&container);
        self.batch.push(Metadata { runtime_id, container, removed: false });
        self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    /// The runtime no longer has it. Of one that the host was not told of
    /// nothing is said: it may be another runtime's.
    pub fn remove(&mut self, id: &str) {
        if self.ids.remove(id) {
            let container = Container::default();
            self.batch.push(Metadata { runtime_id: id.to_owned(), container, removed: true });
        }
    }

    /// All of which the host was told and which are not removed.
    pub fn ids(&self) -> HashSet<Box<str>> {
        self.ids.clone()
    }

    /// Tells the host.
    pub fn flush(&mut self, host: &Host, runtime: &str, user: Option<u32>) -> Result<(), Error> {
        self.bytes = 0;
        let mut batch = std::mem::take(&mut self.batch);
        for removed in batch.iter_mut().filter(|told| told.removed) {
            removed.container.names.extend(user.map(|uid| (Metadata::USER.to_owned(), uid.to_string())));
        }
        // Those that are removed come without bound, where a list is shorter than the last.
        batch.chunks(BATCH).try_for_each(|part| host.provide(runtime, part))
    }
}

fn size(container: &Container) -> usize {
    let pairs = container.labels.iter().chain(&container.environment);
    pairs.map(|(name, value)| name.len() + value.len()).sum()
}
