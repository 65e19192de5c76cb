//! The parts of an agent, put together.

use crate::config::Config;
use crate::identity::Identity;
use crate::loader::Placer;
use crate::metrics::own::Own;
use crate::metrics::{HostLabels, Scraper};
use crate::node::{Facts, NodeIds};
use crate::supervisor::{Fleet, Parts, Services};
use std::path::Path;
use std::sync::Arc;

/// What a configuration and a state directory make.
#[derive(Debug)]
pub struct Assembled {
    pub fleet: Arc<Fleet>,
    pub scraper: Arc<Scraper>,
}

/// Puts an agent together; nothing runs yet.
pub fn assemble(config: &Config, state_dir: &Path) -> Assembled {
    let labels = Arc::new(HostLabels::new(&NodeIds::read(&config.host.paths)));
    let own = Own::new();
    let parts = Parts {
        services: services(config, state_dir),
        labels: labels.clone(),
        own: own.clone(),
        placer: Arc::new(Placer::new(state_dir)),
    };
    let fleet = Arc::new(Fleet::new(config, parts));
    let scraper = Arc::new(Scraper::new(fleet.clone(), own, labels, config.host.stale));
    Assembled { fleet, scraper }
}

/// What plugins may ask, for one agent.
pub fn services(config: &Config, state_dir: &Path) -> Services {
    Services {
        paths: config.host.paths.clone(),
        identity: Arc::new(Identity::default()),
        facts: Arc::new(Facts::default()),
        state_dir: state_dir.to_owned(),
    }
}
