//! `gantry probe`: what each enabled plugin can do on this node.

use super::named::Named;
use super::state::StateDir;
use super::{Failure, Outcome, configuration, counted, print, say};
use crate::agent;
use crate::cli::Places;
use crate::config::{Config, Isolation, PluginConfig};
use crate::isolation;
use crate::loader::{Placer, load, verify};
use crate::logging::printable;
use crate::supervisor::Services;
use gantry_plugin_api::Probe;
use gantry_plugin_api::description::Description;
use gantry_pluginfile::Library;
use std::sync::{Arc, mpsc};
use std::time::Duration;

pub fn run(places: &Places) -> Outcome {
    let config = Arc::new(configuration(&places.config())?);
    let state = StateDir::for_command(places.state_dir.as_deref())?;
    let placer = Arc::new(Placer::new(state.path()));
    let services = agent::services(&config, state.path());
    let (mut cannot, mut named) = (0, Named::default());
    for plugin in config.plugins.iter().filter(|plugin| plugin.enabled) {
        match in_time(plugin, &config, &placer, &services) {
            Ok(Found { probe, not_granted, description }) => {
                named.see(&description);
                let verdict = match (probe.unsupported.is_empty(), probe.degraded.is_empty()) {
                    (true, true) => "supported",
                    (true, false) => "degraded",
                    (false, _) => "unsupported",
                };
                cannot += usize::from(!probe.unsupported.is_empty());
                print(&format!("{}: {verdict}", plugin.name));
                let lines = [
                    ("missing", &probe.unsupported),
                    ("missing", &probe.degraded),
                    ("not granted", &not_granted),
                    ("found", &probe.notes),
                ];
                for (word, texts) in lines {
                    texts.iter().for_each(|text| print(&format!("  {word}: {}", printable(text))));
                }
            }
            Err(error) => {
                cannot += 1;
                print(&format!("{}: failed\n  {}", plugin.name, printable(&error)));
            }
        }
    }
    if let Some(note) = named.note() {
        print(note);
    }
    if cannot > 0 {
        return Err(Failure::no(format!("{} cannot run on this node", counted(cannot, "enabled plugin"))));
    }
    Ok(())
}

/// What is found of one plugin.
struct Found {
    probe: Probe,
    /// Capabilities that it does not get in its process.
    not_granted: Vec<String>,
    description: Description,
}

/// A person waits for it.
const DEADLINE: Duration = Duration::from_secs(10);

/// On a thread of its own, which is left behind where it does not come back.
fn in_time(
    plugin: &PluginConfig,
    config: &Arc<Config>,
    placer: &Arc<Placer>,
    services: &Services,
) -> Result<Found, String> {
    let (done, answer) = mpsc::channel();
    let (plugin, config, placer, services) =
        (plugin.clone(), config.clone(), placer.clone(), services.clone());
    std::thread::spawn(move || {
        // Nobody waits any more after the deadline.
        let _ = done.send(probe(&plugin, &config, &placer, &services));
    });
    let late = |_| Err(format!("its probe did not come back within {} s", DEADLINE.as_secs()));
    answer.recv_timeout(DEADLINE).unwrap_or_else(late)
}

fn probe(
    plugin: &PluginConfig,
    config: &Config,
    placer: &Placer,
    services: &Services,
) -> Result<Found, String> {
    let mut log = |line: String| say(&format!("gantry: note: {line}"));
    let loaded = verify(plugin, &config.host.plugin_dirs)
        .and_then(|verified| load(plugin, verified, placer, &mut log))
        .map_err(|error| error.to_string())?;
    let host = services.for_plugin(&loaded.verified.manifest);
    let level = config.host.log.of(&plugin.name) as u32;
    let instance = match loaded.verified.isolation {
        Isolation::None => {
            let library = Library::open(loaded.place.path()).map_err(|error| error.to_string())?;
            library.create(host, level).map_err(|error| error.to_string())?
        }
        Isolation::Process => {
            let launched = isolation::launch(&loaded, level, host).map_err(|error| error.to_string())?;
            let (instance, lacks) = launched.create().map_err(|error| error.to_string())?;
            lacks.iter().for_each(|lack| log(format!("{} is confined without {lack}", plugin.name)));
            instance
        }
    };
    let probe = instance.probe(&plugin.table.to_json()).map_err(|error| error.to_string())?;
    Ok(Found { probe, not_granted: loaded.verified.not_granted(), description: loaded.probed.description })
}
