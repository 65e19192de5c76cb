//! A plugin that runs, and how one generation follows another.

use crate::config::ToConfig;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::ledger::Ledger;
use crate::shared::Shared;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

/// A plugin that was started as the agent does: probed, started, tried, and
/// activated. Its calls are those of [`Instance`].
#[derive(Debug)]
pub struct Running {
    instance: Instance,
}

impl Running {
    /// The whole beginning of an instance's life, with a hand-over or without.
    pub(crate) fn begin(
        shared: &Arc<Shared>,
        ledger: Arc<Mutex<Ledger>>,
        config: &str,
        handover: Option<&[u8]>,
    ) -> Result<Self, Failure> {
        let mut instance = tried(shared, ledger, config)?;
        instance.activate(handover)?;
        Ok(Self { instance })
    }

    /// Stops it, and starts another instance with its hand-over. Counters must
    /// go on where they were.
    pub fn restart(mut self, config: impl ToConfig) -> Result<Self, Failure> {
        let config = config.to_config()?;
        let handover = self.instance.stop()?;
        let (shared, ledger) = self.instance.lineage();
        Self::begin(shared, Arc::clone(ledger), &config, Some(&handover))
    }

    /// As the agent upgrades: the next generation is started and tried beside
    /// this one; then this one stops, and the next goes on with its hand-over.
    pub fn upgrade(mut self, config: impl ToConfig) -> Result<Self, Failure> {
        let config = config.to_config()?;
        let (shared, ledger) = self.instance.lineage();
        let mut next = tried(shared, Arc::clone(ledger), &config)?;
        let handover = self.instance.stop()?;
        next.activate(Some(&handover))?;
        Ok(Self { instance: next })
    }

    /// The instance is left behind as after a crash, and another is started
    /// with its last snapshot. What was counted since then is lost.
    pub fn crash_and_restore(self, config: impl ToConfig) -> Result<Self, Failure> {
        let config = config.to_config()?;
        let snapshot = self.instance.last_snapshot().map(<[u8]>::to_vec);
        let (shared, ledger) = self.instance.lineage();
        let (shared, ledger) = (Arc::clone(shared), Arc::clone(ledger));
        self.instance.crash();
        Self::begin(&shared, ledger, &config, snapshot.as_deref())
    }

    /// Left behind as after a crash: neither stopped nor dropped.
    pub fn crash(self) {
        self.instance.crash();
    }
}

/// An instance up to its trial collection, which needs the same in each way to begin.
fn tried(shared: &Arc<Shared>, ledger: Arc<Mutex<Ledger>>, config: &str) -> Result<Instance, Failure> {
    let config: serde_json::Value =
        serde_json::from_str(config).map_err(|error| Failure::Config(error.to_string()))?;
    let mut instance = Instance::create(shared, ledger)?;
    let probe = instance.probe(&config)?;
    if !probe.unsupported.is_empty() {
        return Err(Failure::Unsupported(probe.unsupported));
    }
    instance.start(&config)?;
    instance.trial()?;
    Ok(instance)
}

impl Deref for Running {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Instance {
        &mut self.instance
    }
}
