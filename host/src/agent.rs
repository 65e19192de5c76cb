//! The parts of an agent, put together.

use crate::config::{self, Config, HostConfig, LogLevels};
use crate::identity::Identity;
use crate::loader::Placer;
use crate::logging;
use crate::metrics::own::Own;
use crate::metrics::{HostLabels, Scraper};
use crate::node::{Facts, NodeIds};
use crate::notify::Notifier;
use crate::reload::Changes;
use crate::supervisor::{Fleet, Parts, Services, State};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// A running agent, as its doors see it.
#[derive(Debug)]
pub struct Agent {
    pub fleet: Arc<Fleet>,
    pub scraper: Arc<Scraper>,
    /// Turns true when every plugin's start is over, or was waited for long
    /// enough: the first scrape waits for it.
    pub started: watch::Sender<bool>,
    pub changes: Changes,
    pub notifier: Notifier,
    /// The configuration's file, for messages and edits.
    pub file: PathBuf,
    /// The addresses came by the command line, which goes before the file.
    pub listen_given: bool,
    /// What some keys need a new start to change.
    pub started_with: HostConfig,
    /// Another configuration was taken over.
    pub configured: watch::Sender<()>,
    config: Mutex<Arc<Config>>,
}

impl Agent {
    /// What a configuration and a state directory make; nothing runs yet.
    pub fn new(config: Config, state_dir: &Path, listen_given: bool, notifier: Notifier) -> Self {
        let own = Own::new();
        let services = services(&config, state_dir);
        order(&services, &config);
        let ids = NodeIds::read(&config.host.paths);
        let labels = Arc::new(HostLabels::new(&ids, services.identity.clone(), services.facts.clone()));
        let placer = Placer::new(state_dir);
        let parts = Arc::new(Parts::new(services, labels.clone(), own.clone(), placer, &config));
        let fleet = Arc::new(Fleet::new(&config, parts));
        let scraper = Arc::new(Scraper::new(fleet.clone(), own, labels, config.host.stale));
        Self {
            fleet,
            scraper,
            started: watch::Sender::new(false),
            changes: Changes::default(),
            notifier,
            file: config.file.clone(),
            listen_given,
            started_with: config.host.clone(),
            configured: watch::Sender::new(()),
            config: Mutex::new(Arc::new(config)),
        }
    }

    /// What was last taken over.
    pub fn config(&self) -> Arc<Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_config(&self, config: Config) {
        order(&self.fleet.parts().services, &config);
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.configured.send_replace(());
    }

    /// From which levels on is logged, from now on.
    pub fn set_log_levels(&self, levels: &LogLevels) {
        logging::set_levels(levels);
        // First for those that begin meanwhile.
        self.fleet.parts().set_log_levels(levels.clone());
        for unit in self.fleet.units().iter() {
            unit.set_log_level(levels.of(unit.name()));
        }
    }

    /// What is said to whoever asks for a plugin that is not there.
    pub fn no_plugin(&self, name: &str) -> String {
        let units = self.fleet.units();
        config::no_plugin(name, units.iter().map(|unit| unit.name()))
    }

    /// One line for people: how many plugins run.
    pub fn summary(&self) -> String {
        let states: Vec<State> = self.fleet.units().iter().map(|unit| unit.state()).collect();
        let running = states.iter().filter(|state| state.collects()).count();
        let enabled = states.iter().filter(|state| **state != State::Disabled).count();
        format!("{running} of {enabled} enabled plugins are running")
    }
}

/// What plugins may ask, for one agent.
pub fn services(config: &Config, state_dir: &Path) -> Services {
    Services {
        paths: config.host.paths.clone(),
        identity: Arc::new(Identity::new(&config.host.paths, &config.host.identity)),
        facts: Arc::new(Facts::default()),
        reports: Arc::default(),
        state_dir: state_dir.to_owned(),
    }
}

/// Of two plugins that tell of one container or set one fact, the first in the
/// file is believed.
fn order(services: &Services, config: &Config) {
    let names: Vec<&str> = config.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    services.identity.set_order(&names);
    services.facts.set_order(&names);
}
