//! Where a plugin's samples go: into the arena of its thread.

use gantry_exposition::Arena;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::{ROption, RSlice, RStr};
use gantry_plugin_api::abi::types::Bytes;
use gantry_plugin_api::abi::{AbiSink, AbiSink_TO, SinkRef};

/// An arena, as it crosses.
#[derive(Debug)]
pub struct ArenaSink<'a>(pub &'a mut Arena);

impl ArenaSink<'_> {
    pub fn crossing(&mut self) -> SinkRef<'_> {
        AbiSink_TO::from_ptr(RMut::new(self), TD_Opaque)
    }
}

impl AbiSink for ArenaSink<'_> {
    fn sample(&mut self, family: u32, container: u64, labels: RSlice<'_, Bytes<'_>>, value: f64) {
        self.0.sample(family, container, labels.as_slice().iter().map(|label| label.as_slice()), value);
    }

    fn histogram(
        &mut self,
        family: u32,
        container: u64,
        labels: RSlice<'_, Bytes<'_>>,
        bounds: RSlice<'_, f64>,
        cumulative: RSlice<'_, u64>,
        sum: f64,
        count: u64,
    ) {
        let labels = labels.as_slice().iter().map(|label| label.as_slice());
        self.0.histogram(family, container, labels, bounds.as_slice(), cumulative.as_slice(), sum, count);
    }

    fn created(&mut self, at: ROption<f64>) {
        self.0.created(at.into_option());
    }

    fn skipped(&mut self, reason: RStr<'_>, count: u64) {
        self.0.skipped(reason.as_str(), count);
    }
}
