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
    pub(crate) value: Value,
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) hash: u32,
    /// The place of whom it is of.
    pub(crate) subject: u32,
    /// Where the store has its [`More`], or [`NOWHERE`].
    pub(crate) more: u32,
    pub(crate) family: u16,
    pub(crate) flags: u8,
}

/// What most series do not have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct More {
    /// Since when it counts, in seconds since the epoch; NaN: not known.
    pub(crate) created: f64,
    /// The place of the group's series that it is a part of, or [`NOWHERE`].
    pub(crate) sum: u32,
}

impl More {
    pub(crate) const NOTHING: Self = Self { created: f64::NAN, sum: NOWHERE };
}

/// What is so or not of a series. Bits: as a `bool` each would be a byte, for
/// which all are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    /// Something is escaped in the text.
    Escaped = 1,
    /// It is shown as 0 until that was written once.
    Newborn = 2,
    /// This collection has emitted it; known until it is settled.
    Emitted = 4,
}

/// The family of a place without a series.
pub(crate) const NO_FAMILY: u16 = u16::MAX;

/// The number of a family, as series keep it.
pub(crate) fn family(place: u32) -> u16 {
    u16::try_from(place).expect("the host takes at most 10,000 families of one owner")
}

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
            value: Value::default(),
            start: 0,
            len: 0,
            hash: 0,
            subject: NOWHERE,
            more: NOWHERE,
            family: NO_FAMILY,
            flags: 0,
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
    pub(crate) fn is(&self, flag: Flag) -> bool {
        self.flags & flag as u8 != 0
    }

    pub(crate) fn set(&mut self, flag: Flag, is: bool) {
        self.flags = if is { self.flags | flag as u8 } else { self.flags & !(flag as u8) };
    }

    /// With a flag, where it is so.
    pub(crate) fn with(mut self, flag: Flag, is: bool) -> Self {
        self.set(flag, is);
        self
    }

    /// See [`Value::weight`].
    pub(crate) fn weight(&self) -> usize {
        self.value.weight()
    }

    /// Writes its lines and returns their number. `since` when it counts, or NaN.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        family: &Declared,
        text: Text<'_>,
        since: f64,
        format: Format,
    ) -> usize {
        let created = format == Format::OpenMetrics && !since.is_nan() && family.has_created();
        let newborn = self.is(Flag::Newborn);
        let name = &family.info.name;
        match self.value.shown() {
            Value::Number(value) => {
                out.extend_from_slice(text.own);
                text.close(out, family);
                number::value(out, if newborn { 0.0 } else { *value });
                out.push(b'\n');
                if created {
                    out.extend_from_slice(names::openmetrics_name(&family.info).as_bytes());
                    out.extend_from_slice(b"_created");
                    out.extend_from_slice(&text.own[name.len()..]);
                    text.close(out, family);
                    number::value(out, since);
                    out.push(b'\n');
                }
                1 + usize::from(created)
            }
            Value::Histogram(buckets) => {
                let labels = text.joined();
                let lines = buckets.write(out, name, &labels, format, newborn);
                if created {
                    histogram::start(out, name, b"_created", &labels);
                    number::value(out, since);
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
    /// The host's labels, those that all have and the others; both may be empty.
    pub(crate) constant: [&'a [u8]; 2],
}

impl Text<'_> {
    /// Writes what stands between a number's own text and the number.
    fn close(&self, out: &mut Vec<u8>, family: &Declared) {
        let has_own = !family.info.labels.is_empty();
        if self.has_constant() {
            out.push(if has_own { b',' } else { b'{' });
            self.constant.iter().for_each(|part| out.extend_from_slice(part));
        } else if !has_own {
            out.push(b' ');
            return;
        }
        out.extend_from_slice(b"} ");
    }

    /// All labels of a histogram.
    fn joined(&self) -> Vec<u8> {
        let comma: &[u8] = if self.own.is_empty() || !self.has_constant() { b"" } else { b"," };
        [self.own, comma, self.constant[0], self.constant[1]].concat()
    }

    fn has_constant(&self) -> bool {
        self.constant.iter().any(|part| !part.is_empty())
    }
}
