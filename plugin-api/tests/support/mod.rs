//! A host and a sink that write down what they are told.
#![allow(dead_code, reason = "each test binary uses some of it")]

use gantry_plugin_api::Host;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::{
    RNone, ROk, ROption, RResult, RSlice, RStr, RString, RVec,
};
use gantry_plugin_api::abi::types::{AbiCell, AbiError, AbiEvents, AbiObservation, AbiProcess, Bytes};
use gantry_plugin_api::abi::{AbiHost, AbiHost_TO, AbiSink, AbiSink_TO, AbiViewSink, HostBox, SinkRef};
use std::sync::{Arc, Mutex};

/// Lines as `LEVEL TARGET MESSAGE`.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
    pub fn has(&self, part: &str) -> bool {
        self.lines().iter().any(|line| line.contains(part))
    }
    pub fn boxed(&self) -> HostBox {
        AbiHost_TO::from_value(FakeHost { log: self.clone(), keeps: true }, TD_Opaque)
    }
    /// A host that forgets its log.
    pub fn discarding() -> HostBox {
        AbiHost_TO::from_value(FakeHost { log: Self::default(), keeps: false }, TD_Opaque)
    }
    pub fn host(&self) -> Host {
        Host::new(self.boxed())
    }
    /// How many hosts, besides this handle, write into it.
    pub fn writers(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

struct FakeHost {
    log: Log,
    keeps: bool,
}

impl AbiHost for FakeHost {
    fn has(&self, _: RStr<'_>) -> bool {
        false
    }
    fn log(&self, level: u32, target: RStr<'_>, message: RStr<'_>) {
        if self.keeps {
            self.log.0.lock().unwrap().push(format!("{level} {target} {message}"));
        }
    }
    fn clock_ns(&self, _: u32) -> u64 {
        0
    }
    fn path(&self, _: RStr<'_>) -> ROption<RString> {
        RNone
    }
    fn node_fact(&self, _: RStr<'_>) -> ROption<RString> {
        RNone
    }
    fn set_node_fact(&self, _: RStr<'_>, _: ROption<RStr<'_>>) -> RResult<(), AbiError> {
        ROk(())
    }
    fn expect_node_fact(&self, _: RStr<'_>) -> RResult<(), AbiError> {
        ROk(())
    }
    fn container_of_pid(&self, _: u32, _: u64) -> u64 {
        0
    }
    fn container_of_cgroup(&self, _: u32, _: u64) -> u64 {
        0
    }
    fn container_of_netns(&self, _: u64) -> u64 {
        0
    }
    fn containers(&self) -> RVec<u64> {
        RVec::new()
    }
    fn container(&self, _: u64) -> ROption<RString> {
        RNone
    }
    fn processes(&self, _: u64) -> RVec<AbiProcess> {
        RVec::new()
    }
    fn open_files(&self, _: u32, _: u64) -> ROption<RString> {
        RNone
    }
    fn listening(&self, _: u32, _: u64) -> ROption<RString> {
        RNone
    }
    fn events(&self, next: u64, _: u32) -> AbiEvents {
        AbiEvents { events: RVec::new(), next, lost: 0 }
    }
    fn wait_events(&self, _: u64, _: u64) -> bool {
        false
    }
    fn provide(&self, _: RStr<'_>, _: RStr<'_>) -> RResult<(), AbiError> {
        ROk(())
    }
    fn observe(&self, _: RSlice<'_, AbiObservation>) {}
    fn report(&self, _: RStr<'_>, _: f64) {}
}

/// Samples as (family, labels, value).
#[derive(Debug, Default)]
pub struct FakeSink {
    pub samples: Vec<(u32, Vec<String>, f64)>,
}

impl FakeSink {
    pub fn crossing(&mut self) -> SinkRef<'_> {
        AbiSink_TO::from_ptr(RMut::new(self), TD_Opaque)
    }
}

impl AbiSink for FakeSink {
    fn sample(&mut self, family: u32, _: u64, labels: RSlice<'_, Bytes<'_>>, value: f64) {
        let labels = labels.iter().map(|label| String::from_utf8_lossy(label).into_owned()).collect();
        self.samples.push((family, labels, value));
    }
    fn histogram(
        &mut self,
        family: u32,
        _: u64,
        _: RSlice<'_, Bytes<'_>>,
        _: RSlice<'_, f64>,
        _: RSlice<'_, u64>,
        _: f64,
        count: u64,
    ) {
        self.samples.push((family, vec!["count".to_owned()], count as f64));
    }
    fn created(&mut self, _: ROption<f64>) {}
    fn skipped(&mut self, _: RStr<'_>, _: u64) {}
}

#[derive(Debug, Default)]
pub struct FakeRows(pub usize);

impl AbiViewSink for FakeRows {
    fn row(&mut self, _: RSlice<'_, AbiCell<'_>>) -> bool {
        self.0 += 1;
        true
    }
}
