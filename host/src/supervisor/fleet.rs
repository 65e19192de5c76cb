//! All plugins of an agent, in the order of its configuration.

use super::launch;
use super::life::Event;
use super::lock;
use super::parts::Parts;
use super::unit::Unit;
use crate::config::Config;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The plugins of one agent.
#[derive(Debug)]
pub struct Fleet {
    units: Mutex<Arc<[Arc<Unit>]>>,
    parts: Arc<Parts>,
    /// The agent ends: nothing is started any more.
    ending: AtomicBool,
}

/// Of one plugin's stop, at the end of the agent.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Of those together that do not come back from what they do.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Beyond the time of all, for a disk that is slow to write what they handed over.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Enough to end well for whoever is well, however late it is.
const MOMENT: Duration = Duration::from_millis(50);

impl Fleet {
    /// The plugins of a configuration; none runs yet.
    pub fn new(config: &Config, parts: Arc<Parts>) -> Self {
        let units = config.plugins.iter().map(|plugin| Unit::new(plugin.clone(), parts.clone()));
        Self { units: Mutex::new(units.collect()), parts, ending: AtomicBool::new(false) }
    }

    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// Those that there are just now.
    pub fn units(&self) -> Arc<[Arc<Unit>]> {
        lock(&self.units).clone()
    }

    pub fn unit(&self, name: &str) -> Option<Arc<Unit>> {
        lock(&self.units).iter().find(|unit| unit.name() == name).cloned()
    }

    /// Other plugins, or another order.
    pub fn set_units(&self, units: Vec<Arc<Unit>>) {
        *lock(&self.units) = units.into();
    }

    /// Begins to start all that shall run. [`super::keep`] does the rest.
    pub fn start(&self) {
        for unit in self.units().iter().filter(|unit| unit.wanted()) {
            unit.apply(Event::Enable);
        }
    }

    /// Waits until it is known of each plugin how its start went.
    pub async fn settled(&self) {
        for unit in self.units().iter() {
            unit.until(Unit::is_settled).await;
        }
    }

    pub(super) fn launch(&self, mut launches: Vec<(Arc<Unit>, u64)>) {
        if self.ending.load(Relaxed) {
            return;
        }
        let units = self.units();
        let place = |unit: &Arc<Unit>| units.iter().position(|other| Arc::ptr_eq(other, unit));
        launches.sort_by_key(|(unit, _)| place(unit));
        launch::side_by_side(launches);
    }

    /// Stops all, within a time for all of them, and keeps what they hand over.
    ///
    /// Those that answer stop side by side, so that one that hangs takes no
    /// other's time; who names containers comes after those that may still ask.
    /// Those that do not come back from what they do come last and get
    /// [`LAST_WAIT`] at most: they may only be late.
    pub async fn stop(&self, within: Duration) {
        self.ending.store(true, Relaxed);
        let begin = Instant::now();
        let left = |most: Duration| within.saturating_sub(begin.elapsed()).min(most).max(MOMENT);
        let units = self.units();
        units.iter().for_each(|unit| unit.keep_ran());
        let (late, well): (Vec<_>, Vec<_>) = units.iter().partition(|unit| unit.is_overdue());
        let (providers, others): (Vec<_>, Vec<_>) =
            well.into_iter().partition(|unit| unit.names_containers());
        for (units, most) in [(others, STOP_DEADLINE), (providers, STOP_DEADLINE), (late, LAST_WAIT)] {
            end_together(&units, left(most)).await;
        }
        // Where other records are written: an older snapshot that is on its way
        // there comes before, and a disk that hangs holds nobody up for ever.
        for unit in units.iter() {
            let unit = unit.clone();
            self.parts.records.then(move || unit.hand_over());
        }
        let parts = self.parts.clone();
        self.parts.records.then(move || parts.keep_ids());
        if !self.parts.records.flush(within.saturating_sub(begin.elapsed()) + LAST_WRITE) {
            tracing::warn!(
                "the disk of the state directory does not answer: what plugins handed over may not be kept, and \
                 the next start goes on with what was written before"
            );
        }
    }
}

/// Asks them all to end, and waits.
async fn end_together(units: &[&Arc<Unit>], within: Duration) {
    let until = Instant::now() + within;
    for unit in units {
        unit.apply(Event::End { within });
    }
    for unit in units {
        ended(unit, until.saturating_duration_since(Instant::now())).await;
    }
}

/// Waits for the end of one that was asked to.
async fn ended(unit: &Arc<Unit>, within: Duration) {
    let ended = unit.until(|unit| unit.state().ended());
    if tokio::time::timeout(within, ended).await.is_err() {
        // Its own time-out is the same, and may come a little later.
        unit.apply(Event::Time);
    }
}
