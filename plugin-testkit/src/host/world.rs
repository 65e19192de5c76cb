//! All that stands behind the services of one fake host.

use super::clock::Clock;
use super::facts::Facts;
use super::identity::Identity;
use super::noted::Noted;
use super::tree::Tree;
use gantry_plugin_api::identity::{Metadata, Observation};
use gantry_plugin_api::manifest::ManifestInfo;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// A line that the plugin wrote into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// 1 is error, 5 is trace.
    pub level: u32,
    /// The event's target, usually the module.
    pub target: String,
    /// The message, with its fields as `name=value` behind it.
    pub message: String,
}

/// What the plugin handed over of one runtime's containers.
#[derive(Debug, Clone, PartialEq)]
pub struct Provided {
    /// The runtime.
    pub runtime: String,
    /// What is known of which container.
    pub metadata: Vec<Metadata>,
}

/// The state of a fake host. Shared by all instances of one kit, as the real
/// host is by all generations of a plugin.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) manifest: ManifestInfo,
    pub(crate) clock: Arc<Clock>,
    pub(crate) identity: Identity,
    pub(crate) facts: Facts,
    pub(crate) log: Noted<Line>,
    pub(crate) provided: Noted<Provided>,
    pub(crate) observed: Noted<Observation>,
    pub(crate) reported: Noted<(String, f64)>,
    places: Mutex<Places>,
}

#[derive(Debug)]
struct Places {
    tree: Arc<Tree>,
    /// Where a test put one of them elsewhere.
    others: BTreeMap<String, PathBuf>,
    /// Made when it is first asked for; `None` after a test took it away.
    state: Option<StateDir>,
    features: BTreeSet<String>,
    log_level: u32,
}

#[derive(Debug, Default)]
struct StateDir {
    made: Option<TempDir>,
}

/// A test sees all that a plugin says, unless it asks for less.
const ALL_LEVELS: u32 = 5;

impl World {
    pub(crate) fn new(manifest: ManifestInfo) -> Self {
        let clock = Arc::new(Clock::new());
        Self {
            manifest,
            identity: Identity::new(Arc::clone(&clock)),
            clock,
            facts: Facts::default(),
            log: Noted::new("line of the log"),
            provided: Noted::new("metadata"),
            observed: Noted::new("observation"),
            reported: Noted::new("report"),
            places: Mutex::new(Places {
                tree: Arc::new(Tree::new()),
                others: BTreeMap::new(),
                state: Some(StateDir::default()),
                features: BTreeSet::new(),
                log_level: ALL_LEVELS,
            }),
        }
    }

    pub(crate) fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.lock().tree)
    }

    pub(crate) fn set_tree(&self, tree: Tree) {
        self.lock().tree = Arc::new(tree);
    }

    pub(crate) fn set_place(&self, which: &str, path: PathBuf) {
        self.lock().others.insert(which.to_owned(), path);
    }

    pub(crate) fn without_state(&self) {
        self.lock().state = None;
    }

    pub(crate) fn offer(&self, feature: &str) {
        self.lock().features.insert(feature.to_owned());
    }

    pub(crate) fn offers(&self, feature: &str) -> bool {
        self.lock().features.contains(feature)
    }

    pub(crate) fn set_log_level(&self, level: u32) {
        self.lock().log_level = level;
    }

    pub(crate) fn log_level(&self) -> u32 {
        self.lock().log_level
    }

    /// The path that a plugin asks for by name.
    pub(crate) fn place(&self, which: &str) -> Option<PathBuf> {
        if which == "state" {
            return self.state();
        }
        let places = self.lock();
        if let Some(path) = places.others.get(which) {
            return Some(path.clone());
        }
        match which {
            "proc" | "sys" => Some(places.tree.root().join(which)),
            "cgroup" => Some(places.tree.root().join("sys/fs/cgroup")),
            "root" => Some(places.tree.root().to_owned()),
            _ => None,
        }
    }

    fn state(&self) -> Option<PathBuf> {
        let mut places = self.lock();
        let state = places.state.as_mut()?;
        if state.made.is_none() {
            // As where the host cannot make one: the plugin is told that there is none.
            state.made = tempfile::Builder::new().prefix("gantry-kit-state-").tempdir().ok();
        }
        state.made.as_ref().map(|dir| dir.path().to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
