//! `gantry check`: every problem of the configuration and of the plugin files
//! it names, enabled or not.

use super::named::Named;
use super::state::StateDir;
use super::{Failure, Outcome, counted, print, say};
use crate::cli::Places;
use crate::config::{Config, PluginConfig, examine};
use crate::loader::{Placer, load, verify};
use crate::metrics::own::Own;
use crate::supervisor::config_problems;
use gantry_exposition::Registry;
use std::path::Path;

pub fn run(places: &Places) -> Outcome {
    let file = places.config();
    let (config, problems) = examine(&file);
    problems.iter().for_each(|problem| say(&problem.to_string()));
    let mut wrong = problems.len();
    let config = config.ok_or_else(|| failure(wrong, &file))?;
    let state = StateDir::for_command(places.state_dir.as_deref())?;
    let placer = Placer::new(state.path());
    let mut registry = Registry::new();
    Own::new().register(&mut registry);
    let mut named = Named::default();
    for plugin in &config.plugins {
        let mut log = |line: String| say(&format!("gantry: note: {line}"));
        let loaded = verify(plugin, &config.host.plugin_dirs)
            .and_then(|verified| load(plugin, verified, &placer, &mut log));
        let problems = match loaded {
            Ok(loaded) => {
                for lacking in loaded.verified.not_granted() {
                    say(&format!("gantry: note: {}", at(&config, plugin, &lacking)));
                }
                let mut problems = config_problems(&config.file, plugin, &loaded);
                let described = &loaded.probed.description;
                if plugin.enabled {
                    named.see(described);
                }
                let registered =
                    registry.register(&plugin.name, &described.manifest.claims, &described.families);
                let refusals = registered.refusals.into_iter();
                problems.extend(refusals.map(|refusal| at(&config, plugin, &refusal.message)));
                problems
            }
            Err(error) => vec![at(&config, plugin, &error.to_string())],
        };
        wrong += problems.len();
        for problem in problems {
            say(&problem);
        }
    }
    if let Some(note) = named.note() {
        say(&format!("gantry: note: {note}"));
    }
    if wrong > 0 {
        return Err(failure(wrong, &config.file));
    }
    let count = counted(config.plugins.len(), "plugin");
    print(&format!("{}: good; {count}", config.file.display()));
    Ok(())
}

fn failure(wrong: usize, file: &Path) -> Failure {
    Failure::no(format!("{} in {}", counted(wrong, "problem"), file.display()))
}

fn at(config: &Config, plugin: &PluginConfig, problem: &str) -> String {
    let (line, column) = plugin.place;
    format!("{}:{line}:{column}: [plugins.{}]: {problem}", config.file.display(), plugin.name)
}
