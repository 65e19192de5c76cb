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

/// Enough to end well for whoever does not hang.
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

    /// Stops all, the last one first, within a time for all of them. One that
    /// does not come back from what it does gets a moment only: the time is
    /// for those that end well.
    pub async fn stop(&self, within: Duration) {
        self.ending.store(true, Relaxed);
        let begin = Instant::now();
        for unit in self.units().iter().rev() {
            let left = within.saturating_sub(begin.elapsed()).min(STOP_DEADLINE);
            let within = if unit.is_overdue() { MOMENT } else { left.max(MOMENT) };
            unit.apply(Event::End { within });
            let ended = unit.until(|unit| unit.state().ended());
            if tokio::time::timeout(within, ended).await.is_err() {
                // Its own time-out is the same, and may come a little later.
                unit.apply(Event::Time);
            }
        }
    }
}
