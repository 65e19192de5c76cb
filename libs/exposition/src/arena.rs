//! The raw samples of one collection.

use crate::histogram::MAX_BOUNDS;
use crate::labels::{MAX_LABEL_BYTES, PREFIX};
use gantry_plugin_api::metrics::MAX_LABELS;

/// The most bytes that the label values and buckets of one collection may
/// take: 16,000 samples of the logs with a text of 4 KiB, and 200,000 others
/// of 256 bytes beside them. Offsets into the buffers so fit 32 bits.
const MAX_BYTES: usize = 128 << 20;

/// The most reasons of its own that a plugin may give in one collection; each
/// is a series of the host's. What is beyond is counted under `other`.
const MAX_REASONS: usize = 16;
/// The longest such reason, in bytes; a longer one is cut.
const MAX_REASON_BYTES: usize = 64;

/// Buffers below this many bytes are kept whatever their use.
const KEPT_BYTES: usize = 64 << 10;

/// The samples of one collection as the plugin emitted them, unchecked. It is
/// filled on the plugin's thread and read by [`crate::Table::take`]. Its
/// buffers are flat. Between collections they take no memory if [`Arena::rest`]
/// is called; else they are used again, and shrink after a peak.
#[derive(Debug)]
pub struct Arena {
    max_samples: usize,
    entries: Vec<Entry>,
    /// Each label value behind its length ([`PREFIX`] bytes).
    labels: Vec<u8>,
    histograms: Vec<Raw>,
    bounds: Vec<f64>,
    counts: Vec<u64>,
    next_created: Option<f64>,
    overflow: u64,
    skipped: Vec<(String, u64)>,
    /// The largest use of late, in bytes: what to keep room for.
    recent_bytes: usize,
    /// What the last collection took, where its buffers were given back.
    rested: Option<[usize; 5]>,
}

/// A sample, or the sum of a histogram.
#[derive(Debug, Clone, Copy)]
struct Entry {
    container: u64,
    value: f64,
    /// NaN: not said.
    created: f64,
    family: u32,
    /// Where its labels begin; they end where those of the next begin.
    labels: u32,
    /// Its place in `histograms`, or [`NO_HISTOGRAM`].
    histogram: u32,
    label_count: u8,
}

const NO_HISTOGRAM: u32 = u32::MAX;

/// Where a histogram's numbers begin and how many they are.
#[derive(Debug, Clone, Copy)]
struct Raw {
    bounds: u32,
    counts: u32,
    bounds_len: u16,
    counts_len: u16,
    count: u64,
}

/// A sample as it lies in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample<'a> {
    pub(crate) family: u32,
    pub(crate) container: u64,
    pub(crate) label_count: usize,
    /// All values, each behind its length; read by [`crate::labels::values`].
    pub(crate) labels: &'a [u8],
    pub(crate) value: f64,
    pub(crate) created: Option<f64>,
    pub(crate) histogram: Option<RawHistogram<'a>>,
}

/// A histogram as the plugin gave it; its sum is the sample's value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawHistogram<'a> {
    pub(crate) bounds: &'a [f64],
    pub(crate) cumulative: &'a [u64],
    pub(crate) count: u64,
}

impl Arena {
    /// An empty arena. What is beyond `max_samples` (a histogram is one
    /// sample), or beyond 128 MiB of labels and buckets, is only counted, as
    /// [`crate::Reason::Overflow`].
    pub fn with_limit(max_samples: usize) -> Self {
        Self {
            max_samples,
            entries: Vec::new(),
            labels: Vec::new(),
            histograms: Vec::new(),
            bounds: Vec::new(),
            counts: Vec::new(),
            next_created: None,
            overflow: 0,
            skipped: Vec::new(),
            recent_bytes: 0,
            rested: None,
        }
    }

    /// Gives back what the samples took, until the next collection: that comes
    /// seconds later, and takes as much at once. What is small is kept.
    pub fn rest(&mut self) {
        if self.capacity() <= KEPT_BYTES {
            return;
        }
        let Self { entries, labels, histograms, bounds, counts, .. } = self;
        self.rested = Some([entries.len(), labels.len(), histograms.len(), bounds.len(), counts.len()]);
        (*entries, *labels, *histograms) = (Vec::new(), Vec::new(), Vec::new());
        (*bounds, *counts) = (Vec::new(), Vec::new());
    }

    /// Makes it ready for the next collection.
    pub fn clear(&mut self) {
        if let Some([entries, labels, histograms, bounds, counts]) = self.rested.take() {
            // An eighth more, as below; what is not written takes no memory.
            self.entries.reserve_exact(entries + entries / 8);
            self.labels.reserve_exact(labels + labels / 8);
            self.histograms.reserve_exact(histograms + histograms / 8);
            self.bounds.reserve_exact(bounds + bounds / 8);
            self.counts.reserve_exact(counts + counts / 8);
            self.recent_bytes = self.capacity();
        }
        let used = self.bytes();
        self.recent_bytes = used.max(self.recent_bytes - self.recent_bytes / 8);
        // Twice what was used of late leaves room for growth; four times is a peak gone by.
        if self.capacity() > (4 * self.recent_bytes).max(KEPT_BYTES) {
            let share = 2.0 * self.recent_bytes as f64 / self.capacity() as f64;
            shrink(&mut self.entries, share);
            shrink(&mut self.labels, share);
            shrink(&mut self.histograms, share);
            shrink(&mut self.bounds, share);
            shrink(&mut self.counts, share);
        }
        self.entries.clear();
        self.labels.clear();
        self.histograms.clear();
        self.bounds.clear();
        self.counts.clear();
        self.next_created = None;
        self.overflow = 0;
        self.skipped.clear();
    }

    /// Keeps a sample. `family` is its place in the plugin's list, `container`
    /// a handle or 0; `labels` are the values in the order of the family's names.
    pub fn sample<'a>(
        &mut self,
        family: u32,
        container: u64,
        labels: impl Iterator<Item = &'a [u8]>,
        value: f64,
    ) {
        self.push(family, container, labels, value, NO_HISTOGRAM);
    }

    /// Keeps a histogram: `cumulative[i]` observations were at most
    /// `bounds[i]`, and `count` there were in all.
    #[expect(clippy::too_many_arguments, reason = "the parts of a histogram as they cross the boundary")]
    pub fn histogram<'a>(
        &mut self,
        family: u32,
        container: u64,
        labels: impl Iterator<Item = &'a [u8]>,
        bounds: &[f64],
        cumulative: &[u64],
        sum: f64,
        count: u64,
    ) {
        let place = self.histograms.len();
        // One more than may be is kept, so that too many are seen as that and refused.
        let (bounds, cumulative) = (cut(bounds, MAX_BOUNDS + 2), cut(cumulative, MAX_BOUNDS + 2));
        let raw = Raw {
            bounds: index(self.bounds.len()),
            counts: index(self.counts.len()),
            bounds_len: bounds.len() as u16,
            counts_len: cumulative.len() as u16,
            count,
        };
        if self.push(family, container, labels, sum, index(place)) {
            self.histograms.push(raw);
            self.bounds.extend_from_slice(bounds);
            self.counts.extend_from_slice(cumulative);
        }
    }

    /// Says since when the next sample counts, in seconds since the epoch.
    pub fn created(&mut self, at: Option<f64>) {
        self.next_created = at;
    }

    /// Counts what the plugin itself could not make. Reasons are cut to 64
    /// bytes; from the 17th on they are counted as `other`.
    pub fn skipped(&mut self, reason: &str, count: u64) {
        if count == 0 {
            return;
        }
        let mut reason = &reason[..reason.floor_char_boundary(MAX_REASON_BYTES)];
        if self.skipped.len() >= MAX_REASONS && !self.skipped.iter().any(|(known, _)| known == reason) {
            reason = "other";
        }
        match self.skipped.iter_mut().find(|(known, _)| known == reason) {
            Some((_, total)) => *total = total.saturating_add(count),
            None => self.skipped.push((reason.to_owned(), count)),
        }
    }

    /// How many samples are kept; a histogram is one.
    pub fn samples(&self) -> usize {
        self.entries.len()
    }

    /// What [`Arena::skipped`] counted since the last clear.
    pub fn skipped_by_reason(&self) -> impl Iterator<Item = (&str, u64)> {
        self.skipped.iter().map(|(reason, count)| (reason.as_str(), *count))
    }

    /// How many samples found no room.
    pub(crate) fn overflow(&self) -> u64 {
        self.overflow
    }

    /// The sample at a place below [`Arena::samples`].
    pub(crate) fn get(&self, place: usize) -> Sample<'_> {
        let entry = &self.entries[place];
        let end = self.entries.get(place + 1).map_or(self.labels.len(), |next| next.labels as usize);
        let histogram = self.histograms.get(entry.histogram as usize).map(|raw| RawHistogram {
            bounds: &self.bounds[raw.bounds as usize..][..usize::from(raw.bounds_len)],
            cumulative: &self.counts[raw.counts as usize..][..usize::from(raw.counts_len)],
            count: raw.count,
        });
        Sample {
            family: entry.family,
            container: entry.container,
            label_count: usize::from(entry.label_count),
            labels: &self.labels[entry.labels as usize..end],
            value: entry.value,
            created: Some(entry.created).filter(|at| !at.is_nan()),
            histogram,
        }
    }

    fn push<'a>(
        &mut self,
        family: u32,
        container: u64,
        labels: impl Iterator<Item = &'a [u8]>,
        value: f64,
        histogram: u32,
    ) -> bool {
        let created = self.next_created.take().unwrap_or(f64::NAN);
        // What one sample adds at most stays far below the gap to 4 GiB, so
        // the check may come before it.
        if self.entries.len() >= self.max_samples || self.bytes() >= MAX_BYTES {
            self.overflow += 1;
            return false;
        }
        let from = self.labels.len();
        let mut label_count = 0;
        // One label, and one byte of a value, more than may be are kept, so
        // that too many and too long are seen as that and refused.
        for label in labels.take(MAX_LABELS + 1) {
            let label = cut(label, MAX_LABEL_BYTES + 1);
            let length: [u8; PREFIX] = (label.len() as u32).to_le_bytes();
            self.labels.extend_from_slice(&length);
            self.labels.extend_from_slice(label);
            label_count += 1;
        }
        let labels = index(from);
        // An eighth more at a time: what is reserved and unused lies there between scrapes.
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact((self.entries.len() / 8).max(64));
        }
        self.entries.push(Entry { container, value, created, family, labels, histogram, label_count });
        true
    }

    /// What the samples take.
    fn bytes(&self) -> usize {
        self.labels.len()
            + 8 * (self.bounds.len() + self.counts.len())
            + size_of::<Entry>() * self.entries.len()
            + size_of::<Raw>() * self.histograms.len()
    }

    /// What the buffers take.
    fn capacity(&self) -> usize {
        self.labels.capacity()
            + 8 * (self.bounds.capacity() + self.counts.capacity())
            + size_of::<Entry>() * self.entries.capacity()
            + size_of::<Raw>() * self.histograms.capacity()
    }
}

/// An offset into a buffer; [`MAX_BYTES`] bounds them all.
fn index(at: usize) -> u32 {
    u32::try_from(at).expect("the buffers of an arena are bounded far below 4 GiB")
}

fn cut<T>(slice: &[T], most: usize) -> &[T] {
    &slice[..slice.len().min(most)]
}

fn shrink<T>(buffer: &mut Vec<T>, share: f64) {
    buffer.clear();
    buffer.shrink_to((buffer.capacity() as f64 * share) as usize);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::values;

    fn labels<'a>(texts: &'a [&'a str]) -> impl Iterator<Item = &'a [u8]> {
        texts.iter().map(|text| text.as_bytes())
    }

    #[test]
    fn keeps_what_was_emitted() {
        let mut arena = Arena::with_limit(10);
        arena.sample(3, 7, labels(&["a", "", "c"]), 1.5);
        arena.created(Some(99.0));
        arena.histogram(4, 0, labels(&[]), &[0.5, 1.0], &[1, 2], 2.5, 3);
        arena.sample(5, 0, labels(&["x"]), 2.0);
        assert_eq!(arena.samples(), 3);
        let first = arena.get(0);
        assert_eq!((first.family, first.container, first.label_count, first.value), (3, 7, 3, 1.5));
        assert_eq!(values(first.labels).collect::<Vec<_>>(), [&b"a"[..], b"", b"c"]);
        assert!(first.created.is_none() && first.histogram.is_none());
        let second = arena.get(1);
        assert_eq!((second.created, second.value, second.label_count), (Some(99.0), 2.5, 0));
        let histogram = second.histogram.unwrap();
        assert_eq!(
            (histogram.bounds, histogram.cumulative, histogram.count),
            (&[0.5, 1.0][..], &[1, 2][..], 3)
        );
        assert!(arena.get(2).created.is_none(), "created holds for one sample");
        arena.clear();
        assert_eq!(arena.samples(), 0);
    }

    #[test]
    fn counts_what_is_beyond_its_limits() {
        let mut arena = Arena::with_limit(2);
        for value in 0..5 {
            arena.sample(0, 0, labels(&[]), f64::from(value));
        }
        assert_eq!((arena.samples(), arena.overflow()), (2, 3));
        let mut arena = Arena::with_limit(usize::MAX);
        let long = "x".repeat(1 << 20);
        for _ in 0..20_000 {
            arena.sample(0, 0, labels(&[&long]), 1.0);
        }
        assert!(arena.bytes() < MAX_BYTES + (1 << 20), "values are cut, and their sum is bounded");
        assert_eq!(arena.samples() as u64 + arena.overflow(), 20_000);
        assert!(arena.overflow() > 0);
    }

    #[test]
    fn gives_memory_back_after_a_peak_only() {
        let mut arena = Arena::with_limit(usize::MAX);
        let fill = |arena: &mut Arena, samples: u32| {
            arena.clear();
            (0..samples).for_each(|_| arena.sample(0, 0, labels(&["some", "labels"]), 1.0));
        };
        (0..40).for_each(|_| fill(&mut arena, 10_000));
        let steady = arena.capacity();
        fill(&mut arena, 10_000);
        assert_eq!(arena.capacity(), steady, "steady use keeps its buffers");
        fill(&mut arena, 1_000_000);
        let peak = arena.capacity();
        (0..40).for_each(|_| fill(&mut arena, 10_000));
        assert!(arena.capacity() < peak / 10, "{} of {peak}", arena.capacity());
    }

    #[test]
    fn nothing_large_is_kept_while_it_rests() {
        let mut arena = Arena::with_limit(usize::MAX);
        let fill = |arena: &mut Arena, samples: u32| {
            arena.clear();
            (0..samples).for_each(|_| arena.sample(0, 0, labels(&["some", "labels"]), 1.0));
        };
        fill(&mut arena, 100);
        let small = arena.capacity();
        arena.rest();
        assert_eq!((arena.capacity(), arena.samples()), (small, 100), "what is small stays");
        fill(&mut arena, 10_000);
        arena.rest();
        assert_eq!((arena.capacity(), arena.samples()), (0, 0));
        arena.clear();
        let taken = arena.capacity();
        fill(&mut arena, 10_000);
        assert_eq!((arena.capacity(), arena.samples()), (taken, 10_000), "it takes at once what it needs");
        (0..3).for_each(|_| arena.rest());
        fill(&mut arena, 10);
        arena.rest();
        fill(&mut arena, 10);
        assert!(arena.capacity() < taken / 10, "{} of {taken}", arena.capacity());
    }

    #[test]
    fn reasons_of_the_plugin_are_bounded() {
        let mut arena = Arena::with_limit(1);
        (0..40).for_each(|number| arena.skipped(&format!("reason_{number}"), 2));
        arena.skipped(&"ü".repeat(100), 0);
        arena.skipped("reason_0", 1);
        let all: Vec<(&str, u64)> = arena.skipped_by_reason().collect();
        assert_eq!(all.len(), MAX_REASONS + 1);
        assert_eq!((all[0], all[MAX_REASONS]), (("reason_0", 3), ("other", 48)));
        arena.clear();
        arena.skipped(&"ü".repeat(100), 1);
        assert_eq!(arena.skipped_by_reason().next().unwrap().0.len(), MAX_REASON_BYTES);
    }
}
