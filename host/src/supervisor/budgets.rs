//! Minding what plugins take: asking them, and doing what follows.

use super::budget::{Budget, Taken, Verdict};
use super::fleet::Fleet;
use super::life::Event;
use super::unit::Unit;
use super::worker::Command;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// One that is busy is asked again at the next look; that it hangs is seen elsewhere.
const PATIENCE: Duration = Duration::from_secs(1);

/// Minds the budgets of all plugins until the agent ends, `every` so long.
pub async fn mind_budgets(fleet: Arc<Fleet>, every: Duration) {
    let mut budgets: HashMap<String, (u32, Budget)> = HashMap::new();
    let mut looks = tokio::time::interval(every);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let units = fleet.units();
        budgets.retain(|name, _| units.iter().any(|unit| unit.name() == name));
        for unit in units.iter().filter(|unit| unit.state().collects()) {
            let (instance, budget) =
                budgets.entry(unit.name().to_owned()).or_insert_with(|| (0, Budget::new(every)));
            let present = unit.instances();
            if *instance != present {
                *instance = present;
                budget.begin();
            }
            let verdict = budget.look(unit.taken().await, unit.config().limits, Instant::now());
            unit.judged(verdict);
        }
    }
}

impl Unit {
    /// What it takes now; asks its thread.
    async fn taken(&self) -> Taken {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Taken { reply });
        let heap = match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(heap)) => heap,
            _ => self.status().heap_bytes,
        };
        let parts = &self.parts;
        Taken {
            heap,
            cpu: Some(parts.own.cpu(self.name())),
            bpf: parts.services.reports.bpf_maps(self.name()),
        }
    }

    fn judged(self: &Arc<Self>, verdict: Verdict) {
        match verdict {
            Verdict::Good => {}
            Verdict::Warn(what) => {
                tracing::warn!(
                    "plugin {}: over its budget: {what}; it is ended if that goes on (max_heap, max_cpu, \
                     max_bpf_memory in its section)",
                    self.name()
                );
            }
            Verdict::Breach(what) => {
                // On probation the generation before takes its place.
                if !self.breached(&format!("over its budget: {what}")) {
                    self.apply(Event::Breach(what));
                }
            }
        }
    }
}
