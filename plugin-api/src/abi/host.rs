//! The host, as it crosses.

use super::types::{AbiError, AbiEvents, AbiObservation, AbiProcess};
use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, ROption, RResult, RSlice, RStr, RString, RVec};

/// The other side of [`crate::Host`]. A container is its handle, 0 is none;
/// what may grow crosses as JSON.
#[sabi_trait]
pub trait AbiHost: Send + Sync {
    fn has(&self, feature: RStr<'_>) -> bool;
    fn log(&self, level: u32, target: RStr<'_>, message: RStr<'_>);
    fn clock_ns(&self, clock: u32) -> u64;
    fn path(&self, which: RStr<'_>) -> ROption<RString>;

    fn node_fact(&self, name: RStr<'_>) -> ROption<RString>;
    fn set_node_fact(&self, name: RStr<'_>, value: ROption<RStr<'_>>) -> RResult<(), AbiError>;
    fn expect_node_fact(&self, name: RStr<'_>) -> RResult<(), AbiError>;

    fn container_of_pid(&self, pid: u32, start: u64) -> u64;
    fn container_of_cgroup(&self, hierarchy: u32, id: u64) -> u64;
    fn container_of_netns(&self, inode: u64) -> u64;
    fn containers(&self) -> RVec<u64>;
    fn container(&self, handle: u64) -> ROption<RString>;
    fn processes(&self, handle: u64) -> RVec<AbiProcess>;
    fn open_files(&self, pid: u32, start: u64) -> ROption<RString>;
    fn listening(&self, pid: u32, start: u64) -> ROption<RString>;
    fn events(&self, cursor: u64, max: u32) -> AbiEvents;
    /// Woken by events of containers, or once many of others wait: read after a
    /// time-out too.
    fn wait_events(&self, cursor: u64, timeout_ms: u64) -> bool;
    fn provide(&self, runtime: RStr<'_>, metadata: RStr<'_>) -> RResult<(), AbiError>;
    fn observe(&self, observations: RSlice<'_, AbiObservation>);

    #[sabi(last_prefix_field)]
    fn report(&self, resource: RStr<'_>, amount: f64);
}

pub type HostBox = AbiHost_TO<'static, RBox<()>>;
