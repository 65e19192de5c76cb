//! A histogram's buckets: what makes them one, and their lines.

use crate::arena::RawHistogram;
use crate::format::Format;
use crate::number;

/// The most bounds of a histogram, +Inf not counted. Each is a series of its
/// own for Prometheus; known collectors have at most 20.
pub const MAX_BOUNDS: usize = 256;

/// A histogram's last state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buckets {
    /// Finite and rising; +Inf is not among them.
    bounds: Box<[f64]>,
    /// As many; never falling, never over `count`.
    cumulative: Box<[u64]>,
    count: u64,
    sum: f64,
}

/// Bounds and counts without +Inf's, or `None` where they make no histogram.
pub(crate) fn check<'a>(raw: &RawHistogram<'a>, sum: f64) -> Option<RawHistogram<'a>> {
    let RawHistogram { mut bounds, mut cumulative, count } = *raw;
    if bounds.len() != cumulative.len() || sum.is_nan() {
        return None;
    }
    if let ([rest @ .., f64::INFINITY], [counts @ .., last]) = (bounds, cumulative) {
        if *last != count {
            return None;
        }
        (bounds, cumulative) = (rest, counts);
    }
    let rising =
        bounds.windows(2).all(|pair| pair[0] < pair[1]) && bounds.iter().all(|bound| bound.is_finite());
    let growing = cumulative.is_sorted() && cumulative.last().is_none_or(|&last| last <= count);
    (rising && growing && bounds.len() <= MAX_BOUNDS).then_some(RawHistogram { bounds, cumulative, count })
}

/// How many series of Prometheus a histogram with so many bounds is: a bucket
/// each, the one of +Inf, the sum and the count.
pub(crate) fn weight(bounds: usize) -> usize {
    bounds + 3
}

impl Buckets {
    /// Takes over what was checked; where `zero`, as if nothing was observed yet.
    pub(crate) fn set(&mut self, checked: &RawHistogram<'_>, sum: f64, zero: bool) {
        if *self.bounds != *checked.bounds {
            self.bounds = checked.bounds.into();
            self.cumulative = checked.cumulative.into();
        }
        self.cumulative.copy_from_slice(checked.cumulative);
        (self.count, self.sum) = (checked.count, sum);
        if zero {
            self.cumulative.fill(0);
            (self.count, self.sum) = (0, 0.0);
        }
    }

    pub(crate) fn weight(&self) -> usize {
        weight(self.bounds.len())
    }

    /// Writes all lines but `_created`, and returns their number. `labels` are
    /// without braces and may be empty.
    pub(crate) fn write(&self, out: &mut Vec<u8>, name: &str, labels: &[u8], format: Format) -> usize {
        for (bound, count) in self.bounds.iter().zip(&self.cumulative) {
            bucket(out, name, labels);
            number::bound(out, *bound, format);
            out.extend_from_slice(b"\"} ");
            number::count(out, *count);
            out.push(b'\n');
        }
        bucket(out, name, labels);
        out.extend_from_slice(b"+Inf\"} ");
        number::count(out, self.count);
        out.push(b'\n');
        let mut lines = self.bounds.len() + 1;
        if format == Format::Text || !self.is_signed() {
            start(out, name, b"_sum", labels);
            number::value(out, self.sum);
            out.push(b'\n');
            start(out, name, b"_count", labels);
            number::count(out, self.count);
            out.push(b'\n');
            lines += 2;
        }
        lines
    }

    /// Whether negative values were observed. OpenMetrics then wants neither
    /// sum nor count, as the sum may fall.
    fn is_signed(&self) -> bool {
        self.sum < 0.0 || self.bounds.first().is_some_and(|&bound| bound < 0.0)
    }
}

/// Writes a line up to its value.
pub(crate) fn start(out: &mut Vec<u8>, name: &str, suffix: &[u8], labels: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix);
    if !labels.is_empty() {
        out.push(b'{');
        out.extend_from_slice(labels);
        out.push(b'}');
    }
    out.push(b' ');
}

/// Writes a bucket's line up to its bound.
fn bucket(out: &mut Vec<u8>, name: &str, labels: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"_bucket{");
    out.extend_from_slice(labels);
    if !labels.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(b"le=\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(bounds: &[f64], cumulative: &[u64], sum: f64, count: u64) -> bool {
        check(&RawHistogram { bounds, cumulative, count }, sum).is_some()
    }

    #[test]
    fn what_makes_a_histogram() {
        assert!(passes(&[0.5, 1.0], &[1, 2], 1.0, 2));
        assert!(passes(&[], &[], 0.0, 7));
        assert!(passes(&[-1.0, f64::INFINITY], &[1, 2], f64::INFINITY, 2));
        assert!(!passes(&[0.5, 1.0], &[1], 1.0, 2), "lengths");
        assert!(!passes(&[1.0, 0.5], &[1, 2], 1.0, 2), "falling bounds");
        assert!(!passes(&[1.0, 1.0], &[1, 2], 1.0, 2), "equal bounds");
        assert!(!passes(&[f64::NAN], &[1], 1.0, 2));
        assert!(!passes(&[f64::NEG_INFINITY, 1.0], &[1, 2], 1.0, 2));
        assert!(!passes(&[f64::INFINITY, f64::INFINITY], &[2, 2], 1.0, 2));
        assert!(!passes(&[0.5, 1.0], &[2, 1], 1.0, 2), "falling counts");
        assert!(!passes(&[0.5], &[3], 1.0, 2), "more than all");
        assert!(!passes(&[0.5, f64::INFINITY], &[1, 3], 1.0, 4), "+Inf is not the count");
        assert!(!passes(&[0.5], &[1], f64::NAN, 2));
        let many: Vec<f64> = (0..=MAX_BOUNDS).map(|at| at as f64).collect();
        assert!(!passes(&many, &[0; MAX_BOUNDS + 1], 1.0, 2));
        assert!(passes(&many[1..], &[0; MAX_BOUNDS], 1.0, 2));
    }

    fn text(buckets: &Buckets, labels: &str, format: Format) -> (String, usize) {
        let mut out = Vec::new();
        let lines = buckets.write(&mut out, "h", labels.as_bytes(), format);
        (String::from_utf8(out).unwrap(), lines)
    }

    #[test]
    fn lines() {
        let raw = RawHistogram { bounds: &[0.5, 1.0], cumulative: &[1, 2], count: 3 };
        let mut buckets = Buckets::default();
        buckets.set(&raw, 4.25, false);
        let (plain, lines) = text(&buckets, "", Format::Text);
        assert_eq!(lines, buckets.weight());
        assert_eq!(
            plain,
            "h_bucket{le=\"0.5\"} 1\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.25\nh_count 3\n"
        );
        let (open, _) = text(&buckets, "a=\"b\"", Format::OpenMetrics);
        assert!(open.contains("h_bucket{a=\"b\",le=\"1.0\"} 2\n") && open.ends_with("h_count{a=\"b\"} 3\n"));
        buckets.set(&raw, 4.25, true);
        assert!(
            text(&buckets, "", Format::Text).0.ends_with("h_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\n")
        );
    }

    #[test]
    fn openmetrics_has_no_sum_that_may_fall() {
        let mut buckets = Buckets::default();
        buckets.set(&RawHistogram { bounds: &[-0.5, 1.0], cumulative: &[1, 2], count: 3 }, 4.25, false);
        assert_eq!(text(&buckets, "", Format::OpenMetrics).1, 3);
        assert_eq!(text(&buckets, "", Format::Text).1, 5);
        buckets.set(&RawHistogram { bounds: &[1.0], cumulative: &[2], count: 3 }, -4.25, false);
        assert_eq!(text(&buckets, "", Format::OpenMetrics).1, 2);
    }
}
