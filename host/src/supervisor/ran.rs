//! What of a plugin served last, for the next agent: where that finds another
//! file, an upgrade came with the restart, and is on probation like any other.

use super::lock;
use super::losses::{self, Losses};
use super::probation::{Before, Probation};
use super::state::{State, Status};
use super::unit::Unit;
use crate::config::PluginConfig;
use crate::isolation::capability_names;
use crate::loader::{Loaded, Place};
use crate::records::{Entry, File, Lineage, Lost, Ran, Stored, What};
use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

/// What is kept of a file that ran. Where there is no store, it may be there
/// still where it lay; another file at that place is not taken for it.
pub fn record(loaded: &Loaded, config: &PluginConfig) -> Stored {
    let verified = &loaded.verified;
    let file = match &loaded.place {
        Place::Store(file) | Place::AsItLies(file) => file,
        Place::Sealed(_) => &verified.source,
    };
    Stored {
        file: file.clone(),
        version: verified.manifest.version.clone(),
        digest: verified.bytes.digest.clone(),
        vendor: verified.vendor,
        source: verified.source.clone(),
        path: config.path.clone(),
        sha256: config.sha256.clone(),
        capabilities: capability_names(&verified.manifest).map(str::to_owned).collect(),
    }
}

impl Unit {
    /// Has what serves just now written down, and which events it lost of late, where
    /// that is news: what is written is compared, so that what a disk refused is tried
    /// again. What an operator's word brought until the agent ends is nothing that the
    /// next one goes back to.
    pub(super) fn keep_ran(&self) {
        // Asked on both sides: where a generation comes by such a word that is set
        // before it is seen, and where one goes it is taken back after.
        let was_apart = self.is_apart();
        let (known, status) = (self.complaints_now(), self.status());
        if was_apart || self.is_apart() {
            return;
        }
        let serves = status.state.collects() && status.digest() == lock(&self.served).as_deref();
        let Some(loaded) = status.loaded.filter(|_| serves && self.parts.records.is_open()) else { return };
        let ran = Some(Ran { stored: record(&loaded, &self.config()), known });
        let at = lock(&self.losses).kept((Instant::now(), SystemTime::now()));
        let digest = loaded.verified.bytes.digest.clone();
        let lost = (!at.is_empty()).then_some(Lost { digest, at });
        self.parts.records.amend_lineage(self.name(), move |lineage| {
            let lost = match (&lineage.lost, &lost) {
                (Some(written), Some(now)) if losses::is_as_good(written, now) => lineage.lost,
                _ => lost,
            };
            Lineage { ran, lost, ..lineage }
        });
    }

    /// Nobody wants back what was given up.
    pub(super) fn forget_ran(&self, before: State, status: &Status) {
        let given_up = matches!(status.state, State::Quarantined | State::Unsupported);
        let Some(digest) = status.digest().filter(|_| given_up && before != status.state) else { return };
        let digest = digest.to_owned();
        self.parts.records.amend_lineage(self.name(), move |mut lineage| {
            lineage.ran = lineage.ran.filter(|ran| ran.stored.digest != digest);
            lineage
        });
    }

    /// With the first file that an agent could load: the time after an upgrade goes
    /// on, or begins, where this start is the upgrade. `held`: the file stands in for
    /// one that was rolled back from.
    pub(super) fn resume_probation(&self, loaded: &Loaded, held: bool) {
        let (span, records) = (self.parts.troubles.span(), &self.parts.records);
        let (name, digest) = (self.name(), &loaded.verified.bytes.digest);
        let mut lineage = records.lineage(name);
        if !held {
            // On probation or not: by hand it goes back there.
            let digest = digest.clone();
            records.amend_lineage(name, move |lineage| lineage.started(&digest));
        }
        if span.is_zero() {
            return;
        }
        let now = (Instant::now(), SystemTime::now());
        let lost = lineage.lost.take();
        let lost = lost.map(|lost| (lost.digest, Losses::resumed(lost.at, now)));
        let kept = lineage.probation.take().and_then(|kept| Probation::resumed(kept, digest, now));
        if let Some(probation) = kept {
            tracing::info!("plugin {name}: its upgrade is still on probation");
            self.on_patient_probation(probation);
        } else if let Some(ran) = lineage.behind(digest).filter(|_| !held).cloned() {
            let losses = match lost {
                Some((of, losses)) if of == ran.stored.digest => losses.since(now.0, span),
                _ => BTreeSet::new(),
            };
            let before = Before { complaints: ran.known.clone(), families: BTreeSet::new(), losses };
            let probation = Probation::new(digest, (now.0, span), before).begun_by_a_start();
            self.upgraded_by_the_start(loaded, ran, probation);
            return;
        }
        if let Some((_, losses)) = lost.filter(|(of, _)| of == digest) {
            *lock(&self.losses) = losses;
        }
    }

    fn upgraded_by_the_start(&self, loaded: &Loaded, ran: Ran, probation: Probation) {
        let (name, version) = (self.name(), &loaded.verified.manifest.version);
        let from = File { version: ran.stored.version.clone(), digest: ran.stored.digest.clone() };
        let to = File { version: version.clone(), digest: probation.digest.clone() };
        tracing::info!(
            "plugin {name}: {version} comes with this start, on probation; {} ran before",
            from.version
        );
        let records = &self.parts.records;
        records.happened(name, Entry::now(What::Upgrade, Some(from), Some(to), "at the start of the agent"));
        // Before it is called: should that take the agent down, the next one knows.
        let (previous, kept) = (Some(ran.stored.clone()), Some(probation.kept_now()));
        let lineage = Lineage { previous, probation: kept, ran: Some(ran), ..Lineage::default() };
        if !records.set_lineage(name, lineage) {
            tracing::warn!(
                "plugin {name}: the disk of the state directory does not answer: should the agent end now, the next \
                 one may not know which file ran before"
            );
        }
        self.on_patient_probation(probation);
    }

    fn on_patient_probation(&self, probation: Probation) {
        lock(&self.life).be_patient_until(probation.patient_until());
        *lock(&self.probation) = Some(probation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Agent;
    use crate::config;
    use crate::notify::Notifier;
    use crate::supervisor::life::{Event, Progress};
    use crate::supervisor::probation::Trouble;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn what_the_probe_missed_was_wrong_before_as_well() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = config::check(Path::new("plugins.toml"), "[plugins.x]\n").expect("a good one");
        let agent = Agent::new(config, dir.path(), false, Notifier::new(None, None));
        let unit = agent.fleet.unit("x").expect("it is configured");
        unit.apply(Event::Enable);
        let attempt = lock(&unit.life).attempt();
        let says = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        unit.apply(Event::Of(attempt, Progress::Activated(says(&["no pressure files"]))));
        unit.apply(Event::Of(attempt, Progress::Collected(says(&["ring full"]))));
        assert_eq!(unit.complaints_now(), says(&["no pressure files", "ring full"]));
        // What takes its place says the one of itself, as its probe does not.
        let before = Before { complaints: unit.complaints_now(), ..Before::default() };
        let now = Instant::now();
        let mut next = Probation::new("next", (now, Duration::from_secs(600)), before);
        assert_eq!(next.on(Trouble::Complains(&says(&["no pressure files"])), now), None);
        assert!(next.on(Trouble::Complains(&says(&["map full"])), now).is_some());
    }
}
