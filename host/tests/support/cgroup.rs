//! Cgroups of the running kernel, as a runtime makes them: what looks like a
//! container to the agent, without a runtime.

use super::needs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A container's cgroup in every hierarchy of the machine; removed at the end.
pub struct Cgroup {
    /// Where it lies in each hierarchy.
    path: String,
    directories: Vec<PathBuf>,
}

/// A process in a cgroup, which leads a group of processes; all of it is killed at the end.
pub struct Member(pub Child);

const ROOT: &str = "/sys/fs/cgroup";

static NEXT: AtomicU32 = AtomicU32::new(1);

/// Every hierarchy: of version 1, or the one of version 2. Without cpuset, which
/// takes no process before it is given processors.
pub fn hierarchies() -> Vec<PathBuf> {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        return vec![ROOT.into()];
    }
    let entries = std::fs::read_dir(ROOT).into_iter().flatten().flatten();
    let real = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let takes = |path: &PathBuf| path.join("cgroup.procs").exists() && !path.join("cpuset.cpus").exists();
    real.map(|entry| entry.path()).filter(takes).collect()
}

impl Cgroup {
    /// `None` where the test must be skipped; it was said.
    pub fn new() -> Option<Self> {
        if !needs::root() || !needs::have("a writable cgroup tree", is_writable()) {
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // As Docker's: 64 hexadecimal digits.
        Some(Self::at(&format!("/docker/{:032x}{number:032x}", std::process::id())))
    }

    /// One at this path, for a test that may make it.
    pub fn at(path: &str) -> Self {
        let make = |root: PathBuf| {
            let mut directory = root;
            for part in path.trim_start_matches('/').split('/') {
                delegate(&directory);
                directory.push(part);
                let made = std::fs::create_dir(&directory);
                assert!(made.is_ok() || directory.exists(), "{}: {made:?}", directory.display());
            }
            directory
        };
        Self { path: path.to_owned(), directories: hierarchies().into_iter().map(make).collect() }
    }

    /// Its path in each hierarchy.
    pub fn path(&self) -> String {
        self.path.clone()
    }

    /// Starts a program in it, as a runtime does: a child moves, and then executes.
    pub fn spawn(&self, program: &[&str]) -> Member {
        self.spawn_with(program, |_| ())
    }

    pub fn spawn_with(&self, program: &[&str], prepare: impl FnOnce(&mut Command)) -> Member {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read line; exec \"$@\"", "sh"]).args(program).stdin(Stdio::piped());
        command.stdout(Stdio::null()).process_group(0);
        prepare(&mut command);
        let mut member = Member(command.spawn().expect("a shell"));
        for directory in &self.directories {
            let procs = directory.join("cgroup.procs");
            std::fs::write(&procs, member.0.id().to_string())
                .unwrap_or_else(|error| panic!("{}: {error}", procs.display()));
        }
        member.0.stdin.take().expect("piped").write_all(b"go\n").expect("it reads");
        member
    }

    /// A file of it, in the hierarchy that has it.
    pub fn read(&self, file: &str) -> String {
        let found =
            self.directories.iter().find_map(|directory| std::fs::read_to_string(directory.join(file)).ok());
        found.unwrap_or_else(|| panic!("no hierarchy has {file}"))
    }

    /// Writes a file of it, in the hierarchy that has it.
    pub fn write(&self, file: &str, text: &str) {
        let mut paths = self.directories.iter().map(|directory| directory.join(file));
        let path = paths.find(|path| path.exists()).unwrap_or_else(|| panic!("no hierarchy has {file}"));
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Allows so much memory.
    pub fn allow_memory(&self, bytes: u64) {
        let v1 = self.directories.iter().any(|directory| directory.join("memory.limit_in_bytes").exists());
        self.write(if v1 { "memory.limit_in_bytes" } else { "memory.max" }, &bytes.to_string());
    }

    /// A file of it in each hierarchy.
    pub fn files(&self, file: &str) -> Vec<String> {
        self.directories.iter().map(|directory| directory.join(file).display().to_string()).collect()
    }

    /// As a runtime does when the last process is gone.
    pub fn remove(self) {
        drop(self);
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that was killed may take a moment to leave.
        let until = std::time::Instant::now() + super::http::PATIENCE;
        for directory in &self.directories {
            while std::fs::remove_dir(directory).is_err()
                && directory.exists()
                && std::time::Instant::now() < until
            {
                std::thread::park_timeout(std::time::Duration::from_millis(5));
            }
        }
    }
}

impl Member {
    /// Waits until it has ended by itself.
    pub fn wait(mut self) {
        self.0.wait().expect("it is ours");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already. What it started itself goes with it: a cgroup
        // is not removed before all have left it.
        if let Some(group) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Of version 2: the cgroups in it have all controllers that it has itself.
fn delegate(directory: &Path) {
    let controllers = std::fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        std::fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"))
            .unwrap_or_else(|error| panic!("{controller} of {}: {error}", directory.display()));
    }
}

fn is_writable() -> bool {
    hierarchies().iter().any(|root| rustix::fs::access(root, rustix::fs::Access::WRITE_OK).is_ok())
}
