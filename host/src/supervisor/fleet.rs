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

    /// Stops all, within a time for all of them: first those that answer, the
    /// last one first, and then side by side those that do not come back from
    /// what they do, which get [`LAST_WAIT`] at most: they may only be late.
    pub async fn stop(&self, within: Duration) {
        self.ending.store(true, Relaxed);
        let begin = Instant::now();
        let left = |most: Duration| within.saturating_sub(begin.elapsed()).min(most).max(MOMENT);
        let units = self.units();
        let (late, well): (Vec<_>, Vec<_>) = units.iter().rev().partition(|unit| unit.is_overdue());
        for unit in well {
            let within = left(STOP_DEADLINE);
            unit.apply(Event::End { within });
            ended(unit, within).await;
        }
        let until = Instant::now() + left(LAST_WAIT);
        for unit in &late {
            unit.apply(Event::End { within: until.saturating_duration_since(Instant::now()) });
        }
        for unit in late {
            ended(unit, until.saturating_duration_since(Instant::now())).await;
        }
        for unit in units.iter() {
            unit.hand_over();
            unit.keep_losses();
        }
        self.parts.keep_ids();
        self.parts.records.flush();
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
