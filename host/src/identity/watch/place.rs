//! What a process's cgroups say: which container, and where its directories are.

use super::super::path::{self, Found, Key, Place, UserSlices};
use super::super::state::{Directory, Hierarchy, Placement};
use super::tree::Root;
use crate::config::Paths;
use ahash::RandomState;
use gantry_cgroupfs::{Entry, Layout, Mode, membership};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most contents of `/proc/PID/cgroup` that are remembered: one for each
/// container, and for each cgroup that is none. More are forgotten together,
/// and then read anew one by one.
const MAX_KNOWN: usize = 16_384;

/// Below this nobody looks for those of containers that are forgotten.
const FEW: usize = 256;

/// What is read of a `cgroup.procs`: some 600 processes. Those that come after
/// them are seen when all are looked at.
const MAX_PROCS: u64 = 4 << 10;

/// What was found in a container's directories.
#[derive(Debug, PartialEq, Eq)]
pub enum Inside {
    /// None of them is there.
    Gone,
    /// No process, or it cannot be read.
    Empty,
    Processes(Vec<u32>),
}

/// Places of processes. What a file says is worked out once for all processes
/// that have the same.
#[derive(Debug)]
pub struct Places {
    layout: Layout,
    users: UserSlices,
    /// By their numbers.
    hierarchies: HashMap<u32, Arc<Hierarchy>>,
    /// By a digest of what the file said, which is a KiB long where there are
    /// many hierarchies. Its key is secret: nobody can choose names of cgroups
    /// that have the same. Where the directories are is worked out again when
    /// somebody wants it: once or twice in a container's life.
    known: HashMap<u128, Option<Arc<Found>>, RandomState>,
    /// How many there are when it is next looked which of them nobody has any more.
    sweep_at: usize,
    random: RandomState,
}

impl Places {
    /// # Errors
    /// Where no cgroup hierarchy can be found.
    pub fn read(paths: &Paths, users: UserSlices) -> Result<Self, gantry_cgroupfs::Error> {
        let layout = Layout::read(&paths.proc, &paths.cgroup)?;
        let hierarchies = layout.hierarchies().iter().map(|one| {
            let names = one.controllers.split(',').filter(|name| !name.is_empty());
            let controllers = names.map(str::to_owned).collect();
            (one.number, Arc::new(Hierarchy { number: one.number, controllers }))
        });
        let (hierarchies, random) = (hierarchies.collect(), RandomState::new());
        Ok(Self { layout, users, hierarchies, known: HashMap::default(), sweep_at: FEW, random })
    }

    /// Whether what users run counts from now on; whether that is different.
    pub fn set_users(&mut self, users: UserSlices) -> bool {
        let differs = self.users != users;
        if differs {
            self.users = users;
            self.known.clear();
        }
        differs
    }

    /// The hierarchies whose directories tell of all containers: the second
    /// version's; of the first, systemd's own and memory's, which every
    /// runtime uses.
    pub fn roots(&self) -> Vec<Root> {
        let is_told = |controllers: &str| {
            controllers.is_empty()
                || controllers.split(',').any(|name| name == "memory" || name == "name=systemd")
        };
        let those = self.layout.hierarchies().iter().filter(|hierarchy| is_told(&hierarchy.controllers));
        let root = |hierarchy: &gantry_cgroupfs::Hierarchy| {
            Some(Root { hierarchy: hierarchy.number, directory: hierarchy.directory.clone()? })
        };
        those.filter_map(root).collect()
    }

    /// Whether containers are told by the first version's hierarchies.
    pub fn is_v1(&self) -> bool {
        self.layout.mode() != Mode::V2
    }

    /// Whether containers may lie below: not below one of them, but in a pod's own.
    pub fn may_hold_containers(&self, path: &str) -> bool {
        match path::classify(path, self.users) {
            Place::Nobody => true,
            Place::Container(found) => found.raw_id.is_empty() && found.pod_uid.is_some(),
        }
    }

    /// Where a process is that has this `/proc/PID/cgroup`. The directories and
    /// their ids are told where `are_known` says of the container's key that
    /// they are not.
    pub fn of(&mut self, file: &[u8], are_known: impl Fn(&str) -> bool) -> Placement {
        let digest = self.digest(file);
        let found = match self.known.get(&digest) {
            Some(known) => known.clone(),
            None => {
                self.make_room();
                let Placement { found, cgroups } = self.work_out(file);
                self.known.insert(digest, found.clone());
                if found.as_ref().is_some_and(|found| !are_known(&found.key.to_string())) {
                    return self.with_ids(Placement { found, cgroups });
                }
                found
            }
        };
        match &found {
            Some(known) if !are_known(&known.key.to_string()) => {
                let cgroups = self.work_out(file).cgroups;
                self.with_ids(Placement { found, cgroups })
            }
            _ => Placement { found, cgroups: Vec::new() },
        }
    }

    /// Forgets what containers had that are forgotten themselves: some 400 bytes
    /// each, which on a node of short jobs would be most of what the agent has.
    fn make_room(&mut self) {
        if self.known.len() < self.sweep_at {
            return;
        }
        self.known.retain(|_, found| found.as_ref().is_none_or(|found| Arc::strong_count(found) > 1));
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.shrink_to(2 * self.known.len());
        self.sweep_at = (2 * self.known.len()).clamp(FEW, MAX_KNOWN);
    }

    /// What a directory of one hierarchy says.
    pub fn directory(&self, hierarchy: u32, path: &str, id: u64) -> Placement {
        let Place::Container(found) = path::classify(path, self.users) else { return Placement::default() };
        let cgroups = match root_of(path, &found) == path {
            true => vec![self.directory_of(hierarchy, path.into(), id)],
            // A directory of its own within it.
            false => Vec::new(),
        };
        Placement { found: Some(Arc::new(found)), cgroups }
    }

    /// Looks whether these directories are there, and who is in the first of them.
    pub fn look_into(&self, cgroups: &[Directory]) -> Inside {
        let mut paths = cgroups.iter().filter_map(|cgroup| self.path(cgroup)).filter(|path| path.is_dir());
        let Some(path) = paths.next() else { return Inside::Gone };
        let mut pids = Vec::new();
        let read = File::open(path.join("cgroup.procs"))
            .and_then(|file| file.take(MAX_PROCS).read_to_end(&mut pids).map(drop));
        let lines = pids.split(|byte| *byte == b'\n');
        let pids: Vec<u32> = lines.filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok()).collect();
        if read.is_err() || pids.is_empty() { Inside::Empty } else { Inside::Processes(pids) }
    }

    fn digest(&self, file: &[u8]) -> u128 {
        let half = |salt: u8| u128::from(self.random.hash_one((salt, file)));
        half(0) << 64 | half(1)
    }

    fn work_out(&self, file: &[u8]) -> Placement {
        let entries: Vec<(u32, &str, String)> = membership::entries(file)
            .filter_map(Result::ok)
            .filter_map(|entry| Some((entry.hierarchy, entry.controllers, self.absolute(&entry)?)))
            .collect();
        let lines: Vec<path::Entry<'_>> =
            entries.iter().map(|(_, controllers, path)| path::Entry { controllers, path }).collect();
        let (_, Place::Container(found)) = path::identify(&lines, self.users) else {
            return Placement::default();
        };
        let mut cgroups: Vec<Directory> = Vec::new();
        for (hierarchy, _, path) in &entries {
            let Place::Container(here) = path::classify(path, self.users) else { continue };
            if here.key == found.key {
                let root = root_of(path, &here);
                let same = cgroups.iter().find(|known| *known.path == *root).map(|known| known.path.clone());
                cgroups.push(self.directory_of(*hierarchy, same.unwrap_or_else(|| root.into()), 0));
            }
        }
        Placement { found: Some(Arc::new(found)), cgroups }
    }

    /// Where it lies from the hierarchy's root. Where the agent's own place in
    /// it is not known, as it is seen from there.
    fn absolute(&self, entry: &Entry<'_>) -> Option<String> {
        let hierarchy = &self.layout.hierarchies()[self.layout.index_of(entry)?];
        let absolute = hierarchy.absolute(entry.path);
        Some(absolute.as_deref().unwrap_or(entry.path).to_string_lossy().into_owned())
    }

    fn with_ids(&self, mut placement: Placement) -> Placement {
        for cgroup in &mut placement.cgroups {
            let found = self.path(cgroup).and_then(|path| gantry_cgroupfs::list::id(&path).ok());
            cgroup.id = found.unwrap_or_default();
        }
        placement
    }

    fn directory_of(&self, hierarchy: u32, path: Arc<str>, id: u64) -> Directory {
        let known = self.hierarchies.get(&hierarchy).cloned();
        let unknown = || Arc::new(Hierarchy { number: hierarchy, controllers: Vec::new() });
        Directory { hierarchy: known.unwrap_or_else(unknown), path, id }
    }

    fn path(&self, cgroup: &Directory) -> Option<PathBuf> {
        let known = self.layout.hierarchies().iter().find(|known| known.number == cgroup.hierarchy.number)?;
        Some(known.directory.as_ref()?.join(known.below(Path::new(&*cgroup.path))?))
    }
}

/// A container's own directory, where a process lies deeper in it.
fn root_of(path: &str, found: &Found) -> String {
    if let Key::Cgroup(own) = &found.key {
        return own.to_string();
    }
    let end = path.find(&*found.raw_id).map_or(path.len(), |at| at + found.raw_id.len());
    let end = path[end..].find('/').map_or(path.len(), |more| end + more);
    path[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_is_worked_out_once() {
        let [proc, sys, cgroup, root] = ["/proc", "/sys", "/sys/fs/cgroup", "/"].map(PathBuf::from);
        let paths = Paths { proc, sys, cgroup, root };
        let mut places = Places::read(&paths, UserSlices::Hidden).expect("this machine has cgroups");
        let own = std::fs::read_to_string("/proc/self/cgroup").expect("its own");
        // In all hierarchies, as a runtime puts it.
        let of = |digit: &str| -> String {
            let line = |line: &str| {
                let (names, _) = line.rsplit_once(':').expect("a path");
                format!("{names}:/docker/{}\n", digit.repeat(64))
            };
            own.lines().map(line).collect()
        };
        let (a, b) = (of("a"), of("b"));
        let first = places.of(a.as_bytes(), |_| true);
        assert_eq!(first.found.as_ref().map(|found| &*found.raw_id), Some(&*"a".repeat(64)));
        assert_eq!(places.known.len(), 1);
        let again = places.of(a.as_bytes(), |_| true);
        assert!(Arc::ptr_eq(&first.found.expect("a container"), &again.found.expect("the same")));
        assert_eq!((places.known.len(), again.cgroups.len()), (1, 0), "nobody asked for its directories");
        assert!(!places.of(a.as_bytes(), |_| false).cgroups.is_empty(), "they are worked out again");
        assert_eq!(places.known.len(), 1);
        places.of(b.as_bytes(), |_| true);
        assert_eq!(places.known.len(), 2);
        assert!(places.set_users(UserSlices::Shown) && places.known.is_empty(), "other rules");
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten() {
        let [proc, sys, cgroup, root] = ["/proc", "/sys", "/sys/fs/cgroup", "/"].map(PathBuf::from);
        let mut places =
            Places::read(&Paths { proc, sys, cgroup, root }, UserSlices::Hidden).expect("cgroups");
        let line = std::fs::read_to_string("/proc/self/cgroup").expect("its own");
        let (names, _) = line.lines().next().and_then(|line| line.rsplit_once(':')).expect("a path");
        let mut of = |number: usize| {
            let found = places.of(format!("{names}:/docker/{number:064x}\n").as_bytes(), |_| true).found;
            (found.expect("a container"), places.known.len())
        };
        let kept: Vec<_> = (0..FEW / 2).map(|number| of(number).0).collect();
        let most = (FEW..100 * FEW).map(|number| of(number).1).max();
        assert_eq!(most, Some(FEW));
        for (number, found) in kept.iter().enumerate() {
            assert!(Arc::ptr_eq(found, &of(number).0), "{number} is worked out once");
        }
    }
}
