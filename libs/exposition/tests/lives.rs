//! Whole lives of containers, at random, against a plain model: what is shown
//! of a counter never goes back, and in the end nothing is missing and nothing
//! is there twice, though members of groups skip collections.

mod common;

use common::strict::{Series, parse};
use common::{Host, Random, declared, family, sample};
use gantry_exposition::{Arena, Format, Table, encode};
use gantry_plugin_api::description::{FamilyInfo, Kind};
use std::collections::BTreeMap;

/// A counter's labels: the container's, and its own (none or one).
type Own = (u64, Option<u64>);

struct Container {
    handle: u64,
    /// Who shares its id; their group has this number.
    id: u64,
    held: bool,
    gone: bool,
    folded: bool,
    /// Counted of each series that is emitted.
    counts: BTreeMap<Option<u64>, u64>,
    /// Collections since it is gone.
    since: u32,
}

struct Life {
    random: Random,
    containers: Vec<Container>,
    /// Ids that two containers have had: they are shown as a group from then on.
    shared: Vec<u64>,
    next: u64,
    /// All that was ever emitted of what is shown at the end, by the id that it
    /// is shown under (0: folded) and its own label.
    emitted: BTreeMap<Own, u64>,
    /// Series that skipped a collection.
    pauses: u32,
}

const FOLD: u64 = 0;

impl Life {
    fn text(id: u64) -> String {
        if id == FOLD { "container_id=\"~\"".to_owned() } else { format!("container_id=\"{id}\"") }
    }

    /// What happens between two collections.
    fn happen(&mut self) {
        if self.random.below(2) == 0 {
            self.next += 1;
            let alone: Vec<u64> =
                self.containers.iter().filter(|one| !one.gone && !one.held).map(|one| one.id).collect();
            let id = match alone.get(self.random.below(8) as usize) {
                Some(id) => *id,
                None => self.next,
            };
            if id != self.next && !self.shared.contains(&id) {
                self.shared.push(id);
            }
            // One that joins others is shown with them at once, or waits.
            let held = self.random.below(2) == 0;
            let counts = BTreeMap::new();
            let container =
                Container { handle: self.next, id, held, gone: false, folded: false, counts, since: 0 };
            self.containers.push(container);
        }
        for one in &mut self.containers {
            match self.random.below(12) {
                0 if !one.gone => one.held = false,
                1 | 2 if !one.gone => {
                    one.gone = true;
                    // Whoever was shown stays under its name.
                    (one.folded, one.held) = (one.held, false);
                }
                _ => {}
            }
            one.since += u32::from(one.gone);
        }
    }

    /// What is emitted, and where it ends up.
    fn emit(&mut self) -> Arena {
        let mut arena = Arena::with_limit(10_000);
        let (random, mut pauses) = (&mut self.random, 0);
        for one in &mut self.containers {
            // Of who is gone some is emitted once more.
            if one.gone && (one.since > 1 || random.below(2) == 0) {
                continue;
            }
            for own in [None, Some(1), Some(2)] {
                // One of several may be read while it has no process.
                let may_pause = !one.held && !one.folded && self.shared.contains(&one.id);
                if may_pause && one.counts.contains_key(&own) && random.below(3) == 0 {
                    pauses += 1;
                    continue;
                }
                let begins = one.counts.is_empty() || random.below(4) == 0;
                if !begins && !one.counts.contains_key(&own) || one.gone && !one.counts.contains_key(&own) {
                    continue;
                }
                let count = one.counts.entry(own).or_default();
                *count += random.below(5);
                let label = own.map(|own| own.to_string());
                let (family, labels) = (u32::from(own.is_some()), label.as_deref());
                let labels: Vec<&str> = labels.into_iter().collect();
                sample(&mut arena, family, one.handle, &labels, *count as f64);
            }
        }
        self.pauses += pauses;
        arena
    }

    fn host(&self) -> Host {
        let mut host = Host::new("").with_group(FOLD, &Self::text(FOLD));
        for id in &self.shared {
            host.groups.insert(*id, (Self::text(*id), false));
        }
        for one in &self.containers {
            // After a while the host has forgotten who is in a group.
            if one.since > 3 && (one.folded || self.shared.contains(&one.id)) {
                continue;
            }
            host.name(one.handle, Self::text(one.id), 1);
            let of = host.of(one.handle);
            (of.held, of.gone) = (one.held, one.gone);
            of.group =
                if one.folded { Some(FOLD) } else { Some(one.id).filter(|id| self.shared.contains(id)) };
        }
        host
    }

    /// The sum of all that must be shown in the end.
    fn settle(&mut self) {
        for one in &self.containers {
            let id = if one.folded { FOLD } else { one.id };
            for (own, count) in &one.counts {
                *self.emitted.entry((id, *own)).or_default() += count;
            }
        }
    }
}

fn shown(table: &Table) -> BTreeMap<Series, f64> {
    let mut out = Vec::new();
    encode(&[table], Format::Text, &mut out);
    let parsed = parse(&String::from_utf8_lossy(&out), Format::Text);
    parsed.samples.into_iter().map(|(series, bits)| (series, f64::from_bits(bits))).collect()
}

#[test]
fn counters_never_go_back_and_end_as_what_was_emitted() {
    let of = |name, labels| FamilyInfo {
        per_container: true,
        counted_here: true,
        ..family(name, Kind::Counter, labels)
    };
    let families = declared(&[of("plain_total", &[]), of("labelled_total", &["l"])]);
    let (mut folds, mut groups, mut pauses) = (0, 0, 0);
    for seed in 1..200 {
        let mut table = Table::new(families.clone(), 1_000_000);
        let mut life = Life {
            random: Random(seed * 7919),
            containers: Vec::new(),
            shared: Vec::new(),
            next: 0,
            emitted: BTreeMap::new(),
            pauses: 0,
        };
        let mut before = BTreeMap::new();
        for _ in 0..60 {
            life.happen();
            let arena = life.emit();
            let host = life.host();
            let taken = table.take(&arena, &host, 1.0, true);
            assert_eq!((taken.samples, taken.refused), (arena.samples(), vec![]));
            assert_eq!((taken.series, taken.kept), (table.series(), table.kept()));
            if life.random.below(3) == 0 {
                continue;
            }
            let now = shown(&table);
            assert_eq!(now.len(), taken.series);
            for (series, value) in &now {
                match before.get(series) {
                    Some(before) => assert!(value >= before, "{series:?} {before} {value}, seed {seed}"),
                    None => assert_eq!(*value, 0.0, "{series:?} begins with 0, seed {seed}"),
                }
            }
            for series in before.keys() {
                assert!(now.contains_key(series), "{series:?} went, seed {seed}");
            }
            before = now;
        }
        // All die. Those who wait are folded.
        for one in &mut life.containers {
            one.folded |= one.held;
            (one.gone, one.held, one.since) = (true, false, one.since.max(2));
        }
        for _ in 0..4 {
            table.take(&Arena::with_limit(0), &life.host(), 1.0, true);
            shown(&table);
        }
        life.settle();
        let mut expected: BTreeMap<Series, f64> = BTreeMap::new();
        for ((id, own), count) in &life.emitted {
            let id = if *id == FOLD { "~".to_owned() } else { id.to_string() };
            let mut labels = BTreeMap::from([("container_id".to_owned(), id)]);
            labels.extend(own.map(|own| ("l".to_owned(), own.to_string())));
            let name = if own.is_some() { "labelled_total" } else { "plain_total" };
            expected.insert((name.to_owned(), labels), *count as f64);
        }
        assert_eq!(shown(&table), expected, "seed {seed}");
        folds += life.containers.iter().filter(|one| one.folded).count();
        groups += life.shared.len();
        pauses += life.pauses;
    }
    assert!(folds > 500 && groups > 500, "{folds} folds and {groups} groups: too few to mean anything");
    assert!(pauses > 500, "{pauses} pauses: too few to mean anything");
}
