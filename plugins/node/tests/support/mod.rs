//! A host, a sink and fixture trees for this plugin's tests.
#![allow(dead_code, reason = "each test file uses its own part of it")]

pub mod tree;

use gantry_node::Node;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::{ROk, ROption, RResult, RSlice, RStr, RString, RVec};
use gantry_plugin_api::abi::types::{AbiCell, AbiError, AbiEvents, AbiObservation, AbiProcess, Bytes};
use gantry_plugin_api::abi::{
    AbiHost, AbiHost_TO, AbiPlugin, AbiSink, AbiSink_TO, AbiViewSink, AbiViewSink_TO, SinkRef,
};
use gantry_plugin_api::{Error, Guard, Health, Host, Plugin, Probe};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Tells the plugin where files are, and nothing else.
#[derive(Debug, Clone)]
pub struct FakeHost {
    pub root: PathBuf,
}

impl AbiHost for FakeHost {
    fn has(&self, _: RStr<'_>) -> bool {
        false
    }
    fn log(&self, _: u32, _: RStr<'_>, _: RStr<'_>) {}
    fn clock_ns(&self, _: u32) -> u64 {
        1_700_000_000_000_000_000
    }
    fn path(&self, which: RStr<'_>) -> ROption<RString> {
        let path = match which.as_str() {
            "root" => self.root.clone(),
            other => self.root.join(other),
        };
        ROption::RSome(path.to_string_lossy().into_owned().into())
    }
    fn node_fact(&self, _: RStr<'_>) -> ROption<RString> {
        ROption::RNone
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
        ROption::RNone
    }
    fn processes(&self, _: u64) -> RVec<AbiProcess> {
        RVec::new()
    }
    fn open_files(&self, _: u32, _: u64) -> ROption<RString> {
        ROption::RNone
    }
    fn listening(&self, _: u32, _: u64) -> ROption<RString> {
        ROption::RNone
    }
    fn events(&self, _: u64, _: u32) -> AbiEvents {
        AbiEvents { events: RVec::new(), next: 0, lost: 0 }
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

/// What a collection gave: values by `name{label="value"}`, and what was skipped.
#[derive(Debug, Default, Clone)]
pub struct Samples {
    pub values: BTreeMap<String, f64>,
    pub skipped: BTreeMap<String, u64>,
    pub duplicates: Vec<String>,
}

impl Samples {
    pub fn sink(&mut self) -> SinkRef<'_> {
        AbiSink_TO::from_ptr(RMut::new(self), TD_Opaque)
    }
    #[track_caller]
    pub fn get(&self, series: &str) -> f64 {
        *self.values.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.values.keys()))
    }
    pub fn has_family(&self, name: &str) -> bool {
        self.of_family(name).next().is_some()
    }
    pub fn of_family<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.values.iter().filter_map(move |(series, value)| {
            let (family, _) = series.split_once('{').unwrap_or((series, ""));
            (family == name).then_some((series.as_str(), *value))
        })
    }
    /// The values of one label of a family, in order.
    pub fn label_values(&self, family: &str, label: &str) -> Vec<String> {
        let start = format!("{label}=\"");
        let value = |series: &str| series.split_once(&start)?.1.split('"').next().map(str::to_owned);
        self.of_family(family).filter_map(|(series, _)| value(series)).collect()
    }
}

impl AbiSink for Samples {
    fn sample(&mut self, family: u32, container: u64, labels: RSlice<'_, Bytes<'_>>, value: f64) {
        assert_eq!(container, 0, "this plugin knows no container");
        let family = Node::families()[family as usize];
        assert_eq!(labels.len(), family.label_names().len(), "{}", family.name());
        let text = |(name, value): (&&str, &Bytes<'_>)| {
            format!("{name}={:?}", std::str::from_utf8(value.as_slice()).expect("labels are UTF-8"))
        };
        let labels: Vec<String> = family.label_names().iter().zip(labels.iter()).map(text).collect();
        let series = match labels.is_empty() {
            true => family.name().to_owned(),
            false => format!("{}{{{}}}", family.name(), labels.join(",")),
        };
        assert!(value.is_finite() && value >= 0.0, "{series} is {value}");
        if self.values.insert(series.clone(), value).is_some() {
            self.duplicates.push(series);
        }
    }
    fn histogram(
        &mut self,
        _: u32,
        _: u64,
        _: RSlice<'_, Bytes<'_>>,
        _: RSlice<'_, f64>,
        _: RSlice<'_, u64>,
        _: f64,
        _: u64,
    ) {
        panic!("this plugin has no histogram");
    }
    fn created(&mut self, _: ROption<f64>) {}
    fn skipped(&mut self, reason: RStr<'_>, count: u64) {
        *self.skipped.entry(reason.to_string()).or_default() += count;
    }
}

/// Rows of a view, as texts.
#[derive(Debug, Default)]
struct Table(Vec<Vec<String>>);

impl AbiViewSink for Table {
    fn row(&mut self, cells: RSlice<'_, AbiCell<'_>>) -> bool {
        let text = |cell: &AbiCell<'_>| match cell.kind {
            0 => String::new(),
            1 => String::from_utf8_lossy(cell.text.as_slice()).into_owned(),
            _ => cell.number.to_string(),
        };
        self.0.push(cells.iter().map(text).collect());
        true
    }
}

/// A running plugin.
pub struct Rig {
    guard: Guard<Node>,
}

impl Rig {
    /// Over the files beneath `root`; `config` is JSON.
    pub fn try_start(root: &Path, config: &str) -> Result<Self, Error> {
        let host = AbiHost_TO::from_value(FakeHost { root: root.to_owned() }, TD_Opaque);
        let mut guard = Guard::<Node>::new(Host::new(host), || 0);
        guard.start(config.into()).into_result().map_err(Error::from)?;
        Ok(Self { guard })
    }
    pub fn start(root: &Path) -> Self {
        Self::try_start(root, "{}").expect("starts")
    }
    pub fn probe(root: &Path) -> Probe {
        let host = AbiHost_TO::from_value(FakeHost { root: root.to_owned() }, TD_Opaque);
        let guard = Guard::<Node>::new(Host::new(host), || 0);
        let json = guard.probe("{}".into()).into_result().expect("probes");
        serde_json::from_str(&json).expect("a probe")
    }
    pub fn collect(&mut self) -> Samples {
        let mut samples = Samples::default();
        self.guard.collect(samples.sink()).into_result().expect("a collection never fails as a whole");
        assert_eq!(samples.duplicates, [""; 0]);
        samples
    }
    pub fn reconfigure(&mut self, config: &str) -> Result<bool, Error> {
        self.guard.reconfigure(config.into()).into_result().map_err(Error::from)
    }
    pub fn troubles(&self) -> Vec<String> {
        let json = self.guard.health().into_result().expect("has a health");
        match serde_json::from_str(&json).expect("a health") {
            Health::Good => Vec::new(),
            Health::Degraded(troubles) => troubles,
            other => panic!("a health that this test does not know: {other:?}"),
        }
    }
    pub fn view(&mut self, name: &str) -> Vec<Vec<String>> {
        let mut table = Table::default();
        let sink = AbiViewSink_TO::from_ptr(RMut::new(&mut table), TD_Opaque);
        self.guard.view(name.into(), sink).into_result().expect("has the view");
        table.0
    }
    pub fn stop(&mut self) {
        self.guard.stop(1000).into_result().expect("stops");
    }
}

/// Tries until `attempt` gives an answer, and fails with its last complaint.
#[track_caller]
pub fn eventually<T>(mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(complaint) if Instant::now() > deadline => panic!("still, after 20 s: {complaint}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// Says that a test cannot run here; where everything must run that is a failure.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn skip(why: &str) {
    let everything_must_run = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!everything_must_run, "{why}");
    eprintln!("SKIPPED: {why}");
}
