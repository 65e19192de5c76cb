//! `upgrade` and `rollback` of one plugin, and what rolls back by itself.

use super::report::Report;
use super::{Refused, blocking};
use crate::agent::Agent;
use crate::config::{self, Isolation, PluginConfig, Prepared};
use crate::loader::{Loaded, Place, verify};
use crate::records::{Entry, File, Held, Lineage, OnProbation, Ran, Stored, What};
use crate::supervisor::{
    Event, Generation, InTrouble, Parts, Previous, Probation, Reason, Unfit, Unit, examine_verified, record,
    stored,
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
            return Err(Unfit::File(format!(
                "{} is not there ({error}); name a file that is",
                file.display()
            )));
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
    let (before, was_apart) = (unit.status(), unit.is_apart());
    let runs_it = before.digest() == Some(&digest);
    let mut record_before = None;
    if runs_it {
        // The section may name it in another way now.
        unit.set_config(section);
        let edits = edit.as_ref().is_some_and(|edit| edit.prepared.is_some());
        let named = if edits { "; its section names it from now on" } else { "" };
        report.good(format!("{name}: it runs that file already{named}"));
        if !until_restart {
            unit.change(|status| status.stands_in = false);
            if was_apart {
                record_before = adopted(&unit).await;
            }
        }
    } else {
        let next = Generation { loaded, config: section, apart: until_restart, stands_in: false };
        record_before = swapped(&unit, next).await.map_err(at)?;
        unit.forgive();
        said(&unit, &mut report);
        moved(&unit, before.isolation(), &mut report);
    }
    if let Err(why) = finish(edit).await {
        report.bad(format!("{name}: it runs until the agent ends, as {why}"));
        // As by a word until then: the file says what it said.
        let as_before = runs_it && !was_apart;
        unit.set_config(now.as_ref().clone());
        unit.set_apart(!as_before);
        unit.change(|status| status.stands_in = as_before && before.stands_in);
        if let Some(before) = record_before {
            keep_lineage(&unit, move |_| before).await;
        }
    }
    Ok(report)
}

/// Puts another generation in the place of what runs, and keeps in mind what
/// that was. An error says why that goes on. Gives the record of it as it was, if
/// it was changed: a word until the agent ends leaves what the next one knows.
pub async fn swapped(unit: &Arc<Unit>, next: Generation) -> Result<Option<Lineage>, String> {
    let (before, section, was_apart) = (unit.loaded(), unit.config(), unit.is_apart());
    let given_up = !unit.state().collects() && unit.is_given_up();
    let (apart, digest) = (next.apart, next.loaded.verified.bytes.digest.clone());
    let another = before.as_ref().map(|loaded| &loaded.verified.bytes.digest) != Some(&digest);
    let reason = if another { Reason::Upgrade } else { Reason::Reconfigure };
    let previous = match was_apart {
        true => configured(unit),
        false => before.filter(|_| !given_up).map(|loaded| record(&loaded, &section)),
    };
    exchanged(unit, next, reason).await?;
    unit.set_apart(apart);
    if !another || apart {
        return Ok(None);
    }
    Ok(keep_lineage(unit, descent(digest, previous, was_apart, unit.on_probation())).await)
}

/// What ran by a word until the agent ends is what its section names from now on.
pub async fn adopted(unit: &Arc<Unit>) -> Option<Lineage> {
    let digest = unit.status().digest().map(str::to_owned);
    let amend = digest.map(|digest| descent(digest, configured(unit), true, unit.on_probation()));
    unit.set_apart(false);
    keep_lineage(unit, amend?).await
}

/// What ran before the last upgrade, if its section named that.
fn configured(unit: &Unit) -> Option<Stored> {
    let previous = unit.previous().filter(|previous| !previous.apart)?;
    Some(record(&previous.loaded, &previous.config))
}

/// Before it is answered: a crash that follows at once is to know of it. Gives the
/// record as it was.
async fn keep_lineage(
    unit: &Arc<Unit>,
    amend: impl FnOnce(Lineage) -> Lineage + Send + 'static,
) -> Option<Lineage> {
    let kept = unit.clone();
    let (sender, was) = std::sync::mpsc::channel();
    let amend = move |before: Lineage| {
        // Whoever waited may have gone.
        let _ = sender.send(before.clone());
        amend(before)
    };
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
    was.try_recv().ok()
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
            let state = unit.state();
            if state.collects() {
                format!("{why}; {before} goes on")
            } else {
                format!("{why}; {before} is {}; see `gantry plugins`", state.as_str())
            }
        });
    }
    let Generation { loaded, config, apart, stands_in } = next;
    let (old, old_config, given_up) = (unit.runs(), unit.config(), unit.is_given_up());
    let (from, to) = (old.as_ref().map(|old| file(&old.loaded)), Some(file(&loaded)));
    let (good, bad, why) = match &reason {
        Reason::Rollback(why) => (What::Rollback, What::RollbackFailed, why.as_str()),
        Reason::Upgrade => (What::Upgrade, What::UpgradeFailed, ""),
        Reason::Reconfigure => (What::Reconfigure, What::ReconfigureFailed, ""),
    };
    unit.end_probation();
    // It comes by a word, and is no upgrade by the start of the agent.
    let is_first = unit.take_first_load();
    if apart {
        unit.set_apart(true);
    }
    unit.set_config(config);
    unit.set_loaded(Some(loaded.clone()), stands_in);
    unit.apply(Event::Restart);
    let _ = tokio::time::timeout(START_WAIT, unit.until(Unit::is_settled)).await;
    let status = unit.status();
    let records = &unit.parts().records;
    if status.state.collects() {
        records.happened(unit.name(), Entry::now(good, from, to, why));
        if reason != Reason::Upgrade {
            unit.set_previous(None);
        } else if !given_up {
            unit.set_previous(old);
            unit.set_probation(unit.probation_of(&loaded));
        }
        return Ok(());
    }
    let why = format!("{}: {}", status.state.as_str(), status.reasons.join("; "));
    records.happened(unit.name(), Entry::now(bad, from, to, &why));
    if !was_apart {
        unit.set_apart(false);
    }
    if is_first {
        // What the next start of the agent would judge is judged when it comes.
        unit.give_back_first_load();
    }
    unit.set_config(old_config.as_ref().clone());
    let stood_in = old.as_ref().is_some_and(|old| old.stands_in);
    unit.set_loaded(old.map(|old| old.loaded), stood_in);
    unit.apply(Event::Restart);
    Err(format!("{why}; what ran before is tried again"))
}

/// A file that a reload found, where nothing works just now, as in a back-off. It
/// stays, whatever comes of its start, since the configuration names it; only
/// probation takes it back, to what ran before.
pub async fn taken(unit: &Arc<Unit>, next: Generation) {
    let Generation { loaded, config, apart, stands_in } = next;
    let (before, given_up) = (unit.runs(), unit.is_given_up());
    let digest = &loaded.verified.bytes.digest;
    let before = before.filter(|before| before.loaded.verified.bytes.digest != *digest);
    let probation = unit.probation_of(&loaded).filter(|_| before.is_some() && !given_up);
    if let Some(before) = &before {
        let kept = probation.as_ref().map(Probation::kept_now);
        let previous = match before.apart {
            true => configured(unit),
            false => (!given_up).then(|| record(&before.loaded, &before.config)),
        };
        keep_lineage(unit, descent(digest.clone(), previous, before.apart, kept)).await;
        let entry = Entry::now(What::Upgrade, Some(file(&before.loaded)), Some(file(&loaded)), "");
        unit.parts().records.happened(unit.name(), entry);
    }
    // From here on nobody is waited for: what the old file does is not the new one's.
    unit.set_apart(apart);
    unit.set_config(config);
    unit.set_loaded(Some(loaded), stands_in);
    unit.apply(Event::Restart);
    if before.is_some() {
        unit.set_probation(probation);
        if !given_up {
            unit.set_previous(before);
        }
    }
}

/// What is kept behind an upgrade to a file of this digest. Where nobody wants back
/// what ran just before, the file before that one stays known; where a word alone
/// had brought that (`was_apart`), what served before the word. What takes the place
/// of what served is written down when it has served.
fn descent(
    digest: String,
    previous: Option<Stored>,
    was_apart: bool,
    probation: Option<OnProbation>,
) -> impl FnOnce(Lineage) -> Lineage + Send + 'static {
    move |before| {
        let served = before.ran.as_ref().filter(|_| was_apart).map(|ran| ran.stored.clone());
        let previous = previous.or(served).filter(|stored| stored.digest != digest);
        Lineage { previous: previous.or(before.previous), probation, ran: before.ran, ..Lineage::default() }
    }
}

/// What is kept behind a rollback from a file of digest `bad`. `by_word`: until the
/// agent ends alone, so that the next one knows what it would have known.
fn ascent(
    bad: Option<String>,
    by_word: bool,
    held: Option<Held>,
    ran: Option<Ran>,
) -> impl FnOnce(Lineage) -> Lineage + Send + 'static {
    move |before| {
        if by_word {
            return Lineage { ran: ran.or(before.ran), ..before };
        }
        // What is rolled back from is nothing that a next start goes back to.
        let served = before.ran.filter(|served| Some(&served.stored.digest) != bad.as_ref());
        Lineage { held, ran: ran.or(served), ..Lineage::default() }
    }
}

pub fn file(loaded: &Loaded) -> File {
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
        let tried = match in_force(agent, &unit).await {
            // It would lead the next start to nothing, or to a third file. What a word
            // brought is none that a section leads to.
            Ok(_)
                if !previous.apart
                    && !leads_back(&unit, &config, &previous.loaded, bad.as_deref()).await? =>
            {
                Ok(None)
            }
            Ok(text) => edited(agent, name, text, path, pin).await.map(Some),
            Err(why) => Err(why),
        };
        match tried {
            Ok(Some(good)) => edit = Some(good),
            Ok(None) => not_named(&unit, &previous.loaded, &mut report),
            Err(why) if automatic => why.into_iter().for_each(|line| report.bad(line)),
            Err(why) => return Err(why),
        }
    }
    let instead = record(&previous.loaded, &previous.config);
    // It ends with another word of the operator's, unless that leads to what an
    // earlier one brought.
    let by_word = previous.apart || until_restart && !was_apart;
    let apart = by_word || names_another && edit.is_none();
    let known = unit.on_probation().map(|probation| probation.known).unwrap_or_default();
    let ran = (!by_word).then(|| Ran { stored: instead.clone(), known });
    let config = match &edit {
        Some(edit) if !automatic => edit.section.clone(),
        _ => config,
    };
    let ran_in = unit.status().isolation();
    // Apart, the file that the section names was rolled back from before, or never.
    let (until_then, edits) = (until_restart || was_apart, edit.is_some());
    let stands_in = if was_apart { previous.stands_in } else { !until_then && bad.is_some() && !edits };
    let next = Generation { loaded: previous.loaded, config, apart, stands_in };
    exchanged(&unit, next, Reason::Rollback(why.to_owned())).await.map_err(at)?;
    unit.set_apart(apart);
    said(&unit, &mut report);
    if let Some(from) = from {
        report.good(format!("{name}: {from}"));
    }
    moved(&unit, ran_in, &mut report);
    // Which section what was bad is held with is known when the file says it.
    let mut section = edit.as_ref().map_or_else(|| now.fingerprint(), |edit| edit.section.fingerprint());
    if let Err(why) = finish(edit).await {
        report.bad(format!("{name}: it runs until the agent ends, as {why}"));
        unit.set_apart(true);
        unit.change(|status| status.stands_in = bad.is_some());
        section = now.fingerprint();
    }
    let held = bad.clone().filter(|_| !until_then);
    let held = held.map(|digest| Held { digest, section, reason: why.to_owned(), instead });
    keep_lineage(&unit, ascent(bad, until_then, held, ran)).await;
    Ok(report)
}

/// Whether a section leads to what is rolled back to, by what lies on the disk now:
/// to its file, or to the one that it stands in for from then on.
async fn leads_back(
    unit: &Unit,
    section: &PluginConfig,
    loaded: &Loaded,
    bad: Option<&str>,
) -> Result<bool, Refused> {
    let (parts, section) = (unit.parts().clone(), section.clone());
    let digests = [Some(loaded.verified.bytes.digest.clone()), bad.map(str::to_owned)];
    blocking(move || {
        let found = verify(&section, &parts.plugin_dirs());
        found.is_ok_and(|verified| digests.contains(&Some(verified.bytes.digest)))
    })
    .await
}

/// Why the section goes on naming what is rolled back from: that is held back, and
/// what ran before runs in its place.
fn not_named(unit: &Unit, loaded: &Loaded, report: &mut Report) {
    let (name, source) = (unit.name(), loaded.verified.source.display());
    let gone = format!("{name}: {source} is not there any more as it ran, so that its section is not edited");
    if let Place::Store(_) = loaded.place {
        report.good(format!(
            "{gone}: what it names is not taken, and what ran before runs from the agent's store, also after a \
             restart; `gantry upgrade {name} FILE` names another"
        ));
    } else {
        report.bad(format!(
            "{gone}, and the agent has no store: it runs until the agent ends; put that file back, or `gantry upgrade \
             {name} FILE`"
        ));
    }
}

/// What a plugin ran before: in this agent, or by what an earlier one kept; and
/// what is to be said of where it was found.
async fn before(unit: &Arc<Unit>) -> Result<(Previous, Option<String>), String> {
    const NONE: &str = "no other file is known that ran before (a rollback leads back over one upgrade, not \
                        over the one before it); `gantry upgrade` takes any";
    let unit = unit.clone();
    let looked = blocking(move || {
        let runs = unit.status().digest().map(str::to_owned);
        let is_another = |digest: &str| runs.as_deref() != Some(digest);
        let previous = unit.previous();
        let previous = previous.filter(|previous| is_another(&previous.loaded.verified.bytes.digest));
        let (kept, config, (apart, stands_in)) = match previous {
            Some(previous) if opens_as_it_was(unit.parts(), &previous.loaded) => return Ok((previous, None)),
            Some(previous) => {
                let kept = record(&previous.loaded, &previous.config);
                (kept, previous.config, (previous.apart, previous.stands_in))
            }
            None => {
                let lineage = unit.parts().records.lineage(unit.name());
                let kept = lineage.previous.filter(|kept| is_another(&kept.digest)).ok_or(NONE)?;
                let (path, sha256) = (kept.path.clone(), kept.sha256.clone());
                let config = PluginConfig { path, sha256, ..unit.config().as_ref().clone() };
                (kept, Arc::new(config), (false, false))
            }
        };
        let (verified, from) =
            stored(&unit.parts().crashes.in_force(&config), &kept).map_err(|error| error.to_string())?;
        let loaded = examine_verified(unit.parts(), &config, verified).map_err(|error| error.to_string())?;
        Ok((Previous { loaded: Arc::new(loaded), config, apart, stands_in }, from))
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

/// The configuration says what runs. An error says why it says what it did.
async fn finish(edit: Option<Edit>) -> Result<(), String> {
    let Some(Edit { prepared: Some(prepared), .. }) = edit else { return Ok(()) };
    blocking(move || prepared.take_place()).await.map_err(|why| why.join("; "))?
}

fn version(unit: &Unit) -> String {
    unit.status().manifest().map(|manifest| manifest.version.clone()).unwrap_or_default()
}

fn said(unit: &Unit, report: &mut Report) {
    let status = unit.status();
    let (state, why) = (status.state.as_str(), status.reasons.join("; "));
    let why = if why.is_empty() { why } else { format!(": {why}") };
    let line = format!("{}: {state} ({}){why}", unit.name(), version(unit));
    if status.state.collects() {
        report.good(line);
        return;
    }
    // It took the place, and ended in its first calls.
    let then = if unit.on_probation().is_some() { "; it is on probation, and is rolled back" } else { "" };
    report.bad(format!("{line}{then}"));
}

#[cfg(test)]
#[path = "upgrade_tests.rs"]
mod tests;
