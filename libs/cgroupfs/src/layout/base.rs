//! Which cgroup the root of the agent's own cgroup namespace is.
//!
//! The kernel tells a process in a namespace how far up others are, but not
//! what the cgroups on the way are called; `setns` to the node's namespace
//! needs `/proc/1/ns`, which may be closed even to root. So: `/proc/1/cgroup`
//! tells how deep the namespace's root lies, and the directory at that depth
//! whose `cgroup.procs` has the agent is it.

use crate::list::{self, Bounds};
use crate::path::{climbs, is_plain};
use crate::read;
use std::path::{Path, PathBuf};

/// Directories that are looked at. A large node has 5,000 cgroups in a hierarchy.
const BOUNDS: Bounds = Bounds { directories: 50_000, depth: 16 };

/// The most that is read of a `cgroup.procs`: 100,000 processes.
const MAX_PROCS: usize = 1 << 20;

/// The path of the hierarchy's root, from so deep a namespace.
pub fn above(climbs: usize) -> PathBuf {
    let mut path = PathBuf::from("/");
    path.extend(std::iter::repeat_n("..", climbs));
    path
}

/// The root of the agent's namespace. `depth` is how often the path of the
/// node's init climbs, `mounted` is what of the hierarchy lies in `directory`,
/// `own` the agent's path in `/proc/self/cgroup`.
pub fn learn(
    depth: usize,
    directory: Option<&Path>,
    mounted: &Path,
    own: &Path,
    own_pid: u32,
) -> Option<PathBuf> {
    if depth == 0 {
        return Some(PathBuf::from("/"));
    }
    // A part of the hierarchy does not show the names above itself.
    if climbs(mounted) != depth || mounted != above(depth) {
        return None;
    }
    // The agent is deeper than its namespace's root if it was moved since.
    let deeper = own.strip_prefix("/").ok().filter(|own| is_plain(own))?;
    let level = depth + deeper.components().count();
    let mut buffer = Vec::new();
    let mut found = None;
    let directory = directory?;
    let bounds = Bounds { depth: BOUNDS.depth.min(level), ..BOUNDS };
    list::below(directory, Path::new(""), bounds, |cgroup| {
        let path = cgroup.path;
        let candidate = path.components().count() == level && path.ends_with(deeper);
        if found.is_none() && candidate && has(&directory.join(path), own_pid, &mut buffer) {
            found = path.ancestors().nth(level - depth).map(|base| Path::new("/").join(base));
        }
    })
    .ok()?;
    found
}

fn has(cgroup: &Path, pid: u32, buffer: &mut Vec<u8>) -> bool {
    let read = read::whole(&cgroup.join("cgroup.procs"), MAX_PROCS, buffer);
    let pid = pid.to_string();
    read.is_ok() && buffer.split(|byte| *byte == b'\n').any(|line| line == pid.as_bytes())
}
