//! Cgroups with a limit of memory, and processes that reach it: never anywhere else.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use gantry_oom::Oom;
use gantry_plugin_testkit::{Check, Collected, Kit, NewContainer, PATIENCE, Running, Tree, eventually};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a hog may use.
pub const LIMIT: u64 = 16 << 20;

/// What it takes at most, wherever it is.
const MOST: usize = 96 << 20;

const HOG: &str = "GANTRY_TEST_HOG";

/// What the ignored test `hog` of each file does: it takes memory until it is killed.
pub fn hog() {
    let Some(how) = std::env::var_os(HOG) else { return };
    if how == "thread" {
        std::thread::spawn(eat).join().expect("it is killed before");
    }
    eat();
}

fn eat() {
    let mut memory = Vec::new();
    while memory.len() < MOST {
        memory.resize(memory.len() + (64 << 10), 1_u8);
        std::hint::black_box(&mut memory);
    }
}

/// A hierarchy that has the memory controller.
struct Hierarchy {
    /// 0: version 2.
    number: u32,
    root: PathBuf,
}

fn hierarchy() -> Hierarchy {
    let text = std::fs::read_to_string("/proc/self/cgroup").expect("/proc");
    let memory = text.lines().find(|line| line.split(':').nth(1).is_some_and(|of| of.contains("memory")));
    match memory.and_then(|line| line.split(':').next()?.parse().ok()) {
        Some(number) => Hierarchy { number, root: "/sys/fs/cgroup/memory".into() },
        None => Hierarchy { number: 0, root: "/sys/fs/cgroup".into() },
    }
}

/// Whether it is version 2 of cgroups that has it.
pub fn is_v2() -> bool {
    hierarchy().number == 0
}

/// A cgroup of a test's own, which goes with it.
pub struct Cgroup {
    pub directory: PathBuf,
    /// From the hierarchy's root.
    pub path: String,
    pub hierarchy: u32,
    pub id: u64,
}

impl Cgroup {
    pub fn new(name: &str) -> Self {
        let hierarchy = hierarchy();
        let path = format!("/gantry-oom-{}-{name}", std::process::id());
        if hierarchy.number == 0 {
            write(&hierarchy.root.join("cgroup.subtree_control"), "+memory");
        }
        Self::made(hierarchy.number, hierarchy.root.join(&path[1..]), path)
    }

    /// One within it.
    pub fn within(&self, name: &str) -> Self {
        if self.hierarchy == 0 {
            write(&self.directory.join("cgroup.subtree_control"), "+memory");
        }
        Self::made(self.hierarchy, self.directory.join(name), format!("{}/{name}", self.path))
    }

    fn made(hierarchy: u32, directory: PathBuf, path: String) -> Self {
        std::fs::create_dir(&directory).expect("a cgroup can be made");
        let id = std::fs::metadata(&directory).expect("a cgroup").ino();
        Self { directory, path, hierarchy, id }
    }

    /// With a limit, of memory and of swap.
    pub fn limited(self) -> Self {
        let [memory, swap] = match self.hierarchy {
            0 => [("memory.max", LIMIT), ("memory.swap.max", 0)],
            _ => [("memory.limit_in_bytes", LIMIT), ("memory.memsw.limit_in_bytes", LIMIT)],
        };
        self.write(memory.0, &memory.1.to_string());
        // Where the kernel counts no swap there is no such file.
        if self.directory.join(swap.0).exists() {
            self.write(swap.0, &swap.1.to_string());
        }
        self
    }

    pub fn write(&self, file: &str, text: &str) {
        write(&self.directory.join(file), text);
    }

    /// A container that is there.
    pub fn container(&self, name: &str) -> NewContainer {
        let controllers: &[&str] = if self.hierarchy == 0 { &[] } else { &["memory"] };
        NewContainer::new(name).cgroup_v1(self.hierarchy, controllers, &self.path, self.id)
    }

    /// The kernel's own count.
    pub fn kills(&self) -> u64 {
        let file = if self.hierarchy == 0 { "memory.events" } else { "memory.oom_control" };
        let text = std::fs::read_to_string(self.directory.join(file)).expect("a counter");
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).expect("its line");
        line.parse().expect("a number")
    }

    /// A process in it that waits for a line, and is a hog then.
    pub fn hog(&self, how: &str) -> Hog {
        let procs = self.directory.join("cgroup.procs");
        let script = format!("echo 0 > {} && read line && exec \"$0\" \"$@\"", procs.display());
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .arg(std::env::current_exe().expect("this test"))
            .args(["--exact", "hog", "--ignored", "--test-threads=1"])
            .env(HOG, how)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0);
        Hog(command.spawn().expect("it starts"))
    }

    /// Has somebody killed in it.
    pub fn kill(&self) {
        self.hog("alone").dies();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Who was in it may be ending still.
        let _ = eventually(|| match std::fs::remove_dir(&self.directory) {
            Err(error) if self.directory.exists() => Err(error.to_string()),
            _ => Ok(()),
        });
    }
}

/// A process that will take more memory than it may.
pub struct Hog(Child);

impl Hog {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// It may go on. From here on it only writes to its memory.
    pub fn goes(&mut self) {
        self.0.stdin.as_mut().expect("piped").write_all(b"go\n").expect("it reads");
    }

    /// It goes on, and the kernel kills it.
    pub fn dies(mut self) {
        use std::os::unix::process::ExitStatusExt as _;
        self.goes();
        let status = self.0.wait().expect("it was started");
        assert_eq!(status.signal(), Some(9), "the kernel kills it: {status}");
    }

    pub fn wait(&mut self) {
        self.0.wait().expect("it was started");
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        // It has ended, mostly.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{text:?} to {}: {error}", path.display()));
}

/// The plugin over this machine. Other tests' victims are of no container here.
pub fn kit() -> Kit {
    Kit::of::<Oom>().with_tree(Tree::at("/")).deadline(PATIENCE).allow(Check::Skipped, "")
}

/// Kills of a container.
pub fn kills(collected: &Collected, name: &str) -> Option<f64> {
    collected.find(&format!("container_oom_kills_total{{container_id={name:?}}}"))
}

/// The same by whose limit.
pub fn scopes(collected: &Collected, name: &str) -> [f64; 4] {
    ["container", "ancestor", "node", "unknown"].map(|scope| {
        let series = format!("container_oom_events_total{{container_id={name:?},scope={scope:?}}}");
        collected.find(&series).unwrap_or(0.0)
    })
}

/// What the next collection says: kills are told before their victim ends.
#[track_caller]
pub fn now(running: &mut Running, name: &str) -> (f64, [f64; 4]) {
    let collected = running.collect().expect("it collects");
    (kills(&collected, name).unwrap_or_else(|| panic!("{}", collected.text())), scopes(&collected, name))
}

/// Whether programs can be loaded and cgroups be made; says so where not, which is a
/// failure where everything must run.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn skip() -> bool {
    let hierarchy = hierarchy().root;
    let can = rustix::fs::access(&hierarchy, rustix::fs::Access::WRITE_OK).is_ok();
    if can && rustix::process::getuid().is_root() && Path::new("/sys/kernel/btf/vmlinux").exists() {
        return false;
    }
    let why = format!("needs root, a kernel with BTF, and a writable {}", hierarchy.display());
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{why}");
    eprintln!("SKIPPED: {why}");
    true
}
