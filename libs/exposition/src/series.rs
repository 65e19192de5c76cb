//! One series: a line of text but for its number, or all lines of a histogram.

use crate::declared::Declared;
use crate::format::Format;
use crate::groups::Sum;
use crate::histogram::{self, Buckets};
use crate::subjects::NOWHERE;
use crate::{names, number};

/// A series as it is kept. Its text lies in the buffer of the store: the line
/// up to the host's labels (`name{own="…"`), for a histogram its own labels
/// alone. One of a family without labels has none: the family's glue is all.
#[derive(Debug)]
pub(crate) struct Series {
    /// Since when it counts, in seconds since the epoch; NaN: not known.
    pub(crate) created: f64,
    pub(crate) value: Value,
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) hash: u32,
    pub(crate) family: u32,
    /// The place of whom it is of.
    pub(crate) subject: u32,
    /// The collection that emitted it last.
    pub(crate) generation: u32,
    /// The place of the group's series that it is a part of, or [`NOWHERE`].
    pub(crate) sum: u32,
    /// Whether nothing is escaped in the text.
    pub(crate) plain: bool,
    /// It is shown as 0 until that was written once.
    pub(crate) newborn: bool,
}

/// The family of a place without a series.
pub(crate) const NO_FAMILY: u32 = u32::MAX;

/// The last value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Number(f64),
    /// Boxed: most series are numbers, and there are many.
    Histogram(Box<Buckets>),
    /// Of a group.
    Sum(Box<Sum>),
}

impl Default for Value {
    fn default() -> Self {
        Value::Number(0.0)
    }
}

impl Default for Series {
    fn default() -> Self {
        Self {
            created: f64::NAN,
            value: Value::default(),
            start: 0,
            len: 0,
            hash: 0,
            family: NO_FAMILY,
            subject: NOWHERE,
            generation: 0,
            sum: NOWHERE,
            plain: true,
            newborn: false,
        }
    }
}

impl Value {
    /// How many series of Prometheus it is, `_created` not counted.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Value::Number(_) => 1,
            Value::Histogram(buckets) => buckets.weight(),
            Value::Sum(sum) => sum.shown().weight(),
        }
    }

    /// What is written: of a group the sum.
    pub(crate) fn shown(&self) -> &Value {
        match self {
            Value::Sum(sum) => sum.shown(),
            value => value,
        }
    }
}

impl Series {
    /// See [`Value::weight`].
    pub(crate) fn weight(&self) -> usize {
        self.value.weight()
    }

    /// Writes its lines and returns their number.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        family: &Declared,
        text: Text<'_>,
        format: Format,
    ) -> usize {
        let created = format == Format::OpenMetrics && !self.created.is_nan() && family.has_created();
        let name = &family.info.name;
        match self.value.shown() {
            Value::Number(value) => {
                out.extend_from_slice(text.own);
                text.close(out, family);
                number::value(out, if self.newborn { 0.0 } else { *value });
                out.push(b'\n');
                if created {
                    out.extend_from_slice(names::openmetrics_name(&family.info).as_bytes());
                    out.extend_from_slice(b"_created");
                    out.extend_from_slice(&text.own[name.len()..]);
                    text.close(out, family);
                    number::value(out, self.created);
                    out.push(b'\n');
                }
                1 + usize::from(created)
            }
            Value::Histogram(buckets) => {
                let labels = text.joined();
                let lines = buckets.write(out, name, &labels, format, self.newborn);
                if created {
                    histogram::start(out, name, b"_created", &labels);
                    number::value(out, self.created);
                    out.push(b'\n');
                }
                lines + usize::from(created)
            }
            // What is written of a sum is one of the others.
            Value::Sum(_) => 0,
        }
    }
}

/// What a series' lines say besides their numbers. Within a family no two
/// series have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Text<'a> {
    /// See [`Series`].
    pub(crate) own: &'a [u8],
    /// The host's labels; may be empty.
    pub(crate) constant: &'a [u8],
}

impl Text<'_> {
    /// Writes what stands between a number's own text and the number.
    fn close(&self, out: &mut Vec<u8>, family: &Declared) {
        let has_own = !family.info.labels.is_empty();
        if !self.constant.is_empty() {
            out.push(if has_own { b',' } else { b'{' });
            out.extend_from_slice(self.constant);
        } else if !has_own {
            out.push(b' ');
            return;
        }
        out.extend_from_slice(b"} ");
    }

    /// All labels of a histogram.
    fn joined(&self) -> Vec<u8> {
        let comma: &[u8] = if self.own.is_empty() || self.constant.is_empty() { b"" } else { b"," };
        [self.own, comma, self.constant].concat()
    }
}
