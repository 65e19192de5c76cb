//! For benchmarks: an instance with nothing between the caller and it.

use crate::config::ToConfig;
use crate::failure::Failure;
use crate::kit::Kit;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::{ROption, RSlice, RStr};
use gantry_plugin_api::abi::types::Bytes;
use gantry_plugin_api::abi::{AbiSink, AbiSink_TO};
use gantry_pluginfile::Instance;
use std::hint::black_box;

/// An instance on the caller's own thread, without deadlines and checks: what
/// a call of it takes is the plugin's and the boundary's cost alone.
#[derive(Debug)]
pub struct Bench {
    instance: Instance,
    /// A library's code and the host's files are there as long as it is.
    _kit: Kit,
}

/// Counts samples and keeps nothing.
#[derive(Debug, Default)]
struct Count(u64);

impl Kit {
    /// Starts an instance for a benchmark, on this thread.
    pub fn bench(&self, config: impl ToConfig) -> Result<Bench, Failure> {
        let config = config.to_config()?;
        let instance = self.create_here().map_err(|error| Failure::of("create", error))?;
        let mut bench = Bench { instance, _kit: self.clone() };
        bench.instance.start(&config).map_err(|error| Failure::of("start", error))?;
        bench.instance.activate(None).map_err(|error| Failure::of("activate", error))?;
        Ok(bench)
    }
}

impl Bench {
    /// Collects, and says how many samples there were.
    pub fn collect(&mut self) -> Result<u64, Failure> {
        let mut count = Count::default();
        let sink = AbiSink_TO::from_ptr(RMut::new(&mut count), TD_Opaque);
        self.instance.collect(sink).map_err(|error| Failure::of("collect", error))?;
        Ok(count.0)
    }
}

impl AbiSink for Count {
    fn sample(&mut self, _: u32, _: u64, labels: RSlice<'_, Bytes<'_>>, value: f64) {
        black_box((labels.len(), value));
        self.0 += 1;
    }
    fn histogram(
        &mut self,
        _: u32,
        _: u64,
        labels: RSlice<'_, Bytes<'_>>,
        _: RSlice<'_, f64>,
        cumulative: RSlice<'_, u64>,
        sum: f64,
        _: u64,
    ) {
        black_box((labels.len(), cumulative.len(), sum));
        self.0 += 1;
    }
    fn created(&mut self, _: ROption<f64>) {}
    fn skipped(&mut self, _: RStr<'_>, _: u64) {}
}
