//! `gantry run`: the agent.

use super::{Failure, Outcome, configuration, runtime};
use crate::agent::Agent;
use crate::cli::Places;
use crate::notify::Notifier;
use crate::supervisor::{BUDGETS_EVERY, keep, mind_budgets};
use crate::{capabilities, control, descriptors, files, health, http, loader, lock, logging, reload};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

/// From SIGTERM to the end: an init system's patience is at least 10 s.
const STOP_WITHIN: Duration = Duration::from_secs(8);

pub fn run(places: &Places, listen: &[SocketAddr]) -> Outcome {
    let mut config = configuration(&places.config())?;
    if !listen.is_empty() {
        config.host.listen = listen.to_vec();
    }
    // Before the log's thread, which would keep what this one gives up.
    let state_dir = places.state_dir();
    let rights = capabilities::drop_the_rest(&config, &state_dir);
    logging::start(config.host.log_format, &config.host.log);
    match rights.problem {
        Some(problem) => tracing::warn!("{problem}"),
        None if rights.dropped.is_empty() => {}
        None => {
            tracing::debug!(
                "capabilities kept: {}; all others were dropped",
                capabilities::names(rights.kept)
            );
        }
    }
    descriptors::take_all();
    let (_lock, warning) = lock::take(&state_dir).map_err(Failure::no)?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    match files::sweep_beside(&config.file) {
        Ok(0) => {}
        Ok(swept) => tracing::info!(
            "{swept} files that an agent left beside {} when it was killed were removed",
            config.file.display()
        ),
        Err(error) => tracing::debug!("beside {} nothing is swept: {error}", config.file.display()),
    }
    let agent = Agent::new(config, &state_dir, !listen.is_empty(), Notifier::from_environment());
    // Under the lock, which says that no other agent keeps its own there.
    agent.fleet.parts().records.begin(&state_dir, &agent.config().host.paths.proc);
    let parts = agent.fleet.parts().clone();
    parts.services.identity.remember(parts.records.take_ids());
    let rolled_back = parts.crashes.begin(&state_dir, &agent.config(), &parts.records);
    reload::name_restored(&agent, rolled_back.as_slice());
    let config = agent.config();
    let is_configured = |name: &str| config.plugins.iter().any(|section| section.name == name);
    match parts.records.named_files(is_configured).map(|named| loader::sweep(&state_dir, &named)) {
        Ok(0) => {}
        Ok(swept) => {
            tracing::info!(
                "{swept} files of plugins that nothing names any more were removed from the store"
            );
        }
        Err(error) => tracing::warn!("the store is not swept, as it is not known what is asked for: {error}"),
    }
    let runtime = runtime()?;
    let outcome = runtime.block_on(serve(
        Arc::new(agent),
        &places.socket(),
        places.budgets_every.unwrap_or(BUDGETS_EVERY),
        places.directories_every.unwrap_or(reload::LOOK_AGAIN),
    ));
    // A plugin's thread that hangs must not keep the agent.
    runtime.shutdown_timeout(Duration::from_millis(100));
    parts.crashes.end();
    logging::flush();
    outcome
}

async fn serve(
    agent: Arc<Agent>,
    socket: &Path,
    budgets_every: Duration,
    directories_every: Duration,
) -> Outcome {
    let mut signals = Signals::new().map_err(|error| Failure::no(format!("signal handlers: {error}")))?;
    let listeners = http::bind(&agent.config().host.listen).await.map_err(Failure::no)?;
    for address in listeners.addresses() {
        tracing::info!("listening at http://{address}");
    }
    let (end, ending) = watch::channel(false);
    // Without it the agent does its work, and cannot be commanded.
    let door = control::bind(socket)
        .inspect_err(|why| tracing::warn!("no control socket: {why}"))
        .ok()
        .map(|door| (door.file.clone(), tokio::spawn(control::serve(door, agent.clone(), ending.clone()))));
    tokio::spawn(keep(agent.fleet.clone()));
    let starting = tokio::spawn(start(agent.clone()));
    let serving = tokio::spawn(http::serve(listeners, agent.clone(), ending));
    let again = Arc::new(Notify::new());
    tokio::spawn(reload_when_told(agent.clone(), again.clone()));
    tokio::spawn(reload::mind_probation(agent.clone()));
    tokio::spawn(mind_budgets(agent.fleet.clone(), budgets_every));
    tokio::spawn(reload::watch(agent.clone(), directories_every));
    if let Some(every) = agent.notifier.watchdog_interval() {
        tokio::spawn(feed_the_watchdog(agent.clone(), every));
    }
    let signal = signals.next(&again).await;
    let told = Instant::now();
    tracing::info!("{signal}: stopping");
    agent.notifier.stopping();
    starting.abort();
    // Answers under way end first: they need the plugins.
    let _ = end.send(true);
    if tokio::time::timeout(Duration::from_secs(2), serving).await.is_err() {
        tracing::warn!("some answers were cut off");
    }
    if let Some((file, door)) = door {
        // Whoever waits for a change is told by the end of the connection.
        let _ = tokio::time::timeout(Duration::from_millis(200), door).await;
        file.remove();
    }
    agent.fleet.stop(STOP_WITHIN.saturating_sub(told.elapsed())).await;
    tracing::info!("stopped");
    Ok(())
}

/// A plugin that is not there so long after the beginning is not waited for by
/// scrapes: without any wait the first one would show holes, with a longer one
/// a plugin that hangs in its start would hold up all the others.
const START_WAIT: Duration = Duration::from_secs(5);

/// The first scrape should show containers under their names: a runtime tells
/// of a hundred in a third of this. Those without one by then are held back for
/// as long as the configuration says, unless the agent before showed them, and
/// the others are not kept waiting.
const NAMES_WAIT: Duration = Duration::from_millis(300);

async fn start(agent: Arc<Agent>) {
    agent.fleet.start();
    if tokio::time::timeout(START_WAIT, agent.fleet.settled()).await.is_err() {
        let units = agent.fleet.units();
        let late: Vec<&str> =
            units.iter().filter(|unit| !unit.is_settled()).map(|unit| unit.name()).collect();
        tracing::warn!("still starting after {} s: {}", START_WAIT.as_secs(), late.join(", "));
    }
    let identity = &agent.fleet.parts().services.identity;
    identity.providers_are_known();
    identity.until_named(NAMES_WAIT).await;
    identity.start_is_over();
    tracing::info!("{}", agent.summary());
    agent.notifier.ready(&agent.summary());
    agent.started.send_replace(true);
}

/// Signals that come while one is carried out are one more.
async fn reload_when_told(agent: Arc<Agent>, again: Arc<Notify>) {
    loop {
        again.notified().await;
        // What came of it is logged.
        let _ = reload::reload(&agent).await;
    }
}

/// The watchdog is fed while the host's own loops go round. A plugin that
/// hangs is no reason to kill the agent, and the others with it.
async fn feed_the_watchdog(agent: Arc<Agent>, every: Duration) {
    loop {
        let stalled = health::stalled(&agent).await;
        if stalled.is_empty() {
            agent.notifier.alive();
        } else {
            tracing::error!("the watchdog is not fed: {}", stalled.join("; "));
        }
        tokio::time::sleep(every).await;
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The signal that ends the agent. SIGHUP does not: whoever sends it means a reload.
    async fn next(&mut self, again: &Notify) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => again.notify_one(),
            }
        }
    }
}
