//! Which of the node's mounts are shown.

use crate::config::Settings;
use gantry_mounts::{Mount, mountinfo};
use std::collections::HashMap;
use std::path::PathBuf;

/// The mounts that are shown, one a file system, and the number of lines that
/// could not be understood.
pub fn shown(mountinfo: &[u8], settings: &Settings) -> (Vec<Mount>, u64) {
    let mut bad = 0;
    // A later mount on the same point hides the earlier one.
    let mut visible: HashMap<PathBuf, Mount> = HashMap::new();
    for mount in mountinfo::mounts(mountinfo) {
        match mount {
            Some(mount) => drop(visible.insert(mount.path.clone(), mount)),
            None => bad += 1,
        }
    }
    let mut mounts: Vec<Mount> = visible.into_values().filter(|mount| wanted(mount, settings)).collect();
    // The shortest path of each file system; among equals, always the same one.
    mounts.sort_unstable_by(|a, b| {
        let key = |mount: &Mount| (mount.device, mount.path.as_os_str().len());
        key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
    });
    mounts.dedup_by_key(|mount| mount.device);
    // The local ones first: they answer at once.
    mounts.sort_by_key(|mount| (!mount.source.starts_with("/dev/"), mount.device));
    (mounts, bad)
}

fn wanted(mount: &Mount, settings: &Settings) -> bool {
    // A container's root shows the node's own file system once more; only on
    // nodes that boot from an overlay is it worth a row.
    let overlay = mount.fs_type == "overlay" && mount.mount_point != "/";
    !(overlay
        || settings.fs_types.contains(&mount.fs_type)
        || settings.mount_points.contains(&mount.mount_point))
}
