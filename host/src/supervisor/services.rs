//! The host, as one plugin sees it.

use crate::config::Paths;
use crate::identity::Identity;
use crate::logging;
use crate::node::Facts;
use gantry_plugin_api::Error;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::std_types::{RNone, ROption, RResult, RSlice, RStr, RString, RVec};
use gantry_plugin_api::abi::types::{
    AbiError, AbiEvents, AbiObservation, AbiProcess, CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME,
    crossing,
};
use gantry_plugin_api::abi::{AbiHost, AbiHost_TO, HostBox};
use gantry_plugin_api::manifest::ManifestInfo;
use rustix::time::{ClockId, clock_gettime};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is shared by all plugins, besides what each is allowed.
#[derive(Debug, Clone)]
pub struct Services {
    pub paths: Paths,
    pub identity: Arc<Identity>,
    pub facts: Arc<Facts>,
    pub state_dir: PathBuf,
}

impl Services {
    /// The host for a plugin of this manifest.
    pub fn for_plugin(&self, manifest: &ManifestInfo) -> HostBox {
        let services = PluginServices { shared: self.clone(), manifest: manifest.clone() };
        AbiHost_TO::from_value(services, TD_Opaque)
    }
}

struct PluginServices {
    shared: Services,
    manifest: ManifestInfo,
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

impl AbiHost for PluginServices {
    fn has(&self, _feature: RStr<'_>) -> bool {
        // Nothing came after 1.0 yet.
        false
    }

    fn log(&self, level: u32, target: RStr<'_>, message: RStr<'_>) {
        logging::from_plugin(&self.manifest.name, level, target.as_str(), message.as_str());
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
        let paths = &self.shared.paths;
        let text = |path: &Path| Some(RString::from(path.to_string_lossy().into_owned()));
        ROption::from(match which.as_str() {
            "proc" => text(&paths.proc),
            "sys" => text(&paths.sys),
            "cgroup" => text(&paths.cgroup),
            "root" => text(&paths.root),
            "state" => self.state().as_deref().and_then(text),
            _ => None,
        })
    }

    fn node_fact(&self, name: RStr<'_>) -> ROption<RString> {
        ROption::from(self.shared.facts.get(name.as_str()).map(RString::from))
    }

    fn set_node_fact(&self, name: RStr<'_>, value: ROption<RStr<'_>>) -> RResult<(), AbiError> {
        let value = value.into_option().map(|value| value.as_str().to_owned());
        crossing(self.may_set(name.as_str()).map(|()| self.shared.facts.set(name.as_str(), value)))
    }

    fn expect_node_fact(&self, name: RStr<'_>) -> RResult<(), AbiError> {
        crossing(self.may_set(name.as_str()))
    }

    fn container_of_pid(&self, pid: u32, start: u64) -> u64 {
        self.shared.identity.of_pid(pid, start)
    }

    fn container_of_cgroup(&self, hierarchy: u32, id: u64) -> u64 {
        self.shared.identity.of_cgroup(hierarchy, id)
    }

    fn container_of_netns(&self, inode: u64) -> u64 {
        self.shared.identity.of_network_namespace(inode)
    }

    fn containers(&self) -> RVec<u64> {
        RVec::new()
    }

    fn container(&self, _handle: u64) -> ROption<RString> {
        RNone
    }

    fn processes(&self, _handle: u64) -> RVec<AbiProcess> {
        RVec::new()
    }

    fn open_files(&self, _pid: u32, _start: u64) -> ROption<RString> {
        RNone
    }

    fn listening(&self, _pid: u32, _start: u64) -> ROption<RString> {
        RNone
    }

    fn events(&self, cursor: u64, _max: u32) -> AbiEvents {
        AbiEvents { events: RVec::new(), next: cursor, lost: 0 }
    }

    fn wait_events(&self, _cursor: u64, timeout_ms: u64) -> bool {
        self.shared.identity.wait(std::time::Duration::from_millis(timeout_ms))
    }

    fn provide(&self, runtime: RStr<'_>, _metadata: RStr<'_>) -> RResult<(), AbiError> {
        let refusal = format!("this host takes no metadata of containers yet (of {runtime})");
        crossing(Err(Error::unsupported(refusal)))
    }

    fn observe(&self, _observations: RSlice<'_, AbiObservation>) {}

    fn report(&self, _resource: RStr<'_>, _amount: f64) {}
}
