//! What a daemon that was killed leaves behind: containers, their shims, their
//! cgroups.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks at something that tells nobody.
const LOOK: Duration = Duration::from_millis(10);

/// Ends all processes that were started for the daemon of this directory, and
/// removes their cgroups. Fails at nothing.
pub fn end(dir: &Path, until: Instant) {
    let mut cgroups = BTreeSet::new();
    loop {
        let left = processes(dir);
        if left.is_empty() || Instant::now() > until {
            break;
        }
        for pid in left {
            cgroups.extend(cgroups_of(pid));
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        std::thread::park_timeout(LOOK);
    }
    for cgroup in cgroups {
        // Who was killed may take a moment to leave.
        while std::fs::remove_dir(&cgroup).is_err() && cgroup.exists() && Instant::now() < until {
            std::thread::park_timeout(LOOK);
        }
    }
}

fn processes(dir: &Path) -> Vec<u32> {
    let name = dir.to_string_lossy();
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_ours = |pid: &u32| *pid != std::process::id() && (names(*pid, &name) || lives_in(*pid, &name));
    pids.filter(is_ours).collect()
}

/// containerd, its shims and proxies name a path of ours among their arguments.
fn names(pid: u32, dir: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| String::from_utf8_lossy(&line).contains(dir))
}

/// What lies in a directory of ours is mounted elsewhere: in a container. In
/// other processes it lies where it is.
fn lives_in(pid: u32, dir: &str) -> bool {
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, mount_point) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        root.contains(dir) && !mount_point.contains(dir)
    })
}

/// The directories of a container that a process lies in.
fn cgroups_of(pid: u32) -> Vec<PathBuf> {
    let lines = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let paths = lines.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let paths: BTreeSet<&str> = paths.filter(|path| path.starts_with("/docker/")).collect();
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let roots: Vec<PathBuf> = hierarchies.chain([root.to_owned()]).collect();
    let below = |path: &str| {
        let path = path.trim_start_matches('/').to_owned();
        roots.iter().map(move |root| root.join(&path)).collect::<Vec<_>>()
    };
    paths.into_iter().flat_map(below).filter(|path| path.is_dir()).collect()
}
