//! Files that are not as they should be cost what they give, and nothing else.

mod support;

use gantry_plugin_testkit::Tree;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use support::Rig;
use support::tree::{FILES, whole};

/// One family of each file.
const GIVEN: [(&str, &str); 11] = [
    ("proc/uptime", "node_uptime_seconds"),
    ("proc/loadavg", "node_resources_load_average"),
    ("proc/stat", "node_resources_cpu_usage_seconds_total"),
    ("proc/meminfo", "node_resources_memory_total_bytes"),
    ("proc/vmstat", "node_resources_swap_in_bytes_total"),
    ("proc/pressure/cpu", "node_resources_cpu_pressure_waiting_seconds_total"),
    ("proc/pressure/memory", "node_resources_memory_pressure_waiting_seconds_total"),
    ("proc/pressure/io", "node_resources_io_pressure_waiting_seconds_total"),
    ("proc/pressure/irq", "node_resources_irq_pressure_waiting_seconds_total"),
    ("proc/diskstats", "node_resources_disk_reads_total"),
    ("proc/1/mountinfo", "node_resources_filesystem_read_only"),
];

#[track_caller]
fn costs_only_itself(path: &str, how: &str, spoil: impl FnOnce(&Tree)) {
    let tree = whole();
    let mut rig = Rig::start_to_spoil(tree.root(), "{}");
    let before = rig.collect();
    assert!(GIVEN.iter().all(|(_, family)| before.has_family(family)));
    spoil(&tree);
    let samples = rig.collect();
    for (other, family) in GIVEN {
        assert_eq!(samples.has_family(family), other != path, "{path} is {how}: {family}");
    }
    assert!(samples.skipped().values().sum::<u64>() > 0, "{path} is {how}: no loss was counted");
    let troubles = rig.troubles();
    assert!(troubles.iter().any(|trouble| trouble.contains(path)), "{path} is {how}: {troubles:?}");
    let view = rig.view("sources");
    let row = view.iter().find(|row| row[0].ends_with(path)).expect("is in the view");
    assert_ne!(row[2], "ok", "{path} is {how}");
    // It comes back by itself.
    let (_, text) = FILES.iter().find(|(file, _)| *file == path).expect("a file of the tree");
    if tree.path(path).is_dir() {
        tree.remove(path);
    }
    tree.write(path, text);
    assert_eq!(rig.collect().len(), before.len(), "{path} was {how}");
    assert!(!rig.troubles().iter().any(|trouble| trouble.contains(path)));
}

#[test]
fn missing_files() {
    // Without the file for interrupts all is well: few kernels have it.
    for (path, _) in GIVEN.iter().filter(|(path, _)| *path != "proc/pressure/irq") {
        costs_only_itself(path, "missing", |tree| tree.remove(path));
    }
}

#[test]
fn an_absent_irq_pressure_is_ordinary() {
    let tree = whole();
    tree.remove("proc/pressure/irq");
    let mut rig = Rig::start(tree.root());
    assert!(rig.collect().skipped().is_empty());
    assert!(rig.troubles().iter().all(|trouble| !trouble.contains("irq")));
}

#[test]
fn empty_files() {
    // A node may have no block device at all.
    for (path, _) in GIVEN.iter().filter(|(path, _)| *path != "proc/diskstats") {
        costs_only_itself(path, "empty", |tree| tree.write(path, ""));
    }
}

#[test]
fn files_of_garbage() {
    for (path, _) in GIVEN {
        costs_only_itself(path, "garbage", |tree| tree.write(path, "no kernel ever\nwrote this\n\n\0\n"));
        costs_only_itself(path, "no UTF-8", |tree| tree.write(path, b"\xff\xfe \xc3\x28\n\xff 1 2 3\n"));
        costs_only_itself(path, "a directory", |tree| {
            tree.remove(path);
            tree.dir(path);
        });
    }
}

#[test]
fn files_over_the_bound() {
    let (_, meminfo) = FILES.iter().find(|(path, _)| *path == "proc/meminfo").expect("is there");
    for (path, _) in GIVEN {
        costs_only_itself(path, "huge", |tree| tree.write(path, meminfo.repeat(30_000)));
    }
}

/// A `full` without its blank, numbers with no room, and the like.
#[test]
fn files_of_near_misses() {
    let over = "99999999999999999999999999";
    for (path, text) in [
        ("proc/uptime", "nan inf\n".to_owned()),
        ("proc/uptime", "-1 0\n".to_owned()),
        ("proc/loadavg", "inf nan 1 1/1 1\n".to_owned()),
        ("proc/stat", format!("cpu {over} 1 1 1\n")),
        ("proc/stat", "cpu\ncpu \n".to_owned()),
        ("proc/meminfo", "MemTotal: 18446744073709551615 kB\n".to_owned()),
        ("proc/meminfo", "MemTotal: 5 MB\nMemFree:\nCached\n".to_owned()),
        ("proc/vmstat", format!("pswpin {over}\npswpout\n")),
        ("proc/pressure/cpu", "some\nfull\nsomeé\nfull \n".to_owned()),
        ("proc/pressure/io", format!("some avg10=0 avg60=0 avg300=0 total={over}\n")),
        ("proc/diskstats", "253 0 vda\n".to_owned()),
        ("proc/diskstats", format!("253 0 vda {over} 1 1 1 1 1 1 1 1 1 1\n")),
        ("proc/1/mountinfo", "1 2 3 4 5 6 7 8 9\n1 2 3:4\n1 2 3:4 / / rw -\n".to_owned()),
    ] {
        costs_only_itself(path, &text, |tree| tree.write(path, &text));
    }
}

#[test]
fn one_bad_line_costs_one_line() {
    let tree = whole();
    let (_, disks) = FILES.iter().find(|(path, _)| *path == "proc/diskstats").expect("is there");
    tree.write("proc/diskstats", format!("{disks}x y\n"));
    let mut rig = Rig::start(tree.root());
    let samples = rig.collect();
    assert_eq!(samples.label_values("node_resources_disk_reads_total", "device"), ["nvme0n1", "vda"]);
    assert_eq!(samples.skipped()["source_malformed"], 1);
    assert!(rig.troubles().iter().any(|trouble| trouble.contains("1 line")));
}

/// Cut at and changed in every third byte, which meets each kind of place: no
/// panic, no wrong form.
#[test]
fn cut_and_changed_files_are_no_panic() {
    let tree = whole();
    // Without mounts, so that no file system is asked ten thousand times.
    let config = r#"{"exclude_mount_points": [".*"]}"#;
    let mut rig = Rig::start_to_spoil(tree.root(), config);
    for (path, text) in FILES.iter().filter(|(path, _)| path.starts_with("proc")) {
        for at in (0..text.len()).step_by(3) {
            tree.write(path, &text.as_bytes()[..at]);
            rig.collect();
            for byte in [b'\n', 0xff, b'9'] {
                let mut changed = text.as_bytes().to_vec();
                changed[at] = byte;
                tree.write(path, &changed);
                rig.collect();
            }
        }
        tree.write(path, text);
    }
}

#[test]
fn files_that_change_while_they_are_read() {
    let tree = whole();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                for (path, text) in FILES {
                    tree.write(path, &text.repeat(3)[..text.len() / 2]);
                    tree.write(path, text);
                }
            }
        });
        let mut rig = Rig::start_to_spoil(tree.root(), "{}");
        for _ in 0..300 {
            rig.collect();
        }
        done.store(true, Relaxed);
    });
}

#[test]
fn without_sys_only_the_disks_are_missing() {
    let tree = whole();
    std::fs::remove_dir_all(tree.path("sys/block")).expect("removed");
    let mut rig = Rig::start(tree.root());
    let samples = rig.collect();
    for (path, family) in GIVEN {
        assert_eq!(samples.has_family(family), path != "proc/diskstats", "{family}");
    }
    assert!(rig.troubles().iter().any(|trouble| trouble.contains("sys/block")));
}

#[test]
fn mounts_of_the_agent_are_taken_where_those_of_the_first_process_cannot_be_read() {
    let tree = whole();
    tree.remove("proc/1/mountinfo");
    tree.write("proc/self/mountinfo", "9 1 8:1 / /data rw - ext4 /dev/sda1 rw\n");
    let mut rig = Rig::start(tree.root());
    let mounts = rig.collect().label_values("node_resources_filesystem_size_bytes", "mount_point");
    assert_eq!(mounts, ["/data"]);
    assert!(rig.view("sources").iter().any(|row| row[0].ends_with("proc/self/mountinfo") && row[2] == "ok"));
}
