//! Limits, of a cgroup and of those above it.

use gantry_cgroupfs::fixture::Fixture;
use gantry_cgroupfs::usage::Limit;
use gantry_cgroupfs::{Layout, Mode, Parts, Reader, Resource, Usage};
use std::fs;

const POD: &str = "/kubepods/pod1";

struct Tree {
    _dir: tempfile::TempDir,
    fixture: Fixture,
    layout: Layout,
}

/// Two containers in a pod, without any limit.
fn tree(mode: Mode) -> Tree {
    let dir = tempfile::tempdir().expect("a directory");
    let fixture = Fixture::new(dir.path(), mode).expect("written");
    for path in ["/kubepods", POD, "/kubepods/pod1/a", "/kubepods/pod1/b"] {
        fixture.cgroup_of(path, &Usage::default()).expect("written");
    }
    Tree { layout: fixture.layout().expect("a layout"), fixture, _dir: dir }
}

impl Tree {
    fn write(&self, resource: Resource, path: &str, name: &str, text: &str) {
        fs::write(self.fixture.directory(resource, path).join(name), text).expect("written");
    }

    fn read(&self, reader: &mut Reader, path: &str) -> Usage {
        let mut usage = Usage::default();
        reader.read(&mut self.fixture.group(&self.layout, path), Parts::ALL, &mut usage);
        usage
    }

    fn a(&self) -> Usage {
        self.read(&mut Reader::new(&self.layout, 100), "/kubepods/pod1/a")
    }
}

fn limit<T>(own: impl Into<Option<T>>, binding: impl Into<Option<T>>) -> Limit<T> {
    Limit { own: own.into(), binding: binding.into() }
}

#[test]
fn no_limit_is_none() {
    for mode in [Mode::V1, Mode::V2] {
        let usage = tree(mode).a();
        assert_eq!((usage.cpu.limit, usage.pids.limit), Default::default(), "{mode:?}");
        assert_eq!((usage.memory.limit, usage.memory.swap_limit), Default::default(), "{mode:?}");
        assert_eq!(usage.notes, Default::default(), "{mode:?}");
    }
}

#[test]
fn the_smallest_limit_above_binds_in_v2() {
    let tree = tree(Mode::V2);
    let write = |path: &str, name: &str, text: &str| tree.write(Resource::Memory, path, name, text);
    write(POD, "cpu.max", "150000 100000\n");
    write("/kubepods", "cpu.max", "400000 200000\n");
    write("/kubepods", "memory.max", "1000\n");
    write(POD, "memory.max", "2000\n");
    write(POD, "memory.swap.max", "0\n");
    let usage = tree.a();
    assert_eq!(usage.cpu.limit, limit(None, 1.5));
    assert_eq!(usage.memory.limit, limit(None, 1000));
    assert_eq!(usage.memory.swap_limit, limit(None, 0));
    write("/kubepods/pod1/a", "cpu.max", "50000 100000\n");
    write("/kubepods/pod1/a", "memory.max", "3000\n");
    let usage = tree.a();
    assert_eq!(usage.cpu.limit, limit(0.5, 0.5));
    assert_eq!(usage.memory.limit, limit(3000, 1000));
    // The root has no limits, whatever lies there.
    write("/", "cpu.max", "1 100000\n");
    write("/", "memory.max", "1\n");
    assert_eq!(tree.a(), usage);
}

#[test]
fn the_smallest_limit_above_binds_in_v1() {
    let tree = tree(Mode::V1);
    tree.write(Resource::Cpu, POD, "cpu.cfs_quota_us", "300000\n");
    tree.write(Resource::Cpu, "/kubepods", "cpu.cfs_quota_us", "25000\n");
    tree.write(Resource::Cpu, "/kubepods", "cpu.cfs_period_us", "50000\n");
    tree.write(Resource::Cpu, "/", "cpu.cfs_quota_us", "1\n");
    tree.write(Resource::Cpu, "/kubepods/pod1/a", "cpu.cfs_quota_us", "200000\n");
    let a = "/kubepods/pod1/a";
    tree.write(Resource::Memory, a, "memory.limit_in_bytes", "5000\n");
    tree.write(Resource::Memory, a, "memory.memsw.limit_in_bytes", "7500\n");
    let stat = "hierarchical_memory_limit 4000\nhierarchical_memsw_limit 4100\ntotal_rss 1\n";
    tree.write(Resource::Memory, a, "memory.stat", stat);
    let usage = tree.a();
    assert_eq!(usage.cpu.limit, limit(2.0, 0.5));
    assert_eq!(usage.memory.limit, limit(5000, 4000));
    assert_eq!(usage.memory.swap_limit, limit(2500, 100));
    // 2^62 is the largest that counts.
    let stat = format!("hierarchical_memory_limit {}\n", (1u64 << 62) + 1);
    tree.write(Resource::Memory, a, "memory.stat", &stat);
    tree.write(Resource::Memory, a, "memory.limit_in_bytes", &format!("{}\n", 1u64 << 62));
    assert_eq!(tree.a().memory.limit, limit(1 << 62, 1 << 62));
}

#[test]
fn what_is_above_several_is_read_once_in_a_collection() {
    let tree = tree(Mode::V2);
    let mut reader = Reader::new(&tree.layout, 100);
    reader.begin();
    tree.read(&mut reader, "/kubepods/pod1/a");
    let before = reader.counters().opens;
    tree.write(Resource::Memory, POD, "memory.max", "1000\n");
    let usage = tree.read(&mut reader, "/kubepods/pod1/b");
    let own = reader.counters().opens - before;
    assert_eq!(usage.memory.limit, limit(None, None), "as it was read for the other");
    reader.begin();
    let before = reader.counters();
    assert_eq!(tree.read(&mut reader, "/kubepods/pod1/b").memory.limit, limit(None, 1000));
    // The group is a new one, so that its own files are opened again; those above are open.
    assert_eq!(reader.counters().opens - before.opens, own);
    assert_eq!(reader.counters().hits - before.hits, 6);
}

#[test]
fn what_nobody_asks_about_is_closed_in_time() {
    let tree = tree(Mode::V2);
    let mut reader = Reader::new(&tree.layout, 100);
    reader.begin();
    let mut group = tree.fixture.group(&tree.layout, "/kubepods/pod1/a");
    reader.read(&mut group, Parts::ALL, &mut Usage::default());
    reader.forget(&mut group);
    assert_eq!(reader.kept(), 6, "those above");
    for _ in 0..32 {
        reader.begin();
    }
    assert_eq!(reader.kept(), 0);
}

#[test]
fn garbage_above_is_counted_and_does_not_bind() {
    let tree = tree(Mode::V2);
    tree.write(Resource::Memory, POD, "memory.max", "lots\n");
    tree.write(Resource::Memory, POD, "cpu.max", "1 0\n");
    tree.write(Resource::Memory, "/kubepods", "memory.max", "77\n");
    let usage = tree.a();
    assert_eq!((usage.memory.limit, usage.cpu.limit), (limit(None, 77), limit(None, None)));
    assert_eq!(usage.notes.malformed, 2);
}
