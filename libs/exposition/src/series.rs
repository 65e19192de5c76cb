//! One series: a line of text but for its number, or all lines of a histogram.

use crate::declared::Declared;
use crate::format::Format;
use crate::groups::Sum;
use crate::histogram::{self, Buckets};
use crate::subjects::NOWHERE;
use crate::{names, number};

/// A series as it is kept, in sixteen bytes: there are dozens for each container.
/// What of its line others have as well lies in the store once ([`Line`]).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series {
    /// The last value, or where the store has it that is no number: a NaN of [`HEAVY`].
    bits: u64,
    /// The place of whom it is of.
    pub(crate) subject: u32,
    /// The number of its line; above it the flags.
    line: u32,
}

/// The upper half of what stands for a place and no number. A NaN that is a value
/// has other bits, whoever made it: [`Series::set_number`].
const HEAVY: u32 = 0xfffc_a11e;

/// The bits of a series' line that are its number.
const LINE: u32 = (1 << 30) - 1;

/// What a line of text says but for whom it is of and its number. Series of many
/// containers have the same.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line {
    /// Its text in the buffer of the store: the line up to the host's labels
    /// (`name{own="…"`), for a histogram its own labels alone. One of a family
    /// without labels has none: the family's glue is all.
    pub(crate) start: u32,
    pub(crate) len: u32,
    /// Of what makes a series, but for the subject.
    pub(crate) hash: u32,
    /// How many series have it; a free one has none.
    pub(crate) uses: u32,
    pub(crate) family: u16,
    /// Something is escaped in the text.
    pub(crate) escaped: bool,
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

/// What is so or not of a series: the bits above its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Flag {
    /// It is shown as 0 until that was written once.
    Newborn = 1 << 30,
    /// This collection has emitted it; known until it is settled.
    Emitted = 1 << 31,
}

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
    /// A place without one.
    pub(crate) const NONE: Self = Self { bits: 0, subject: NOWHERE, line: LINE };

    pub(crate) fn new(subject: u32, line: u32, newborn: bool) -> Self {
        let mut series = Self { bits: 0, subject, line: LINE };
        series.set_line(line);
        series.set(Flag::Newborn, newborn);
        series
    }

    /// Whether there is none at its place.
    pub(crate) fn is_none(&self) -> bool {
        self.line() == LINE
    }

    pub(crate) fn line(&self) -> u32 {
        self.line & LINE
    }

    pub(crate) fn set_line(&mut self, line: u32) {
        assert!(line < LINE, "the text of a table is bounded, and with it its lines");
        self.line = self.line & !LINE | line;
    }

    pub(crate) fn is(&self, flag: Flag) -> bool {
        self.line & flag as u32 != 0
    }

    pub(crate) fn set(&mut self, flag: Flag, is: bool) {
        self.line = if is { self.line | flag as u32 } else { self.line & !(flag as u32) };
    }

    /// Its value, where that is a number.
    pub(crate) fn number(&self) -> Option<f64> {
        ((self.bits >> 32) as u32 != HEAVY).then(|| f64::from_bits(self.bits))
    }

    pub(crate) fn set_number(&mut self, number: f64) {
        self.bits = if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() };
    }

    /// The place of its value, where that is no number.
    pub(crate) fn heavy(&self) -> Option<u32> {
        ((self.bits >> 32) as u32 == HEAVY).then_some(self.bits as u32)
    }

    pub(crate) fn set_heavy(&mut self, place: u32) {
        self.bits = u64::from(HEAVY) << 32 | u64::from(place);
    }
}

impl Value {
    /// Writes its lines and returns their number. `since` when it counts, or NaN;
    /// `newborn`: as 0.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        family: &Declared,
        text: Text<'_>,
        (since, newborn): (f64, bool),
        format: Format,
    ) -> usize {
        let created = format == Format::OpenMetrics && !since.is_nan() && family.has_created();
        let name = &family.info.name;
        match self.shown() {
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
