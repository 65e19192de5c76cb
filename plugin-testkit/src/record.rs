//! What a collection gives, as it crosses, before anything is checked.

use gantry_exposition::{Arena, MAX_BOUNDS, MAX_LABEL_BYTES};
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::{ROption, RSlice, RStr};
use gantry_plugin_api::abi::types::Bytes;
use gantry_plugin_api::abi::{AbiSink, AbiSink_TO, SinkRef};
use gantry_plugin_api::metrics::MAX_LABELS;
use std::collections::BTreeMap;

/// As the host bounds it: all label values of one collection.
const MAX_BYTES: usize = 128 << 20;

/// One sample, as it was emitted.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) family: u32,
    pub(crate) container: u64,
    pub(crate) labels: Vec<Vec<u8>>,
    pub(crate) value: f64,
    pub(crate) created: Option<f64>,
    pub(crate) histogram: Option<RawHistogram>,
}

/// A histogram, as it was emitted; its sum is the sample's value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RawHistogram {
    pub(crate) bounds: Vec<f64>,
    pub(crate) cumulative: Vec<u64>,
    pub(crate) count: u64,
}

/// A sink that writes down what it is told.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) samples: Vec<Raw>,
    pub(crate) skipped: BTreeMap<String, u64>,
    /// Samples that there was no room for.
    pub(crate) overflow: u64,
    max_samples: usize,
    bytes: usize,
    created: Option<f64>,
}

impl Recorder {
    pub(crate) fn new(max_samples: usize) -> Self {
        Self {
            samples: Vec::new(),
            skipped: BTreeMap::new(),
            overflow: 0,
            max_samples,
            bytes: 0,
            created: None,
        }
    }

    pub(crate) fn sink(&mut self) -> SinkRef<'_> {
        AbiSink_TO::from_ptr(RMut::new(self), TD_Opaque)
    }

    fn push(
        &mut self,
        family: u32,
        container: u64,
        labels: &[Bytes<'_>],
        value: f64,
        histogram: Option<RawHistogram>,
    ) {
        let created = self.created.take();
        if self.samples.len() >= self.max_samples || self.bytes >= MAX_BYTES {
            self.overflow += 1;
            return;
        }
        // One more than may be is kept, so that too many and too long are seen as that.
        let cut = |label: &Bytes<'_>| label[..label.len().min(MAX_LABEL_BYTES + 1)].to_vec();
        let labels: Vec<Vec<u8>> = labels.iter().take(MAX_LABELS + 1).map(cut).collect();
        self.bytes += labels.iter().map(Vec::len).sum::<usize>() + size_of::<Raw>();
        self.samples.push(Raw { family, container, labels, value, created, histogram });
    }
}

impl AbiSink for Recorder {
    fn sample(&mut self, family: u32, container: u64, labels: RSlice<'_, Bytes<'_>>, value: f64) {
        self.push(family, container, labels.as_slice(), value, None);
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
        let histogram = RawHistogram {
            bounds: bounds.iter().take(MAX_BOUNDS + 2).copied().collect(),
            cumulative: cumulative.iter().take(MAX_BOUNDS + 2).copied().collect(),
            count,
        };
        self.push(family, container, labels.as_slice(), sum, Some(histogram));
    }

    fn created(&mut self, at: ROption<f64>) {
        self.created = at.into_option();
    }

    fn skipped(&mut self, reason: RStr<'_>, count: u64) {
        if count > 0 {
            let total = self.skipped.entry(reason.as_str().to_owned()).or_default();
            *total = total.saturating_add(count);
        }
    }
}

impl Raw {
    /// Puts it into an arena, as the host would have taken it.
    pub(crate) fn fill(&self, arena: &mut Arena) {
        let labels = self.labels.iter().map(Vec::as_slice);
        arena.created(self.created);
        match &self.histogram {
            None => arena.sample(self.family, self.container, labels, self.value),
            Some(histogram) => arena.histogram(
                self.family,
                self.container,
                labels,
                &histogram.bounds,
                &histogram.cumulative,
                self.value,
                histogram.count,
            ),
        }
    }
}
