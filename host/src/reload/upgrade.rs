//! `upgrade` and `rollback` of one plugin, and what rolls back by itself.

use super::report::Report;
use super::{Refused, blocking};
use crate::agent::Agent;
use crate::config::{self, Isolation, PluginConfig, Prepared};
use crate::loader::{Loaded, Place, verify};
use crate::records::{Entry, File, Held, Lineage, OnProbation, Ran, Stored, What};
use crate::supervisor::{
    Event, Generation, HELD, InTrouble, Parts, Previous, Probation, Reason, Unfit, Unit, examine_verified,
    record, stored,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A start that is under way is waited for so long.
const START_WAIT: Duration = Duration::from_secs(10);

/// A rollback by itself that cannot be done is tried again: a disk may be full, or
/// a file not be there, for a while only.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// Beyond that, an operator must look at it.
const MOST_TRIES: u32 = 3;

/// Puts a file in the place of what a plugin runs. Unless it is only until the
/// agent ends, the configuration names it from then on.
pub async fn upgrade(
    agent: &Arc<Agent>,
    name: &str,
    file: PathBuf,
    until_restart: bool,
) -> Result<Report, Refused> {
    let _turn = agent.changes.turn().await?;
    let outcome = upgrade_to(agent, name, file, until_restart).await;
    logged(agent, "upgrade", name, &outcome);
    outcome
}

/// Puts what a plugin ran before in the place of what it runs.
pub async fn rollback(agent: &Arc<Agent>, name: &str, until_restart: bool) -> Result<Report, Refused> {
    let _turn = agent.changes.turn().await?;
    let outcome = back(agent, name, "on request", until_restart, false).await;
    logged(agent, "rollback", name, &outcome);
    outcome
}

/// Rolls back what goes wrong on probation, until the agent ends.
pub async fn mind_probation(agent: Arc<Agent>) {
    let Some(mut troubles) = agent.fleet.parts().troubles.take() else { return };
    while let Some(trouble) = troubles.recv().await {
        let InTrouble { plugin: name, digest, why, tries } = &trouble;
        // However many wait: nobody would ask for it again.
        let _turn = agent.changes.turn.lock().await;
        let runs = agent.fleet.unit(name).and_then(|unit| unit.status().digest().map(str::to_owned));
        if runs.as_deref() != Some(digest) {
            // Somebody was faster: what was in trouble is gone.
            continue;
        }
        tracing::error!("plugin {name}: on probation: {why}; it is rolled back");
        let outcome = back(&agent, name, why, false, true).await;
        logged(&agent, "rollback", name, &outcome);
        if outcome.is_err() && *tries < MOST_TRIES {
            let agent = agent.clone();
            tokio::spawn(async move {
                let parts = agent.fleet.parts();
                tokio::time::sleep((parts.troubles.span() / 10).min(TRY_AGAIN)).await;
                parts.troubles.tell_again(trouble);
            });
        }
    }
}

fn logged(agent: &Agent, word: &str, name: &str, outcome: &Result<Report, Refused>) {
    match outcome {
        Ok(report) => report.lines.iter().for_each(|line| tracing::info!("{word}: {}", line.text)),
        Err(why) => tracing::warn!("{word} {name}: refused: {}", why.join("; ")),
    }
    agent.notifier.status(&agent.summary());
}

/// One that may be changed: it is there, shall run, and is not just starting.
async fn running(agent: &Agent, name: &str) -> Result<Arc<Unit>, Refused> {
    let unit = agent.fleet.unit(name).ok_or_else(|| vec![agent.no_plugin(name)])?;
    if !unit.wanted() {
        return Err(vec![format!("{name} is disabled; `gantry enable {name}` starts it")]);
    }
    let _ = tokio::time::timeout(START_WAIT, unit.until(Unit::is_settled)).await;
    Ok(unit)
}

async fn upgrade_to(
    agent: &Arc<Agent>,
    name: &str,
    file: PathBuf,
    until_restart: bool,
) -> Result<Report, Refused> {
    let unit = running(agent, name).await?;
    let text = if until_restart { None } else { Some(in_force(agent, &unit).await?) };
    let at = |why: String| vec![format!("{name}: {why}")];
    let now = unit.config();
    let (wish, parts) =
        (PluginConfig { path: Some(file), sha256: None, ..now.as_ref().clone() }, unit.parts().clone());
    let looked = blocking(move || {
        // No path of the section's, which another message would be about.
        if let Some(Err(error)) = wish.path.as_ref().map(|file| file.metadata()) {
            let file = wish.path.as_deref().unwrap_or(Path::new(""));
            return Err(Unfit::File(format!("{} is not there ({error})", file.display())));
        }
        // As its section says: what another file did is not held against this one.
        let verified = verify(&wish, &parts.plugin_dirs()).map_err(|error| Unfit::File(error.to_string()))?;
        examine_verified(&parts, &wish, verified).map(|loaded| (wish, Arc::new(loaded)))
    });
    let (wish, loaded) = match looked.await? {
        Ok(good) => good,
        Err(Unfit::File(why)) => return Err(at(why)),
        Err(Unfit::Table(problems)) => return Err(problems),
    };
    let digest = loaded.verified.bytes.digest.clone();
    let pin = now.sha256.is_some().then_some(digest.as_str());
    let edit = match text {
        Some(text) => Some(edited(agent, name, text, wish.path.as_deref(), pin).await?),
        None => None,
    };
    let section = edit.as_ref().map_or_else(|| now.as_ref().clone(), |edit| edit.section.clone());
    let mut report = Report::default();
    let ran_in = unit.status().isolation();
    if unit.status().digest() == Some(&digest) {
        // The section may name it in another way now.
        unit.set_config(section);
        report.good(format!("{name}: it runs that file already"));
        if !until_restart {
            unit.set_apart(false);
        }
    } else {
        let next = Generation { loaded, config: section, apart: until_restart };
        swapped(&unit, next).await.map_err(at)?;
        unit.forgive();
        said(&unit, &mut report);
        moved(&unit, ran_in, &mut report);
        unit.set_apart(until_restart);
    }
    finish(&unit, edit, &mut report).await?;
    Ok(report)
}

/// Puts another generation in the place of what runs, and keeps in mind what
/// that was. An error says why that goes on.
pub async fn swapped(unit: &Arc<Unit>, next: Generation) -> Result<(), String> {
    let (before, section) = (unit.loaded(), unit.config());
    let given_up = !unit.state().collects() && unit.is_given_up();
    let digest = &next.loaded.verified.bytes.digest;
    let another = before.as_ref().map(|loaded| &loaded.verified.bytes.digest) != Some(digest);
    let reason = if another { Reason::Upgrade } else { Reason::Reconfigure };
    exchanged(unit, next, reason).await?;
    unit.change(|status| status.file_note = None);
    if another {
        let previous = before.filter(|_| !given_up).map(|loaded| record(&loaded, &section));
        keep_lineage(unit, descent(previous, unit.on_probation())).await;
    }
    Ok(())
}

/// Before it is answered: a crash that follows at once is to know of it.
async fn keep_lineage(unit: &Arc<Unit>, amend: impl FnOnce(Lineage) -> Lineage + Send + 'static) {
    let kept = unit.clone();
    // What was done stays done, whatever becomes of its record.
    let written = blocking(move || kept.parts().records.amend_lineage_now(kept.name(), amend));
    let written = written.await;
    if written != Ok(true) {
        tracing::warn!(
            "plugin {}: the disk of the state directory does not answer: should the agent end now, the next one may \
             not know which file ran before",
            unit.name()
        );
    }
}

/// Beside what runs; where nothing runs, by a new try.
async fn exchanged(unit: &Arc<Unit>, next: Generation, reason: Reason) -> Result<(), String> {
    let was_apart = unit.is_apart();
    if unit.state().collects() {
        let before = version(unit);
        let swapped = unit.swap(next, reason).await;
        return swapped.map_err(|why| {
            if !was_apart {
                unit.set_apart(false);
            }
            format!("{why}; {before} goes on")
        });
    }
    let Generation { loaded, config, apart } = next;
    let (old, old_config, given_up) = (unit.loaded(), unit.config(), unit.is_given_up());
    let (from, to) = (old.as_deref().map(file), Some(file(&loaded)));
    let (good, bad, why) = match &reason {
        Reason::Rollback(why) => (What::Rollback, What::RollbackFailed, why.as_str()),
        Reason::Upgrade => (What::Upgrade, What::UpgradeFailed, ""),
        Reason::Reconfigure => (What::Reconfigure, What::ReconfigureFailed, ""),
    };
    unit.end_probation();
    // It comes by a word, and is no upgrade by the start of the agent.
    let _ = unit.take_first_load();
    if apart {
        unit.set_apart(true);
    }
    unit.set_config(config);
    unit.set_loaded(Some(loaded.clone()));
    unit.apply(Event::Restart);
    let _ = tokio::time::timeout(START_WAIT, unit.until(Unit::is_settled)).await;
    let status = unit.status();
    let records = &unit.parts().records;
    if status.state.collects() {
        records.happened(unit.name(), Entry::now(good, from, to, why));
        let previous = old.map(|loaded| Previous { loaded, config: old_config, apart: was_apart });
        if reason != Reason::Upgrade {
            unit.set_previous(None);
        } else if !given_up {
            unit.set_previous(previous);
            unit.set_probation(unit.probation_of(&loaded));
        }
        return Ok(());
    }
    let why = format!("{}: {}", status.state.as_str(), status.reasons.join("; "));
    records.happened(unit.name(), Entry::now(bad, from, to, &why));
    if !was_apart {
        unit.set_apart(false);
    }
    unit.set_config(old_config.as_ref().clone());
    unit.set_loaded(old);
    unit.apply(Event::Restart);
    Err(format!("{why}; what ran before is tried again"))
}

/// A file that a reload found, where nothing works just now, as in a back-off. It
/// stays, whatever comes of its start, since the configuration names it; only
/// probation takes it back, to what ran before.
pub async fn taken(unit: &Arc<Unit>, loaded: Arc<Loaded>, config: PluginConfig) {
    let (before, section, given_up) = (unit.loaded(), unit.config(), unit.is_given_up());
    let digest = &loaded.verified.bytes.digest;
    let before = before.filter(|before| before.verified.bytes.digest != *digest);
    let probation = unit.probation_of(&loaded).filter(|_| before.is_some() && !given_up);
    if let Some(before) = &before {
        let kept = probation.as_ref().map(Probation::kept_now);
        keep_lineage(unit, descent((!given_up).then(|| record(before, &section)), kept)).await;
        let entry = Entry::now(What::Upgrade, Some(file(before)), Some(file(&loaded)), "");
        unit.parts().records.happened(unit.name(), entry);
    }
    // From here on nobody is waited for: what the old file does is not the new one's.
    let apart = unit.is_apart();
    unit.set_config(config);
    unit.set_loaded(Some(loaded));
    unit.apply(Event::Restart);
    if let Some(loaded) = before {
        unit.set_probation(probation);
        if !given_up {
            unit.set_previous(Some(Previous { loaded, config: section, apart }));
        }
    }
}

/// What is kept behind an upgrade. Where nobody wants back what ran just before,
/// the file before that one stays known. What takes the place of what served is
/// written down when it has served.
fn descent(previous: Option<Stored>, probation: Option<OnProbation>) -> impl FnOnce(Lineage) -> Lineage {
    move |before| Lineage {
        previous: previous.or(before.previous),
        probation,
        ran: before.ran,
        ..Lineage::default()
    }
}

fn file(loaded: &Loaded) -> File {
    File { version: loaded.verified.manifest.version.clone(), digest: loaded.verified.bytes.digest.clone() }
}

/// `automatic`: nobody asked, and what cannot be edited is no reason to go on.
async fn back(
    agent: &Arc<Agent>,
    name: &str,
    why: &str,
    until_restart: bool,
    automatic: bool,
) -> Result<Report, Refused> {
    let unit = running(agent, name).await?;
    let at = |why: String| vec![format!("{name}: {why}")];
    let (previous, from) = before(&unit).await.map_err(at)?;
    let (bad, now) = (unit.status().digest().map(str::to_owned), unit.config());
    let (path, pin) = (previous.config.path.as_deref(), previous.config.sha256.as_deref());
    let config = if automatic {
        previous.config.as_ref().clone()
    } else {
        // What was changed in its section since stays.
        PluginConfig { path: path.map(Into::into), sha256: pin.map(str::to_owned), ..now.as_ref().clone() }
    };
    // What an operator's word alone brought is not what the file names.
    let was_apart = unit.is_apart();
    let names_another = (&now.path, &now.sha256) != (&config.path, &config.sha256) && !was_apart;
    let mut report = Report::default();
    let mut edit = None;
    if names_another && !until_restart {
        let text = in_force(agent, &unit).await;
        let tried = match text {
            Ok(text) => edited(agent, name, text, path, pin).await,
            Err(why) => Err(why),
        };
        match tried {
            Ok(good) => edit = Some(good),
            Err(why) if automatic => why.into_iter().for_each(|line| report.bad(line)),
            Err(why) => return Err(why),
        }
    }
    let instead = record(&previous.loaded, &previous.config);
    // It ends with another word of the operator's, unless that leads to what an
    // earlier one brought.
    let by_word = previous.apart || until_restart && !was_apart;
    let apart = by_word || names_another && edit.is_none();
    // What is rolled back from is nothing that a next start goes back to, unless it
    // is gone back from until then alone.
    let known = unit.on_probation().map(|probation| probation.known).unwrap_or_default();
    let ran = (!by_word).then(|| Ran { stored: instead.clone(), known });
    let config = match &edit {
        Some(edit) if !automatic => edit.section.clone(),
        _ => config,
    };
    let ran_in = unit.status().isolation();
    let next = Generation { loaded: previous.loaded, config, apart };
    exchanged(&unit, next, Reason::Rollback(why.to_owned())).await.map_err(at)?;
    unit.set_apart(apart);
    let section = edit.as_ref().map_or_else(|| now.fingerprint(), |edit| edit.section.fingerprint());
    let held = bad.filter(|_| !until_restart && !was_apart);
    let held = held.map(|digest| Held { digest, section, reason: why.to_owned(), instead });
    let note = (held.is_some() && (apart || !names_another)).then_some(HELD);
    unit.change(|status| status.file_note = note);
    let amend = move |before: Lineage| {
        // Apart, the file that the section names was rolled back from before, or never.
        let held = if was_apart { before.held } else { held };
        Lineage { held, ran: ran.or(before.ran), ..Lineage::default() }
    };
    keep_lineage(&unit, amend).await;
    said(&unit, &mut report);
    if let Some(from) = from {
        report.good(format!("{name}: {from}"));
    }
    moved(&unit, ran_in, &mut report);
    finish(&unit, edit, &mut report).await?;
    Ok(report)
}

/// What a plugin ran before: in this agent, or by what an earlier one kept; and
/// what is to be said of where it was found.
async fn before(unit: &Arc<Unit>) -> Result<(Previous, Option<String>), String> {
    const NONE: &str = "no other file is known that ran before; `gantry upgrade` takes any";
    let unit = unit.clone();
    let looked = blocking(move || {
        let runs = unit.status().digest().map(str::to_owned);
        let is_another = |digest: &str| runs.as_deref() != Some(digest);
        let previous = unit.previous();
        let previous = previous.filter(|previous| is_another(&previous.loaded.verified.bytes.digest));
        let (kept, config, apart) = match previous {
            Some(previous) if opens_as_it_was(unit.parts(), &previous.loaded) => return Ok((previous, None)),
            Some(Previous { loaded, config, apart }) => (record(&loaded, &config), config, apart),
            None => {
                let lineage = unit.parts().records.lineage(unit.name());
                let kept = lineage.previous.filter(|kept| is_another(&kept.digest)).ok_or(NONE)?;
                let (path, sha256) = (kept.path.clone(), kept.sha256.clone());
                let config = PluginConfig { path, sha256, ..unit.config().as_ref().clone() };
                (kept, Arc::new(config), false)
            }
        };
        let (verified, from) =
            stored(&unit.parts().crashes.in_force(&config), &kept).map_err(|error| error.to_string())?;
        let loaded = examine_verified(unit.parts(), &config, verified).map_err(|error| error.to_string())?;
        Ok((Previous { loaded: Arc::new(loaded), config, apart }, from))
    });
    looked.await.map_err(|why| why.join("; "))?
}

/// Whether what is opened for it is what it was: another file may have taken the
/// name of the one that ran, and a stored one be damaged.
fn opens_as_it_was(parts: &Parts, loaded: &Loaded) -> bool {
    let in_process = loaded.verified.isolation == Isolation::None;
    is_sure(&loaded.place, in_process, |path| parts.is_open(path))
}

fn is_sure(place: &Place, in_process: bool, is_open: impl Fn(&Path) -> bool) -> bool {
    match place {
        Place::Sealed(_) => true,
        // What is open stays open, and its path leads there. A process of its own
        // has nothing open.
        Place::AsItLies(path) => in_process && is_open(path),
        Place::Store(_) => false,
    }
}

/// Where it runs follows from where its file lies, and may be another place now.
fn moved(unit: &Unit, before: Option<Isolation>, report: &mut Report) {
    let status = unit.status();
    let (Some(before), Some(now)) = (before, status.isolation()) else { return };
    let name = unit.name();
    let asked = unit.config().isolation.is_some() || unit.kept_apart().is_some();
    let aborts = status.manifest().is_some_and(|manifest| manifest.panic == "abort");
    let why = match now {
        _ if before == now || asked => return,
        Isolation::Process if aborts => {
            "in a process of its own from now on, as it is built with panic = \"abort\""
        }
        Isolation::Process => {
            "in a process of its own from now on, as its file lies outside the vendor directories: what it may do is \
             in `grant`, or write isolation = \"none\""
        }
        Isolation::None => {
            "in the agent's own process from now on, as its file lies in a vendor directory; isolation = \"process\" \
             in its section keeps it apart"
        }
    };
    report.good(format!("{name}: it runs {why}"));
}

/// A change of the configuration's file that can be made, and its section then.
struct Edit {
    section: PluginConfig,
    prepared: Option<Prepared>,
}

/// The text of the file, if its section is the one in force.
async fn in_force(agent: &Agent, unit: &Unit) -> Result<String, Refused> {
    let file = agent.file.clone();
    let whole = |why: String| vec![format!("{}: {why}", agent.file.display())];
    let text = blocking(move || config::read(&file)).await?.map_err(whole)?;
    let config = config::check(&agent.file, &text).map_err(lines)?;
    let name = unit.name();
    let Some(section) = config.plugins.iter().find(|section| section.name == name) else {
        return Err(whole(format!(
            "there is no section [plugins.{name}]; `gantry enable {name}` adds one, --until-restart needs none"
        )));
    };
    let (parts, plugin) = (unit.parts().clone(), name.to_owned());
    let held = blocking(move || parts.records.lineage(&plugin).held).await?;
    // What was rolled back goes on with the section that it had; the file's is
    // held back with the plugin's file, and this is the way out.
    let is_held = held.is_some_and(|held| held.section == section.fingerprint());
    if section.fingerprint() != unit.config().fingerprint() && !is_held {
        return Err(whole(format!("[plugins.{name}] is not what is in force; `gantry reload` first")));
    }
    Ok(text)
}

fn lines(problems: Vec<config::Problem>) -> Refused {
    problems.into_iter().map(|problem| problem.to_string()).collect()
}

/// The file with another `path` and `sha256` in a section, ready to take its place.
async fn edited(
    agent: &Agent,
    name: &str,
    text: String,
    path: Option<&Path>,
    pin: Option<&str>,
) -> Result<Edit, Refused> {
    let whole = |why: String| vec![format!("{}: {why}", agent.file.display())];
    let path = match path.map(|path| path.to_str().ok_or(path)) {
        Some(Ok(path)) => Some(path),
        Some(Err(path)) => {
            return Err(whole(format!("{} is not UTF-8 and cannot be written there", path.display())));
        }
        None => None,
    };
    let new = config::set_text(&text, name, "path", path).map_err(whole)?;
    let new = config::set_text(&new, name, "sha256", pin).map_err(whole)?;
    let config = config::check(&agent.file, &new).map_err(lines)?;
    let section = config.plugins.iter().find(|section| section.name == name).cloned();
    let section = section.ok_or_else(|| vec![agent.no_plugin(name)])?;
    let file = agent.file.clone();
    let prepared = match new == text {
        true => None,
        false => Some(blocking(move || Prepared::new(&file, &text, &new)).await?.map_err(|why| vec![why])?),
    };
    Ok(Edit { section, prepared })
}

/// The configuration says what runs.
async fn finish(unit: &Arc<Unit>, edit: Option<Edit>, report: &mut Report) -> Result<(), Refused> {
    let Some(Edit { prepared: Some(prepared), .. }) = edit else { return Ok(()) };
    if let Err(why) = blocking(move || prepared.take_place()).await? {
        unit.set_apart(true);
        report.bad(format!("{}: it runs until the agent ends, as {why}", unit.name()));
    }
    Ok(())
}

fn version(unit: &Unit) -> String {
    unit.status().manifest().map(|manifest| manifest.version.clone()).unwrap_or_default()
}

fn said(unit: &Unit, report: &mut Report) {
    let status = unit.status();
    let (state, why) = (status.state.as_str(), status.reasons.join("; "));
    let why = if why.is_empty() { why } else { format!(": {why}") };
    report.good(format!("{}: {state} ({}){why}", unit.name(), version(unit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_opened_again_unseen_only_where_it_cannot_be_another() {
        let (open, path) = (Path::new("/opt/open.so"), |name: &str| PathBuf::from(format!("/opt/{name}.so")));
        let is_sure = |place: Place, in_process| is_sure(&place, in_process, |path| path == open);
        for in_process in [false, true] {
            assert!(is_sure(Place::Sealed(path("sealed")), in_process));
            assert!(!is_sure(Place::Store(path("open")), in_process), "it may be damaged");
            assert!(!is_sure(Place::AsItLies(path("other")), in_process));
        }
        assert!(is_sure(Place::AsItLies(path("open")), true));
        assert!(!is_sure(Place::AsItLies(path("open")), false), "another process opens what lies there");
    }

    #[test]
    fn an_upgrade_keeps_what_was_written_down_meanwhile() {
        let stored = |digest: &str| Stored {
            file: "/store/x.so".into(),
            version: "1.0.0".to_owned(),
            digest: digest.to_owned(),
            vendor: true,
            source: "/usr/lib/x.so".into(),
            path: None,
            sha256: None,
            capabilities: Vec::new(),
        };
        let ran = Some(Ran { stored: stored("ran"), known: Vec::new() });
        let before = Lineage { previous: Some(stored("old")), ran: ran.clone(), ..Lineage::default() };
        let after = descent(Some(stored("ran")), None)(before.clone());
        assert_eq!((after.previous, after.ran), (Some(stored("ran")), ran.clone()));
        let after = descent(None, None)(before);
        assert_eq!(
            (after.previous, after.ran),
            (Some(stored("old")), ran),
            "nobody wants back what was given up"
        );
    }
}
