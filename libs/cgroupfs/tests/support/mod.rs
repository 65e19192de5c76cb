//! Cgroups of the machine's own kernel.
#![allow(dead_code, reason = "each test file and the benchmark use a part")]
#![allow(clippy::print_stderr, reason = "what is skipped is said")]

use gantry_cgroupfs::{Group, Hierarchy, Layout, Version, membership};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether the test can run. A missing thing is said loudly, and with
/// `CI=true` it is a failure.
pub fn have(what: &str, there: bool) -> bool {
    if !there {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "{what} is missing, and CI=true forbids to skip");
        eprintln!("\n*** SKIPPED: this needs {what} ***\n");
    }
    there
}

pub fn layout() -> Layout {
    Layout::read(Path::new("/proc"), Path::new("/sys/fs/cgroup")).expect("this machine has cgroups")
}

/// A cgroup that was made in all hierarchies which hold figures; it is removed
/// with this.
#[derive(Debug)]
pub struct Made {
    name: String,
    /// Hierarchy and directory.
    pub directories: Vec<(Hierarchy, PathBuf)>,
}

impl Made {
    /// `None`, said loudly, where the machine does not let us.
    pub fn new(purpose: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut made = Self {
            name: format!("gantry-test-{purpose}-{}-{number}", std::process::id()),
            directories: Vec::new(),
        };
        let wanted = ["", "cpu", "cpuacct", "memory", "blkio", "pids"];
        for hierarchy in layout().hierarchies() {
            let is_wanted = hierarchy.controllers.split(',').any(|name| wanted.contains(&name));
            let Some(root) = hierarchy.directory.as_ref().filter(|_| is_wanted) else { continue };
            let directory = root.join(&made.name);
            if let Err(error) = fs::create_dir(&directory) {
                let what = format!("root and a writable {} ({error})", root.display());
                assert!(!have(&what, false));
                return None;
            }
            made.directories.push((hierarchy.clone(), directory));
        }
        have("a cgroup hierarchy", !made.directories.is_empty()).then_some(made)
    }

    /// Its path in all hierarchies.
    pub fn path(&self) -> PathBuf {
        Path::new("/").join(&self.name)
    }

    /// The directory in the hierarchy of a controller; with v2 there is one for all.
    pub fn of(&self, controller: &str) -> &Path {
        let has = |one: &Hierarchy| one.controllers.split(',').any(|name| name == controller);
        let v1 = self.directories.iter().find(|(one, _)| has(one));
        let v2 = || self.directories.iter().find(|(one, _)| one.version() == Version::V2);
        &v1.or_else(v2).expect("this controller's or v2's").1
    }

    pub fn group(&self, layout: &Layout) -> Group {
        let lines: Vec<_> = self
            .directories
            .iter()
            .map(|(one, _)| format!("{}:{}:{}\n", one.number, one.controllers, self.path().display()))
            .collect();
        let text = lines.concat();
        Group::of(
            layout,
            membership::entries(text.as_bytes()).map(|entry| entry.expect("of the kernel's form")),
        )
    }

    /// Puts a process into it, but for memory: there it stays accounted where
    /// the tests are.
    pub fn add(&self, pid: u32) {
        for (hierarchy, directory) in &self.directories {
            if hierarchy.controllers != "memory" {
                fs::write(directory.join("cgroup.procs"), pid.to_string()).expect("the process moves");
            }
        }
    }

    pub fn remove(&self) {
        for (_, directory) in &self.directories {
            let _ = fs::remove_dir(directory.join("below"));
            let _ = fs::remove_dir(directory);
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.remove();
    }
}
