//! Whatever comes in, what goes out is valid, and nothing is lost uncounted.

mod common;

use common::strict::parse;
use common::{Host, Random, family, table, text};
use gantry_exposition::{Arena, Format, Registry, Table, encode, render_labels};
use gantry_plugin_api::description::{FamilyInfo, Kind};
use std::collections::BTreeMap;

const KINDS: [Kind; 4] = [Kind::Counter, Kind::Gauge, Kind::Histogram, Kind::Unknown];

fn wild_family(random: &mut Random) -> FamilyInfo {
    const NAMES: [&str; 4] = ["x", "y_seconds", "node", "gantry_x"];
    const SUFFIXES: [&str; 7] = ["", "_total", "_count", "_sum", "_bucket", "_created", "_bytes"];
    let pick = |random: &mut Random, all: &[&str]| all[random.below(all.len() as u64) as usize].to_owned();
    let mut name = pick(random, &NAMES) + &pick(random, &SUFFIXES);
    if random.below(10) == 0 {
        name = random.text(5);
    }
    let labels = (0..random.below(4))
        .map(|_| match random.below(12) {
            0 => random.text(4),
            _ => pick(random, &["a", "b", "c", "le", "region"]),
        })
        .collect();
    FamilyInfo {
        help: random.text(30),
        unit: pick(random, &["", "seconds", "bytes", "\n"]),
        labels,
        per_container: random.below(3) == 0,
        counted_here: random.below(2) == 0,
        ..family(&name, KINDS[random.below(4) as usize], &[])
    }
}

fn wild_samples(random: &mut Random, families: &[FamilyInfo]) -> (Arena, u64) {
    let emitted = random.below(200);
    let mut arena = Arena::with_limit(150);
    for _ in 0..emitted {
        let family = random.below(families.len() as u64 + 1) as usize;
        let info = families.get(family);
        let right = info.map_or(0, |info| info.labels.len());
        let wanted = if random.below(20) == 0 { random.below(40) as usize } else { right };
        let valid = random.below(4) > 0;
        let labels: Vec<Vec<u8>> =
            (0..wanted).map(|_| if valid { random.text(3).into_bytes() } else { random.bytes(6) }).collect();
        let container = if info.is_some_and(|info| info.per_container) {
            1 + random.below(5)
        } else {
            random.below(20) / 19
        };
        if random.below(3) == 0 {
            let at = random.number();
            arena.created(Some(at));
        }
        let labels = labels.iter().map(Vec::as_slice);
        let is_histogram = info.is_some_and(|info| info.kind == Kind::Histogram);
        if is_histogram != (random.below(20) == 0) {
            let mut bounds: Vec<f64> = (0..random.below(4)).map(|_| random.number()).collect();
            let mut counts: Vec<u64> = (0..bounds.len()).map(|_| random.below(5)).collect();
            if random.below(4) > 0 {
                bounds.sort_by(f64::total_cmp);
                bounds.dedup();
                counts.sort_unstable();
                counts.truncate(bounds.len());
            }
            arena.histogram(
                family as u32,
                container,
                labels,
                &bounds,
                &counts,
                random.number(),
                random.below(9),
            );
        } else {
            arena.sample(family as u32, container, labels, random.number());
        }
    }
    (arena, emitted)
}

#[test]
fn nothing_makes_an_invalid_line() {
    let mut random = Random(0xbeef);
    let (mut lines, mut refused) = (0, 0);
    for _ in 0..300 {
        let mut registry = Registry::new();
        let mut owners: Vec<(String, Vec<FamilyInfo>, Table)> = (0..3)
            .map(|number| {
                let owner = format!("owner_{number}");
                let families: Vec<FamilyInfo> = (0..8).map(|_| wild_family(&mut random)).collect();
                let registered = registry.register(&owner, &[], &families);
                (owner, families, Table::new(registered.families, 100))
            })
            .collect();
        let mut host = Host::new("");
        for _ in 0..4 {
            host.node = (render_labels([("machine_id", &random.text(5)[..])]), random.next());
            for handle in 1..5 {
                let text = render_labels([("container_id", &random.text(1)[..])]);
                host.name(handle, text, random.next());
            }
            for (owner, families, table) in &mut owners {
                if random.below(4) == 0 {
                    *families = (0..8).map(|_| wild_family(&mut random)).collect();
                    table.set_families(registry.register(owner, &[], families).families);
                }
                let (arena, emitted) = wild_samples(&mut random, families);
                let taken = table.take(&arena, &host, 1.5, random.below(2) == 0);
                let refused_here: u64 = taken.refused.iter().map(|(_, count)| count).sum();
                assert_eq!(taken.samples as u64 + refused_here, emitted);
                assert_eq!(taken.series, table.series());
                refused += refused_here;
            }
            // Between an owner's change and its next turn names may clash across
            // tables only where one shows what it no longer has; all have had it.
            let tables: Vec<&Table> = owners.iter().map(|(_, _, table)| table).collect();
            for format in [Format::Text, Format::OpenMetrics] {
                let mut out = Vec::new();
                let encoded = encode(&tables, format, &mut out);
                let text = String::from_utf8(out).unwrap();
                let parsed = parse(&text, format);
                assert_eq!(parsed.samples.len(), encoded.samples);
                lines += encoded.samples;
            }
        }
    }
    assert!(lines > 30_000 && refused > 10_000, "{lines} lines, {refused} refused: too few to mean anything");
}

#[test]
fn a_table_is_what_a_plain_map_would_be() {
    let info = FamilyInfo { per_container: true, ..family("m", Kind::Gauge, &["a", "b"]) };
    let mut random = Random(0xcafe);
    let mut table = table(&[info]);
    let mut host = Host::new("");
    for round in 0..200 {
        for handle in 1..6 {
            if round == 0 || random.below(5) == 0 {
                let text = render_labels([("container_id", &format!("{handle}{}", random.text(3))[..])]);
                host.name(handle, text, random.next());
            }
        }
        let mut arena = Arena::with_limit(1000);
        let mut expected = BTreeMap::new();
        for _ in 0..random.below(400) {
            let (a, b) = (random.text(2), random.text(2));
            let (handle, value) = (1 + random.below(5), random.below(100) as f64);
            common::sample(&mut arena, 0, handle, &[&a, &b], value);
            expected.entry((handle, a, b)).or_insert(value);
        }
        let taken = table.take(&arena, &host, 1.0, true);
        assert_eq!((taken.series, taken.samples), (expected.len(), expected.len()));
        let mut lines: Vec<String> = expected
            .iter()
            .map(|((handle, a, b), value)| {
                let own = render_labels([("a", &a[..]), ("b", &b[..])]);
                format!("m{{{own},{}}} {value}", host.containers[handle].text)
            })
            .collect();
        lines.sort();
        let written = text(&[&table], Format::Text);
        let mut written: Vec<&str> = written.split('\n').filter(|line| line.starts_with("m{")).collect();
        written.sort_unstable();
        assert_eq!(written, lines, "round {round}");
    }
}
