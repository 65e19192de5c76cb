//! What one container's figures cost: with files kept open, and opened for each
//! reading. Plain files show the parts that are ours; those of the kernel
//! (cgroups that this makes, as root) what its own work adds.
#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use gantry_cgroupfs::fixture::Fixture;
use gantry_cgroupfs::{Group, Layout, Mode, Parts, Reader, Usage};
use std::hint::black_box;

const CONTAINERS: usize = 1000;

/// More than all their files.
const AMPLE: usize = 20 * CONTAINERS;

/// Some half of them.
const SCARCE: usize = 8 * CONTAINERS;

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, layout: &Layout, groups: &[Group]) {
    for (name, bound) in [("kept open", AMPLE), ("some kept open", SCARCE), ("opened each time", 0)] {
        for (what, parts) in [("all", Parts::ALL), ("no limits", Parts { limits: false, ..Parts::ALL })] {
            let mut reader = Reader::new(layout, bound);
            let mut groups = groups.to_vec();
            let mut usage = Usage::default();
            let mut next = 0;
            group.bench_function(format!("{what}, {name}"), |bencher| {
                bencher.iter(|| {
                    if next == 0 {
                        reader.begin();
                    }
                    reader.read(&mut groups[next], parts, &mut usage);
                    next = (next + 1) % groups.len();
                    black_box(&usage);
                });
            });
        }
    }
}

fn plain(criterion: &mut Criterion) {
    for (name, mode) in [("v1", Mode::V1), ("v2", Mode::V2)] {
        let dir = tempfile::tempdir().expect("a directory");
        let fixture = Fixture::new(dir.path(), mode).expect("written");
        let layout = fixture.layout().expect("a layout");
        let groups: Vec<_> = (0..CONTAINERS)
            .map(|number| {
                let path =
                    format!("/kubepods.slice/kubepods-burstable.slice/pod{}/{number:064x}", number / 4);
                fixture.cgroup_of(&path, &fixture.figures(number as u64)).expect("written");
                fixture.group(&layout, &path)
            })
            .collect();
        let mut group =
            criterion.benchmark_group(format!("{name}, plain files, a container of {CONTAINERS}"));
        bench(&mut group, &layout, &groups);
        group.finish();
    }
}

fn kernel(criterion: &mut Criterion) {
    let Some(made) = support::Made::new("bench") else { return };
    let layout = support::layout();
    let mut group = criterion.benchmark_group("the kernel's files, one container");
    bench(&mut group, &layout, &[made.group(&layout)]);
    group.finish();
}

criterion_group!(benches, plain, kernel);
criterion_main!(benches);
