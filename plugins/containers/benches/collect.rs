//! What a collection of many containers costs, over plain files in the form of
//! the kernel's: 40 series each, of its cgroup and of two disks.
#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

use criterion::{Criterion, criterion_group, criterion_main};
use gantry_cgroupfs::Mode;
use gantry_cgroupfs::fixture::Fixture;
use gantry_containers::Containers;
use gantry_plugin_testkit::{Kit, NewContainer, Tree};

const CONTAINERS: u32 = 1000;

fn machine(mode: Mode) -> Kit {
    let kit = Kit::of::<Containers>().with_tree(Tree::new());
    let fixture = Fixture::new(kit.tree().root(), mode).expect("written");
    let kit = kit.with_path("proc", fixture.proc()).with_path("cgroup", fixture.cgroup());
    let root = kit.tree().path("rootfs");
    kit.tree().dir("rootfs");
    for number in 0..CONTAINERS {
        let pid = 1000 + number;
        let raw = format!("{number:064x}");
        let path = format!("/docker/{raw}");
        fixture.cgroup_of(&path, &fixture.figures(u64::from(number))).expect("written");
        fixture.process_with_volumes(pid, &path, &root).expect("written");
        let mut new = NewContainer::new(&format!("/docker/web-{number}"))
            .runtime("docker", &raw)
            .process(pid, 1)
            .with(|container| container.image = "nginx:1.27".to_owned());
        for line in fixture.membership(&path).lines() {
            let mut parts = line.splitn(3, ':');
            let mut next = || parts.next().expect("three parts");
            let hierarchy = next().parse().expect("a number");
            let controllers: Vec<&str> = next().split(',').filter(|name| !name.is_empty()).collect();
            new = new.cgroup_v1(hierarchy, &controllers, next(), u64::from(pid));
        }
        kit.identity().declare(new);
    }
    kit
}

fn collect(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("{CONTAINERS} containers"));
    group.sample_size(20);
    for (name, mode) in [("v1", Mode::V1), ("v2", Mode::V2), ("hybrid", Mode::Hybrid)] {
        let kit = machine(mode);
        let mut bench = kit.bench("[docker]\nenabled = false").expect("it starts");
        // Programs are looked at over several collections.
        let mut samples = 0;
        (0..8).for_each(|_| samples = bench.collect().expect("it collects"));
        group.bench_function(format!("{name}, {samples} samples"), |bencher| {
            bencher.iter(|| bench.collect().expect("it collects"));
        });
    }
    group.finish();
}

criterion_group!(benches, collect);
criterion_main!(benches);
