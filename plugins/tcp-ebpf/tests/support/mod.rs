//! The plugin in the test kit, over this kernel, and network namespaces of the
//! tests' own.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of it")]

pub mod net;
pub mod series;

use gantry_bpf::Kernel;
use gantry_plugin_testkit::{Check, Kit, NewContainer, PATIENCE, Running, Tree};
use gantry_tcp_ebpf::TcpEbpf;
use gantry_tcp_ebpf::config::{Config, Settings};
use gantry_tcp_ebpf::counts::Numbers;
use gantry_tcp_ebpf::destination::Destination;
use gantry_tcp_ebpf::engine::{Engine, STORAGE, Variant};
use gantry_tcp_ebpf::shared::Inner;
use gantry_tcp_ebpf::tracker::Tracker;
use gantry_tcp_ebpf::watch::Watch;
use net::Net;
pub use series::{
    failures, numbers, of, passed_over, until, until_exact, until_failures, until_ledger, until_numbers,
};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::MutexGuard;

/// The plugin over this machine.
pub fn kit() -> Kit {
    // A socket that ceased to listen is shown as 0, as in coroot-node-agent.
    Kit::of::<TcpEbpf>()
        .with_tree(Tree::at("/"))
        .deadline(PATIENCE)
        .allow(Check::Skipped, "")
        .allow(Check::Value, "container_net_tcp_listen_info")
}

/// With a container that is all of this test's own cgroup. Others are in it
/// too: series are told apart by their addresses.
pub fn own() -> (Kit, Running) {
    own_with("")
}

/// The same with a configuration.
pub fn own_with(config: &str) -> (Kit, Running) {
    let kit = own_kit();
    let running = kit.start(config).expect("it starts");
    (kit, running)
}

/// The plugin over this machine with that container, not started.
pub fn own_kit() -> Kit {
    let kit = kit();
    kit.identity().declare(in_own_cgroup(NewContainer::new("/docker/own")));
    kit
}

/// Whether it is as it must be where programs can be loaded.
pub fn assert_traced(running: &mut Running) {
    let troubles = running.troubles().expect("has a health");
    assert!(troubles.is_empty(), "{troubles:?}");
}

/// A hierarchy of cgroups, and where in it this process is.
struct Place {
    /// 0: of version 2.
    hierarchy: u32,
    root: PathBuf,
    path: String,
}

impl Place {
    fn id(&self) -> u64 {
        id(&self.root.join(self.path.trim_start_matches('/')))
    }
}

/// That of version 1 with the memory controller, where there is one, and that of version 2.
fn places() -> (Option<Place>, Place) {
    let text = std::fs::read_to_string("/proc/self/cgroup").expect("/proc");
    let place = |line: &str, root: &str| {
        let mut parts = line.splitn(3, ':');
        let hierarchy = parts.next()?.parse().ok()?;
        Some(Place { hierarchy, root: root.into(), path: parts.nth(1)?.to_owned() })
    };
    let memory = text.lines().find(|line| line.split(':').nth(1).is_some_and(|of| of.contains("memory")));
    let unified = text.lines().find(|line| line.starts_with("0::")).expect("a cgroup of version 2");
    let of_2 = "/sys/fs/cgroup/unified";
    let of_2 = if Path::new(of_2).is_dir() { of_2 } else { "/sys/fs/cgroup" };
    let memory = memory.and_then(|line| place(line, "/sys/fs/cgroup/memory"));
    (memory, place(unified, of_2).expect("a line of it"))
}

/// A container in the cgroup of this process, by which the plugin knows it.
pub fn in_own_cgroup(container: NewContainer) -> NewContainer {
    let (memory, unified) = places();
    match memory.filter(|memory| memory.path != "/") {
        Some(memory) => container.cgroup_v1(memory.hierarchy, &["memory"], &memory.path, memory.id()),
        None => container.cgroup(&unified.path, unified.id()),
    }
}

/// The id of a cgroup.
fn id(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a cgroup").ino()
}

/// A cgroup of a test's own, which goes with it, by which the plugin knows who is in it.
pub struct Cgroup {
    pub path: PathBuf,
    pub hierarchy: u32,
}

impl Cgroup {
    pub fn new(name: &str) -> Self {
        let (memory, unified) = places();
        let place = memory.unwrap_or(unified);
        let path = place.root.join(format!("gantry-tcp-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("a cgroup can be made");
        Self { path, hierarchy: place.hierarchy }
    }
    pub fn id(&self) -> u64 {
        id(&self.path)
    }
    /// A container that is there.
    pub fn of(&self, container: NewContainer) -> NewContainer {
        container.cgroup_v1(self.hierarchy, &[], "/x", self.id())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process may be ending still.
        let _ = gantry_plugin_testkit::eventually(|| {
            std::fs::remove_dir(&self.path).map_err(|error| error.to_string())
        });
    }
}

/// As many descriptors as the system lets a process have.
pub fn enough_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit anybody may");
}

/// An object in the kernel, its programs at work.
pub fn load(variant: &Variant<'_>, settings: &Settings) -> Engine {
    let kernel = Kernel::open(Path::new("/sys")).expect("BTF");
    Engine::load(&kernel, variant, settings).expect("the kernel takes it")
}

/// What counts, without a plugin around it.
pub fn counting(kit: &Kit, settings: Settings) -> Watch {
    let watch = Watch::start(&kit.host(), settings).expect("root, and a kernel with BTF");
    watch.activate(None);
    watch
}

/// Looks at all that is open; what is known then.
pub fn scanned(watch: &Watch) -> MutexGuard<'_, Inner> {
    watch.scan();
    watch.lock()
}

/// Connections of a network namespace that are in the table: those of other tests are
/// in others.
pub fn kept_of(tracker: &Tracker, net: &Net) -> usize {
    let of_it = tracker
        .connections
        .known()
        .filter(|(ends, known)| known.counts && u64::from(ends.netns) == net.inode());
    of_it.count()
}

/// What was counted of a destination, and what is open.
pub fn counted(tracker: &Tracker, to: SocketAddr) -> (Numbers, u32) {
    let (mut all, mut active) = (Numbers::default(), 0);
    for series in tracker.counts.all().filter(|series| series.to == Destination::At(to)) {
        all.add(&series.numbers);
        active += series.active;
    }
    (all, active)
}

/// An ignored test of this file as a process of its own, in a namespace.
pub fn child(net: &Net, test: &str) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", net.path.display()))
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::null());
    command
}

/// Runs it to its end. It says `done` when it did what it is for: a test of
/// another name, or one that returns at once, is good as well.
#[track_caller]
pub fn run_to_its_end(mut command: Command) {
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let good = output.status.success() && said.lines().any(|line| line.ends_with(DONE));
    assert!(good, "{}:\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// What a child says at its end.
pub const DONE: &str = "all of it was done";

pub fn settings() -> Settings {
    Settings::of(&Config::default(), None, 0).expect("the default is good")
}

/// Whether this kernel keeps something at sockets for tracing programs.
pub fn has_storage() -> bool {
    let kernel = Kernel::open(Path::new("/sys")).expect("BTF");
    Engine::load(&kernel, &STORAGE, &settings()).is_ok()
}

/// Whether programs can be loaded; says so where not, which is a failure where
/// everything must run.
pub fn skip_without_root() -> bool {
    skip_without(&[])
}

/// The same for a test that needs programs too.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn skip_without(programs: &[&str]) -> bool {
    let is_there = programs.iter().all(|program| Path::new(program).exists());
    if is_there && rustix::process::getuid().is_root() && Path::new("/sys/kernel/btf/vmlinux").exists() {
        return false;
    }
    let why = format!("needs root, and a kernel with BTF; and {programs:?}");
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{why}");
    eprintln!("SKIPPED: {why}");
    true
}
