//! Where samples and rows go.

use super::types::{AbiCell, Bytes};
use abi_stable::sabi_trait;
use abi_stable::sabi_types::RMut;
use abi_stable::std_types::{ROption, RSlice, RStr};

/// The host's side of [`crate::Sink`].
#[sabi_trait]
pub trait AbiSink: Debug {
    fn sample(&mut self, family: u32, container: u64, labels: RSlice<'_, Bytes<'_>>, value: f64);

    fn histogram(
        &mut self,
        family: u32,
        container: u64,
        labels: RSlice<'_, Bytes<'_>>,
        bounds: RSlice<'_, f64>,
        cumulative: RSlice<'_, u64>,
        sum: f64,
        count: u64,
    );

    fn created(&mut self, at: ROption<f64>);

    #[sabi(last_prefix_field)]
    fn skipped(&mut self, reason: RStr<'_>, count: u64);
}

pub type SinkRef<'a> = AbiSink_TO<'a, RMut<'a, ()>>;

/// The host's side of [`crate::Rows`].
#[sabi_trait]
pub trait AbiViewSink: Debug {
    /// `false`: no more rows are wanted.
    #[sabi(last_prefix_field)]
    fn row(&mut self, cells: RSlice<'_, AbiCell<'_>>) -> bool;
}

pub type ViewSinkRef<'a> = AbiViewSink_TO<'a, RMut<'a, ()>>;
