//! The host, as one plugin sees it.

use super::reports::Reports;
use super::voice::{Voice, Word};
use crate::config::Paths;
use crate::identity::Identity;
use crate::logging;
use crate::node::Facts;
use gantry_plugin_api::Error;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString, RVec};
use gantry_plugin_api::abi::types::{
    AbiError, AbiEvents, AbiObservation, AbiProcess, CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME,
    crossing,
};
use gantry_plugin_api::abi::{AbiHost, AbiHost_TO, HostBox};
use gantry_plugin_api::identity::Observation;
use gantry_plugin_api::manifest::ManifestInfo;
use rustix::time::{ClockId, clock_gettime};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What is shared by all plugins, besides what each is allowed.
#[derive(Debug, Clone)]
pub struct Services {
    pub paths: Paths,
    pub identity: Arc<Identity>,
    pub facts: Arc<Facts>,
    pub reports: Arc<Reports>,
    pub state_dir: PathBuf,
}

impl Services {
    /// The host for a plugin of this manifest that serves.
    pub fn for_plugin(&self, manifest: &ManifestInfo) -> HostBox {
        self.for_generation(manifest, Voice::heard()).0
    }

    /// The same for one generation, and its voice.
    pub(super) fn for_generation(&self, manifest: &ManifestInfo, voice: Voice) -> (HostBox, Speaker) {
        let services = PluginServices { shared: self.clone(), manifest: manifest.clone(), voice };
        let speaker = Speaker(Arc::new(services));
        (AbiHost_TO::from_value(speaker.clone(), TD_Opaque), speaker)
    }
}

/// Who is told what a plugin says.
#[derive(Clone)]
pub(super) struct Speaker(Arc<PluginServices>);

impl Speaker {
    /// What it said on trial counts, and what it says from now on.
    pub(super) fn serves(&self) {
        self.0.voice.serves(|word| self.0.tell(word));
    }
}

struct PluginServices {
    shared: Services,
    manifest: ManifestInfo,
    voice: Voice,
}

impl PluginServices {
    fn may_set(&self, name: &str) -> Result<(), Error> {
        if self.manifest.provides_facts.iter().any(|fact| fact == name) {
            return Ok(());
        }
        Err(Error::new(format!(
            "the manifest of {} does not name the node fact {name:?}",
            self.manifest.name
        )))
    }

    fn take_metadata(&self, runtime: &str, metadata: &str) -> Result<(), Error> {
        if !self.manifest.provides_identity.iter().any(|known| known == runtime) {
            return Err(Error::new(format!(
                "the manifest of {} does not name the runtime {runtime:?}; add it to provides_identity",
                self.manifest.name
            )));
        }
        let (text, metadata) = (metadata.into(), serde_json::from_str(metadata).map_err(Error::new)?);
        let word = Word::Metadata { runtime: runtime.into(), metadata, text };
        self.voice.say(word, |word| self.tell(word)).map_err(|_| {
            self.shared.identity.untold();
            Error::new("it tells more than is kept of one that does not serve yet")
        })
    }

    fn tell(&self, word: Word<'_>) {
        let name = &self.manifest.name;
        match word {
            Word::Fact { name: fact, value } => self.shared.facts.set(name, &fact, value),
            Word::Metadata { runtime, metadata, .. } => {
                self.shared.identity.provide(name, &runtime, metadata);
            }
            Word::Seen(seen) => self.shared.identity.observe(&seen),
            Word::Report { resource, amount } => {
                if !self.shared.reports.take(name, &resource, amount) {
                    let resource = logging::printable(&resource);
                    tracing::debug!("plugin {name}: a report of {amount} {resource}, which is not known");
                }
            }
        }
    }

    fn set_fact(&self, name: &str, value: Option<String>) -> Result<(), Error> {
        self.may_set(name)?;
        let word = Word::Fact { name: name.to_owned(), value };
        // The manifest names the few that there can be.
        self.voice.say(word, |word| self.tell(word)).map_err(|_| Error::new("too much is told at once"))
    }

    /// Made when it is first asked for.
    fn state(&self) -> Option<PathBuf> {
        let dir = self.shared.state_dir.join("plugins").join(&self.manifest.name);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        match made {
            Ok(()) => Some(dir),
            Err(error) => {
                tracing::warn!("{} has no state directory: {}: {error}", self.manifest.name, dir.display());
                None
            }
        }
    }
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Option<RString> {
    serde_json::to_string(value).ok().map(RString::from)
}

impl AbiHost for Speaker {
    fn has(&self, _feature: RStr<'_>) -> bool {
        // Nothing came after 1.0 yet.
        false
    }

    fn log(&self, level: u32, target: RStr<'_>, message: RStr<'_>) {
        logging::from_plugin(&self.0.manifest.name, level, target.as_str(), message.as_str());
    }

    fn clock_ns(&self, clock: u32) -> u64 {
        let id = match clock {
            CLOCK_REALTIME => ClockId::Realtime,
            CLOCK_MONOTONIC => ClockId::Monotonic,
            CLOCK_BOOTTIME => ClockId::Boottime,
            _ => return 0,
        };
        let time = clock_gettime(id);
        u64::try_from(time.tv_sec)
            .unwrap_or_default()
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
    }

    fn path(&self, which: RStr<'_>) -> ROption<RString> {
        let paths = &self.0.shared.paths;
        let text = |path: &Path| Some(RString::from(path.to_string_lossy().into_owned()));
        ROption::from(match which.as_str() {
            "proc" => text(&paths.proc),
            "sys" => text(&paths.sys),
            "cgroup" => text(&paths.cgroup),
            "root" => text(&paths.root),
            "state" => self.0.state().as_deref().and_then(text),
            _ => None,
        })
    }

    fn node_fact(&self, name: RStr<'_>) -> ROption<RString> {
        ROption::from(self.0.shared.facts.get(name.as_str()).map(RString::from))
    }

    fn set_node_fact(&self, name: RStr<'_>, value: ROption<RStr<'_>>) -> RResult<(), AbiError> {
        let value = value.into_option().map(|value| value.as_str().to_owned());
        crossing(self.0.set_fact(name.as_str(), value))
    }

    fn expect_node_fact(&self, name: RStr<'_>) -> RResult<(), AbiError> {
        crossing(self.0.may_set(name.as_str()))
    }

    fn container_of_pid(&self, pid: u32, start: u64) -> u64 {
        self.0.shared.identity.of_pid(pid, start)
    }

    fn container_of_cgroup(&self, hierarchy: u32, id: u64) -> u64 {
        self.0.shared.identity.of_cgroup(hierarchy, id)
    }

    fn container_of_netns(&self, inode: u64) -> u64 {
        self.0.shared.identity.of_network_namespace(inode)
    }

    fn containers(&self) -> RVec<u64> {
        self.0.shared.identity.containers().into()
    }

    fn container(&self, handle: u64) -> ROption<RString> {
        let known = self.0.shared.identity.container(handle);
        ROption::from(known.and_then(|known| json(&known)))
    }

    fn processes(&self, handle: u64) -> RVec<AbiProcess> {
        self.0.shared.identity.processes(handle).into()
    }

    fn open_files(&self, pid: u32, start: u64) -> ROption<RString> {
        ROption::from(self.0.shared.identity.open_files(pid, start).and_then(|files| json(&files)))
    }

    fn listening(&self, pid: u32, start: u64) -> ROption<RString> {
        ROption::from(self.0.shared.identity.listening(pid, start).and_then(|addresses| json(&addresses)))
    }

    fn events(&self, cursor: u64, max: u32) -> AbiEvents {
        self.0.shared.identity.events(cursor, max)
    }

    fn wait_events(&self, cursor: u64, timeout_ms: u64) -> bool {
        self.0.shared.identity.wait(cursor, Duration::from_millis(timeout_ms))
    }

    fn provide(&self, runtime: RStr<'_>, metadata: RStr<'_>) -> RResult<(), AbiError> {
        crossing(self.0.take_metadata(runtime.as_str(), metadata.as_str()))
    }

    fn observe(&self, observations: RSlice<'_, AbiObservation>) {
        let seen: Vec<Observation> = observations.iter().map(AbiObservation::to_observation).collect();
        // Of one on trial the newest stay.
        let _ = self.0.voice.say(Word::Seen(seen), |word| self.0.tell(word));
    }

    fn report(&self, resource: RStr<'_>, amount: f64) {
        // What is not known is not kept either, of one that may say anything.
        if !Reports::knows(resource.as_str()) {
            let (name, resource) = (&self.0.manifest.name, logging::printable(resource.as_str()));
            tracing::debug!("plugin {name}: a report of {amount} {resource}, which is not known");
            return;
        }
        let word = Word::Report { resource: resource.as_str().to_owned(), amount };
        // Of the few that are known the last one stays.
        let _ = self.0.voice.say(word, |word| self.0.tell(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IdentityConfig;

    #[test]
    fn what_a_generation_on_trial_saw_is_heard_when_it_serves() {
        // Where nothing can be read the service begins with the first word that
        // it hears, in vain, and counts it.
        let nowhere = || PathBuf::from("/nonexistent");
        let paths = Paths { proc: nowhere(), sys: nowhere(), cgroup: nowhere(), root: nowhere() };
        let services = Services {
            identity: Arc::new(Identity::new(&paths, &IdentityConfig::default())),
            paths,
            facts: Arc::default(),
            reports: Arc::default(),
            state_dir: nowhere(),
        };
        let manifest = serde_json::json!({
            "gantry_manifest": 1, "name": "a", "version": "1", "api": "1.0", "min_host_api": "1.0", "panic": "unwind",
        });
        let manifest: ManifestInfo = serde_json::from_value(manifest).expect("a manifest");
        let (host, speaker) = services.for_generation(&manifest, Voice::waiting());
        let seen = AbiObservation {
            start: 1,
            cgroup: 1,
            network_namespace: 0,
            pid: 4_300_001,
            hierarchy: 0,
            kind: 0,
        };
        host.observe(RSlice::from_slice(&[seen]));
        assert!(services.identity.figures().is_none(), "on trial");
        speaker.serves();
        assert!(services.identity.figures().is_some(), "it serves");
    }
}
