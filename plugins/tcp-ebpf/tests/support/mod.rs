//! The plugin in the test kit, over this kernel, and network namespaces of the
//! tests' own.
#![allow(dead_code, reason = "each test file uses its own part of it")]

pub mod net;

use gantry_plugin_testkit::{Check, Collected, Failure, Kit, NewContainer, PATIENCE, Running, Tree};
use gantry_tcp_ebpf::TcpEbpf;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

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
    let kit = kit();
    kit.identity().declare(NewContainer::new("/docker/own").cgroup("/own", own_cgroup()));
    let running = kit.start("").expect("it starts");
    (kit, running)
}

/// Whether it is as it must be where programs can be loaded.
pub fn assert_traced(running: &mut Running) {
    let troubles = running.troubles().expect("has a health");
    assert!(troubles.is_empty(), "{troubles:?}");
}

/// The root of version 2 of cgroups.
pub fn cgroup2() -> PathBuf {
    let unified = Path::new("/sys/fs/cgroup/unified");
    if unified.is_dir() { unified.to_owned() } else { PathBuf::from("/sys/fs/cgroup") }
}

/// The id of this process's cgroup of version 2.
pub fn own_cgroup() -> u64 {
    let text = std::fs::read_to_string("/proc/self/cgroup").expect("/proc");
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).expect("a cgroup of version 2");
    id(&cgroup2().join(path.trim_start_matches('/')))
}

/// The id of a cgroup.
pub fn id(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a cgroup").ino()
}

/// A cgroup of a test's own, which goes with it.
pub struct Cgroup(pub PathBuf);

impl Cgroup {
    pub fn new(name: &str) -> Self {
        let path = cgroup2().join(format!("gantry-tcp-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("a cgroup can be made");
        Self(path)
    }
    pub fn id(&self) -> u64 {
        id(&self.0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process may be ending still.
        let _ = gantry_plugin_testkit::eventually(|| {
            std::fs::remove_dir(&self.0).map_err(|error| error.to_string())
        });
    }
}

/// The value of a family for a destination; 0 where there is none.
pub fn of(collected: &Collected, family: &str, destination: &str) -> f64 {
    let series = format!("container_net_tcp_{family}{{destination={destination:?}}}");
    collected.find(&series).unwrap_or(0.0)
}

/// Collects until something is so.
#[track_caller]
pub fn until<T>(running: &mut Running, mut is: impl FnMut(&Collected) -> Result<T, String>) -> T {
    gantry_plugin_testkit::eventually(|| {
        let collected = running.collect().map_err(|failure: Failure| failure.to_string())?;
        is(&collected)
    })
    .expect("it comes")
}

/// Whether programs can be loaded; says so where not, which is a failure where
/// everything must run.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn skip_without_root() -> bool {
    if rustix::process::getuid().is_root() && Path::new("/sys/kernel/btf/vmlinux").exists() {
        return false;
    }
    let why = "needs root, and a kernel with BTF";
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{why}");
    eprintln!("SKIPPED: {why}");
    true
}
