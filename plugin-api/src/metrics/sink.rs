//! Where a plugin puts its samples at a collection.

use super::family::{Family, MAX_LABELS, UNLISTED};
use crate::abi::{SinkRef, types::Bytes};
use crate::identity::ContainerRef;
use abi_stable::std_types::{ROption, RSlice};
use std::time::Duration;

/// Takes the samples of one collection. What is wrong with a sample (a label
/// too many, a duplicate, a series over the plugin's cap) costs that sample
/// alone and is counted by the host; the plugin need not care.
#[derive(Debug)]
pub struct Sink<'a> {
    abi: SinkRef<'a>,
}

/// What a sample's value may be written as.
#[allow(clippy::wrong_self_convention, reason = "all that implement it are copied, as by `value as f64`")]
pub trait Value {
    /// The number that is exposed. Whole numbers beyond 2^53 lose their last
    /// digits, as they do in Prometheus itself.
    fn as_f64(self) -> f64;
}

macro_rules! values {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn as_f64(self) -> f64 {
                self as f64
            }
        }
    )*};
}
values!(f64, f32, u64, i64, u32, i32, u16, i16, u8, i8, usize);

impl Value for bool {
    fn as_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
}

/// In seconds.
impl Value for Duration {
    fn as_f64(self) -> f64 {
        self.as_secs_f64()
    }
}

impl<'a> Sink<'a> {
    /// Over what crossed; for this crate's guard and for test kits.
    #[doc(hidden)]
    pub fn new(abi: SinkRef<'a>) -> Self {
        Self { abi }
    }

    /// What crossed; for test kits and for plugins that misbehave on purpose.
    #[doc(hidden)]
    pub fn abi(&mut self) -> &mut SinkRef<'a> {
        &mut self.abi
    }

    /// A sample of the node. `labels` are the values of the family's labels,
    /// in the order of its declaration.
    pub fn node(&mut self, family: &Family, labels: &[&str], value: impl Value) {
        self.sample(family, None, labels, value.as_f64());
    }

    /// A sample of a container; the host adds its labels.
    pub fn container(
        &mut self,
        family: &Family,
        container: ContainerRef,
        labels: &[&str],
        value: impl Value,
    ) {
        self.sample(family, Some(container), labels, value.as_f64());
    }

    /// The whole state of a histogram: for each bound of the family the number
    /// of observations at or below it, then their sum and number.
    pub fn histogram(
        &mut self,
        family: &Family,
        container: Option<ContainerRef>,
        labels: &[&str],
        cumulative: &[u64],
        sum: f64,
        count: u64,
    ) {
        let handle = container.map_or(0, ContainerRef::handle);
        let abi = &mut self.abi;
        with_labels(labels, |labels| {
            let bounds = RSlice::from_slice(family.bounds);
            let cumulative = RSlice::from_slice(cumulative);
            abi.histogram(listed(family), handle, labels, bounds, cumulative, sum, count);
        });
    }

    fn sample(&mut self, family: &Family, container: Option<ContainerRef>, labels: &[&str], value: f64) {
        let handle = container.map_or(0, ContainerRef::handle);
        let abi = &mut self.abi;
        with_labels(labels, |labels| abi.sample(listed(family), handle, labels, value));
    }

    /// Samples that the plugin itself could not make (a file that could not be
    /// read, an entry that made no sense), counted by the host under `reason`.
    ///
    /// A reason that ends in `_lost` says that events were lost: they came
    /// faster than the plugin took them. An upgrade after which a plugin loses
    /// events by a reason that it did not have before is rolled back.
    pub fn skipped(&mut self, reason: &'static str, count: u64) {
        self.abi.skipped(reason.into(), count);
    }

    /// Says since when a counter of another program counts (seconds since the
    /// epoch), for OpenMetrics' `_created`; it holds for the next sample.
    pub fn created(&mut self, at: f64) {
        self.abi.created(ROption::RSome(at));
    }
}

/// A family that is in no list is reported under a place that no host knows,
/// and is so refused and counted there.
fn listed(family: &Family) -> u32 {
    debug_assert_ne!(family.index(), UNLISTED, "{} is in no list of families", family.name());
    family.index()
}

/// Label values as they cross, without an allocation. Values beyond what any
/// family can declare are cut to one more than that, which the host refuses.
fn with_labels<T>(labels: &[&str], call: impl FnOnce(RSlice<'_, Bytes<'_>>) -> T) -> T {
    let mut crossing = [Bytes::EMPTY; MAX_LABELS + 1];
    let count = labels.len().min(crossing.len());
    for (slot, label) in crossing.iter_mut().zip(labels) {
        *slot = RSlice::from_slice(label.as_bytes());
    }
    call(RSlice::from_slice(&crossing[..count]))
}
