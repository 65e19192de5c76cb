//! Looking at everything that a configuration wants, before anything changes.

use super::plan::{Present, Step, differs, step, wanted};
use super::{Refused, blocking};
use crate::agent::Agent;
use crate::config::{Config, PluginConfig};
use crate::loader::Loaded;
use crate::supervisor::{Chosen, NoChoice, Parts, State, Unfit, Unit, chosen, examine};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A step, with what it needs.
#[derive(Debug)]
pub struct Examined {
    pub config: PluginConfig,
    pub step: Step,
    pub loaded: Option<Arc<Loaded>>,
    /// Why its file cannot be used; where something runs already, that goes on.
    pub file_problem: Option<String>,
    /// The file was rolled back from, and is not taken.
    pub held: bool,
    /// Files of it that may be newer and cannot be used.
    pub passed_over: Vec<String>,
}

/// In tables, of a plugin whose file is not what it runs: until somebody looks
/// again nothing more is known.
pub const OTHER: &str = "file differs; gantry reload";
pub const UNUSABLE: &str = "file is not usable; gantry check";

/// How the file on the disk differs from the one that a plugin runs.
pub async fn on_disk(unit: &Unit) -> Result<Option<(&'static str, String)>, Refused> {
    let status = unit.status();
    let Some(runs) = status.digest().map(str::to_owned) else { return Ok(None) };
    if unit.is_apart() {
        return Ok(None);
    }
    let (config, parts) = (unit.config(), unit.parts().clone());
    blocking(move || match chosen(&parts, &config, &parts.plugin_dirs()) {
        Ok(found) if found.verified.bytes.digest == runs => None,
        Ok(found) => {
            let lies = found.verified.source.display();
            Some((OTHER, format!("{lies} is not the file that it runs; `gantry reload` takes it over")))
        }
        Err(NoChoice::Held { instead, .. }) if instead == runs => None,
        Err(why) => Some((UNUSABLE, format!("it runs the file that was loaded; the one on the disk: {why}"))),
    })
    .await
}

/// Loading ends within it: the child that tries a library is killed after 10 s.
const LOAD_WAIT: Duration = Duration::from_secs(12);

/// Which file a plugin runs is known when it is loaded.
async fn loaded(unit: &Arc<Unit>) {
    let loads = |state| matches!(state, State::Discovered | State::Verified | State::Probed);
    unit.until(|unit| !loads(unit.state())).await;
}

/// What each section needs, in their order; or all that is wrong with them.
pub async fn all(agent: &Agent, config: &Config) -> Result<Vec<Examined>, Refused> {
    let all_loaded = async {
        for unit in agent.fleet.units().iter() {
            loaded(unit).await;
        }
    };
    // What takes longer is looked at as one that has no file yet.
    let _ = tokio::time::timeout(LOAD_WAIT, all_loaded).await;
    let looking: Vec<_> = config
        .plugins
        .iter()
        .map(|section| {
            let (unit, parts) = (agent.fleet.unit(&section.name), agent.fleet.parts().clone());
            let (section, dirs) = (section.clone(), config.host.plugin_dirs.clone());
            // Side by side: each may start a child.
            tokio::task::spawn_blocking(move || {
                let word = unit.as_deref().and_then(Unit::until_restart);
                one(unit.as_deref(), &parts, section, word, &dirs)
            })
        })
        .collect();
    let (mut examined, mut problems) = (Vec::new(), Vec::new());
    for one in looking {
        match one.await {
            Ok(Ok(one)) => examined.push(one),
            Ok(Err(wrong)) => problems.extend(wrong),
            Err(error) => problems.push(format!("{error}; that is a fault of the host")),
        }
    }
    if problems.is_empty() { Ok(examined) } else { Err(problems) }
}

/// One section, by a new word of the operator: an earlier one counts no more.
pub async fn section(agent: &Agent, section: PluginConfig) -> Result<Examined, Refused> {
    let (unit, parts) = (agent.fleet.unit(&section.name), agent.fleet.parts().clone());
    if let Some(unit) = &unit {
        let _ = tokio::time::timeout(LOAD_WAIT, loaded(unit)).await;
    }
    let dirs = parts.plugin_dirs();
    blocking(move || one(unit.as_deref(), &parts, section, None, &dirs)).await?
}

fn one(
    unit: Option<&Unit>,
    parts: &Parts,
    config: PluginConfig,
    until_restart: Option<bool>,
    plugin_dirs: &[PathBuf],
) -> Result<Examined, Refused> {
    let status = unit.map(Unit::status);
    let now = unit.map(Unit::config);
    let present = unit.zip(now.as_deref()).zip(status.as_ref()).map(|((unit, config), status)| Present {
        config,
        wanted: unit.wanted(),
        until_restart,
        works: matches!(status.state, State::Running | State::Degraded) || !status.state.settled(),
        digest: status.digest(),
    });
    let mut file_problem = None;
    let (mut digest, mut held, mut isolation, mut passed_over) = (None, false, None, Vec::new());
    // What an operator put in its place stays as long as its section does.
    let apart = unit.is_some_and(Unit::is_apart) && present.is_some_and(|now| !differs(now.config, &config));
    if apart {
        digest = present.and_then(|now| now.digest.map(str::to_owned));
    } else if wanted(present, &config) {
        match chosen(parts, &config, plugin_dirs) {
            Ok(Chosen { verified, held: is_held }) => {
                (held, isolation) = (is_held, Some(verified.isolation));
                (digest, passed_over) = (Some(verified.bytes.digest), verified.passed_over);
            }
            // It runs, though it could not be started anew.
            Err(NoChoice::Held { instead, .. })
                if present.is_some_and(|now| now.digest == Some(&instead)) =>
            {
                (held, digest) = (true, Some(instead));
            }
            Err(error) => file_problem = Some(error.to_string()),
        }
    }
    let mut step = step(present, &config, digest.as_deref());
    // As one that was kept apart, and is not any more.
    let elsewhere = isolation.is_some()
        && status.as_ref().is_some_and(|now| now.isolation().is_some_and(|now| Some(now) != isolation));
    if elsewhere && matches!(step, Step::Nothing | Step::Settings | Step::Reconfigure) {
        step = Step::Replace;
    }
    if held && present.is_some_and(|now| now.works && now.digest == digest.as_deref()) {
        // It goes on with the section that it was rolled back to.
        step = Step::Nothing;
    }
    let mut loaded = None;
    if step.examines() && file_problem.is_none() {
        match examine(parts, &config, plugin_dirs) {
            Ok((good, _)) => loaded = Some(Arc::new(good)),
            Err(Unfit::File(why)) => file_problem = Some(why),
            Err(Unfit::Table(problems)) => return Err(problems),
        }
    }
    Ok(Examined { config, step, loaded, file_problem, held, passed_over })
}
