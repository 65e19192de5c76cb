//! `enable`, `disable` and `restart` of one plugin.

use super::examine::{self, Examined};
use super::plan::Step;
use super::report::Report;
use super::{Refused, apply, blocking, upgrade};
use crate::agent::Agent;
use crate::config::{self, Config, PluginConfig};
use crate::records::{Entry, What};
use crate::supervisor::{Event, Unit};
use std::sync::Arc;

/// Switches a plugin on or off. Unless it is only until the agent ends, the
/// configuration's file is edited first: what cannot be written does not run.
pub async fn switch(
    agent: &Arc<Agent>,
    name: &str,
    on: bool,
    until_restart: bool,
) -> Result<Report, Refused> {
    let _turn = agent.changes.turn().await?;
    let outcome =
        if until_restart { for_now(agent, name, on).await } else { in_the_file(agent, name, on).await };
    let word = if on { "enable" } else { "disable" };
    match &outcome {
        Ok(report) => report.lines.iter().for_each(|line| tracing::info!("{word}: {}", line.text)),
        Err(why) => tracing::warn!("{word} {name}: refused: {}", why.join("; ")),
    }
    agent.notifier.status(&agent.summary());
    outcome
}

/// Makes a plugin anew.
pub async fn restart(agent: &Arc<Agent>, name: &str) -> Result<Report, Refused> {
    let _turn = agent.changes.turn().await?;
    let unit = agent.fleet.unit(name).ok_or_else(|| unknown(agent, name))?;
    if !unit.wanted() {
        return Err(vec![format!("{name} is disabled; `gantry enable {name}` starts it")]);
    }
    tracing::info!("plugin {name}: restart on request");
    let from = unit.status().loaded.map(|loaded| upgrade::file(&loaded));
    unit.parts().records.happened(name, Entry::now(What::Restart, from, None, "on request"));
    if unit.forgive() {
        // What is loaded is for a process of its own.
        unit.set_loaded(None, false);
    }
    unit.apply(Event::Restart);
    let mut report = Report::default();
    apply::settled(&unit, Step::Replace, &mut report).await;
    // Whoever put a new file there may expect it to run now.
    let differs = examine::on_disk(&unit).await?;
    unit.change(|status| status.file_note = differs.as_ref().map(|(note, _)| *note));
    if let Some((_, why)) = differs {
        tracing::warn!("plugin {name}: {why}");
        report.good(format!("{name}: {why}"));
    }
    Ok(report)
}

fn unknown(agent: &Agent, name: &str) -> Refused {
    vec![agent.no_plugin(name)]
}

async fn for_now(agent: &Arc<Agent>, name: &str, on: bool) -> Result<Report, Refused> {
    let unit = agent.fleet.unit(name);
    if !on {
        let unit = unit.ok_or_else(|| unknown(agent, name))?;
        let differs = unit.config().enabled;
        unit.set_until_restart(differs.then_some(false));
        unit.apply(Event::Disable);
        let mut report = Report::default();
        apply::settled(&unit, Step::Stop, &mut report).await;
        return Ok(report);
    }
    if let Some(unit) = unit.as_ref().filter(|unit| unit.wanted()) {
        // What it runs, and by whose word, stays: there is nothing to look at.
        let mut report = Report::default();
        report.good(format!("{}: {}, as it was already", unit.name(), unit.status().state.as_str()));
        return Ok(report);
    }
    let config = match &unit {
        Some(unit) => unit.config().as_ref().clone(),
        None => PluginConfig::unnamed(name),
    };
    let enabled = config.enabled;
    // A name that stands nowhere may be that of a plugin in the usual places.
    let examined = examine::section(agent, PluginConfig { enabled: true, ..config.clone() }).await?;
    refuse_unusable(&examined, name)?;
    let unit = unit.unwrap_or_else(|| add(agent, config.clone()));
    unit.set_until_restart((!enabled).then_some(true));
    begin(&unit, Examined { config, step: Step::Start, ..examined }).await
}

async fn in_the_file(agent: &Arc<Agent>, name: &str, on: bool) -> Result<Report, Refused> {
    let file = agent.file.clone();
    let whole = |why: String| vec![format!("{}: {why}", agent.file.display())];
    let text = blocking(move || config::read(&file)).await?.map_err(whole)?;
    let lines = |problems: Vec<config::Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    // What an operator did not ask for must not come with it unseen.
    let config = config::check(&agent.file, &text).map_err(lines)?;
    if !on && agent.fleet.unit(name).is_none() && !config.plugins.iter().any(|section| section.name == name) {
        return Err(unknown(agent, name));
    }
    let edited = config::set_enabled(&text, name, on).map_err(whole)?;
    let new: Config = config::check(&agent.file, &edited).map_err(lines)?;
    let section = new.plugins.iter().find(|section| section.name == name).cloned();
    let section = section.ok_or_else(|| unknown(agent, name))?;
    let examined = examine::section(agent, section.clone()).await?;
    if on {
        refuse_unusable(&examined, name)?;
    }
    let file = agent.file.clone();
    if edited != text {
        blocking(move || config::replace(&file, &text, &edited)).await?.map_err(|why| vec![why])?;
    }
    let unit =
        agent.fleet.unit(name).unwrap_or_else(|| add(agent, PluginConfig { enabled: false, ..section }));
    let wanted_before = unit.wanted();
    unit.set_until_restart(None);
    // An operator's earlier word may have done already what the file says now.
    let step = match (on, wanted_before, examined.step) {
        (true, false, _) => Step::Start,
        (false, true, _) => Step::Stop,
        (.., Step::Settings) => Step::Nothing,
        (.., step) => step,
    };
    let mut report = begin(&unit, Examined { step, ..examined }).await?;
    if report.lines.is_empty() {
        let word = if on { "enabled" } else { "disabled" };
        report.good(format!("{name}: {word}, as it was already"));
    }
    Ok(report)
}

fn refuse_unusable(examined: &Examined, name: &str) -> Result<(), Refused> {
    match &examined.file_problem {
        Some(problem) => Err(vec![format!("{name}: {problem}")]),
        None => Ok(()),
    }
}

fn add(agent: &Agent, config: PluginConfig) -> Arc<Unit> {
    let unit = Unit::new(config, agent.fleet.parts().clone());
    let mut units = agent.fleet.units().to_vec();
    units.push(unit.clone());
    agent.fleet.set_units(units);
    agent.scraper.forget();
    unit
}

async fn begin(unit: &Arc<Unit>, examined: Examined) -> Result<Report, Refused> {
    let mut report = Report::default();
    let word = unit.until_restart();
    let step = apply::one(unit, examined, &mut report).await;
    unit.set_until_restart(word);
    apply::settled(unit, step, &mut report).await;
    Ok(report)
}
