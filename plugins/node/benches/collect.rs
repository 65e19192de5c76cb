//! What a collection costs: as a whole on this machine, and by part over files
//! of a larger one.
#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

#[path = "../tests/support/tree.rs"]
mod tree;

use criterion::{Criterion, criterion_group, criterion_main};
use gantry_netlink::RouteSocket;
use gantry_plugin_testkit::{Bench, Kit, Tree};
use procfs_core::prelude::FromBufRead as _;
use serde_json::{Value, json};
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

fn plugin(root: &Path, config: Value) -> Bench {
    Kit::of::<gantry_node::Node>().with_tree(Tree::at(root)).bench(config).expect("it starts")
}

fn collect(plugin: &mut Bench) -> u64 {
    plugin.collect().expect("it collects")
}

fn without_mounts() -> Value {
    json!({ "exclude_mount_points": [".*"] })
}

fn collections(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("collection");
    let mut all = plugin(Path::new("/"), json!({}));
    group.bench_function("this machine", |bencher| bencher.iter(|| collect(&mut all)));
    let mut without = plugin(Path::new("/"), without_mounts());
    group.bench_function("this machine, no file systems", |bencher| bencher.iter(|| collect(&mut without)));
    let files = tree::whole();
    files.write("proc/meminfo", std::fs::read("/proc/meminfo").expect("readable"));
    let mut fixture = plugin(files.root(), without_mounts());
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

criterion_group!(benches, collections, parts, procfs_core);
criterion_main!(benches);
