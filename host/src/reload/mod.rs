//! Changing a running agent: the configuration's file taken over again, and
//! single plugins switched on and off.
//!
//! * [`plan`]: what differs, and the smallest step for it.
//! * [`examine`]: looking at everything before anything changes.
//! * [`apply`]: the steps.
//! * [`mod@switch`]: `enable`, `disable`, `restart`.
//! * [`mod@upgrade`]: `upgrade` and `rollback`; [`mod@watch`]: files that are put into the
//!   directories of plugins.
//! * [`restored`]: what a start went back to is what the file names.
//! * [`report`]: what came of it.
//!
//! One change at a time: each takes [`Changes`] for its whole length.

mod apply;
mod examine;
mod plan;
mod report;
mod restored;
mod switch;
mod upgrade;
mod watch;

pub use report::Report;
pub use restored::name_restored;
pub use switch::{restart, switch};
pub use upgrade::{mind_probation, rollback, upgrade};
pub use watch::{LOOK_AGAIN, watch};

use crate::agent::Agent;
use crate::config::{HostConfig, load};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::{Mutex, MutexGuard};

/// The turn of whoever changes something.
#[derive(Debug, Default)]
pub struct Changes {
    turn: Mutex<()>,
    waiting: AtomicUsize,
}

/// Changes that wait for their turn. People do one thing after the other; a
/// script that never waits for an answer must not pile up changes.
const MOST_WAITING: usize = 32;

impl Changes {
    async fn turn(&self) -> Result<MutexGuard<'_, ()>, Refused> {
        let before = self.waiting.fetch_add(1, Relaxed);
        let turn = if before < MOST_WAITING {
            Ok(self.turn.lock().await)
        } else {
            Err(vec![format!("{before} changes wait already; ask again when they are done")])
        };
        self.waiting.fetch_sub(1, Relaxed);
        turn
    }
}

/// Why nothing was changed: lines for people.
pub type Refused = Vec<String>;

/// Takes over the configuration's file. Where anything is wrong with it, or
/// with a plugin's own table, nothing changes.
pub async fn reload(agent: &Arc<Agent>) -> Result<Report, Refused> {
    let _turn = agent.changes.turn().await?;
    // Before the start is over, systemd waits for that.
    let told = *agent.started.borrow();
    if told {
        agent.notifier.reloading();
    }
    let outcome = take_over(agent).await;
    if told {
        agent.notifier.ready(&agent.summary());
    }
    match &outcome {
        Ok(report) => {
            for line in &report.lines {
                if line.bad {
                    tracing::error!("reload: {}", line.text);
                } else {
                    tracing::info!("reload: {}", line.text);
                }
            }
            tracing::info!("reloaded {}", agent.file.display());
        }
        Err(problems) => {
            for problem in problems {
                tracing::error!("reload: {problem}");
            }
            tracing::error!("reload: refused; everything goes on as before");
        }
    }
    outcome
}

async fn take_over(agent: &Arc<Agent>) -> Result<Report, Refused> {
    let file = agent.file.clone();
    let loaded = blocking(move || load(&file)).await?;
    let config = loaded.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let examined = examine::all(agent, &config).await?;
    Ok(apply::all(agent, config, examined).await)
}

/// Takes over what lies on the disk for one plugin, by the section in force.
/// `false`: too many changes wait for their turn.
async fn reload_one(agent: &Arc<Agent>, name: &str) -> bool {
    let Ok(_turn) = agent.changes.turn().await else { return false };
    let Some(unit) = agent.fleet.unit(name).filter(|unit| unit.wanted() && unit.config().enabled) else {
        return true;
    };
    let mut report = Report::default();
    match examine::section(agent, unit.config().as_ref().clone()).await {
        Ok(examined) => {
            let step = apply::one(&unit, examined, &mut report).await;
            apply::settled(&unit, step, &mut report).await;
        }
        Err(why) => why.into_iter().for_each(|line| report.bad(line)),
    }
    for line in &report.lines {
        if line.bad {
            tracing::error!("watch: {}", line.text);
        } else {
            tracing::info!("watch: {}", line.text);
        }
    }
    agent.notifier.status(&agent.summary());
    true
}

/// Work that waits for a disk, away from the network's thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| vec![format!("it could not be looked at: {error}; that is a fault of the host")])
}

/// Host keys that only a new start of the agent takes over, and that differ
/// from what it was started with.
fn needs_start(started: &HostConfig, new: &HostConfig, listen_given: bool) -> Vec<&'static str> {
    let differing = [
        ("listen", started.listen != new.listen && !listen_given),
        ("log_format", started.log_format != new.log_format),
        ("views", started.views != new.views),
        ("paths", started.paths != new.paths),
        ("keep_capabilities", started.keep_capabilities != new.keep_capabilities),
    ];
    differing.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}
