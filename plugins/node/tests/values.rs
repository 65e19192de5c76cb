//! Exact values over a tree of files.

mod support;

use gantry_plugin_testkit::{Collected, Tree};
use procfs_core::prelude::FromBufRead as _;
use support::tree::whole;
use support::{Rig, kit};

fn collected(tree: &Tree) -> Collected {
    Rig::start(tree.root()).collect()
}

/// Everything that does not depend on the machine, against a stored text.
#[test]
fn the_whole_tree_gives_the_golden_samples() {
    let samples = collected(&whole());
    samples.without(&["node_info", "node_net_", "_filesystem_"]).assert_golden("tests/golden/whole.prom");
}

#[test]
fn a_kilobyte_is_1024_bytes() {
    let samples = collected(&whole());
    assert_eq!(samples.get("node_resources_memory_total_bytes"), 16_000_000.0 * 1024.0);
    assert_eq!(samples.get("node_resources_memory_cached_bytes"), 4_000_000.0 * 1024.0);
    assert_eq!(samples.get("node_resources_swap_free_bytes"), 1_500_000.0 * 1024.0);
}

#[test]
fn swapping_is_counted_in_pages() {
    let page = rustix::param::page_size() as f64;
    let samples = collected(&whole());
    assert_eq!(samples.get("node_resources_swap_in_bytes_total"), 11.0 * page);
    assert_eq!(samples.get("node_resources_swap_out_bytes_total"), 22.0 * page);
}

#[test]
fn clock_ticks_are_those_of_the_kernel() {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let samples = collected(&whole());
    let of = |mode| samples.get(&format!("node_resources_cpu_usage_seconds_total{{mode={mode:?}}}"));
    assert_eq!([of("user"), of("idle"), of("steal")], [1000.0 / ticks, 4000.0 / ticks, 80.0 / ticks]);
    assert_eq!(samples.get("node_resources_cpu_logical_cores"), 2.0);
}

#[test]
fn cpu_time_that_the_kernel_corrects_does_not_go_back() {
    let tree = whole();
    let mut rig = Rig::start_to_spoil(tree.root(), "{}");
    let idle = r#"node_resources_cpu_usage_seconds_total{mode="idle"}"#;
    let before = rig.collect().get(idle);
    let stat = |idle: u64| format!("cpu 1000 200 300 {idle} 500 60 70 80\nctxt 1\nbtime 1\nprocesses 1\n");
    tree.write("proc/stat", stat(3999));
    assert_eq!(rig.collect().get(idle), before);
    // Another boot's count, as after a restored checkpoint, is taken as it is.
    tree.write("proc/stat", stat(1_000_000));
    let large = rig.collect().get(idle);
    tree.write("proc/stat", stat(100));
    assert!(rig.collect().get(idle) < large / 100.0);
}

#[test]
fn whole_disks_of_every_kind_are_shown() {
    let tree = whole();
    let names = [
        "sda",
        "sdaa",
        "vdb",
        "xvdaa",
        "hda",
        "zd0",
        "zd16",
        "nbd0",
        "drbd0",
        "bcache0",
        "nvme10n2",
        "md127",
        "dm-12",
        "mmcblk0",
        "rbd3",
        "sr0",
        "pmem0",
        "dasda",
        "nullb0",
        "cciss/c0d0",
    ];
    let left_out = ["loop0", "loop12", "ram15", "zram0"];
    let mut diskstats = String::new();
    for name in names.iter().chain(&left_out) {
        tree.dir(format!("sys/block/{}", name.replace('/', "!")));
        diskstats += &format!(
            "   8       0 {name} 1 2 3 4 5 6 7 8 9 10 11\n   8       1 {name}p1 1 2 3 4 5 6 7 8 9 10 11\n"
        );
    }
    tree.write("proc/diskstats", diskstats);
    let mut shown = collected(&tree).label_values("node_resources_disk_reads_total", "device");
    let mut expected = names.to_vec();
    shown.sort_unstable();
    expected.sort_unstable();
    assert_eq!(shown, expected);
}

#[test]
fn old_and_new_kernels_files_are_read() {
    let tree = whole();
    // Linux 2.6 has fewer columns; 5.12 has no line `full` for the CPU.
    tree.write("proc/stat", "cpu 1 2 3 4\ncpu0 1 2 3 4\nctxt 1\nbtime 1\nprocesses 1\n");
    tree.write("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n");
    let mut rig = Rig::start(tree.root());
    let samples = rig.collect();
    let modes = samples.label_values("node_resources_cpu_usage_seconds_total", "mode");
    assert_eq!(modes, ["idle", "nice", "system", "user"]);
    let kinds = samples.label_values("node_resources_cpu_pressure_waiting_seconds_total", "kind");
    assert_eq!(kinds, ["some"]);
    assert!(!rig.troubles().iter().any(|trouble| trouble.contains("stat") || trouble.contains("pressure")));
}

#[test]
fn one_row_a_file_system_with_its_shortest_path() {
    let tree = whole();
    let mut rig = Rig::start(tree.root());
    let samples = rig.collect();
    let mounts = samples.label_values("node_resources_filesystem_read_only", "mount_point");
    assert_eq!(mounts, ["/", "/tmp", "/with blank"]);
    let read_only =
        r#"node_resources_filesystem_read_only{mount_point="/with blank",device="/dev/sdb",fs_type="xfs"}"#;
    assert_eq!(samples.get(read_only), 1.0);
    assert_eq!(samples.label_values("node_resources_filesystem_size_bytes", "mount_point"), mounts);
    let table = rig.view("filesystems");
    assert_eq!(table.len(), 3);
    assert!(table.iter().all(|row| row[5] == "ok"), "{table:?}");
}

#[test]
fn a_link_out_of_the_root_is_not_followed() {
    let tree = whole();
    std::os::unix::fs::symlink("/proc", tree.path("escape")).expect("made");
    tree.write("proc/1/mountinfo", "9 1 8:1 / /escape/sys rw - ext4 /dev/sda1 rw\n");
    let mut rig = Rig::start(tree.root());
    // `/proc/sys` of the machine is there; `proc/sys` of the tree is not.
    assert!(!rig.collect().has_family("node_resources_filesystem_size_bytes"));
    assert!(rig.troubles().iter().any(|trouble| trouble.contains("/escape/sys cannot be asked")));
}

#[test]
fn every_source_is_in_the_view() {
    let tree = whole();
    let mut instance = kit(tree.root()).create().expect("an instance");
    instance.start("").expect("it starts");
    let untried = instance.view("sources").expect("has the view");
    assert!((0..untried.rows().len()).all(|row| untried.text(row, "state") == "not read"));
    let mut rig = Rig::start(tree.root());
    rig.collect();
    let table = rig.view("sources");
    let stat = table.iter().find(|row| row[0].ends_with("proc/stat")).expect("is there");
    assert_eq!((stat[2].as_str(), stat[3].as_str()), ("ok", "9"));
    assert_eq!(stat[5], "1700000000");
}

/// Why `meminfo` is not read with procfs-core. Where this fails, it can be.
#[test]
fn procfs_core_panics_on_some_meminfo() {
    for text in ["MemTotalé 1 kB\n", "MemTotal: 18446744073709551615 kB\n"] {
        let read = || procfs_core::Meminfo::from_buf_read(text.as_bytes()).is_ok();
        assert!(std::panic::catch_unwind(read).is_err(), "{text:?}");
    }
}

/// Why `mountinfo` is not read with procfs-core. Where this fails, it can be.
#[test]
fn procfs_core_leaves_octal_escapes() {
    let line = r"31 27 8:16 / /with\040blank ro - xfs /dev/sdb rw";
    let mount = procfs_core::process::MountInfo::from_line(line).expect("read");
    assert_eq!(mount.mount_point.to_str(), Some(r"/with\040blank"));
}
