//! `gantry run`: the agent.

use super::{Failure, Outcome, configuration, runtime};
use crate::agent::{Assembled, assemble};
use crate::cli::Places;
use crate::config::Config;
use crate::http::{self, Agent, Listeners};
use crate::supervisor::{Fleet, State};
use crate::{lock, logging};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// From SIGTERM to the end: an init system's patience is at least 10 s.
const STOP_WITHIN: Duration = Duration::from_secs(8);

pub fn run(places: &Places, listen: &[SocketAddr]) -> Outcome {
    let mut config = configuration(&places.config)?;
    if !listen.is_empty() {
        config.host.listen = listen.to_vec();
    }
    logging::start(config.host.log_format, &config.host.log);
    let state_dir = places.state_dir.clone().unwrap_or_else(|| PathBuf::from("/var/lib/gantry"));
    let (_lock, warning) = lock::take(&state_dir).map_err(Failure::no)?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    let runtime = runtime()?;
    let outcome = runtime.block_on(agent(config, &state_dir));
    // A plugin's thread that hangs must not keep the agent.
    runtime.shutdown_timeout(Duration::from_millis(100));
    logging::flush();
    outcome
}

async fn agent(config: Config, state_dir: &Path) -> Outcome {
    let mut signals = Signals::new().map_err(|error| Failure::no(format!("signal handlers: {error}")))?;
    let listeners = http::bind(&config.host.listen).await.map_err(Failure::no)?;
    for address in listeners.addresses() {
        tracing::info!("listening at http://{address}");
    }
    let Assembled { fleet, scraper } = assemble(&config, state_dir);
    let (started, watch_started) = watch::channel(false);
    let starting = tokio::spawn(start(fleet.clone(), Arc::new(config), started));
    let (end, ending) = watch::channel(false);
    let agent = Agent { fleet: fleet.clone(), scraper, started: watch_started };
    let serving = serve(listeners, agent, ending);
    let signal = signals.next().await;
    tracing::info!("{signal}: stopping");
    starting.abort();
    // Answers under way end first: they need the plugins.
    let _ = end.send(true);
    if tokio::time::timeout(Duration::from_secs(2), serving).await.is_err() {
        tracing::warn!("some answers were cut off");
    }
    fleet.stop(STOP_WITHIN).await;
    tracing::info!("stopped");
    Ok(())
}

fn serve(listeners: Listeners, agent: Agent, ending: watch::Receiver<bool>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(http::serve(listeners, Arc::new(agent), ending))
}

/// A plugin that is not there so long after the beginning is not waited for by
/// scrapes: without any wait the first one would show holes, with a longer one
/// a plugin that hangs in its start would hold up all the others.
const START_WAIT: Duration = Duration::from_secs(5);

async fn start(fleet: Arc<Fleet>, config: Arc<Config>, started: watch::Sender<bool>) {
    let starting = async {
        let loading = fleet.clone();
        let answers = tokio::task::spawn_blocking(move || loading.start(&config)).await.unwrap_or_default();
        for answer in answers {
            // A thread that ended says so by its state.
            let _ = answer.await;
        }
    };
    if tokio::time::timeout(START_WAIT, starting).await.is_err() {
        let late = fleet.units().iter().filter(|unit| !unit.state().settled()).map(|unit| unit.name());
        let late: Vec<&str> = late.collect();
        tracing::warn!("still starting after {} s: {}", START_WAIT.as_secs(), late.join(", "));
    }
    let running = fleet.units().iter().filter(|unit| unit.state().collects()).count();
    let enabled = fleet.units().iter().filter(|unit| unit.state() != State::Disabled).count();
    tracing::info!("{running} of {enabled} enabled plugins are running");
    // Nobody asks for it after the end.
    let _ = started.send(true);
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
    async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => {
                    tracing::warn!("SIGHUP: reloading is not built yet in this version; restart the agent");
                }
            }
        }
    }
}
