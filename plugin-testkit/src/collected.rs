//! The samples of one collection, as tests ask for them.

use crate::check::{Check, Report};
use crate::failure::Failure;
use crate::host::Labelled;
use crate::query::Query;
use crate::sample::{Histogram, Sample, Value, series};
use gantry_exposition::{Format, Table, encode};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What one collection gave: the samples that the host would show, in the
/// order of their families' names and labels, and what is wrong with the rest.
pub struct Collected {
    pub(crate) samples: Vec<Sample>,
    pub(crate) skipped: BTreeMap<String, u64>,
    pub(crate) labelled: Labelled,
    pub(crate) table: Table,
    pub(crate) report: Report,
    pub(crate) took: Duration,
    pub(crate) emitted: usize,
    /// Name parts of families that the text leaves out.
    pub(crate) hidden: Vec<String>,
}

/// A line of the text, without its value.
struct Line<'a> {
    name: String,
    /// Of a bucket.
    le: Option<f64>,
    value: f64,
    sample: &'a Sample,
}

impl Collected {
    /// The value of a series: `name{label="value"}`, with as many of its labels
    /// as it takes to name one, in any order. A histogram's lines are asked for
    /// by their names: `x_count`, `x_sum`, `x_bucket{le="0.5"}`.
    ///
    /// # Panics
    /// Where there is no such series, or several; the message lists what is there.
    #[track_caller]
    pub fn get(&self, series: &str) -> f64 {
        match &self.matching(series)[..] {
            [line] => line.value,
            [] => panic!("no {series}; {}", self.near(series)),
            several => {
                let found: Vec<&str> = several.iter().map(|line| line.sample.series.as_str()).collect();
                panic!("{series} names {} series; name more labels of one: {found:#?}", several.len())
            }
        }
    }

    /// As [`Self::get`], where the series may be missing.
    ///
    /// # Panics
    /// Where there are several.
    #[track_caller]
    pub fn find(&self, series: &str) -> Option<f64> {
        if self.matching(series).is_empty() { None } else { Some(self.get(series)) }
    }

    /// The state of a histogram, by its family's name and its labels.
    ///
    /// # Panics
    /// Where there is no such histogram.
    #[track_caller]
    pub fn histogram(&self, series: &str) -> &Histogram {
        let query = parsed(series);
        let mut found = self.samples.iter().filter(|sample| sample.family == query.name);
        let sample = found.find(|sample| self.has_labels(sample, &query.labels));
        match sample.map(|sample| &sample.value) {
            Some(Value::Histogram(histogram)) => histogram,
            _ => panic!("no histogram {series}; {}", self.near(series)),
        }
    }

    /// All samples, sorted by family, container and labels.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Each series as it is written, with its value; a histogram's is its count.
    pub fn series(&self) -> impl Iterator<Item = (&str, f64)> {
        self.samples.iter().map(|sample| (sample.series.as_str(), sample.number()))
    }

    /// Whether a family has samples.
    pub fn has_family(&self, name: &str) -> bool {
        self.of_family(name).next().is_some()
    }

    /// The samples of one family.
    pub fn of_family<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.family == name)
    }

    /// The values of one label of a family, in the order of the series; of
    /// `container_id` and `app_id` too.
    pub fn label_values(&self, family: &str, label: &str) -> Vec<String> {
        let value = |sample: &Sample| sample.label(label, &self.host_labels(sample)).map(str::to_owned);
        self.of_family(family).filter_map(value).collect()
    }

    /// The sum over all series of a family; of histograms the sum of their counts.
    pub fn sum(&self, family: &str) -> f64 {
        self.of_family(family).map(Sample::number).sum()
    }

    /// How many samples there are; a histogram is one.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// How many samples the plugin emitted, with those that were refused.
    pub fn emitted(&self) -> usize {
        self.emitted
    }

    /// What the plugin said that it could not make, by its own reasons.
    pub fn skipped(&self) -> &BTreeMap<String, u64> {
        &self.skipped
    }

    /// How long the collection took, by the machine's time.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// What is wrong, and what is only to be noted.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// A failure with every problem, where there is one.
    pub fn check(&self) -> Result<(), Failure> {
        self.report.result()
    }

    /// Whether a check found something.
    pub fn found(&self, check: Check) -> bool {
        self.report.problems().iter().any(|problem| problem.check() == check)
    }

    /// Leaves out of [`Self::text`] the families whose names contain one of
    /// these: those that depend on the machine.
    #[must_use]
    pub fn without(mut self, families: &[&str]) -> Self {
        self.hidden.extend(families.iter().map(|&part| part.to_owned()));
        self
    }

    /// Text 0.0.4 as the host would print it, families and series sorted, with
    /// the labels of containers and without those of the node, which are
    /// another machine's each time. Values stand as they were emitted; the host
    /// shows those that are counted here as 0 at their first scrape. Last values
    /// of containers that are gone are in it, as the host shows them; all else
    /// here is about what the plugin emitted.
    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        encode(&[&self.table], Format::Text, &mut bytes);
        let text = String::from_utf8(bytes).expect("what the host writes is UTF-8: other labels are refused");
        let mut out = String::with_capacity(text.len());
        let mut shown = true;
        for line in text.split_inclusive('\n') {
            // Comments come first, and name the family of what follows.
            if let Some(comment) = line.strip_prefix("# ") {
                let name = comment.split(' ').nth(1).unwrap_or_default();
                shown = !self.hidden.iter().any(|part| name.contains(part.as_str()));
            }
            if shown {
                out.push_str(line);
            }
        }
        out
    }

    fn matching(&self, text: &str) -> Vec<Line<'_>> {
        let query = parsed(text);
        let (le, labels): (Vec<_>, Vec<_>) = query.labels.into_iter().partition(|(name, _)| name == "le");
        let le = le.first().map(|(_, value)| value.parse::<f64>().unwrap_or(f64::NAN));
        let of = self.samples.iter().filter(|sample| query.name.starts_with(&sample.family));
        of.flat_map(lines)
            .filter(|line| line.name == query.name && self.has_labels(line.sample, &labels))
            .filter(|line| le.is_none() || line.le == le)
            .collect()
    }

    fn has_labels(&self, sample: &Sample, wanted: &[(String, String)]) -> bool {
        let host = self.host_labels(sample);
        wanted.iter().all(|(name, value)| sample.label(name, &host) == Some(value))
    }

    /// What the host adds to a sample of a container.
    fn host_labels(&self, sample: &Sample) -> Vec<(String, String)> {
        let text = sample.container.and_then(|container| self.labelled.text(container.handle()));
        text.and_then(|text| Query::parse(&format!("m{{{text}}}")).ok())
            .map_or_else(Vec::new, |query| query.labels)
    }

    /// What a message of a missing series lists.
    fn near(&self, text: &str) -> String {
        let name = parsed(text).name;
        let mut of: Vec<&str> = self.of_family(&name).map(|sample| sample.series.as_str()).collect();
        if of.is_empty() {
            of = self.samples.iter().map(|sample| sample.family.as_str()).collect();
            of.dedup();
            return format!("there are the families {of:?}{}", self.also());
        }
        format!("the family has {of:#?}{}", self.also())
    }

    /// What was wrong may be why something is missing.
    fn also(&self) -> String {
        match self.report.problems() {
            [] => String::new(),
            [first, ..] => format!("; of the collection's problems the first: {first}"),
        }
    }
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text(), self.report)
    }
}

#[track_caller]
fn parsed(text: &str) -> Query {
    Query::parse(text).unwrap_or_else(|wrong| panic!("{wrong}"))
}

fn lines(sample: &Sample) -> Vec<Line<'_>> {
    let line =
        |suffix: &str, le, value| Line { name: format!("{}{suffix}", sample.family), le, value, sample };
    match &sample.value {
        Value::Number(number) => vec![line("", None, *number)],
        Value::Histogram(histogram) => {
            let buckets = histogram.bounds.iter().zip(&histogram.cumulative);
            let mut lines: Vec<Line<'_>> =
                buckets.map(|(bound, count)| line("_bucket", Some(*bound), *count as f64)).collect();
            lines.push(line("_bucket", Some(f64::INFINITY), histogram.count as f64));
            lines.push(line("_sum", None, histogram.sum));
            lines.push(line("_count", None, histogram.count as f64));
            lines
        }
    }
}

/// The series of a raw sample for a message, whatever it is.
pub(crate) fn shown(name: &str, labels: &[(String, String)], container: u64, labelled: &Labelled) -> String {
    let text = labelled.text(container).unwrap_or("");
    let series = series(name, labels, text);
    if container != 0 && text.is_empty() { format!("{series} of container {container}") } else { series }
}
