//! The fake host around one plugin.

use crate::check::{Check, Report, manifest, views};
use crate::collected::Collected;
use crate::config::ToConfig;
use crate::failure::Failure;
use crate::host::{Clock, Facts, Identity, Line, Noted, Provided, Tree};
use crate::instance::Instance;
use crate::ledger::Ledger;
use crate::record::Recorder;
use crate::running::Running;
use crate::shared::Shared;
use crate::source::Source;
use gantry_plugin_api::description::Description;
use gantry_plugin_api::identity::Observation;
use gantry_plugin_api::{Host, Plugin, Probe, Sink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A plugin, and a fake host around it that is its own: two kits share nothing.
/// A clone is the same kit.
#[derive(Debug, Clone)]
pub struct Kit {
    shared: Arc<Shared>,
}

impl Kit {
    /// Around a plugin that is compiled into the test.
    ///
    /// # Panics
    /// Where what the plugin declares cannot be listed.
    pub fn of<P: Plugin>() -> Self {
        let (source, description) = Source::of::<P>();
        Self::around(source, description)
    }

    /// Around a built library. It is opened from a copy of its own, so that
    /// another kit, or a newer build, has statics of its own.
    pub fn library(path: impl AsRef<Path>) -> Result<Self, Failure> {
        let (source, description) = Source::library(path.as_ref())?;
        Ok(Self::around(source, description))
    }

    fn around(source: Source, description: Description) -> Self {
        Self { shared: Arc::new(Shared::new(source, description)) }
    }

    /// How long each call may take; 2 s until this says otherwise.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.shared.settings().deadline = deadline;
        self
    }

    /// How many series the plugin may have; 200,000 until this says otherwise.
    #[must_use]
    pub fn max_series(self, series: usize) -> Self {
        self.shared.settings().max_series = series;
        self
    }

    /// How many rows of a view are wanted; 10,000 until this says otherwise.
    #[must_use]
    pub fn max_rows(self, rows: usize) -> Self {
        self.shared.settings().max_rows = rows;
        self
    }

    /// Lets a check fail for subjects (families, series, reasons) that begin
    /// with this text, `""` for all: what it finds is only noted then.
    #[must_use]
    pub fn allow(self, check: Check, subject: &str) -> Self {
        self.shared.settings().allowed.add(check, subject);
        self
    }

    /// Which lines the log keeps: 1 errors only, to 5 all (the default).
    #[must_use]
    pub fn log_level(self, level: u32) -> Self {
        self.shared.world.set_log_level(level);
        self
    }

    /// Puts a tree of files, or a directory that is there ([`Tree::at`]), in
    /// the place of the empty one: the host's root, with `proc`, `sys` and
    /// `sys/fs/cgroup` in it.
    #[must_use]
    pub fn with_tree(self, tree: Tree) -> Self {
        self.shared.world.set_tree(tree);
        self
    }

    /// Puts one of `proc`, `sys`, `cgroup`, `root` and `state` elsewhere.
    #[must_use]
    pub fn with_path(self, which: &str, path: impl Into<PathBuf>) -> Self {
        self.shared.world.set_place(which, path.into());
        self
    }

    /// As on a read-only system: there is no state directory.
    #[must_use]
    pub fn without_state_dir(self) -> Self {
        self.shared.world.without_state();
        self
    }

    /// Offers a feature that came after 1.0, as [`Host::has`] asks.
    #[must_use]
    pub fn offer(self, feature: &str) -> Self {
        self.shared.world.offer(feature);
        self
    }

    /// The files that the plugin reads.
    pub fn tree(&self) -> Arc<Tree> {
        self.shared.world.tree()
    }

    /// The host's clocks.
    pub fn clock(&self) -> &Clock {
        &self.shared.world.clock
    }

    /// Containers, processes and events.
    pub fn identity(&self) -> &Identity {
        &self.shared.world.identity
    }

    /// What is known of the node.
    pub fn facts(&self) -> &Facts {
        &self.shared.world.facts
    }

    /// What the plugin logged. Lines of threads of its own reach all kits of
    /// the process where the plugin is compiled into the test.
    pub fn log(&self) -> &Noted<Line> {
        &self.shared.world.log
    }

    /// What the plugin told of containers.
    pub fn provided(&self) -> &Noted<Provided> {
        &self.shared.world.provided
    }

    /// What the plugin saw in the kernel.
    pub fn observed(&self) -> &Noted<Observation> {
        &self.shared.world.observed
    }

    /// The resources that the plugin reported, with their amounts.
    pub fn reported(&self) -> &Noted<(String, f64)> {
        &self.shared.world.reported
    }

    /// The plugin's own directory, made when it is first asked for.
    pub fn state_dir(&self) -> Option<PathBuf> {
        self.shared.world.place("state")
    }

    /// The host as the plugin sees it, for tests of its parts.
    pub fn host(&self) -> Host {
        Host::new(self.shared.world.crossing())
    }

    /// All that the plugin declares: manifest, schema, families, views.
    pub fn description(&self) -> &Description {
        &self.shared.description
    }

    /// Can it work in this fake host?
    pub fn probe(&self, config: impl ToConfig) -> Result<Probe, Failure> {
        self.create()?.probe(config)
    }

    /// An instance that nothing was asked of yet, for tests of single calls.
    pub fn create(&self) -> Result<Instance, Failure> {
        Instance::create(&self.shared, Arc::default())
    }

    /// An instance on this thread, with nothing around it.
    pub(crate) fn create_here(&self) -> Result<gantry_pluginfile::Instance, gantry_plugin_api::Error> {
        self.shared.source.create(self.shared.world.crossing(), self.shared.world.log_level())
    }

    /// Starts the plugin as the agent does: probe, start, a trial collection
    /// that is thrown away, activate.
    pub fn start(&self, config: impl ToConfig) -> Result<Running, Failure> {
        self.start_from(config, None)
    }

    /// As [`Self::start`], with what another generation handed over.
    pub fn start_from(&self, config: impl ToConfig, handover: Option<&[u8]>) -> Result<Running, Failure> {
        Running::begin(&self.shared, Arc::default(), &config.to_config()?, handover)
    }

    /// What a part of the plugin emits into a sink of its own, by the plugin's
    /// families. For plugins that are compiled into the test.
    pub fn emitted(&self, emit: impl FnOnce(&mut Sink<'_>)) -> Collected {
        let mut recorder = Recorder::new(self.shared.max_samples());
        let begin = std::time::Instant::now();
        emit(&mut Sink::new(recorder.sink()));
        self.shared.examined(recorder, begin.elapsed(), &Mutex::new(Ledger::default()))
    }

    /// Checks the manifest, and that the families lie under its claims. Those of
    /// a plugin that claims nothing are only noted.
    pub fn check_manifest(&self) -> Report {
        let (found, notes) = manifest(&self.shared.description);
        Report::new(found, notes, &self.shared.allowed())
    }

    /// Checks the declared families and claims; each collection does so too.
    pub fn check_families(&self) -> Report {
        Report::new(self.shared.declared.clone(), Vec::new(), &self.shared.allowed())
    }

    /// Checks the declared views.
    pub fn check_views(&self) -> Report {
        Report::new(views(&self.shared.description.views), Vec::new(), &self.shared.allowed())
    }

    /// Checks all that the plugin declares: a failure with every problem.
    pub fn check(&self) -> Result<(), Failure> {
        self.check_manifest().and(self.check_families()).and(self.check_views()).result()
    }
}
