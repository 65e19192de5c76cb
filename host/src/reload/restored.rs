//! After a crash of the agent: what runs in the place of a file that was on
//! probation is what the configuration names from then on, as after a rollback
//! while the agent runs. Else an edit of anything in that section would bring
//! back what took the agent down.
//!
//! A file that cannot be edited stays as it is, and so does one whose edit would
//! not lead to what runs: what it names is held back, while its section stays.

use crate::agent::Agent;
use crate::config::{self, PluginConfig, Prepared};
use crate::loader::verify;
use crate::records::{Held, Lineage};
use std::path::Path;

/// For the start of the agent, before any plugin's: `plugins` were rolled back by it.
pub fn name_restored(agent: &Agent, plugins: &[String]) {
    for plugin in plugins {
        match named(agent, plugin) {
            Ok(true) => tracing::info!("plugin {plugin}: {} names what runs", agent.file.display()),
            Ok(false) => {}
            Err(why) => tracing::warn!(
                "plugin {plugin}: what its section names is not taken while that section stays as it is: {why}"
            ),
        }
    }
}

/// Whether the file was edited.
fn named(agent: &Agent, plugin: &str) -> Result<bool, String> {
    let parts = agent.fleet.parts();
    let Some(unit) = agent.fleet.unit(plugin) else { return Ok(false) };
    let lineage = parts.records.lineage(plugin);
    let Some(held) = lineage.held.clone() else { return Ok(false) };
    let (now, instead) = (unit.config(), &held.instead);
    if (&now.path, &now.sha256) == (&instead.path, &instead.sha256) {
        return Ok(false);
    }
    let text = config::read(&agent.file)?;
    if section_of(&agent.file, &text, plugin)?.fingerprint() != now.fingerprint() {
        return Err(format!("{} changed since the agent read it", agent.file.display()));
    }
    let path =
        instead.path.as_deref().map(|path| path.to_str().ok_or("its path is not UTF-8")).transpose()?;
    let new = config::set_text(&text, plugin, "path", path)?;
    let new = config::set_text(&new, plugin, "sha256", instead.sha256.as_deref())?;
    let section = section_of(&agent.file, &new, plugin)?;
    // To what runs, or to what that stands in for.
    let found = verify(&section, &parts.plugin_dirs()).map(|verified| verified.bytes.digest);
    if !found.is_ok_and(|digest| [&instead.digest, &held.digest].contains(&&digest)) {
        return Err(format!("{} is not there any more as it ran", instead.source.display()));
    }
    Prepared::new(&agent.file, &text, &new)?.take_place()?;
    let held = Some(Held { section: section.fingerprint(), ..held });
    parts.records.set_lineage(plugin, Lineage { held, ..lineage });
    let mut config = agent.config().as_ref().clone();
    config.plugins.iter_mut().filter(|known| known.name == plugin).for_each(|known| *known = section.clone());
    unit.set_config(section);
    agent.set_config(config);
    Ok(true)
}

fn section_of(file: &Path, text: &str, plugin: &str) -> Result<PluginConfig, String> {
    let config = config::check(file, text)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let section = config.plugins.into_iter().find(|section| section.name == plugin);
    section.ok_or_else(|| format!("{} has no section [plugins.{plugin}] any more", file.display()))
}
