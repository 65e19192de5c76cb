//! Where a hierarchy lies.

use crate::membership::Entry;
use crate::mounts::Mount;
use crate::path::climbs;
use std::path::{Path, PathBuf};

/// By the mounts: the directory, and what of the hierarchy is there. Of
/// several, the one that shows most.
pub fn mounted(mounts: &[Mount], entry: &Entry<'_>) -> Option<(PathBuf, PathBuf)> {
    let shows_less = |mount: &&Mount| {
        let out = climbs(&mount.root);
        (usize::MAX - out, mount.root.components().count() - out, mount.point.as_os_str().len())
    };
    let best = mounts.iter().filter(|mount| mount.is_of(entry.controllers)).min_by_key(shows_less)?;
    Some((best.point.clone(), best.root.clone()))
}

/// By the names of directories below the root.
pub fn by_name(root: &Path, entry: &Entry<'_>) -> Option<PathBuf> {
    if entry.is_v2() {
        let candidates = [root.to_path_buf(), root.join("unified")];
        // Every cgroup of v2 has this file, and none of v1 has it.
        return candidates.into_iter().find(|at| at.join("cgroup.controllers").is_file());
    }
    let names = || entry.controllers.split(',');
    let plain = |name: &str| name.strip_prefix("name=").unwrap_or(name).to_owned();
    // `cpu,cpuacct`, or the other way round as on some Debian releases; else a link for each.
    let reversed: Vec<_> = names().rev().map(plain).collect();
    let joined: Vec<_> = names().map(plain).collect();
    let mut candidates = vec![joined.join(","), reversed.join(",")];
    candidates.extend(joined);
    candidates.iter().find_map(|name| below(root, name))
}

/// The directory of this name, its links resolved; none that leads out of the
/// root, as an absolute link does that was made for another mount namespace.
fn below(root: &Path, name: &str) -> Option<PathBuf> {
    let real = root.join(name).canonicalize().ok()?;
    (real != root && real.starts_with(root) && real.is_dir()).then_some(real)
}
