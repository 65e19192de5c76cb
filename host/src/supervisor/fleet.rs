//! All plugins: loaded, registered in the order of the file, started side by
//! side, stopped in the opposite order.

use super::services::Services;
use super::state::State;
use super::unit::Unit;
use super::worker::Job;
use crate::config::{Config, table_problems};
use crate::loader::{Loaded, Placer, Probed, load};
use crate::metrics::HostLabels;
use crate::metrics::own::Own;
use gantry_exposition::{Registry, Table};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The plugins of one agent.
#[derive(Debug)]
pub struct Fleet {
    units: Vec<Arc<Unit>>,
    parts: Parts,
    registry: Mutex<Registry>,
    stopping: AtomicBool,
}

/// Loading takes 20 ms; what takes this long is busy or broken.
const ORDER_WAIT: Duration = Duration::from_secs(2);

/// Of one plugin's stop.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Enough to end well for whoever does not hang.
const MOMENT: Duration = Duration::from_millis(50);

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
        Self { units, parts, registry: Mutex::new(registry), stopping: AtomicBool::new(false) }
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
    ///
    /// Names go to plugins in the order of the file; one that takes longer to
    /// load than [`ORDER_WAIT`] comes after those that do not.
    pub fn start(self: &Arc<Self>, config: &Arc<Config>) -> Vec<oneshot::Receiver<()>> {
        let (sender, loaded) = mpsc::channel();
        let enabled = self.units.iter().enumerate().filter(|(_, unit)| unit.config.enabled);
        let mut awaited = 0;
        for (place, unit) in enabled {
            let (fleet, unit, config, sender) = (self.clone(), unit.clone(), config.clone(), sender.clone());
            let name = format!("load:{}", unit.name());
            let thread = std::thread::Builder::new().name(name[..name.len().min(15)].to_owned());
            let at_fault = unit.clone();
            let spawned = thread.spawn(move || {
                // The end of the agent may have come first.
                let _ = sender.send((place, fleet.load(&unit, &config)));
            });
            match spawned {
                Ok(_) => awaited += 1,
                Err(error) => {
                    at_fault.enter(State::Failed, vec![format!("it could not be loaded: thread: {error}")]);
                }
            }
        }
        drop(sender);
        let until = Instant::now() + ORDER_WAIT;
        let mut early = Vec::new();
        while early.len() < awaited {
            match loaded.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(one) => early.push(one),
                Err(_) => break,
            }
        }
        early.sort_by_key(|(place, _)| *place);
        let launched = early.into_iter().chain(loaded.iter());
        let launched =
            launched.filter_map(|(place, loaded)| self.launch(&self.units[place], loaded?, config)).collect();
        for unit in self.units.iter().filter(|unit| unit.state() == State::Discovered) {
            unit.enter(
                State::Failed,
                vec!["the thread that loaded it ended; that is a fault of the host".to_owned()],
            );
        }
        launched
    }

    fn load(&self, unit: &Arc<Unit>, config: &Config) -> Option<Loaded> {
        let mut log = |line: String| tracing::warn!("plugin {}: {line}", unit.name());
        match load(&unit.config, &config.host.plugin_dirs, &self.parts.placer, &mut log) {
            Ok(loaded) => {
                unit.enter(State::Verified, Vec::new());
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
        if self.stopping.load(Relaxed) {
            return None;
        }
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

    /// Stops all, the last one first, within a time for all of them. One that
    /// does not come back from what it does gets a moment only: the time is
    /// for those that end well.
    pub async fn stop(&self, within: Duration) {
        self.stopping.store(true, Relaxed);
        let begin = Instant::now();
        for unit in self.units.iter().rev() {
            let left = within.saturating_sub(begin.elapsed()).min(STOP_DEADLINE);
            unit.stop(if unit.overdue() { MOMENT } else { left.max(MOMENT) }).await;
        }
    }
}

/// What is wrong with a plugin's own table, by its schema and by its own word.
pub fn config_problems(config: &Config, unit: &Unit, loaded: &Loaded) -> Vec<String> {
    let Probed { violations, config_error, .. } = &loaded.probed;
    let problems = table_problems(&config.file, &unit.config, violations, config_error.as_deref());
    problems.iter().map(ToString::to_string).collect()
}
