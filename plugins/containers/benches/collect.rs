//! What a collection of many containers costs, over plain files in the form of
//! the kernel's: 40 series each, of its cgroup and of two disks.
#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

use criterion::{Criterion, criterion_group, criterion_main};
use gantry_cgroupfs::Mode;
use gantry_cgroupfs::fixture::Fixture;
use gantry_containers::Containers;
use gantry_plugin_testkit::{Kit, NewContainer, Tree};
use rustix::fs::{AtFlags, StatxFlags};
use std::os::unix::fs::symlink;

const CONTAINERS: u32 = 1000;

/// `mount` is the number of the one on which the directories lie.
fn mounts(mount: u64) -> String {
    format!(
        "1 0 0:50 / / rw - overlay overlay rw\n\
         {mount} 1 8:0 /volumes/data/_data /data rw - ext4 /dev/sda rw\n\
         {mount} 1 254:16 /volumes/log/_data /log rw - ext4 /dev/vdb rw\n"
    )
}

fn machine(mode: Mode) -> Kit {
    let kit = Kit::of::<Containers>().with_tree(Tree::new());
    let fixture = Fixture::new(kit.tree().root(), mode).expect("written");
    let kit = kit.with_path("proc", fixture.proc()).with_path("cgroup", fixture.cgroup());
    let root = kit.tree().path("rootfs");
    ["rootfs/data", "rootfs/log"].iter().for_each(|dir| kit.tree().dir(dir));
    let there = rustix::fs::statx(rustix::fs::CWD, &root, AtFlags::empty(), StatxFlags::MNT_ID);
    let mounts = mounts(there.expect("just made").stx_mnt_id);
    for number in 0..CONTAINERS {
        let pid = 1000 + number;
        let raw = format!("{number:064x}");
        let path = format!("/docker/{raw}");
        fixture.cgroup_of(&path, &fixture.figures(u64::from(number))).expect("written");
        fixture.process(&pid.to_string(), &path).expect("written");
        let dir = fixture.proc().join(pid.to_string());
        std::fs::create_dir(dir.join("ns")).expect("a directory");
        symlink(format!("mnt:[{pid}]"), dir.join("ns/mnt")).expect("a link");
        symlink(&root, dir.join("root")).expect("a link");
        symlink("/bin/sleep", dir.join("exe")).expect("a link");
        std::fs::write(dir.join("mountinfo"), &mounts).expect("written");
        std::fs::write(dir.join("cmdline"), "redis-server\0*:6379\0").expect("written");
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
