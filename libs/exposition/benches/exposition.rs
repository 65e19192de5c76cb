//! 100,000 series with five labels, by this crate and by prometheus-client.
//!
//! `encode` is the text of samples that are already held; `scrape` begins with
//! what a plugin emits at a collection. `containers` are collections that are
//! taken and written, of many containers with some series each.

use criterion::{Criterion, criterion_group, criterion_main};
use gantry_exposition::{
    Arena, Constant, Format, Group, Labels, Member, Registry, Table, encode, render_labels,
};
use gantry_plugin_api::description::{FamilyInfo, Kind, Merge};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::{MetricType, family::Family};
use prometheus_client::registry::Registry as Theirs;
use std::hint::black_box;
use std::sync::{Arc, Mutex};

const CONTAINERS: usize = 100;
const SERIES_A_CONTAINER: usize = 1000;
const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";
const OWN: [&str; 3] = ["destination", "actual_destination", "status"];

/// Labels of containers, and which group each is in.
struct Node(Vec<String>, fn(u64) -> Option<u64>);

impl Labels for Node {
    fn node(&self) -> Constant<'_> {
        Constant::new("", 0)
    }

    fn container(&self, handle: u64) -> Option<Member<'_>> {
        let text = self.0.get(handle as usize - 1)?;
        Some(Member { group: self.1(handle), ..Member::shown(Constant::new(text, 1)) })
    }

    fn group(&self, group: u64) -> Option<Group<'_>> {
        let text = self.0.get(group as usize - 1)?;
        Some(Group { labels: Constant::new(text, 1), gone: false, from_zero: false })
    }
}

fn container_id(number: usize) -> String {
    format!("/docker/{:064x}", 0x9e37_79b9_7f4a_7c15_u64 as u128 * (number as u128 + 1))
}

fn own(container: usize, series: usize) -> [String; 3] {
    let port = 1024 + series;
    [format!("10.20.{container}.7:{port}"), format!("10.30.{container}.9:{port}"), "200".to_owned()]
}

fn value(round: u64, series: usize) -> f64 {
    (round * 31 + series as u64 * 17) as f64
}

/// All label values, by container and series.
fn values() -> Vec<Vec<[String; 3]>> {
    let container = |number| (0..SERIES_A_CONTAINER).map(|series| own(number, series)).collect();
    (0..CONTAINERS).map(container).collect()
}

fn emit(arena: &mut Arena, values: &[Vec<[String; 3]>], round: u64) {
    arena.clear();
    for (container, series) in values.iter().enumerate() {
        for (number, labels) in series.iter().enumerate() {
            let labels = labels.iter().map(|label| label.as_bytes());
            arena.sample(0, container as u64 + 1, labels, value(round, number));
        }
    }
}

/// What a collection leaves for prometheus-client: samples in flat buffers, as
/// an arena has them.
#[derive(Debug, Default)]
struct Flat {
    text: String,
    ends: Vec<u32>,
    samples: Vec<(usize, f64)>,
}

#[derive(Debug)]
struct FromFlat {
    flat: Arc<Mutex<Flat>>,
    containers: Vec<String>,
}

impl Collector for FromFlat {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let flat = self.flat.lock().expect("no thread panics with it");
        let mut metric =
            encoder.encode_descriptor("bench_requests", "Requests.", None, MetricType::Counter)?;
        let mut from = 0;
        for ((container, value), ends) in flat.samples.iter().zip(flat.ends.chunks_exact(OWN.len())) {
            let mut labels = [("", ""); OWN.len() + 2];
            for ((slot, name), end) in labels.iter_mut().zip(OWN).zip(ends) {
                *slot = (name, &flat.text[from..*end as usize]);
                from = *end as usize;
            }
            labels[3] = ("machine_id", MACHINE_ID);
            labels[4] = ("container_id", &self.containers[*container]);
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(value, None)?;
        }
        Ok(())
    }
}

fn emit_flat(flat: &mut Flat, values: &[Vec<[String; 3]>], round: u64) {
    flat.text.clear();
    flat.ends.clear();
    flat.samples.clear();
    for (container, series) in values.iter().enumerate() {
        for (number, labels) in series.iter().enumerate() {
            for label in labels {
                flat.text.push_str(label);
                flat.ends.push(flat.text.len() as u32);
            }
            flat.samples.push((container, value(round, number)));
        }
    }
}

fn table() -> (Table, Node) {
    let families = Registry::new().register("bench", &[], &[family("bench_requests_total", &OWN)]).families;
    (Table::new(families, CONTAINERS * SERIES_A_CONTAINER), node(CONTAINERS, |_| None))
}

fn family(name: &str, labels: &[&str]) -> FamilyInfo {
    FamilyInfo {
        name: name.to_owned(),
        help: "Requests.".to_owned(),
        kind: Kind::Counter,
        unit: String::new(),
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        per_container: true,
        counted_here: false,
        merge: Merge::Sum,
    }
}

fn node(containers: usize, group: fn(u64) -> Option<u64>) -> Node {
    let text = |number| render_labels([("machine_id", MACHINE_ID), ("container_id", &container_id(number))]);
    Node((0..containers).map(text).collect(), group)
}

/// Families of the containers' figures: half of them without labels.
fn figures() -> Vec<FamilyInfo> {
    let name = |number| format!("container_resources_figure_{number}_total");
    (0..FIGURES)
        .map(|number| family(&name(number), if number % 2 == 0 { &[] } else { &["device"] }))
        .collect()
}

const FIGURES: usize = 40;

/// One sample of each figure for the containers from `first` on.
fn emit_figures(arena: &mut Arena, first: usize, containers: usize) {
    arena.clear();
    for container in first..first + containers {
        for figure in 0..FIGURES {
            let labels = [&b"259:0"[..]];
            let labels = labels.into_iter().take(figure % 2);
            arena.sample(figure as u32, container as u64 + 1, labels, 12_345.0);
        }
    }
}

/// Whole scrapes of containers: taken and written.
fn containers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("containers");
    let pairs: fn(u64) -> Option<u64> = |handle| (handle <= 500).then_some(handle.div_ceil(2));
    let alone: fn(u64) -> Option<u64> = |_| None;
    for (name, of, shown) in [("1000 of 40 series", alone, 40_000), ("500 of them in pairs", pairs, 30_000)] {
        let node = node(1000, of);
        let families = Registry::new().register("bench", &[], &figures()).families;
        let (mut table, mut arena) = (Table::new(families, 100_000), Arena::with_limit(100_000));
        let mut out = Vec::new();
        emit_figures(&mut arena, 0, 1000);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                let taken = table.take(&arena, &node, 1.0, false);
                assert_eq!((taken.samples, taken.series), (40_000, shown));
                encode(&[&table], Format::Text, &mut out).samples
            });
        });
    }
    // Each collection has 10,000 others, emitted once and folded into one.
    let node = node(20_000, |_| Some(1));
    let families = Registry::new().register("bench", &[], &[family("bench_requests_total", &[])]).families;
    let mut table = Table::new(families, 100_000);
    let arenas = [0, 10_000].map(|first| {
        let mut arena = Arena::with_limit(10_000);
        (first..first + 10_000).for_each(|at| arena.sample(0, at + 1, std::iter::empty(), 1.0));
        arena
    });
    let (mut round, mut out) = (0, Vec::new());
    group.bench_function("10000 short-lived, folded", |bencher| {
        bencher.iter(|| {
            round += 1;
            out.clear();
            let taken = table.take(&arenas[round % 2], &node, 1.0, false);
            assert_eq!((taken.samples, taken.series, taken.kept), (10_000, 1, 10_001));
            encode(&[&table], Format::Text, &mut out).samples
        });
    });
    group.finish();
}

type Pairs = Vec<(String, String)>;

fn kept(values: &[Vec<[String; 3]>]) -> Theirs {
    let family: Family<Pairs, Counter> = Family::default();
    for (container, series) in values.iter().enumerate() {
        for (number, labels) in series.iter().enumerate() {
            let mut pairs: Pairs = OWN.iter().map(|&name| name.to_owned()).zip(labels.clone()).collect();
            pairs.push(("machine_id".to_owned(), MACHINE_ID.to_owned()));
            pairs.push(("container_id".to_owned(), container_id(container)));
            family.get_or_create(&pairs).inc_by(value(1, number) as u64);
        }
    }
    let mut registry = Theirs::default();
    registry.register("bench_requests", "Requests", family);
    registry
}

fn exposition(criterion: &mut Criterion) {
    let values = values();
    let (mut table, node) = table();
    let mut arena = Arena::with_limit(CONTAINERS * SERIES_A_CONTAINER);
    emit(&mut arena, &values, 1);
    assert_eq!(table.take(&arena, &node, 1.0, false).refused, []);

    let mut group = criterion.benchmark_group("encode");
    let mut out = Vec::new();
    for (name, format) in [("gantry text", Format::Text), ("gantry openmetrics", Format::OpenMetrics)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(encode(&[&table], format, &mut out)).samples
            });
        });
    }
    let (registry, mut theirs) = (kept(&values), String::new());
    group.bench_function("prometheus-client Family", |bencher| {
        bencher.iter(|| {
            theirs.clear();
            prometheus_client::encoding::text::encode(&mut theirs, &registry).expect("strings take all");
            theirs.len()
        });
    });
    assert_eq!(theirs.lines().count(), out.iter().filter(|&&byte| byte == b'\n').count());
    let flat = Arc::new(Mutex::new(Flat::default()));
    emit_flat(&mut flat.lock().expect("one thread"), &values, 1);
    let mut registry = Theirs::default();
    let containers = (0..CONTAINERS).map(container_id).collect();
    registry.register_collector(Box::new(FromFlat { flat: Arc::clone(&flat), containers }));
    group.bench_function("prometheus-client Collector", |bencher| {
        bencher.iter(|| {
            theirs.clear();
            prometheus_client::encoding::text::encode(&mut theirs, &registry).expect("strings take all");
            theirs.len()
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("scrape");
    let mut round = 1;
    group.bench_function("gantry emit", |bencher| bencher.iter(|| emit(&mut arena, &values, 1)));
    group.bench_function("gantry take", |bencher| {
        bencher.iter(|| table.take(&arena, &node, 1.0, false).samples);
    });
    group.bench_function("gantry emit, take, encode", |bencher| {
        bencher.iter(|| {
            round += 1;
            emit(&mut arena, &values, round);
            let taken = table.take(&arena, &node, 1.0, false);
            out.clear();
            (taken.samples, encode(&[&table], Format::OpenMetrics, &mut out).samples)
        });
    });
    group.bench_function("prometheus-client emit, Collector", |bencher| {
        bencher.iter(|| {
            round += 1;
            emit_flat(&mut flat.lock().expect("one thread"), &values, round);
            theirs.clear();
            prometheus_client::encoding::text::encode(&mut theirs, &registry).expect("strings take all");
            theirs.len()
        });
    });
    group.bench_function("gantry first collection", |bencher| {
        bencher.iter(|| {
            let (mut table, node) = self::table();
            table.take(&arena, &node, 1.0, false).samples
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    // Each round takes some milliseconds: 20 of them say enough.
    config = Criterion::default().sample_size(20).without_plots();
    targets = exposition, containers
}
criterion_main!(benches);
