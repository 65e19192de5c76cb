//! What is read of plain files in the form of the kernel's.

use gantry_cgroupfs::fixture::Fixture;
use gantry_cgroupfs::usage::{Device, Limit, Pressure, Stall};
use gantry_cgroupfs::{Group, Layout, Mode, Parts, Reader, Resource, Usage, membership};
use std::fs;
use std::path::PathBuf;

const MODES: [Mode; 3] = [Mode::V1, Mode::V2, Mode::Hybrid];
const PATH: &str = "/kubepods/pod1/web";

struct Tree {
    _dir: tempfile::TempDir,
    fixture: Fixture,
    layout: Layout,
}

fn tree(mode: Mode) -> Tree {
    let dir = tempfile::tempdir().expect("a directory");
    let fixture = Fixture::new(dir.path(), mode).expect("written");
    fixture.cgroup_of(PATH, &fixture.figures(42)).expect("written");
    Tree { layout: fixture.layout().expect("a layout"), fixture, _dir: dir }
}

impl Tree {
    fn file(&self, resource: Resource, name: &str) -> PathBuf {
        self.fixture.directory(resource, PATH).join(name)
    }

    fn write(&self, resource: Resource, name: &str, text: &str) {
        fs::write(self.file(resource, name), text).expect("written");
    }

    fn remove(&self, resource: Resource, name: &str) {
        fs::remove_file(self.file(resource, name)).expect("it was there");
    }

    fn read(&self, parts: Parts) -> Usage {
        let mut usage = Usage::default();
        let mut reader = Reader::new(&self.layout, 100);
        reader.begin();
        reader.read(&mut self.fixture.group(&self.layout, PATH), parts, &mut usage);
        usage
    }

    fn all(&self) -> Usage {
        self.read(Parts::ALL)
    }
}

#[test]
fn all_figures_of_all_modes_are_read_again_and_again() {
    for mode in MODES {
        let tree = tree(mode);
        let mut group = tree.fixture.group(&tree.layout, PATH);
        let mut reader = Reader::new(&tree.layout, 100);
        // Nothing of another cgroup's figures is left over.
        let mut usage = tree.fixture.figures(7);
        for seed in [42, 43, 0, 1000] {
            tree.fixture.cgroup_of(PATH, &tree.fixture.figures(seed)).expect("written");
            reader.begin();
            reader.read(&mut group, Parts::ALL, &mut usage);
            assert_eq!(usage, tree.fixture.figures(seed), "{mode:?} {seed}");
        }
        let most = if mode == Mode::V2 { 13 } else { 16 };
        assert!(reader.counters().opens <= most + 3, "{:?}", reader.counters());
        reader.forget(&mut group);
        assert!(reader.kept() <= 3, "those above: {}", reader.kept());
    }
}

#[test]
fn only_the_parts_that_are_wanted_are_read() {
    let none = Parts {
        cpu: false,
        cpu_modes: false,
        memory: false,
        io: false,
        pressure: false,
        pids: false,
        limits: true,
    };
    for mode in MODES {
        let tree = tree(mode);
        assert_eq!(tree.read(none), Usage::default());
        let all = tree.all();
        let memory = tree.read(Parts { memory: true, ..none });
        assert_eq!(memory, Usage { memory: all.memory.clone(), ..Usage::default() });
        let usage = tree.read(Parts { limits: false, ..Parts::ALL });
        assert_eq!((usage.memory.limit, usage.memory.swap_limit), Default::default());
        assert_eq!((usage.cpu.limit, usage.pids.limit), Default::default());
        assert_eq!((usage.memory.rss, usage.pids.current), (all.memory.rss, all.pids.current));
    }
}

#[test]
fn a_file_that_is_missing_takes_its_figures_alone() {
    for mode in MODES {
        let files: &[(Resource, &str)] = match mode {
            Mode::V2 => &[
                (Resource::Cpu, "cpu.stat"),
                (Resource::Cpu, "cpu.max"),
                (Resource::Memory, "memory.stat"),
                (Resource::Memory, "memory.swap.current"),
                (Resource::Io, "io.stat"),
                (Resource::Pressure, "cpu.pressure"),
            ],
            _ => &[
                (Resource::Cpu, "cpuacct.usage"),
                (Resource::Cpu, "cpu.cfs_period_us"),
                (Resource::Memory, "memory.memsw.limit_in_bytes"),
                (Resource::Memory, "memory.usage_in_bytes"),
                (Resource::Pids, "pids.current"),
            ],
        };
        for (resource, name) in files {
            let tree = tree(mode);
            tree.remove(*resource, name);
            let mut expected = tree.fixture.figures(42);
            match *name {
                "cpu.stat" => {
                    expected.cpu =
                        gantry_cgroupfs::usage::Cpu { limit: expected.cpu.limit, ..Default::default() };
                }
                "cpu.max" | "cpu.cfs_period_us" => expected.cpu.limit = Limit::default(),
                "cpuacct.usage" => expected.cpu.usage = None,
                "memory.stat" => {
                    let (limit, swap_limit) = (expected.memory.limit, expected.memory.swap_limit);
                    let (usage, swap) = (expected.memory.usage, expected.memory.swap);
                    expected.memory = gantry_cgroupfs::usage::Memory {
                        usage,
                        swap,
                        limit,
                        swap_limit,
                        ..Default::default()
                    };
                }
                "memory.swap.current" => expected.memory.swap = None,
                "memory.memsw.limit_in_bytes" => expected.memory.swap_limit.own = None,
                "memory.usage_in_bytes" => {
                    (expected.memory.usage, expected.memory.working_set) = (None, None);
                }
                "io.stat" => expected.io = Default::default(),
                "cpu.pressure" => expected.pressure.cpu = Stall::default(),
                "pids.current" => expected.pids.current = None,
                other => panic!("{other}"),
            }
            assert_eq!(tree.all(), expected, "{mode:?} without {name}");
        }
    }
}

#[test]
fn garbage_takes_its_figure_and_is_counted() {
    for bad in ["", "-5", "x", "18446744073709551616", "1e3", "\u{ff}"] {
        let v2 = tree(Mode::V2);
        let stat = format!("anon 4096\nfile {bad}\nfile_mapped 1\ninactive_file 5\n\n \nfile_thp x\n");
        v2.write(Resource::Memory, "memory.stat", &stat);
        v2.write(Resource::Memory, "memory.max", &format!("{bad}\n"));
        v2.write(Resource::Cpu, "cpu.max", &format!("100 {bad}\n"));
        v2.write(Resource::Pressure, "io.pressure", &format!("some avg10=0.00 total={bad}\nfull total=9\n"));
        let usage = v2.all();
        assert_eq!((usage.memory.rss, usage.memory.cache), (Some(4097), None), "{bad:?}");
        assert_eq!(usage.memory.working_set, Some((642 << 12) - 5));
        assert_eq!((usage.memory.limit, usage.cpu.limit), Default::default());
        assert_eq!(usage.pressure.io, Stall { some: None, full: Some(9) });
        assert_eq!(usage.notes.malformed, 4, "{bad:?}");

        let v1 = tree(Mode::V1);
        v1.write(Resource::Cpu, "cpuacct.usage", &format!("{bad}\n"));
        v1.write(Resource::Cpu, "cpu.cfs_quota_us", &format!("{bad}\n"));
        v1.write(
            Resource::Io,
            "blkio.throttle.io_serviced_recursive",
            &format!("8:0 Read {bad}\n8:0 Write 3\n"),
        );
        let usage = v1.all();
        assert_eq!((usage.cpu.usage, usage.cpu.limit), (None, Limit::default()), "{bad:?}");
        let device = usage.io.devices.iter().find(|device| device.number == (8, 0)).expect("there");
        assert_eq!((device.reads, device.writes), (0, 3));
        assert_eq!(usage.notes.malformed, 3, "{bad:?}");
    }
}

#[test]
fn sums_and_units_do_not_run_over() {
    let most = u64::MAX;
    let v2 = tree(Mode::V2);
    v2.write(
        Resource::Memory,
        "memory.stat",
        &format!("anon {most}\nfile_mapped {most}\ninactive_file {most}\n"),
    );
    v2.write(
        Resource::Cpu,
        "cpu.stat",
        &format!("usage_usec {most}\nnr_periods {most}\nthrottled_usec {most}\n"),
    );
    v2.write(Resource::Cpu, "cpu.max", "5 0\n");
    let usage = v2.all();
    assert_eq!((usage.memory.rss, usage.cpu.usage, usage.cpu.throttled), (None, None, None));
    assert_eq!((usage.cpu.periods, usage.cpu.limit.own), (Some(most), None));
    assert_eq!(usage.memory.working_set, Some(0), "not below 0");
    assert_eq!(usage.notes.malformed, 4);
    let v1 = tree(Mode::V1);
    v1.write(Resource::Cpu, "cpuacct.stat", &format!("user {most}\nsystem 3\n"));
    let usage = v1.all();
    assert_eq!((usage.cpu.user, usage.cpu.system, usage.notes.malformed), (None, Some(30_000_000), 1));
}

#[test]
fn huge_and_empty_files_and_directories_in_their_place_take_nothing_down() {
    for mode in MODES {
        let tree = tree(mode);
        tree.write(Resource::Memory, "memory.stat", &"total_rss 1\nanon 1\n".repeat(10_000));
        tree.write(Resource::Cpu, "cpu.stat", "");
        tree.remove(Resource::Pids, "pids.current");
        fs::create_dir(tree.file(Resource::Pids, "pids.current")).expect("made");
        let usage = tree.all();
        assert_eq!((usage.memory.rss, usage.memory.working_set), (None, None));
        assert_eq!((usage.cpu.throttled, usage.pids.current), (None, None));
        assert_eq!((usage.notes.too_large, usage.notes.unreadable, usage.notes.gone), (1, 1, false));
        assert!(usage.memory.usage.is_some() && usage.cpu.limit.own.is_some());
    }
}

#[test]
fn io_of_v1_falls_back_to_what_the_cgroup_did_itself() {
    let tree = tree(Mode::V1);
    for (name, text) in [
        (
            "io_serviced",
            "8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n8:0 Async 0\n8:0 Discard 0\n8:0 Total 3\nTotal 3\n",
        ),
        (
            "io_service_bytes",
            "8:0 Read 4096\n8:0 Write 8192\n8:0 Total 12288\n259:65537 Read 5\nTotal 12288\n",
        ),
    ] {
        tree.remove(Resource::Io, &format!("blkio.throttle.{name}_recursive"));
        tree.write(Resource::Io, &format!("blkio.throttle.{name}"), text);
    }
    let usage = tree.all();
    let first = Device { number: (8, 0), reads: 1, writes: 2, read_bytes: 4096, written_bytes: 8192 };
    let second = Device { number: (259, 65537), read_bytes: 5, ..Device::default() };
    assert_eq!((usage.io.devices, usage.io.known), (vec![first, second], true));
    tree.write(Resource::Io, "blkio.throttle.io_serviced_recursive", "Total 0\n");
    tree.write(Resource::Io, "blkio.throttle.io_service_bytes_recursive", "Total 0\n");
    let usage = tree.all();
    assert_eq!((usage.io.devices.len(), usage.io.known), (0, true), "no traffic is known");
}

#[test]
fn io_of_v2_is_read_by_word() {
    let tree = tree(Mode::V2);
    let text = "8:0 8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:32 \n\
        253:1 rios=7 cost.vrate=100.00 cost.usage=x use_delay=0\nrbytes=9\n8: rbytes=1\n4294967296:0 rios=1\n";
    tree.write(Resource::Io, "io.stat", text);
    let usage = tree.all();
    let first = Device { number: (8, 16), reads: 3, writes: 4, read_bytes: 1, written_bytes: 2 };
    let second = Device { number: (253, 1), reads: 7, ..Device::default() };
    assert_eq!(usage.io.devices, [first, second]);
    assert_eq!(usage.notes.malformed, 2, "two numbers of devices");
}

#[test]
fn a_kernel_without_full_pressure_of_cpus_has_the_rest() {
    let tree = tree(Mode::V2);
    tree.write(Resource::Pressure, "cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=77\n");
    let usage = tree.all();
    assert_eq!(usage.pressure.cpu, Stall { some: Some(77), full: None });
    assert_eq!(usage.pressure.io, tree.fixture.figures(42).pressure.io);
}

#[test]
fn in_a_hybrid_a_v2_cgroup_that_others_share_is_not_read() {
    let tree = tree(Mode::Hybrid);
    tree.fixture.cgroup_of("/system.slice/docker.service", &tree.fixture.figures(1)).expect("written");
    for (v2, is_own) in [(PATH, true), ("/system.slice/docker.service", false), ("/", false)] {
        let text = tree.fixture.membership(PATH).replace(&format!("0::{PATH}"), &format!("0::{v2}"));
        let entries = membership::entries(text.as_bytes()).map(|entry| entry.expect("of the kernel's form"));
        let mut group = Group::of(&tree.layout, entries);
        let mut usage = Usage::default();
        Reader::new(&tree.layout, 100).read(&mut group, Parts::ALL, &mut usage);
        let mut expected = tree.fixture.figures(42);
        if !is_own {
            expected.pressure = Pressure::default();
        }
        assert_eq!(usage, expected, "{v2}");
    }
}

#[test]
fn the_root_and_removed_cgroups_are_not_a_container_s() {
    for mode in MODES {
        let tree = tree(mode);
        assert!(tree.fixture.group(&tree.layout, "/").is_empty(), "{mode:?}");
        assert!(!tree.fixture.group(&tree.layout, "/x").is_empty(), "{mode:?}");
    }
    let tree = tree(Mode::V2);
    assert!(tree.fixture.group(&tree.layout, "/x (deleted)").is_empty());
    assert!(tree.fixture.group(&tree.layout, "/../x").is_empty(), "not visible");
    let mut usage = tree.fixture.figures(1);
    Reader::new(&tree.layout, 9).read(&mut tree.fixture.group(&tree.layout, "/"), Parts::ALL, &mut usage);
    assert_eq!(usage, Usage::default());
}

#[test]
fn a_vanished_cgroup_is_gone() {
    for mode in MODES {
        let tree = tree(mode);
        let mut group = tree.fixture.group(&tree.layout, PATH);
        for resource in Resource::ALL {
            let _ = fs::remove_dir_all(tree.fixture.directory(resource, PATH));
        }
        let mut usage = Usage::default();
        Reader::new(&tree.layout, 100).read(&mut group, Parts::ALL, &mut usage);
        assert!(usage.notes.gone, "{mode:?}");
        assert_eq!((usage.memory.rss, usage.notes.malformed), (None, 0));
    }
}
