//! The series of one owner across collections.

use crate::declared::Declared;
use crate::series::{Text, family};
use crate::store::Store;
use crate::subjects::Subjects;
use ahash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The series of one owner. Each keeps the text of its line up to the host's
/// labels, which are kept once a container: showing it is two copies and a
/// number. A collection ([`Table::take`]) brings the numbers.
#[derive(Debug)]
pub struct Table {
    pub(crate) families: Arc<[Declared]>,
    /// By place of the family.
    pub(crate) rows: Vec<Rows>,
    pub(crate) store: Store,
    pub(crate) subjects: Subjects,
    pub(crate) max_series: usize,
    /// Number of the last collection.
    pub(crate) generation: u32,
    /// Labels come from outside: without a secret key they could be chosen to collide.
    pub(crate) random: RandomState,
    is_shown: bool,
    /// See [`Table::series`], as if all were shown.
    shown_weight: usize,
    /// Whether what is new and counted here shows 0 first; see [`Table::take`].
    pub(crate) zero_first: bool,
    /// Whether somebody wrote the series since the last collection.
    written: AtomicBool,
    /// Whether somebody wrote what the collection before this one brought.
    pub(crate) was_written: bool,
    /// What another process showed; see [`Table::remember`].
    pub(crate) marks: crate::marks::Marks,
}

/// The series of one family.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Stands for the family in the hash of a series. It depends on the name
    /// alone, so that series keep their hash when families change places.
    pub(crate) seed: u64,
    /// Places in the store, in the order of first appearance.
    pub(crate) places: Vec<u32>,
}

impl Table {
    /// An empty table. `max_series` bounds what it keeps ([`Table::kept`]).
    pub fn new(families: Arc<[Declared]>, max_series: usize) -> Self {
        let mut table = Self {
            families: Arc::new([]),
            rows: Vec::new(),
            store: Store::default(),
            subjects: Subjects::default(),
            max_series,
            generation: 0,
            random: RandomState::new(),
            is_shown: true,
            shown_weight: 0,
            zero_first: false,
            written: AtomicBool::new(false),
            was_written: false,
            marks: crate::marks::Marks::default(),
        };
        table.set_families(families);
        table
    }

    /// How many series are written. A histogram is a series a bucket, one for
    /// +Inf, and two for its sum and count.
    pub fn series(&self) -> usize {
        if self.is_shown { self.shown_weight } else { 0 }
    }

    /// How many series are kept, and counted against `max_series`: those that
    /// are written, those of containers that are held back, and those of a
    /// group's members besides the group's own. Counted as in [`Table::series`].
    pub fn kept(&self) -> usize {
        self.store.weight()
    }

    /// Shows nothing until the next collection, for when the samples are too
    /// stale. What is known of the series stays: one that is then emitted
    /// again goes on from where it was, and is not shown as 0 first.
    pub fn clear(&mut self) {
        self.is_shown = false;
    }

    /// Changes the bound. Series that are there stay though it is lower.
    pub fn set_max_series(&mut self, max: usize) {
        self.max_series = max;
    }

    /// Takes the families of the owner's next generation. Series survive where
    /// name, type, labels and scope of their family are as before.
    pub fn set_families(&mut self, families: Arc<[Declared]>) {
        let mut rows: Vec<Rows> = families
            .iter()
            .map(|family| Rows { seed: self.random.hash_one(&family.info.name), places: Vec::new() })
            .collect();
        let mut moved: Vec<u16> = (0..self.families.len() as u32).map(family).collect();
        for (at, (old, was)) in self.families.iter().zip(&mut self.rows).enumerate() {
            let survives = |new: &Declared| new.refused.is_none() && new.same_series(&old.info);
            match families.iter().position(survives) {
                Some(place) if rows[place].places.is_empty() => {
                    moved[at] = family(u32::try_from(place).unwrap_or(u32::MAX));
                    rows[place].places = std::mem::take(&mut was.places);
                }
                _ => was.places.drain(..).for_each(|series| self.store.remove(series)),
            }
        }
        for line in self.store.lines_mut() {
            line.family = moved[usize::from(line.family)];
        }
        (self.families, self.rows) = (families, rows);
        self.weigh_shown();
    }

    /// At the beginning of a collection.
    pub(crate) fn show(&mut self) {
        self.is_shown = true;
        self.was_written = self.written.swap(false, Relaxed);
    }

    /// What is shown now was written.
    pub(crate) fn note_written(&self) {
        self.written.store(true, Relaxed);
    }

    pub(crate) fn is_written(&self) -> bool {
        self.written.load(Relaxed)
    }

    /// The places of the shown series of the family at a place.
    pub(crate) fn shown(&self, family: usize) -> impl Iterator<Item = (u32, Text<'_>)> {
        let places = if self.is_shown { &self.rows[family].places[..] } else { &[] };
        let declared = &self.families[family];
        let all = declared.info.labels.is_empty().then(|| declared.own_text());
        places.iter().filter_map(move |&place| {
            let series = self.store.get(place);
            if !self.subjects.is_shown(series.subject) {
                return None;
            }
            let constant = self.subjects.constant(series.subject);
            Some((place, Text { own: all.unwrap_or_else(|| self.store.text(series)), constant }))
        })
    }

    /// Whether nothing of the family at a place is shown.
    pub(crate) fn is_empty(&self, family: usize) -> bool {
        let places = &self.rows[family].places;
        let is_shown = |&place: &u32| self.subjects.is_shown(self.store.get(place).subject);
        !self.is_shown || !places.iter().any(is_shown)
    }

    /// At the end of a collection.
    pub(crate) fn weigh_shown(&mut self) {
        self.shown_weight = self.store.weight();
        if self.subjects.have_hidden() {
            let all = self.rows.iter().flat_map(|rows| &rows.places).map(|&place| self.store.get(place));
            let shown = all.filter(|series| self.subjects.is_shown(series.subject));
            self.shown_weight = shown.map(|series| self.store.weight_of(series)).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arena, Constant, Group, Labels, Member, Registry};
    use gantry_plugin_api::description::{FamilyInfo, Kind, Merge};

    /// Containers with an id of 64 digits.
    struct Ids(Vec<String>);

    impl Labels for Ids {
        fn node(&self) -> Constant<'_> {
            Constant::new("", 0)
        }
        fn container(&self, handle: u64) -> Option<Member<'_>> {
            let text = self.0.get(usize::try_from(handle).ok()?)?;
            Some(Member::shown(Constant::new(text, 0)))
        }
        fn group(&self, _: u64) -> Option<Group<'_>> {
            None
        }
    }

    /// 100,000 series with five labels.
    fn arena(epoch: usize) -> Arena {
        let mut arena = Arena::with_limit(100_000);
        for series in 0..100_000_usize {
            let (one, two) =
                (format!("10.20.30.40:{}", 1000 + series), format!("10.30.30.{epoch}:{}", 1000 + series));
            let labels = [one.as_bytes(), two.as_bytes(), b"200"];
            arena.sample(0, series as u64 % 50 + 1, labels.into_iter(), 1.0);
        }
        arena
    }

    #[test]
    fn a_series_takes_at_most_185_bytes() {
        let info = FamilyInfo {
            name: "container_http_requests_total".to_owned(),
            help: String::new(),
            kind: Kind::Counter,
            unit: String::new(),
            labels: ["destination", "actual_destination", "status"].map(str::to_owned).into(),
            per_container: true,
            counted_here: true,
            merge: Merge::Sum,
        };
        let ids =
            Ids((0..51).map(|id| format!("machine_id=\"{id:032}\",container_id=\"{id:064}\"")).collect());
        let mut table = Table::new(Registry::new().register("demo", &[], &[info]).families, 1_000_000);
        assert_eq!(table.take(&arena(0), &ids, 1.0, true).samples, 100_000);
        let places = |table: &Table| table.rows[0].places.capacity() * size_of::<u32>();
        let a_series = (table.store.heap_bytes() + places(&table)) / 100_000;
        assert!(crate::encode(&[&table], crate::Format::Text, &mut Vec::new()).samples == 100_000);

        assert!(a_series <= 185, "{a_series} bytes");
        for epoch in 1..10 {
            table.take(&arena(epoch), &ids, 1.0, true);
        }
        let after = (table.store.heap_bytes() + places(&table)) / 100_000;
        assert!(after <= 2 * 185, "{after} bytes with all series new each time");
        table.take(&Arena::with_limit(0), &ids, 1.0, true);
        assert!(table.store.heap_bytes() < 4096, "nothing is kept of what is gone");
    }
    #[test]
    fn labels_that_many_containers_have_are_kept_once() {
        let info = FamilyInfo {
            name: "container_resources_disk_reads_total".to_owned(),
            help: String::new(),
            kind: Kind::Counter,
            unit: String::new(),
            labels: ["device"].map(str::to_owned).into(),
            per_container: true,
            counted_here: false,
            merge: Merge::Sum,
        };
        let ids = Ids((0..1001).map(|id| format!("container_id=\"{id:064}\"")).collect());
        let mut table = Table::new(Registry::new().register("demo", &[], &[info]).families, 1_000_000);
        let disks: Vec<String> = (0..4).map(|disk| format!("/dev/a-disk-of-a-long-name-{disk}")).collect();
        let emit = |containers: std::ops::Range<u64>| {
            let mut arena = Arena::with_limit(100_000);
            for container in containers {
                for (at, disk) in disks.iter().enumerate() {
                    let value = container as f64 * 10.0 + at as f64;
                    arena.sample(0, container, [disk.as_bytes()].into_iter(), value);
                }
            }
            arena
        };
        let shows = |table: &Table, containers: std::ops::Range<u64>| {
            let mut text = Vec::new();
            crate::encode(&[table], crate::Format::Text, &mut text);
            let text = String::from_utf8(text).expect("text");
            let lines = text.lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(lines as u64, 4 * (containers.end - containers.start));
            for (container, at) in [(containers.start, 0), (containers.end - 1, 3)] {
                let value = container * 10 + at;
                let line = format!(
                    "{{device=\"{}\",container_id=\"{container:064}\"}} {value}\n",
                    disks[at as usize]
                );
                assert!(text.contains(&line), "{line}");
            }
        };
        table.take(&emit(1..1001), &ids, 1.0, true);
        let once = table.store.text_bytes();
        assert!(once < 4 * 100, "{once} bytes");
        shows(&table, 1..1001);
        // Those who came first go, and others come, while records are moved together.
        for range in [501..1001, 301..601, 1..351, 201..301] {
            table.take(&emit(range.clone()), &ids, 1.0, true);
            assert_eq!(table.store.text_bytes(), once);
            shows(&table, range);
        }
        table.take(&Arena::with_limit(0), &ids, 1.0, true);
        assert_eq!(table.store.lines_bytes(), 0);
    }
    #[test]
    fn a_series_without_labels_takes_at_most_32_bytes() {
        let families: Vec<FamilyInfo> = (0..100)
            .map(|at| FamilyInfo {
                name: format!("container_resources_of_some_kind_{at}_total"),
                help: String::new(),
                kind: Kind::Counter,
                unit: String::new(),
                labels: Vec::new(),
                per_container: true,
                counted_here: false,
                merge: Merge::Sum,
            })
            .collect();
        let ids = Ids((0..1001).map(|id| format!("container_id=\"{id:064}\"")).collect());
        let mut table = Table::new(Registry::new().register("demo", &[], &families).families, 1_000_000);
        let mut arena = Arena::with_limit(100_000);
        for sample in 0..100_000_u32 {
            arena.sample(sample % 100, u64::from(sample / 100) + 1, std::iter::empty(), 1.0);
        }
        assert_eq!(table.take(&arena, &ids, 1.0, true).samples, 100_000);
        let places: usize = table.rows.iter().map(|rows| rows.places.capacity() * size_of::<u32>()).sum();
        let a_series = (table.store.heap_bytes() + places) / 100_000;

        assert!(a_series <= 32, "{a_series} bytes");
        assert_eq!(table.store.text_bytes(), 0);
        table.take(&Arena::with_limit(0), &ids, 1.0, true);
        assert!(table.store.heap_bytes() < 4096, "nothing is kept of what is gone");
    }
}
