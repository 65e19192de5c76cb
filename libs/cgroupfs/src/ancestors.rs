//! The limits of the cgroups above a container's. Many containers share them:
//! each is read once in a round.

use crate::files::{Files, Kept};
use crate::group::Place;
use crate::layout::Version;
use crate::reader::text;
use crate::role::Role;
use crate::usage::Notes;
use crate::usage::memory::min;
use crate::usage::number::{Bad, alone};
use crate::usage::{cpu, memory};
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Rounds between two looks for cgroups that nobody asks about any more.
const SWEEP: u64 = 16;

/// The smallest limits of a cgroup and those above it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Cores.
    pub cpu: Option<f64>,
    /// Bytes; v2 alone, as v1 tells the smallest itself.
    pub memory: Option<u64>,
    /// Bytes; v2 alone.
    pub swap: Option<u64>,
}

impl Bounds {
    fn and(self, other: Self) -> Self {
        Self {
            cpu: min(self.cpu, other.cpu),
            memory: min(self.memory, other.memory),
            swap: min(self.swap, other.swap),
        }
    }
}

#[derive(Debug, Default)]
struct Node {
    /// 0 is never.
    round: u64,
    kept: [Kept; 3],
    bounds: Bounds,
}

#[derive(Debug)]
pub struct Ancestors {
    /// For each hierarchy, by path. Bytes, as a `Path` is hashed by component.
    nodes: Vec<HashMap<Box<[u8]>, Node>>,
    round: u64,
}

impl Ancestors {
    pub fn new(hierarchies: usize) -> Self {
        Self { nodes: std::iter::repeat_with(HashMap::new).take(hierarchies).collect(), round: 1 }
    }

    pub fn begin(&mut self, files: &mut Files) {
        self.round += 1;
        let oldest = self.round - self.round.min(SWEEP);
        if !self.round.is_multiple_of(SWEEP) {
            return;
        }
        for nodes in &mut self.nodes {
            nodes.retain(|_, node| {
                let used = node.round >= oldest;
                if !used {
                    node.kept.iter_mut().for_each(|kept| files.forget(kept));
                }
                used
            });
        }
    }

    /// The limits of all above a place, but the hierarchy's root.
    pub fn above(&mut self, files: &mut Files, place: &Place, notes: &mut Notes) -> Bounds {
        let Some(nodes) = self.nodes.get_mut(place.hierarchy()) else { return Bounds::default() };
        let mut bounds = Bounds::default();
        let mut stale = Vec::new();
        let above = place.directory.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
        for path in above {
            match nodes.get(path.as_os_str().as_bytes()) {
                Some(node) if node.round == self.round => {
                    bounds = node.bounds;
                    break;
                }
                _ => stale.push(path),
            }
        }
        for path in stale.into_iter().rev() {
            let key = path.as_os_str().as_bytes();
            if !nodes.contains_key(key) {
                nodes.insert(key.into(), Node::default());
            }
            let node = nodes.get_mut(key).expect("it was put in just now");
            bounds = bounds.and(own(files, &mut node.kept, place, path, notes));
            (node.bounds, node.round) = (bounds, self.round);
        }
        bounds
    }
}

/// The limits of one cgroup. That it is gone, the one below it says as well.
fn own(files: &mut Files, kept: &mut [Kept; 3], place: &Place, path: &Path, notes: &mut Notes) -> Bounds {
    let mut bad = Bad::default();
    let mut bounds = Bounds::default();
    let [first, second, third] = kept;
    let mut place = Place { directory: path.into(), ..*place };
    let place = &mut place;
    match place.version {
        Version::V1 => {
            let quota = text(files, first, place, Role::CpuQuota, notes).bytes();
            if let Some(quota) = quota.and_then(|text| cpu::quota_v1(text, &mut bad)) {
                let period = text(files, second, place, Role::CpuPeriod, notes).bytes();
                let period = period.and_then(|text| bad.check(alone(text)));
                bounds.cpu = period.and_then(|period| bad.check(cpu::cores(quota, period)));
            }
        }
        Version::V2 => {
            let quota = text(files, first, place, Role::CpuQuota, notes).bytes();
            bounds.cpu = quota.and_then(|text| cpu::limit_v2(text, &mut bad));
            let limit = text(files, second, place, Role::MemoryLimit, notes).bytes();
            bounds.memory = limit.and_then(|text| memory::limit_v2(text, &mut bad));
            let limit = text(files, third, place, Role::SwapLimit, notes).bytes();
            bounds.swap = limit.and_then(|text| memory::limit_v2(text, &mut bad));
        }
    }
    notes.malformed += bad.0;
    bounds
}
