//! Loading plugins side by side, and starting them one after the other.

use super::life::{Event, Failure, Progress};
use super::parts::Parts;
use super::unit::Unit;
use crate::config::{PluginConfig, table_problems};
use crate::loader::{LoadError, Loaded, Verified, load, verify, verify_stored};
use crate::records::Stored;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Loading takes 20 ms; what takes this long is busy or broken.
const ORDER_WAIT: Duration = Duration::from_secs(2);

/// Launches these attempts on threads of their own. Names of metrics go to
/// plugins in this order; one that takes longer to load than [`ORDER_WAIT`]
/// comes after those that do not.
pub fn side_by_side(launches: Vec<(Arc<Unit>, u64)>) {
    let first = launches.first().cloned();
    let spawned = std::thread::Builder::new().name("launch".to_owned()).spawn(move || in_order(&launches));
    if let (Err(error), Some((unit, attempt))) = (spawned, first) {
        // The others, if any, find out by their own time-outs.
        could_not(&unit, attempt, &error);
    }
}

fn in_order(launches: &[(Arc<Unit>, u64)]) {
    let (sender, loaded) = mpsc::channel();
    let mut awaited = 0;
    for (place, (unit, attempt)) in launches.iter().enumerate() {
        let (to_load, sender, attempt) = (unit.clone(), sender.clone(), *attempt);
        let name = format!("load:{}", unit.name());
        let thread = std::thread::Builder::new().name(name[..name.len().min(15)].to_owned());
        // Whoever waits has given up only when the agent ends.
        let spawned = thread.spawn(move || drop(sender.send((place, load_unit(&to_load, attempt)))));
        match spawned {
            Ok(_) => awaited += 1,
            Err(error) => could_not(unit, attempt, &error),
        }
    }
    drop(sender);
    let until = Instant::now() + ORDER_WAIT;
    let mut early = Vec::new();
    while early.len() < awaited {
        match loaded.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(one) => early.push(one),
            Err(_) => break,
        }
    }
    early.sort_by_key(|(place, _)| *place);
    for (place, loaded) in early.into_iter().chain(loaded.iter()) {
        let (unit, attempt) = &launches[place];
        if let Some(loaded) = loaded {
            unit.start(*attempt, loaded);
        }
    }
}

fn could_not(unit: &Arc<Unit>, attempt: u64, error: &std::io::Error) {
    let why = format!("the thread that loads it could not be started: {error}");
    unit.apply(Event::Of(attempt, Progress::Failed(Failure::Fault(why))));
}

/// What the attempt runs: what the one before ran, or what lies on the disk.
fn load_unit(unit: &Arc<Unit>, attempt: u64) -> Option<Arc<Loaded>> {
    let say = |progress| unit.apply(Event::Of(attempt, progress));
    unit.take_kept();
    let known = unit.status();
    let loaded = match known.loaded {
        Some(loaded) => Ok((loaded, known.stands_in)),
        None => examine(&unit.parts, &unit.config(), &unit.parts.plugin_dirs())
            .map(|(loaded, held)| (Arc::new(loaded), held))
            .map_err(|why| why.to_string()),
    };
    match loaded {
        Ok((loaded, held)) => {
            say(Progress::Verified);
            say(Progress::Probed);
            if unit.is_current(attempt) {
                unit.change(|status| (status.loaded, status.stands_in) = (Some(loaded.clone()), held));
                // One that was missing or half there at the start comes later.
                if unit.take_first_load() {
                    unit.resume_probation(&loaded, held);
                }
            }
            Some(loaded)
        }
        Err(why) => {
            say(Progress::Failed(Failure::Fault(why)));
            None
        }
    }
}

/// Why a plugin cannot be loaded as its configuration wants it.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Something is wrong with its file.
    #[error("{0}")]
    File(String),
    /// Something is wrong with its own table: every problem, with its place.
    #[error("{}", .0.join("; "))]
    Table(Vec<String>),
}

/// Loads a plugin as a configuration wants it; whether that stands in for a file
/// that was rolled back from. `plugin_dirs` may be those of a configuration that
/// is not in force yet.
pub fn examine(
    parts: &Parts,
    config: &PluginConfig,
    plugin_dirs: &[PathBuf],
) -> Result<(Loaded, bool), Unfit> {
    let Chosen { verified, held } =
        chosen(parts, config, plugin_dirs).map_err(|error| Unfit::File(error.to_string()))?;
    examine_verified(parts, config, verified).map(|loaded| (loaded, held))
}

/// The file that a configuration names; or, where that was rolled back from and
/// neither it nor its section changed since, what ran before.
pub fn chosen(parts: &Parts, config: &PluginConfig, plugin_dirs: &[PathBuf]) -> Result<Chosen, NoChoice> {
    let in_force = &parts.crashes.in_force(config);
    let verified = verify(in_force, plugin_dirs)?;
    let lineage = parts.records.lineage(&config.name);
    match lineage.instead(&verified.bytes.digest, &config.fingerprint()) {
        Some(held) => {
            let (verified, from) = stored(in_force, &held.instead).map_err(|error| NoChoice::Held {
                instead: held.instead.digest.clone(),
                why: format!(
                    "{} was rolled back from, and what ran before cannot be used ({error}); `gantry upgrade {} FILE` \
                     takes another, or change its section",
                    verified.source.display(),
                    config.name
                ),
            })?;
            if let Some(from) = from {
                tracing::warn!("plugin {}: {from}", config.name);
            }
            Ok(Chosen { verified, held: true })
        }
        None => Ok(Chosen { verified, held: false }),
    }
}

/// What a configuration leads to.
#[derive(Debug)]
pub struct Chosen {
    pub verified: Verified,
    /// It stands in for a file that was rolled back from.
    pub held: bool,
}

/// Why a configuration leads to no file.
#[derive(Debug, thiserror::Error)]
pub enum NoChoice {
    #[error(transparent)]
    File(#[from] LoadError),
    /// It names a file that was rolled back from, and what ran before is not on
    /// the disk any more; it may run still.
    #[error("{why}")]
    Held {
        /// Of what ran before.
        instead: String,
        why: String,
    },
}

/// A file that ran before: from the store; where that has it no more, from where
/// it lay, if it still does. The text says that it was taken from there, and why.
pub fn stored(config: &PluginConfig, stored: &Stored) -> Result<(Verified, Option<String>), LoadError> {
    let at = |file: &Path| verify_stored(config, file, &stored.digest, stored.vendor);
    let (mut verified, instead) = match at(&stored.file) {
        Ok(verified) => (verified, None),
        Err(why) if stored.file != stored.source => {
            let found = at(&stored.source).map_err(|there| LoadError(format!("{why}; {there}")))?;
            let from = format!(
                "it is taken from {}, where the same file still lies; {why}",
                stored.source.display()
            );
            (found, Some(from))
        }
        Err(why) => return Err(why),
    };
    verified.source.clone_from(&stored.source);
    Ok((verified, instead))
}

/// Loads what was verified.
pub fn examine_verified(parts: &Parts, config: &PluginConfig, verified: Verified) -> Result<Loaded, Unfit> {
    let mut log = |line: String| tracing::warn!("plugin {}: {line}", config.name);
    let loaded =
        load(config, verified, &parts.placer, &mut log).map_err(|error| Unfit::File(error.to_string()))?;
    let problems = config_problems(&parts.file, config, &loaded);
    if problems.is_empty() { Ok(loaded) } else { Err(Unfit::Table(problems)) }
}

/// What is wrong with a plugin's own table, by its schema and by its own word.
pub fn config_problems(file: &Path, config: &PluginConfig, loaded: &Loaded) -> Vec<String> {
    let problems = table_problems(file, config, &loaded.probed.violations);
    problems.iter().map(ToString::to_string).collect()
}

impl Unit {
    /// Registers what it declares, and makes room for its series; those that
    /// the instance before had go on. `false` where the attempt is over.
    pub(super) fn register(&self, attempt: u64, loaded: &Loaded) -> bool {
        // Held throughout: what is forgotten when it is disabled must not come back.
        let life = super::lock(&self.life);
        if !life.is_current(attempt) {
            return false;
        }
        let description = &loaded.probed.description;
        let registered =
            self.parts.registry().register(self.name(), &description.manifest.claims, &description.families);
        let refused = registered.families.iter().filter(|family| family.refused.is_some()).count();
        self.change(|status| status.refused = refused);
        let refusals: Vec<String> = registered.refusals.into_iter().map(|refusal| refusal.message).collect();
        let mut said = super::lock(&self.refusals);
        // At each new attempt of a plugin that fails they are no news.
        if *said != refusals {
            refusals.iter().for_each(|refusal| tracing::error!("plugin {refusal}"));
            *said = refusals;
        }
        drop(said);
        let max_series = self.config().max_series;
        let mut table = self.series.table();
        self.series.set_owner(attempt);
        match table.as_mut() {
            Some(table) => {
                table.set_families(registered.families);
                table.set_max_series(max_series);
            }
            None => {
                let mut new = gantry_exposition::Table::new(registered.families, max_series);
                // Shown by the agent before this one.
                new.remember(&std::mem::take(&mut *super::lock(&self.marks)));
                *table = Some(new);
            }
        }
        if self.instances.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0 {
            self.parts.own.restarted(self.name());
        }
        true
    }
}
