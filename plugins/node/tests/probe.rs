//! What is there and makes no sense is as good as missing.

use gantry_node::config::{Config, Settings};
use gantry_node::probe::probe;
use gantry_node::reader::{self, SourceError};
use gantry_node::sources::Roots;
use gantry_plugin_api::Probe;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::path::Path;

const FILES: [&str; 10] = [
    "proc/uptime",
    "proc/loadavg",
    "proc/stat",
    "proc/meminfo",
    "proc/vmstat",
    "proc/pressure/cpu",
    "proc/pressure/memory",
    "proc/pressure/io",
    "proc/diskstats",
    "proc/1/mountinfo",
];

/// A root in which each file is what `make` makes it.
fn root(make: impl Fn(&Path)) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    for dir in ["proc/pressure", "proc/1", "sys/block/vda"] {
        std::fs::create_dir_all(root.path().join(dir)).expect("own directory");
    }
    FILES.iter().for_each(|file| make(&root.path().join(file)));
    root
}

fn probed(root: &Path) -> Probe {
    let roots = Roots { proc: root.join("proc"), sys: root.join("sys"), root: root.to_owned() };
    probe(&roots, &Settings::of(&Config::default()).expect("the default is good"))
}

/// The files that the probe calls degraded.
fn degraded(root: &Path) -> Vec<&'static str> {
    let degraded = probed(root).degraded;
    let named = |file: &&str| degraded.iter().any(|lack| lack.contains(&format!("{file}: ")));
    FILES.into_iter().filter(named).collect()
}

#[test]
fn garbage_is_not_supported() {
    for garbage in ["garbage\n", "\0\0\0", "cpu x\nMemTotal: x\nsome x\n", ""] {
        let root = root(|file| std::fs::write(file, garbage).expect("own file"));
        // An empty file of mounts is one of a process that ends.
        let expected: Vec<&str> =
            FILES.into_iter().filter(|file| !(garbage.is_empty() && file.ends_with("mountinfo"))).collect();
        assert_eq!(degraded(root.path()), expected, "{garbage:?}: {:#?}", probed(root.path()));
        std::fs::write(root.path().join("proc/uptime"), "350735.47 234388.90\n").expect("own file");
        assert!(!degraded(root.path()).contains(&"proc/uptime"), "{garbage:?}");
    }
}

#[test]
fn a_pipe_in_place_of_a_file_holds_nobody() {
    let fifo = |file: &Path| {
        mknodat(CWD, file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("own directory");
    };
    let root = root(fifo);
    let probe = probed(root.path());
    assert!(probe.degraded.iter().any(|lack| lack.contains("proc/stat: not a regular file")), "{probe:#?}");
    assert!(degraded(root.path()).len() >= FILES.len() - 1);
    let error = reader::read(&root.path().join("proc/stat"), &mut Vec::new());
    assert!(matches!(error, Err(SourceError::Unreadable(_))), "{error:?}");
    // Nor does a directory.
    assert!(reader::read(root.path(), &mut Vec::new()).is_err());
}
