//! What a collection of 1,000 containers costs, and a victim.
#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gantry_cgroupfs::Mode;
use gantry_cgroupfs::fixture::Fixture;
use gantry_cgroupfs::layout::Resource;
use gantry_oom::Oom;
use gantry_oom::config::Config;
use gantry_oom::record::{Limit, Mark, Memory};
use gantry_oom::state::State;
use gantry_plugin_testkit::{Kit, NewContainer};
use std::fs;

const CONTAINERS: u64 = 1000;

/// Containers over plain files. `sys` is the machine's own, so that programs are loaded.
fn kit(fixture: &Fixture, mode: Mode) -> Kit {
    let paths = [("proc", fixture.proc()), ("cgroup", fixture.cgroup()), ("sys", "/sys".into())];
    let kit = paths.into_iter().fold(Kit::of::<Oom>(), |kit, (which, path)| kit.with_path(which, path));
    let hierarchy = if mode == Mode::V2 { 0 } else { 3 };
    for number in 0..CONTAINERS {
        let path = format!("/docker/{number:064x}");
        let directory = fixture.directory(Resource::Memory, &path);
        fs::create_dir_all(&directory).expect("made");
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n";
        let v2 = "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n";
        for (file, text) in [("memory.oom_control", v1), ("memory.events", v2), ("memory.events.local", v2)] {
            fs::write(directory.join(file), text).expect("written");
        }
        let container = NewContainer::new(&path).cgroup_v1(hierarchy, &["memory"], &path, number + 2);
        kit.identity().declare(container);
    }
    kit
}

fn collections(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("1,000 containers");
    for (name, mode) in [("v1", Mode::V1), ("v2", Mode::V2)] {
        let dir = tempfile::tempdir().expect("a directory");
        let fixture = Fixture::new(dir.path(), mode).expect("written");
        let kit = kit(&fixture, mode);
        for (with, config) in [("programs", ""), ("counters alone", "ebpf = false")] {
            let mut bench = kit.bench(config).expect("it starts");
            group.bench_function(format!("{name}, {with}"), |bencher| {
                bencher.iter(|| bench.collect().expect("it collects"));
            });
        }
        let mut state = State::new(&kit.host(), Config::default(), None);
        state.activate(&kit.host(), None);
        group.bench_function(format!("{name}, snapshot"), |bencher| {
            bencher.iter(|| state.handed().encode());
        });
    }
    group.finish();
}

fn mark(number: u32) -> Mark {
    Mark {
        pid: number,
        start: u64::from(number),
        thread: number,
        exit_code: 9,
        comm: "hog".to_owned(),
        hierarchy: 3,
        cgroup: 2 + u64::from(number) % CONTAINERS,
        kills: Some(1 + u64::from(number) / CONTAINERS),
        groups: Some(0),
        in_group: false,
        limit: Some(Limit { of: 2, level: 2, bytes: 1 << 24, with_swap: false }),
        memory: Memory::default(),
    }
}

/// A victim, from the record on: whose it is, and what it counts.
fn victims(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let fixture = Fixture::new(dir.path(), Mode::V1).expect("written");
    let kit = kit(&fixture, Mode::V1);
    let host = kit.host();
    let mut state = State::new(&host, Config { log_kills: false, ..Config::default() }, None);
    state.activate(&host, None);
    let mut number = 0;
    criterion.bench_function("a victim", |bencher| {
        bencher.iter_batched(
            || {
                number += 1;
                mark(number)
            },
            |mark| state.mark(&host, mark),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, collections, victims);
criterion_main!(benches);
