//! A plugin's instance, as it crosses.

use super::sink::{SinkRef, ViewSinkRef};
use super::types::{AbiError, Bytes};
use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, ROption, RResult, RStr, RString, RVec};

/// The other side of [`crate::Plugin`]. Configurations, probes and health
/// cross as JSON. No call unwinds.
#[sabi_trait]
pub trait AbiPlugin: Send {
    fn probe(&self, config: RStr<'_>) -> RResult<RString, AbiError>;
    fn start(&mut self, config: RStr<'_>) -> RResult<(), AbiError>;
    fn activate(&mut self, handover: ROption<Bytes<'_>>) -> RResult<(), AbiError>;
    fn collect(&mut self, sink: SinkRef<'_>) -> RResult<(), AbiError>;
    fn view(&mut self, name: RStr<'_>, rows: ViewSinkRef<'_>) -> RResult<(), AbiError>;
    /// `true`: applied; `false`: needs a restart.
    fn reconfigure(&mut self, config: RStr<'_>) -> RResult<bool, AbiError>;
    fn health(&self) -> RResult<RString, AbiError>;
    fn stop(&mut self, deadline_ms: u64) -> RResult<RVec<u8>, AbiError>;
    fn snapshot(&mut self) -> RResult<RVec<u8>, AbiError>;
    fn set_log_level(&self, level: u32);

    /// Live bytes of the library's allocator.
    fn heap_bytes(&self) -> u64;

    /// The threads that allocated in the library, as `CountedHeap` notes them.
    #[sabi(last_prefix_field)]
    fn threads(&self) -> RVec<u64>;
}

pub type PluginBox = AbiPlugin_TO<'static, RBox<()>>;
