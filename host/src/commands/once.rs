//! `gantry once PLUGIN`: start one plugin, collect, print, stop.

use super::state::StateDir;
use super::{Failure, Outcome, configuration, runtime};
use crate::agent::Agent;
use crate::cli::Places;
use crate::config::{Config, PluginConfig, no_plugin};
use crate::loader::verify;
use crate::logging;
use crate::metrics::Selection;
use crate::notify::Notifier;
use crate::supervisor::{Unit, keep};
use gantry_exposition::Format;
use gantry_plugin_api::manifest::ManifestInfo;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A person waits for it.
const START_WAIT: Duration = Duration::from_secs(10);

/// How long providers of identity and of facts may take.
const PROVIDERS_WAIT: Duration = Duration::from_secs(3);

/// Whether other plugins' figures depend on what this one tells.
fn provides(plugin: &PluginConfig, plugin_dirs: &[PathBuf]) -> bool {
    let provides = |manifest: &ManifestInfo| {
        !manifest.provides_identity.is_empty() || !manifest.provides_facts.is_empty()
    };
    verify(plugin, plugin_dirs).is_ok_and(|verified| provides(&verified.manifest))
}

pub fn run(places: &Places, plugin: &str, span: Option<Duration>) -> Outcome {
    let mut config = configuration(&places.config())?;
    logging::start(config.host.log_format, &config.host.log);
    let known: Vec<String> = config.plugins.iter().map(|one| one.name.clone()).collect();
    let dirs = config.host.plugin_dirs.clone();
    config.plugins.retain(|one| one.name == plugin || (one.enabled && provides(one, &dirs)));
    let Some(only) = config.plugins.iter_mut().find(|one| one.name == plugin) else {
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
    let Some(unit) = fleet.unit(plugin) else {
        return Err(Failure::no(format!("{plugin} is no plugin of this agent; that is a fault of the host")));
    };
    if tokio::time::timeout(START_WAIT, unit.until(Unit::is_settled)).await.is_err() {
        return Err(Failure::no(format!("{plugin} did not start within {} s", START_WAIT.as_secs())));
    }
    // What others provide is welcome, and not worth failing for.
    let _ = tokio::time::timeout(PROVIDERS_WAIT, fleet.settled()).await;
    let identity = fleet.parts().services.identity.clone();
    identity.providers_are_known();
    identity.until_named(PROVIDERS_WAIT).await;
    let selection = Selection { collect: vec![plugin.to_owned()], exclude: Vec::new() };
    let mut body = scraper.scrape(selection.clone(), Format::Text, false).await;
    if let Some(span) = span {
        tokio::time::sleep(span).await;
        body = scraper.scrape(selection, Format::Text, false).await;
    }
    let status = unit.status();
    fleet.stop(Duration::from_secs(5)).await;
    let body = body.map_err(|error| Failure::no(format!("the exposition could not be made: {error}")))?;
    if body.bytes.is_empty() {
        let why = format!("{}: {}", status.state.as_str(), status.reasons.join("; "));
        return Err(Failure::no(format!("{plugin} gave no samples; it is {why}")));
    }
    match std::io::stdout().write_all(&body.bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::no(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
