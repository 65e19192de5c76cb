//! What the boundary costs: a sample, a counted event, a line in the log.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion writes functions; a benchmark fails by it")]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gantry_plugin_api::abi::AbiSink_TO;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::{RNone, ROption, RSlice, RStr};
use gantry_plugin_api::abi::types::{Bytes, result};
use gantry_plugin_api::abi::{AbiPlugin, AbiSink, PluginBox};
use gantry_plugin_api::export::entry;
use gantry_plugin_api::{Error, Family, Guard, Host, Manifest, NoConfig, Plugin, Sink, families, tracing};
use std::hint::black_box;
use support::Log;

const SAMPLES: u32 = 10_000;
const LABELS: [&str; 5] =
    ["4f2c0d8a9b7e6f5d4c3b2a190817263544f2c0d8a9b7e6f5d4c3b2a190817263", "sda", "read", "ext4", "/var"];

families! { ALL:
    PLAIN = Family::gauge("bench_plain", "No labels.");
    LABELLED = Family::gauge("bench_labelled", "Five labels.").labels(&["a", "b", "c", "d", "e"]);
    COUNTED = Family::counter("bench_counted_total", "Kept.").labels(&["a"]);
}

/// What any host must do at least: look at each byte's place and length.
#[derive(Debug, Default)]
struct Summing {
    bytes: usize,
    sum: f64,
}

impl AbiSink for Summing {
    #[inline(never)]
    fn sample(&mut self, family: u32, container: u64, labels: RSlice<'_, Bytes<'_>>, value: f64) {
        black_box((family, container));
        self.bytes += labels.iter().map(|label| label.len()).sum::<usize>();
        self.sum += value;
    }
    fn histogram(
        &mut self,
        _: u32,
        _: u64,
        _: RSlice<'_, Bytes<'_>>,
        _: RSlice<'_, f64>,
        _: RSlice<'_, u64>,
        _: f64,
        _: u64,
    ) {
    }
    fn created(&mut self, _: ROption<f64>) {}
    fn skipped(&mut self, _: RStr<'_>, _: u64) {}
}

struct Emitting;

impl Plugin for Emitting {
    const MANIFEST: Manifest = Manifest::new("emitting", "1.0.0", "Emits");
    type Config = NoConfig;
    fn families() -> &'static [&'static Family] {
        ALL
    }
    fn start(_: NoConfig, _: Host) -> Result<Self, Error> {
        Ok(Self)
    }
    fn collect(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        (0..SAMPLES).for_each(|value| sink.node(&LABELLED, &LABELS, value));
        Ok(())
    }
}

fn samples(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sample");
    group.throughput(Throughput::Elements(u64::from(SAMPLES)));
    let labels: Vec<Bytes<'_>> = LABELS.iter().map(|label| RSlice::from_slice(label.as_bytes())).collect();

    group.bench_function("direct call, 5 labels", |bencher| {
        let mut sink = Summing::default();
        bencher.iter(|| {
            for value in 0..SAMPLES {
                sink.sample(1, 0, RSlice::from_slice(black_box(&labels)), f64::from(value));
            }
        });
        black_box(&sink);
    });
    for (name, family, labels) in [("no labels", &PLAIN, &[][..]), ("5 labels", &LABELLED, &LABELS[..])] {
        group.bench_function(format!("over the boundary, {name}"), |bencher| {
            let mut summing = Summing::default();
            // The guard gives each family its place.
            let _guard = Guard::<Emitting>::new(Log::default().host(), || 0);
            let mut sink = Sink::new(AbiSink_TO::from_ptr(RMut::new(&mut summing), TD_Opaque));
            bencher.iter(|| {
                for value in 0..SAMPLES {
                    sink.node(family, black_box(labels), value);
                }
            });
        });
    }
    group.bench_function("a whole collection, 5 labels", |bencher| {
        let mut guard = Guard::<Emitting>::new(Log::default().host(), || 0);
        result(guard.start("{}".into())).expect("it starts");
        result(guard.activate(RNone)).expect("it is activated");
        bencher.iter(|| {
            let mut summing = Summing::default();
            result(guard.collect(AbiSink_TO::from_ptr(RMut::new(&mut summing), TD_Opaque)))
                .expect("it collects");
            summing.sum
        });
    });
    group.finish();
}

fn kept(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kept");
    let _guard = Guard::<Emitting>::new(Log::default().host(), || 0);
    let host = Log::default().host();
    let counter = host.metrics().counter(&COUNTED, None, &["x"]);
    group.bench_function("increment of a held counter", |bencher| bencher.iter(|| black_box(&counter).inc()));
    group.bench_function("look-up and increment", |bencher| {
        bencher.iter(|| host.metrics().counter(&COUNTED, None, black_box(&["x"])).inc());
    });
    for n in 0..1_000 {
        host.metrics().counter(&COUNTED, None, &[&n.to_string()]).inc();
    }
    group.bench_function("emission of 1,001 counters", |bencher| {
        bencher.iter_batched_ref(
            Summing::default,
            |summing| {
                host.metrics().emit(&mut Sink::new(AbiSink_TO::from_ptr(RMut::new(summing), TD_Opaque)));
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn log(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log");
    let plugin: PluginBox =
        result(entry::create::<Emitting>(Log::discarding(), 3, || 0, Vec::new)).expect("an instance");
    group.bench_function("disabled event", |bencher| {
        bencher.iter(|| tracing::debug!(answer = black_box(42), "nobody hears it"))
    });
    group.bench_function("enabled event", |bencher| {
        bencher.iter(|| tracing::info!(answer = black_box(42), "somebody hears it"))
    });
    group.finish();
    drop(plugin);
}

criterion_group!(benches, samples, kept, log);
criterion_main!(benches);
