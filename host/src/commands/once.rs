//! `gantry once PLUGIN`: start one plugin, collect, print, stop.

use super::state::StateDir;
use super::{Failure, Outcome, configuration, runtime};
use crate::agent::Agent;
use crate::cli::Places;
use crate::config::{Config, no_plugin};
use crate::logging;
use crate::metrics::Selection;
use crate::notify::Notifier;
use crate::supervisor::keep;
use gantry_exposition::Format;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// A person waits for it.
const START_WAIT: Duration = Duration::from_secs(10);

pub fn run(places: &Places, plugin: &str, span: Option<Duration>) -> Outcome {
    let mut config = configuration(&places.config)?;
    logging::start(config.host.log_format, &config.host.log);
    let known: Vec<String> = config.plugins.iter().map(|one| one.name.clone()).collect();
    config.plugins.retain(|one| one.name == plugin);
    let Some(only) = config.plugins.first_mut() else {
        return Err(Failure::no(no_plugin(plugin, known.iter().map(String::as_str))));
    };
    only.enabled = true;
    let state = StateDir::for_command(places.state_dir.as_deref())?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(once(config, plugin, span, state.path()));
    runtime.shutdown_timeout(Duration::from_millis(100));
    logging::flush();
    outcome
}

async fn once(config: Config, plugin: &str, span: Option<Duration>, state_dir: &Path) -> Outcome {
    let Agent { fleet, scraper, .. } = Agent::new(config, state_dir, false, Notifier::new(None, None));
    tokio::spawn(keep(fleet.clone()));
    fleet.start();
    if tokio::time::timeout(START_WAIT, fleet.settled()).await.is_err() {
        return Err(Failure::no(format!("{plugin} did not start within {} s", START_WAIT.as_secs())));
    }
    let selection = Selection { collect: vec![plugin.to_owned()], exclude: Vec::new() };
    let mut body = scraper.scrape(selection.clone(), Format::Text, false).await;
    if let Some(span) = span {
        tokio::time::sleep(span).await;
        body = scraper.scrape(selection, Format::Text, false).await;
    }
    let status = fleet.unit(plugin).map(|unit| unit.status());
    fleet.stop(Duration::from_secs(5)).await;
    let body = body.map_err(|error| Failure::no(format!("the exposition could not be made: {error}")))?;
    if body.bytes.is_empty() {
        let why = status.map(|status| format!("{}: {}", status.state.as_str(), status.reasons.join("; ")));
        return Err(Failure::no(format!("{plugin} gave no samples; it is {}", why.unwrap_or_default())));
    }
    match std::io::stdout().write_all(&body.bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::no(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
