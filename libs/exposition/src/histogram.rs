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
    /// Takes over what was checked.
    pub(crate) fn set(&mut self, checked: &RawHistogram<'_>, sum: f64) {
        if *self.bounds != *checked.bounds {
            self.bounds = checked.bounds.into();
            self.cumulative = checked.cumulative.into();
        }
        self.cumulative.copy_from_slice(checked.cumulative);
        (self.count, self.sum) = (checked.count, sum);
    }

    /// Whether it began anew with what comes now: something was counted less.
    pub(crate) fn falls_to(&self, checked: &RawHistogram<'_>) -> bool {
        let mut pairs = common(&self.bounds, checked.bounds);
        checked.count < self.count
            || pairs.any(|(mine, theirs)| checked.cumulative[theirs] < self.cumulative[mine])
    }

    /// Adds what another counted. Where the bounds differ, those stay that both
    /// have: their counts are right, as are sum and count.
    pub(crate) fn add(&mut self, other: &Buckets) {
        if self.count == 0 && self.bounds != other.bounds {
            self.bounds = other.bounds.clone();
            self.cumulative = vec![0; other.bounds.len()].into();
        }
        if self.bounds == other.bounds {
            for (mine, theirs) in self.cumulative.iter_mut().zip(&other.cumulative) {
                *mine = mine.saturating_add(*theirs);
            }
        } else {
            let pairs: Vec<(usize, usize)> = common(&self.bounds, &other.bounds).collect();
            let counts = pairs
                .iter()
                .map(|&(mine, theirs)| self.cumulative[mine].saturating_add(other.cumulative[theirs]));
            self.cumulative = counts.collect();
            self.bounds = pairs.iter().map(|&(mine, _)| self.bounds[mine]).collect();
        }
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
    }

    /// The sum of a group, added up in another order than before, may be less
    /// in its last digits: it stays.
    pub(crate) fn hold_sum(&mut self, before: &Buckets) {
        if !self.is_signed() && before.sum.is_finite() && self.count >= before.count {
            self.sum = self.sum.max(before.sum);
        }
    }

    pub(crate) fn weight(&self) -> usize {
        weight(self.bounds.len())
    }

    /// Writes all lines but `_created`, and returns their number; where `zero`,
    /// as if nothing was observed yet. `labels` are without braces and may be empty.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        name: &str,
        labels: &[u8],
        format: Format,
        zero: bool,
    ) -> usize {
        let seen = |count| if zero { 0 } else { count };
        for (bound, count) in self.bounds.iter().zip(&self.cumulative) {
            bucket(out, name, labels);
            number::bound(out, *bound, format);
            out.extend_from_slice(b"\"} ");
            number::count(out, seen(*count));
            out.push(b'\n');
        }
        bucket(out, name, labels);
        out.extend_from_slice(b"+Inf\"} ");
        number::count(out, seen(self.count));
        out.push(b'\n');
        let mut lines = self.bounds.len() + 1;
        if format == Format::Text || !self.is_signed() {
            start(out, name, b"_sum", labels);
            number::value(out, if zero { 0.0 } else { self.sum });
            out.push(b'\n');
            start(out, name, b"_count", labels);
            number::count(out, seen(self.count));
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

/// The places of the bounds that both have; both rise.
fn common(one: &[f64], two: &[f64]) -> impl Iterator<Item = (usize, usize)> {
    let (mut at, mut other) = (0, 0);
    std::iter::from_fn(move || {
        while let (Some(left), Some(right)) = (one.get(at), two.get(other)) {
            let pair = (at, other);
            at += usize::from(left <= right);
            other += usize::from(right <= left);
            if left == right {
                return Some(pair);
            }
        }
        None
    })
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
        let lines = buckets.write(&mut out, "h", labels.as_bytes(), format, false);
        (String::from_utf8(out).unwrap(), lines)
    }

    #[test]
    fn lines() {
        let raw = RawHistogram { bounds: &[0.5, 1.0], cumulative: &[1, 2], count: 3 };
        let mut buckets = Buckets::default();
        buckets.set(&raw, 4.25);
        let (plain, lines) = text(&buckets, "", Format::Text);
        assert_eq!(lines, buckets.weight());
        assert_eq!(
            plain,
            "h_bucket{le=\"0.5\"} 1\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4.25\nh_count 3\n"
        );
        let (open, _) = text(&buckets, "a=\"b\"", Format::OpenMetrics);
        assert!(open.contains("h_bucket{a=\"b\",le=\"1.0\"} 2\n") && open.ends_with("h_count{a=\"b\"} 3\n"));
        let mut zero = Vec::new();
        buckets.write(&mut zero, "h", b"", Format::Text, true);
        assert!(zero.ends_with(b"h_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\n"));
    }

    fn buckets(bounds: &[f64], cumulative: &[u64], count: u64) -> Buckets {
        let mut buckets = Buckets::default();
        buckets.set(&RawHistogram { bounds, cumulative, count }, 0.5 * count as f64);
        buckets
    }

    #[test]
    fn of_differing_bounds_those_stay_that_both_have() {
        let mut sum = Buckets::default();
        sum.add(&buckets(&[1.0, 2.0, 3.0], &[1, 2, 3], 4));
        sum.add(&buckets(&[1.0, 2.0, 3.0], &[1, 1, 1], 1));
        assert_eq!((&*sum.cumulative, sum.count, sum.sum), (&[2, 3, 4][..], 5, 2.5));
        sum.add(&buckets(&[0.5, 1.0, 3.0, 7.0], &[5, 6, 7, 8], 9));
        assert_eq!((&*sum.bounds, &*sum.cumulative, sum.count), (&[1.0, 3.0][..], &[8, 11][..], 14));
        sum.add(&buckets(&[9.0], &[u64::MAX], u64::MAX));
        assert_eq!((sum.bounds.len(), sum.count, sum.sum), (0, u64::MAX, 7.0 + 0.5 * u64::MAX as f64));
        let mut empty = buckets(&[4.0], &[0], 0);
        empty.add(&buckets(&[5.0], &[2], 2));
        assert_eq!((&*empty.bounds, &*empty.cumulative), (&[5.0][..], &[2][..]), "nothing was counted at 4");
    }

    #[test]
    fn what_begins_anew_is_seen_by_any_bucket() {
        let before = buckets(&[1.0, 2.0], &[3, 4], 5);
        let falls = |bounds: &[f64], cumulative: &[u64], count| {
            before.falls_to(&RawHistogram { bounds, cumulative, count })
        };
        assert!(!falls(&[1.0, 2.0], &[3, 4], 5) && !falls(&[2.0, 3.0], &[4, 4], 5));
        assert!(falls(&[1.0, 2.0], &[2, 4], 5) && falls(&[1.0, 2.0], &[3, 4], 4) && falls(&[2.0], &[3], 5));
    }

    #[test]
    fn openmetrics_has_no_sum_that_may_fall() {
        let mut buckets = Buckets::default();
        buckets.set(&RawHistogram { bounds: &[-0.5, 1.0], cumulative: &[1, 2], count: 3 }, 4.25);
        assert_eq!(text(&buckets, "", Format::OpenMetrics).1, 3);
        assert_eq!(text(&buckets, "", Format::Text).1, 5);
        buckets.set(&RawHistogram { bounds: &[1.0], cumulative: &[2], count: 3 }, -4.25);
        assert_eq!(text(&buckets, "", Format::OpenMetrics).1, 2);
    }
}
