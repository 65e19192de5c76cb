//! On the running kernel: our figures are those of its files.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use support::{Rig, eventually, skip};

/// What the files say, read in the plainest way.
fn expected() -> BTreeMap<String, f64> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let number = |text: &str| text.trim().parse::<f64>().expect("a number");
    let mut out = BTreeMap::new();
    let uptime = read("/proc/uptime");
    out.insert("node_uptime_seconds".to_owned(), number(uptime.split(' ').next().expect("one")));
    for (window, word) in ["1m", "5m", "15m"].iter().zip(read("/proc/loadavg").split(' ')) {
        out.insert(format!("node_resources_load_average{{window={window:?}}}"), number(word));
    }
    let stat = read("/proc/stat");
    let modes = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    for (mode, word) in modes.iter().zip(stat.split_whitespace().skip(1)) {
        out.insert(format!("node_resources_cpu_usage_seconds_total{{mode={mode:?}}}"), number(word) / ticks);
    }
    let cores = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    out.insert("node_resources_cpu_logical_cores".to_owned(), cores as f64);
    for line in read("/proc/meminfo").lines() {
        let name = match line.split(':').next() {
            Some("MemTotal") => "memory_total",
            Some("MemFree") => "memory_free",
            Some("MemAvailable") => "memory_available",
            Some("Cached") => "memory_cached",
            Some("SwapTotal") => "swap_total",
            Some("SwapFree") => "swap_free",
            _ => continue,
        };
        let kilobytes = number(line.split_whitespace().nth(1).expect("a number"));
        out.insert(format!("node_resources_{name}_bytes"), kilobytes * 1024.0);
    }
    for resource in ["cpu", "memory", "io"] {
        for line in read(&format!("/proc/pressure/{resource}")).lines() {
            let (kind, rest) = line.split_once(' ').expect("a kind");
            let total = number(rest.rsplit('=').next().expect("a total"));
            let name = format!("node_resources_{resource}_pressure_waiting_seconds_total{{kind={kind:?}}}");
            out.insert(name, total / 1e6);
        }
    }
    for line in read("/proc/diskstats").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words[2];
        let left_out = ["loop", "ram", "zram"].iter().any(|kind| name.starts_with(kind));
        if left_out || !Path::new("/sys/block").join(name).exists() {
            continue;
        }
        for (column, family, factor) in [
            (3, "reads_total", 1.0),
            (5, "read_bytes_total", 512.0),
            (6, "read_time_seconds_total", 0.001),
            (7, "writes_total", 1.0),
            (9, "written_bytes_total", 512.0),
            (10, "write_time_seconds_total", 0.001),
            (12, "io_time_seconds_total", 0.001),
        ] {
            let series = format!("node_resources_disk_{family}{{device={name:?}}}");
            out.insert(series, number(words[column]) * factor);
        }
    }
    out
}

/// Each figure lies between what the files say before and after it, or is at
/// one of both. A figure that went up and down in between gets another try.
#[test]
fn figures_are_those_of_the_kernel_s_files() {
    let mut rig = Rig::start(Path::new("/"));
    let mut right = std::collections::BTreeSet::new();
    eventually(|| {
        let before = expected();
        let ours = rig.collect();
        let after = expected();
        let mut wrong = Vec::new();
        for (series, before) in &before {
            let (Some(ours), Some(after)) = (ours.find(series), after.get(series)) else {
                panic!("{series} is missing");
            };
            let (low, high) = (before.min(*after), before.max(*after));
            // Thousandths and ticks have no exact binary form.
            if (low - 1e-6..=high + 1e-6).contains(&ours) {
                right.insert(series.clone());
            } else if !right.contains(series) {
                wrong.push(format!("{series}: {ours}, not between {low} and {high}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    });
    assert!(right.len() > 25, "{right:?}");
}

#[test]
fn no_figure_is_missing_and_none_is_of_nothing() {
    let mut rig = Rig::start(Path::new("/"));
    let ours = rig.collect();
    let given = expected();
    for family in ["_disk_", "_cpu_usage_", "_memory_", "_swap_", "_load_", "uptime"] {
        let count =
            |series: &mut dyn Iterator<Item = &str>| series.filter(|name| name.contains(family)).count();
        let ours = count(&mut ours.series().map(|(name, _)| name).filter(|name| {
            !name.contains("pressure") && !name.contains("swap_in") && !name.contains("swap_out")
        }));
        let given = count(&mut given.keys().map(String::as_str).filter(|name| !name.contains("pressure")));
        assert_eq!(ours, given, "{family}");
    }
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").expect("readable");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("readable");
    let info = format!("node_info{{hostname={:?},kernel_version={:?}}}", hostname.trim(), release.trim());
    assert_eq!(ours.get(&info), 1.0);
}

#[test]
fn file_systems_are_as_statfs_says() {
    let mut rig = Rig::start(Path::new("/"));
    eventually(|| {
        let before = rustix::fs::statvfs("/").expect("there is a root");
        let ours = rig.collect();
        let after = rustix::fs::statvfs("/").expect("there is a root");
        let of =
            |family: &str| ours.find(&format!("node_resources_filesystem_{family}{{mount_point=\"/\"}}"));
        let Some(size) = of("size_bytes") else {
            skip("the root of this machine is a file system that is not shown");
            return Ok(());
        };
        let bytes = |stat: &rustix::fs::StatVfs, blocks: u64| (blocks * stat.f_frsize) as f64;
        assert_eq!(size, bytes(&before, before.f_blocks));
        let used = |stat: &rustix::fs::StatVfs| bytes(stat, stat.f_blocks - stat.f_bfree);
        let (one, two, ours) = (used(&before), used(&after), of("used_bytes").expect("comes with the size"));
        if (one.min(two)..=one.max(two)).contains(&ours) {
            Ok(())
        } else {
            Err(format!("{one} {ours} {two}"))
        }
    });
}
