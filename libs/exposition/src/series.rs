//! One series: a line of text but for its number, or all lines of a histogram.

use crate::declared::Declared;
use crate::format::Format;
use crate::histogram::{self, Buckets};
use crate::{names, number};

/// A series as it is kept. Its text lies in the buffer of the store: for a
/// number the line up to the value (`name{own="…",constant="…"} `), for a
/// histogram the labels without braces.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// 0: the node's.
    pub(crate) container: u64,
    /// Of the constant labels in the text.
    pub(crate) epoch: u64,
    /// Since when it counts, in seconds since the epoch; NaN: not known.
    pub(crate) created: f64,
    pub(crate) value: Value,
    pub(crate) start: u32,
    pub(crate) len: u32,
    /// How much of the text comes before the constant labels.
    pub(crate) own: u32,
    pub(crate) hash: u32,
    pub(crate) family: u32,
    /// The collection that emitted it last.
    pub(crate) generation: u32,
    /// Whether no value of its own labels is escaped in the text.
    pub(crate) plain: bool,
}

/// The last value.
#[derive(Debug)]
pub(crate) enum Value {
    Number(f64),
    /// Boxed: most series are numbers, and there are many.
    Histogram(Box<Buckets>),
}

impl Default for Value {
    fn default() -> Self {
        Value::Number(0.0)
    }
}

impl Series {
    /// How many series of Prometheus it is, `_created` not counted.
    pub(crate) fn weight(&self) -> usize {
        match &self.value {
            Value::Number(_) => 1,
            Value::Histogram(buckets) => buckets.weight(),
        }
    }

    /// Writes its lines and returns their number. `text` is its own.
    pub(crate) fn write(&self, out: &mut Vec<u8>, family: &Declared, text: &[u8], format: Format) -> usize {
        let name = &family.info.name;
        let mut lines = match &self.value {
            Value::Number(value) => {
                out.extend_from_slice(text);
                number::value(out, *value);
                out.push(b'\n');
                1
            }
            Value::Histogram(buckets) => buckets.write(out, name, text, format),
        };
        if format == Format::OpenMetrics && !self.created.is_nan() && family.has_created() {
            match &self.value {
                Value::Number(_) => {
                    out.extend_from_slice(names::openmetrics_name(&family.info).as_bytes());
                    out.extend_from_slice(b"_created");
                    out.extend_from_slice(&text[name.len()..]);
                }
                Value::Histogram(_) => histogram::start(out, name, b"_created", text),
            }
            number::value(out, self.created);
            out.push(b'\n');
            lines += 1;
        }
        lines
    }
}
