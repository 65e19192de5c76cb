//! All plugins: loaded, registered in the order of the file, started side by
//! side, stopped in the opposite order.

use super::services::Services;
use super::state::State;
use super::unit::Unit;
use super::worker::Job;
use crate::config::{Config, check_table};
use crate::loader::{Loaded, Placer, load};
use crate::metrics::HostLabels;
use crate::metrics::own::Own;
use gantry_exposition::{Registry, Table};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The plugins of one agent.
#[derive(Debug)]
pub struct Fleet {
    units: Vec<Arc<Unit>>,
    parts: Parts,
    registry: Mutex<Registry>,
}

/// What the fleet needs of the agent.
#[derive(Debug, Clone)]
pub struct Parts {
    pub services: Services,
    pub labels: Arc<HostLabels>,
    pub own: Own,
    pub placer: Arc<Placer>,
}

impl Fleet {
    pub fn new(config: &Config, parts: Parts) -> Self {
        let units = config.plugins.iter().map(|plugin| Arc::new(Unit::new(plugin.clone()))).collect();
        let mut registry = Registry::new();
        parts.own.register(&mut registry);
        Self { units, parts, registry: Mutex::new(registry) }
    }

    pub fn units(&self) -> &[Arc<Unit>] {
        &self.units
    }

    pub fn unit(&self, name: &str) -> Option<&Arc<Unit>> {
        self.units.iter().find(|unit| unit.name() == name)
    }

    /// Loads every enabled plugin, each on a thread of its own, registers
    /// their families, and begins to start them. The answers come when each
    /// start is over.
    pub fn start(&self, config: &Config) -> Vec<oneshot::Receiver<()>> {
        let enabled: Vec<&Arc<Unit>> = self.units.iter().filter(|unit| unit.config.enabled).collect();
        let loaded: Vec<Option<Loaded>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                enabled.iter().map(|unit| scope.spawn(|| self.load(unit, config))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(None)).collect()
        });
        let ready = enabled.into_iter().zip(loaded).filter_map(|(unit, loaded)| Some((unit, loaded?)));
        ready.filter_map(|(unit, loaded)| self.launch(unit, loaded, config)).collect()
    }

    fn load(&self, unit: &Arc<Unit>, config: &Config) -> Option<Loaded> {
        let mut log = |line: String| tracing::warn!("plugin {}: {line}", unit.name());
        match load(&unit.config, &config.host.plugin_dirs, &self.parts.placer, &mut log) {
            Ok(loaded) => {
                unit.change(|status| {
                    status.manifest = Some(loaded.verified.manifest.clone());
                    status.digest = Some(loaded.verified.bytes.digest.clone());
                    status.source = Some(loaded.verified.source.clone());
                });
                let problems = config_problems(config, unit, &loaded);
                if problems.is_empty() {
                    unit.enter(State::Probed, Vec::new());
                    return Some(loaded);
                }
                unit.enter(State::Failed, problems);
            }
            Err(error) => unit.enter(State::Failed, vec![error.to_string()]),
        }
        None
    }

    fn launch(&self, unit: &Arc<Unit>, loaded: Loaded, config: &Config) -> Option<oneshot::Receiver<()>> {
        let description = &loaded.probed.description;
        let registered = {
            let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
            registry.register(unit.name(), &description.manifest.claims, &description.families)
        };
        for refusal in &registered.refusals {
            tracing::error!("plugin {}", refusal.message);
        }
        *unit.table() = Some(Table::new(registered.families, unit.config.max_series));
        let job = Job {
            loaded,
            services: self.parts.services.clone(),
            labels: self.parts.labels.clone(),
            log_level: config.host.log.of(unit.name()) as u32,
        };
        unit.launch(job, self.parts.own.clone())
            .map_err(|error| {
                unit.enter(State::Failed, vec![format!("its thread could not be started: {error}")]);
            })
            .ok()
    }

    /// Stops all, the last one first, within a time for all of them.
    pub async fn stop(&self, within: Duration) {
        let begin = Instant::now();
        for unit in self.units.iter().rev() {
            // Each gets what is left, and always a moment to end well.
            let left = within.saturating_sub(begin.elapsed()).max(Duration::from_millis(50));
            unit.stop(left.min(Duration::from_secs(5))).await;
        }
    }
}

/// What is wrong with a plugin's own table, by its schema and by its own word.
pub fn config_problems(config: &Config, unit: &Unit, loaded: &Loaded) -> Vec<String> {
    let schema = &loaded.probed.description.config_schema;
    let mut problems: Vec<String> =
        check_table(&config.file, &unit.config, schema).iter().map(ToString::to_string).collect();
    // The plugin's own reading finds what a schema cannot say; after a
    // violation of the schema it would say the same once more.
    if problems.is_empty()
        && let Some(error) = &loaded.probed.config_error
    {
        let (line, column) = unit.config.table.place_of("");
        problems.push(format!(
            "{}:{line}:{column}: [plugins.{}.config]: {error}",
            config.file.display(),
            unit.name()
        ));
    }
    problems
}
