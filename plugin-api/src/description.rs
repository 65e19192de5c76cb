//! What the host learns of a plugin by asking the library: manifest, schema of
//! the configuration, metric families and views. It crosses as JSON, so that
//! it can grow; unknown fields are passed over.

use crate::manifest::ManifestInfo;
use serde::{Deserialize, Serialize};

/// All that a plugin declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// The same manifest that lies in the file.
    pub manifest: ManifestInfo,
    /// JSON Schema (2020-12) of the plugin's own configuration table.
    pub config_schema: serde_json::Value,
    /// Its metric families; a sample names one by its place in this list.
    pub families: Vec<FamilyInfo>,
    /// Its views.
    #[serde(default)]
    pub views: Vec<ViewInfo>,
}

impl Description {
    /// A description; the only way to build one outside this crate.
    pub fn new(
        manifest: ManifestInfo,
        config_schema: serde_json::Value,
        families: Vec<FamilyInfo>,
        views: Vec<ViewInfo>,
    ) -> Self {
        Self { manifest, config_schema, families, views }
    }
}

/// A metric family as it crosses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FamilyInfo {
    /// The full name, with `_total` where it is a counter.
    pub name: String,
    /// One or more sentences; `\n` is allowed and escaped.
    pub help: String,
    /// Its type.
    pub kind: Kind,
    /// The unit's OpenMetrics name (`seconds`, `bytes`), or empty.
    #[serde(default)]
    pub unit: String,
    /// Names of the labels that each sample gives values for, in this order.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Whether each sample belongs to a container.
    #[serde(default)]
    pub per_container: bool,
    /// A counter whose count begins with the plugin (or its hand-over), not
    /// one that the kernel kept before: it is shown as 0 the first time.
    #[serde(default)]
    pub counted_here: bool,
    /// What a gauge is where several containers are shown as one.
    #[serde(default)]
    pub merge: Merge,
}

/// How the gauges of containers that are shown as one make one value. Counters
/// and histograms are always summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// The largest value: of what is always 1, of states, of what all share.
    Largest,
    /// Their sum. Also what a newer plugin's way reads as.
    #[default]
    #[serde(other)]
    Sum,
}

impl Merge {
    /// As it crosses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Merge::Largest => "largest",
            Merge::Sum => "sum",
        }
    }
}

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Goes up only.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets, with a sum.
    Histogram,
    /// Not said. Also what a newer plugin's kind reads as.
    #[serde(other)]
    Unknown,
}

impl Kind {
    /// The word of OpenMetrics' `# TYPE` line; text 0.0.4 says `untyped` for unknown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Unknown => "unknown",
        }
    }
}

/// A view as it crosses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewInfo {
    /// Its name, as in `gantry show PLUGIN NAME`.
    pub name: String,
    /// One line for people.
    pub help: String,
    /// Its columns, in the order of a row's cells.
    pub columns: Vec<ColumnInfo>,
}

/// A view's column as it crosses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnInfo {
    /// Name in snake_case.
    pub name: String,
    /// `text`, `number`, `time` or `container`.
    pub kind: String,
    /// Unit of a number in base units (`seconds`, `bytes`), or empty.
    #[serde(default)]
    pub unit: String,
}
