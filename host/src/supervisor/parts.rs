//! What all plugins of one agent share.

use super::keeper::Keeper;
use super::lock;
use super::probation::Troubles;
use super::services::Services;
use crate::config::{Level, LogLevels};
use crate::crashes::Crashes;
use crate::loader::Placer;
use crate::metrics::HostLabels;
use crate::metrics::own::Own;
use crate::records::Records;
use gantry_exposition::Registry;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a plugin's unit needs of its agent.
#[derive(Debug)]
pub struct Parts {
    pub services: Services,
    pub labels: Arc<HostLabels>,
    pub own: Own,
    pub placer: Placer,
    pub keeper: Keeper,
    pub records: Records,
    pub troubles: Troubles,
    pub crashes: Crashes,
    /// The configuration's file, for messages.
    pub file: PathBuf,
    registry: Mutex<Registry>,
    plugin_dirs: Mutex<Vec<PathBuf>>,
    log: Mutex<LogLevels>,
    /// What was ever opened stays mapped.
    opened: Mutex<HashSet<PathBuf>>,
    /// The threads that call plugins.
    workers: Mutex<HashSet<u32>>,
    /// What children could not be confined by.
    lacks: Mutex<Option<String>>,
    /// The version of the ids that were last written.
    ids: Mutex<u64>,
}

impl Parts {
    pub fn new(
        services: Services,
        labels: Arc<HostLabels>,
        own: Own,
        placer: Placer,
        config: &crate::config::Config,
    ) -> Self {
        let mut registry = Registry::new();
        own.register(&mut registry);
        Self {
            services,
            labels,
            own,
            placer,
            keeper: Keeper::default(),
            records: Records::default(),
            troubles: Troubles::new(config.host.probation),
            crashes: Crashes::default(),
            file: config.file.clone(),
            registry: Mutex::new(registry),
            plugin_dirs: Mutex::new(config.host.plugin_dirs.clone()),
            log: Mutex::new(config.host.log.clone()),
            opened: Mutex::default(),
            workers: Mutex::default(),
            lacks: Mutex::default(),
            ids: Mutex::default(),
        }
    }

    /// Whose each name is.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    /// A plugin's library was opened from there, perhaps once more.
    pub fn opened(&self, plugin: &str, path: &Path) {
        if lock(&self.opened).insert(path.to_owned()) {
            self.own.generation(plugin);
            self.crashes.library(plugin, path);
        }
    }

    /// Whether a library was opened from there: that path gives no other one then.
    pub fn is_open(&self, path: &Path) -> bool {
        lock(&self.opened).contains(path)
    }

    /// The calling thread calls a plugin from now on, or does not any more.
    pub fn works(&self, works: bool) {
        let number = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let mut workers = lock(&self.workers);
        if works {
            workers.insert(number);
        } else {
            workers.remove(&number);
        }
    }

    /// Whether a thread is the agent's own, though a plugin's code runs on it.
    pub fn is_worker(&self, thread: u32) -> bool {
        lock(&self.workers).contains(&thread)
    }

    /// What the process of a plugin could not be confined by. It is the same
    /// for all of them, and for as long as the kernel runs.
    pub fn confined_without(&self, plugin: &str, lacks: &[String]) {
        if !lacks.is_empty() && lock(&self.lacks).replace(lacks.join("; ")).is_none() {
            tracing::warn!(
                "plugins in processes of their own are confined less than they should be, {plugin} for one: {}",
                lacks.join("; ")
            );
        }
    }

    /// What [`Self::confined_without`] was told.
    pub fn confinement_lacks(&self) -> Option<String> {
        lock(&self.lacks).clone()
    }

    /// Writes under which ids containers are shown, where that changed.
    pub fn keep_ids(&self) {
        if !self.records.is_open() {
            return;
        }
        // Held throughout: what is older must not be written over what is newer.
        let mut written = lock(&self.ids);
        if let Some((version, ids)) = self.services.identity.shown_ids(*written) {
            // What could not be written is tried again with the next snapshots.
            if self.records.write_ids(&ids) {
                *written = version;
            }
        }
    }

    pub fn plugin_dirs(&self) -> Vec<PathBuf> {
        lock(&self.plugin_dirs).clone()
    }

    pub fn set_plugin_dirs(&self, dirs: &[PathBuf]) {
        *lock(&self.plugin_dirs) = dirs.to_vec();
    }

    pub fn log_level(&self, plugin: &str) -> Level {
        lock(&self.log).of(plugin)
    }

    pub fn log_levels(&self) -> LogLevels {
        lock(&self.log).clone()
    }

    pub fn set_log_levels(&self, levels: LogLevels) {
        *lock(&self.log) = levels;
    }
}
