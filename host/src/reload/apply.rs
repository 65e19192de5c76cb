//! The steps of a change.

use super::examine::{self, Examined};
use super::needs_start;
use super::plan::{Step, differs};
use super::report::Report;
use super::upgrade;
use crate::agent::Agent;
use crate::capabilities::dropped_wish;
use crate::config::{Config, PluginConfig};
use crate::loader::Loaded;
use crate::supervisor::{Event, Generation, State, Unit};
use std::sync::Arc;
use std::time::Duration;

/// Whoever asked waits so long for plugins to start; what takes longer is
/// reported as starting.
const START_WAIT: Duration = Duration::from_secs(10);

/// A stop takes 5 s at most, after which the thread is left behind.
const STOP_WAIT: Duration = Duration::from_secs(7);

/// All steps; the plugins that are touched settle side by side.
pub async fn all(agent: &Arc<Agent>, config: Config, examined: Vec<Examined>) -> Report {
    let mut report = Report::default();
    host(agent, &config, &mut report);
    let gone: Vec<Arc<Unit>> = agent
        .fleet
        .units()
        .iter()
        .filter(|unit| !config.plugins.iter().any(|section| section.name == unit.name()))
        .cloned()
        .collect();
    // One that the operator started without a section stays, by that word.
    let (stay, gone): (Vec<_>, Vec<_>) =
        gone.into_iter().partition(|unit| unit.until_restart() == Some(true) && !unit.config().enabled);
    // Of what never ran there is nothing to wait for, and nothing that ended.
    let (idle, gone): (Vec<_>, Vec<_>) = gone.into_iter().partition(|unit| unit.state() == State::Disabled);
    for unit in &gone {
        unit.apply(Event::Disable);
    }
    let mut units = Vec::new();
    for one in &examined {
        units.push(agent.fleet.unit(&one.config.name).unwrap_or_else(|| {
            if one.step == Step::Nothing {
                report.good(format!("{}: added, not enabled", one.config.name));
            }
            let parts = agent.fleet.parts().clone();
            Unit::new(one.config.clone(), parts)
        }));
    }
    units.extend(stay);
    idle.iter().for_each(|unit| report.good(format!("{}: removed, was not enabled", unit.name())));
    // Those that go are shown until they have gone.
    agent.fleet.set_units(units.iter().chain(&gone).cloned().collect());
    let mut going = Vec::new();
    for one in examined {
        if let Some(unit) = agent.fleet.unit(&one.config.name) {
            going.push(tokio::spawn(whole(unit, one)));
        }
    }
    going.extend(gone.into_iter().map(|unit| tokio::spawn(gone_for_good(unit))));
    for one in going {
        match one.await {
            Ok(lines) => report.lines.extend(lines.lines),
            Err(error) => report.bad(format!("{error}; that is a fault of the host")),
        }
    }
    agent.fleet.set_units(units);
    agent.scraper.forget();
    if config.plugins.is_empty() {
        // Good as it is, and seldom meant: an editor that lost the content writes such a file.
        report.good(format!("warning: no plugin is configured in {}", agent.file.display()));
    }
    agent.set_config(config);
    report
}

/// A step, and what came of it.
async fn whole(unit: Arc<Unit>, examined: Examined) -> Report {
    let mut report = Report::default();
    let step = one(&unit, examined, &mut report).await;
    settled(&unit, step, &mut report).await;
    let status = unit.status();
    let runs = status.loaded.as_ref().filter(|_| status.state.collects());
    if let Some(lacks) = runs.and_then(|loaded| dropped_wish(&loaded.verified)) {
        report.good(format!("{}: it runs {lacks}", unit.name()));
    }
    report
}

async fn gone_for_good(unit: Arc<Unit>) -> Report {
    let mut report = Report::default();
    settled(&unit, Step::Stop, &mut report).await;
    report
}

/// The keys of the host that can change while it runs.
fn host(agent: &Agent, new: &Config, report: &mut Report) {
    let old = agent.config();
    let keys = needs_start(&agent.started_with, &new.host, agent.listen_given);
    if !keys.is_empty() {
        report.good(format!(
            "host.{} differs; it takes effect when the agent is started anew",
            keys.join(", host.")
        ));
    }
    if old.host.stale != new.host.stale {
        agent.scraper.set_stale(new.host.stale);
        report.good("host.stale is in force");
    }
    if old.host.plugin_dirs != new.host.plugin_dirs {
        agent.fleet.parts().set_plugin_dirs(&new.host.plugin_dirs);
        report.good("host.plugin_dirs is in force");
    }
    if old.host.probation != new.host.probation {
        agent.fleet.parts().troubles.set_span(new.host.probation);
        report.good("host.probation is in force, for upgrades from now on");
    }
    if old.host.watch_plugins != new.host.watch_plugins {
        report.good("host.watch_plugins is in force");
    }
    if old.host.identity != new.host.identity {
        agent.fleet.parts().services.identity.set_rules(&new.host.identity);
        report.good("host.identity is in force");
    }
    if old.host.log != new.host.log {
        agent.set_log_levels(&new.host.log);
        report.good("host.log is in force");
    }
}

/// Begins a step, and says what became of it: a plugin that takes a new table
/// while it runs needs no other step.
pub async fn one(unit: &Arc<Unit>, examined: Examined, report: &mut Report) -> Step {
    let Examined { config, step, loaded, file_problem, held, passed_over } = examined;
    let name = unit.name().to_owned();
    passed_over.iter().for_each(|file| report.good(format!("{name}: warning: {file}")));
    // What comes anew brings its own word of that.
    let stays = file_problem.is_none() && !matches!(step, Step::Start | Step::Replace);
    unit.change(|status| {
        status.file_note = file_problem.is_some().then_some(examine::UNUSABLE);
        if stays {
            status.stands_in = held;
        }
    });
    if held {
        report.good(format!(
            "{name}: its file was rolled back from and is not taken until it or its section changes; `gantry upgrade` \
             takes it"
        ));
        if step == Step::Nothing {
            return step;
        }
    }
    if let Some(problem) = &file_problem {
        report.bad(format!("{name}: {problem}"));
        // What runs goes on as it is; what does not run is tried, and says why it cannot.
        if matches!(step, Step::Reconfigure | Step::Replace) && unit.state().collects() {
            return Step::Nothing;
        }
    }
    if differs(&unit.config(), &config) {
        // The file has spoken anew.
        unit.forgive();
        unit.set_until_restart(None);
        // What ran by a word does so until another takes its place.
        if unit.is_apart() && !matches!(step, Step::Replace | Step::Reconfigure) {
            upgrade::adopted(unit).await;
        }
    }
    let table = config.table.to_json();
    match step {
        Step::Nothing => {
            // Line numbers may differ.
            unit.set_config(config);
        }
        Step::Settings => {
            unit.set_config(config);
            let what = if unit.wanted() { "its settings are in force" } else { "changed, not enabled" };
            report.good(format!("{name}: {what}"));
        }
        Step::Start => {
            unit.set_config(config);
            unit.set_loaded(loaded, held);
            unit.apply(Event::Enable);
        }
        Step::Stop => {
            unit.set_config(config);
            unit.apply(Event::Disable);
        }
        Step::Replace => {
            return replace(unit, config, loaded.map(|loaded| (loaded, held)), step, report).await;
        }
        Step::Reconfigure => match unit.reconfigure(table).await {
            Ok(true) => {
                unit.set_config(config);
                if unit.is_apart() {
                    upgrade::adopted(unit).await;
                }
                report.good(format!("{name}: took its new configuration while running"));
                return Step::Nothing;
            }
            Ok(false) => {
                return replace(unit, config, loaded.map(|loaded| (loaded, held)), step, report).await;
            }
            // The old one stays in force.
            Err(why) => {
                report.bad(format!("{name}: its new configuration is not in force: {why}"));
                return Step::Nothing;
            }
        },
    }
    step
}

/// Another generation in the place of what runs; that goes on if the other cannot.
/// With its file comes whether that stands in for one that was rolled back from.
async fn replace(
    unit: &Arc<Unit>,
    config: PluginConfig,
    loaded: Option<(Arc<Loaded>, bool)>,
    step: Step,
    report: &mut Report,
) -> Step {
    match loaded {
        Some((loaded, stands_in)) if unit.state().collects() => {
            let next = Generation { loaded, config, apart: false, stands_in };
            if let Err(why) = upgrade::swapped(unit, next).await {
                report.bad(format!("{}: {why}", unit.name()));
                return Step::Nothing;
            }
        }
        Some((loaded, stands_in)) => {
            upgrade::taken(unit, Generation { loaded, config, apart: false, stands_in }).await;
        }
        None => {
            unit.set_apart(false);
            unit.set_config(config);
            unit.set_loaded(None, false);
            unit.apply(Event::Restart);
        }
    }
    step
}

/// Waits until it is known what came of a step.
pub async fn settled(unit: &Arc<Unit>, step: Step, report: &mut Report) {
    let name = unit.name();
    match step {
        Step::Nothing | Step::Settings => {}
        Step::Stop => {
            let ended = unit.until(|unit| unit.state().ended());
            let in_time = tokio::time::timeout(STOP_WAIT, ended).await.is_ok();
            let status = unit.status();
            match status.reasons.first() {
                None if in_time => report.good(format!("{name}: disabled")),
                None => report.bad(format!("{name}: still stopping")),
                Some(why) => report.bad(format!("{name}: {}: {why}", status.state.as_str())),
            }
        }
        Step::Start | Step::Replace | Step::Reconfigure => {
            let known = unit.until(Unit::is_settled);
            let in_time = tokio::time::timeout(START_WAIT, known).await.is_ok();
            let status = unit.status();
            let state = status.state.as_str();
            let why = status.reasons.join("; ");
            let version =
                status.manifest().map(|manifest| format!(" ({})", manifest.version)).unwrap_or_default();
            match (in_time, status.state.collects(), why.is_empty()) {
                (true, true, true) => report.good(format!("{name}: {state}{version}")),
                (true, true, false) => report.good(format!("{name}: {state}{version}: {why}")),
                (true, false, _) => report.bad(format!("{name}: {state}: {why}")),
                (false, ..) => report.bad(format!("{name}: still {state}; see `gantry plugins`")),
            }
        }
    }
}
