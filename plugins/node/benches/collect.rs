//! What a collection costs: as a whole on this machine, and by part over files
//! of a larger one.
#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use gantry_netlink::RouteSocket;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::{ROption, RSlice, RStr};
use gantry_plugin_api::abi::types::Bytes;
use gantry_plugin_api::abi::{AbiHost_TO, AbiPlugin, AbiSink, AbiSink_TO};
use gantry_plugin_api::{Guard, Host};
use procfs_core::prelude::FromBufRead as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;
use support::FakeHost;
use support::tree::Tree;

/// Counts samples and keeps nothing.
#[derive(Debug, Default)]
struct Counter(u64);

impl AbiSink for Counter {
    fn sample(&mut self, _: u32, _: u64, labels: RSlice<'_, Bytes<'_>>, value: f64) {
        black_box((labels.len(), value));
        self.0 += 1;
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

fn guard(root: &Path, config: &str) -> Guard<gantry_node::Node> {
    let host = Host::new(AbiHost_TO::from_value(FakeHost { root: root.to_owned() }, TD_Opaque));
    let mut guard = Guard::new(host, || 0);
    guard.start(config.into()).into_result().expect("starts");
    guard
}

fn collect(guard: &mut Guard<gantry_node::Node>) -> u64 {
    let mut counter = Counter::default();
    let sink = AbiSink_TO::from_ptr(RMut::new(&mut counter), TD_Opaque);
    guard.collect(sink).into_result().expect("collects");
    counter.0
}

fn whole(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("collection");
    let mut all = guard(Path::new("/"), "{}");
    group.bench_function("this machine", |bencher| bencher.iter(|| collect(&mut all)));
    let mut without = guard(Path::new("/"), r#"{"exclude_mount_points": [".*"]}"#);
    group.bench_function("this machine, no file systems", |bencher| bencher.iter(|| collect(&mut without)));
    let tree = Tree::whole();
    tree.write("proc/meminfo", std::fs::read("/proc/meminfo").expect("readable"));
    let mut fixture = guard(tree.root(), r#"{"exclude_mount_points": [".*"]}"#);
    group.bench_function("plain files, no file systems", |bencher| bencher.iter(|| collect(&mut fixture)));
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reading");
    let mut buffer = Vec::new();
    for path in ["stat", "meminfo", "vmstat", "diskstats", "self/mountinfo", "pressure/cpu", "uptime"] {
        let file = Path::new("/proc").join(path);
        group.bench_function(path, |bencher| {
            bencher.iter(|| gantry_node::reader::read(&file, &mut buffer).expect("readable"));
        });
    }
    let mut socket = RouteSocket::open(Duration::from_secs(1)).expect("opens");
    let (mut links, mut addresses) = (Vec::new(), Vec::new());
    group.bench_function("rtnetlink links", |bencher| {
        bencher.iter(|| socket.links(&mut links).expect("answers"));
    });
    group.bench_function("rtnetlink addresses", |bencher| {
        bencher.iter(|| socket.addresses(&mut addresses).expect("answers"));
    });
    group.bench_function("rtnetlink open", |bencher| {
        bencher.iter(|| RouteSocket::open(Duration::from_secs(1)).expect("opens"));
    });
    group.finish();
}

/// What procfs-core takes for the files that are read without it.
fn procfs_core(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("procfs-core");
    let meminfo = std::fs::read("/proc/meminfo").expect("readable");
    group.bench_function("meminfo", |bencher| {
        bencher
            .iter(|| procfs_core::Meminfo::from_buf_read(black_box(&meminfo[..])).map(|read| read.mem_total));
    });
    let line =
        "31 27 8:16 / /mnt/volume-NUMBER ro,relatime shared:5 - xfs /dev/sdb rw,attr2,inode64,logbufs=8\n";
    let mountinfo: String = (0..500)
        .map(|number| line.replace("NUMBER", &number.to_string()).replace("8:16", &format!("8:{number}")))
        .collect();
    group.bench_function("500 mounts", |bencher| {
        bencher.iter(|| {
            procfs_core::process::MountInfos::from_buf_read(black_box(mountinfo.as_bytes()))
                .map(|read| read.0.len())
        });
    });
    let settings = gantry_node::config::Settings::of(&Default::default()).expect("valid");
    group.bench_function("500 mounts, own, with the choice", |bencher| {
        bencher.iter(|| gantry_node::mounts::shown(black_box(mountinfo.as_bytes()), &settings).0.len());
    });
    let stat = std::fs::read("/proc/stat").expect("readable");
    let system = procfs_core::ExplicitSystemInfo {
        boot_time_secs: 0,
        ticks_per_second: 100,
        page_size: 4096,
        is_little_endian: true,
    };
    group.bench_function("stat", |bencher| {
        use procfs_core::prelude::FromBufReadSI as _;
        bencher.iter(|| {
            procfs_core::KernelStats::from_buf_read(black_box(&stat[..]), &system).map(|read| read.ctxt)
        });
    });
    group.finish();
}

criterion_group!(benches, whole, parts, procfs_core);
criterion_main!(benches);
