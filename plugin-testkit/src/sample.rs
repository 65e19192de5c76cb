//! Samples as tests look at them.

use crate::host::Labelled;
use crate::record::{Raw, RawHistogram};
use gantry_exposition::render_labels;
use gantry_plugin_api::description::FamilyInfo;
use gantry_plugin_api::identity::ContainerRef;

/// A sample of one collection that the host would show.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// The family's name.
    pub family: String,
    /// Whose it is; `None` for the node's.
    pub container: Option<ContainerRef>,
    /// The family's labels with their values, in the order of the declaration.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: Value,
    /// Since when it counts, where the plugin said so.
    pub created: Option<f64>,
    /// As it is written: `name{label="value"}`, with the container's labels last.
    pub series: String,
}

/// A sample's value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram.
    Histogram(Histogram),
}

/// The state of a histogram.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// The upper bounds of its buckets, without +Inf.
    pub bounds: Vec<f64>,
    /// How many observations were at or below each bound.
    pub cumulative: Vec<u64>,
    /// The sum of all observations.
    pub sum: f64,
    /// How many observations there were.
    pub count: u64,
}

impl Sample {
    /// Out of one that passed the checks.
    pub(crate) fn of(raw: &Raw, info: &FamilyInfo, labelled: &Labelled) -> Self {
        let texts = raw.labels.iter().map(|label| String::from_utf8_lossy(label).into_owned());
        let labels: Vec<(String, String)> = info.labels.iter().cloned().zip(texts).collect();
        let value = match &raw.histogram {
            None => Value::Number(raw.value),
            Some(histogram) => Value::Histogram(Histogram::of(histogram, raw.value)),
        };
        Self {
            family: info.name.clone(),
            container: ContainerRef::from_handle(raw.container),
            series: series(&info.name, &labels, labelled.text(raw.container).unwrap_or("")),
            labels,
            value,
            created: raw.created,
        }
    }

    /// Its value where it is a number; a histogram's is its count.
    pub fn number(&self) -> f64 {
        match &self.value {
            Value::Number(number) => *number,
            Value::Histogram(histogram) => histogram.count as f64,
        }
    }

    /// The value of a label, its container's included.
    pub(crate) fn label<'a>(&'a self, name: &str, container: &'a [(String, String)]) -> Option<&'a str> {
        let found = self.labels.iter().chain(container).find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Histogram {
    fn of(raw: &RawHistogram, sum: f64) -> Self {
        let (mut bounds, mut cumulative) = (raw.bounds.clone(), raw.cumulative.clone());
        // Plugins may give the last bucket or leave it out.
        if bounds.last() == Some(&f64::INFINITY) {
            bounds.pop();
            cumulative.pop();
        }
        Self { bounds, cumulative, sum, count: raw.count }
    }
}

/// A series as it is written. `container` are the host's labels, rendered.
pub(crate) fn series(name: &str, labels: &[(String, String)], container: &str) -> String {
    let own = render_labels(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    match (own.is_empty(), container.is_empty()) {
        (true, true) => name.to_owned(),
        (false, true) => format!("{name}{{{own}}}"),
        (true, false) => format!("{name}{{{container}}}"),
        (false, false) => format!("{name}{{{own},{container}}}"),
    }
}
