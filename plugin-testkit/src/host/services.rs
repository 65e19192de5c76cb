//! The services as they cross to the plugin.

use super::world::{Line, Provided, World};
use gantry_plugin_api::Error;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString, RVec};
use gantry_plugin_api::abi::types::{
    AbiError, AbiEvent, AbiEvents, AbiObservation, AbiProcess, CLOCK_BOOTTIME, CLOCK_MONOTONIC,
    CLOCK_REALTIME, crossing,
};
use gantry_plugin_api::abi::{AbiHost, AbiHost_TO, HostBox};
use gantry_plugin_api::identity::{Container, ContainerRef, Observation, Process};
use std::sync::Arc;
use std::time::Duration;

struct Services(Arc<World>);

impl World {
    /// The host, as it is handed to an instance.
    pub(crate) fn crossing(self: &Arc<Self>) -> HostBox {
        AbiHost_TO::from_value(Services(Arc::clone(self)), TD_Opaque)
    }
}

impl Services {
    fn may_set(&self, name: &str) -> Result<(), Error> {
        let manifest = &self.0.manifest;
        if manifest.provides_facts.iter().any(|fact| fact == name) {
            return Ok(());
        }
        Err(Error::new(format!(
            "the manifest of {} does not name the node fact {name:?}; add it to provides_facts",
            manifest.name
        )))
    }

    fn take_metadata(&self, runtime: &str, metadata: &str) -> Result<(), Error> {
        let manifest = &self.0.manifest;
        if !manifest.provides_identity.iter().any(|known| known == runtime) {
            return Err(Error::new(format!(
                "the manifest of {} does not name the runtime {runtime:?}; add it to provides_identity",
                manifest.name
            )));
        }
        let metadata = serde_json::from_str(metadata).map_err(Error::new)?;
        self.0.provided.push(Provided { runtime: runtime.to_owned(), metadata });
        Ok(())
    }
}

impl AbiHost for Services {
    fn has(&self, feature: RStr<'_>) -> bool {
        self.0.offers(feature.as_str())
    }

    fn log(&self, level: u32, target: RStr<'_>, message: RStr<'_>) {
        let (target, message) = (target.as_str().to_owned(), message.as_str().to_owned());
        self.0.log.push(Line { level, target, message });
    }

    fn clock_ns(&self, clock: u32) -> u64 {
        let clocks = &self.0.clock;
        let time = match clock {
            CLOCK_REALTIME => clocks.realtime(),
            CLOCK_MONOTONIC => clocks.monotonic(),
            CLOCK_BOOTTIME => clocks.boottime(),
            _ => Duration::ZERO,
        };
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    }

    fn path(&self, which: RStr<'_>) -> ROption<RString> {
        self.0.place(which.as_str()).map(|path| path.to_string_lossy().into_owned().into()).into()
    }

    fn node_fact(&self, name: RStr<'_>) -> ROption<RString> {
        self.0.facts.get(name.as_str()).map(RString::from).into()
    }

    fn set_node_fact(&self, name: RStr<'_>, value: ROption<RStr<'_>>) -> RResult<(), AbiError> {
        let value = value.into_option();
        let value = value.as_ref().map(RStr::as_str);
        crossing(self.may_set(name.as_str()).map(|()| self.0.facts.plugin_sets(name.as_str(), value)))
    }

    fn expect_node_fact(&self, name: RStr<'_>) -> RResult<(), AbiError> {
        crossing(self.may_set(name.as_str()).map(|()| self.0.facts.plugin_expects(name.as_str())))
    }

    fn container_of_pid(&self, pid: u32, start: u64) -> u64 {
        self.0.identity.of_pid(pid, start)
    }

    fn container_of_cgroup(&self, hierarchy: u32, id: u64) -> u64 {
        self.0.identity.of_cgroup(hierarchy, id)
    }

    fn container_of_netns(&self, inode: u64) -> u64 {
        self.0.identity.of_network_namespace(inode)
    }

    fn containers(&self) -> RVec<u64> {
        self.0.identity.living().into()
    }

    fn container(&self, handle: u64) -> ROption<RString> {
        let known = ContainerRef::from_handle(handle).and_then(|known| self.0.identity.container(known));
        known.as_ref().and_then(json::<Container>).into()
    }

    fn processes(&self, handle: u64) -> RVec<AbiProcess> {
        let crossing = |Process { pid, start }| AbiProcess { start, pid };
        self.0.identity.processes(handle).into_iter().map(crossing).collect()
    }

    fn open_files(&self, pid: u32, start: u64) -> ROption<RString> {
        self.0.identity.files_of(Process { pid, start }).as_ref().and_then(json::<Vec<String>>).into()
    }

    fn listening(&self, pid: u32, start: u64) -> ROption<RString> {
        self.0.identity.addresses_of(Process { pid, start }).as_ref().and_then(json::<Vec<String>>).into()
    }

    fn events(&self, cursor: u64, max: u32) -> AbiEvents {
        self.0.identity.events(cursor, max)
    }

    fn wait_events(&self, cursor: u64, timeout_ms: u64) -> bool {
        self.0.identity.wait(cursor, Duration::from_millis(timeout_ms))
    }

    fn provide(&self, runtime: RStr<'_>, metadata: RStr<'_>) -> RResult<(), AbiError> {
        crossing(self.take_metadata(runtime.as_str(), metadata.as_str()))
    }

    fn observe(&self, observations: RSlice<'_, AbiObservation>) {
        for seen in observations.as_slice() {
            let event = AbiEvent { container: 0, at: 0, start: seen.start, pid: seen.pid, kind: seen.kind };
            self.0.observed.push(Observation {
                kind: event.to_event().kind,
                process: Process { pid: seen.pid, start: seen.start },
                hierarchy: seen.hierarchy,
                cgroup: seen.cgroup,
                network_namespace: seen.network_namespace,
            });
        }
    }

    fn report(&self, resource: RStr<'_>, amount: f64) {
        self.0.reported.push((resource.as_str().to_owned(), amount));
    }
}

fn json<T: gantry_plugin_api::serde::Serialize>(value: &T) -> Option<RString> {
    serde_json::to_string(value).ok().map(RString::from)
}
