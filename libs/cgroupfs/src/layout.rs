//! Which hierarchies a machine has, where they lie, and which serves what.
//!
//! What there is stands in `PROC/self/cgroup`. Where it lies stands in
//! `PROC/self/mountinfo`, if hierarchies are mounted at or below the root that
//! was given; else (another mount namespace's tree, a fixture) the directories
//! are known by their names, as systemd, Docker and cgroupfs-mount give them.

mod base;
mod find;

use crate::membership::{self, Entry};
use crate::{Error, mounts, path, read};
use std::path::{Path, PathBuf};

/// The generation of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One tree for some controllers.
    V1,
    /// The one tree for the rest.
    V2,
}

/// What a machine's hierarchies are, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Controllers in v1, no v2.
    V1,
    /// v2, and no controller in v1 (named hierarchies may be there).
    V2,
    /// Both.
    Hybrid,
}

/// What one asks a cgroup about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Throttling and the limit of CPU time (v1 `cpu`).
    Cpu,
    /// Used CPU time (v1 `cpuacct`; every cgroup of v2).
    CpuAccount,
    /// Memory (`memory`).
    Memory,
    /// Traffic of block devices (v1 `blkio`, v2 `io`).
    Io,
    /// Number of processes (`pids`).
    Pids,
    /// Time lost in waiting (v2 alone).
    Pressure,
}

impl Resource {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Cpu, Self::CpuAccount, Self::Memory, Self::Io, Self::Pids, Self::Pressure];

    /// The controller's name in v1.
    fn controller(self) -> Option<&'static str> {
        match self {
            Self::Cpu => Some("cpu"),
            Self::CpuAccount => Some("cpuacct"),
            Self::Memory => Some("memory"),
            Self::Io => Some("blkio"),
            Self::Pids => Some("pids"),
            Self::Pressure => None,
        }
    }
}

/// One hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its number, as in `/proc/PID/cgroup`; 0 is v2.
    pub number: u32,
    /// As in `/proc/PID/cgroup`: `cpu,cpuacct`, `name=systemd`, empty for v2.
    pub controllers: String,
    /// Where it lies; `None` if it is nowhere below the root.
    pub directory: Option<PathBuf>,
    /// What of it lies there, from the agent's namespace.
    mounted: PathBuf,
    /// The root of the agent's namespace, from that of the hierarchy.
    base: Option<PathBuf>,
}

impl Hierarchy {
    /// Its generation.
    pub fn version(&self) -> Version {
        if self.controllers.is_empty() { Version::V2 } else { Version::V1 }
    }

    /// The root of the agent's own cgroup namespace, as a path from the
    /// hierarchy's root: `/` unless the agent has a namespace of its own.
    /// `None` if it has, and it could not be learned which cgroup that is:
    /// paths that lead out of it cannot be turned absolute then.
    pub fn base(&self) -> Option<&Path> {
        self.base.as_deref()
    }

    /// A path of `/proc/PID/cgroup` as it is from the hierarchy's root.
    pub fn absolute(&self, path: &Path) -> Option<PathBuf> {
        path::join(self.base.as_deref()?, path)
    }

    /// A path from the hierarchy's root as it is below [`Hierarchy::directory`].
    /// `None` if the cgroup does not lie there. Where the agent's own place is
    /// not known, the path must be one of `/proc/PID/cgroup`.
    pub fn below(&self, absolute: &Path) -> Option<PathBuf> {
        let Some(mounted) = self.absolute(&self.mounted) else { return self.relative(absolute) };
        let below = absolute.strip_prefix(mounted).ok()?;
        path::is_plain(below).then(|| below.to_path_buf())
    }

    /// A path of `/proc/PID/cgroup` as it is below [`Hierarchy::directory`].
    /// `None` if the cgroup does not lie there.
    pub fn relative(&self, path: &Path) -> Option<PathBuf> {
        let absolute = self.absolute(&self.mounted).zip(self.absolute(path));
        let below = match &absolute {
            Some((mounted, path)) => path.strip_prefix(mounted),
            // Both climb out of the same namespace: what they have in common needs no name.
            None => path.strip_prefix(&self.mounted),
        };
        below.ok().filter(|below| path::is_plain(below)).map(Path::to_path_buf)
    }
}

/// All hierarchies of a machine, as they were when it was read. They change
/// only by mounting, which is done at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    hierarchies: Vec<Hierarchy>,
    mode: Mode,
}

impl Layout {
    /// Reads the layout below `cgroup_root` (`/sys/fs/cgroup`, or where the
    /// node's is mounted); `proc` is the node's `/proc`.
    ///
    /// # Errors
    /// If `PROC/self/cgroup` or the root cannot be read, or no hierarchy is
    /// there. Other missing files make the answer poorer only.
    pub fn read(proc: &Path, cgroup_root: &Path) -> Result<Self, Error> {
        Self::read_as(proc, cgroup_root, std::process::id())
    }

    /// The same for a process of this number; a test's tree has its own.
    ///
    /// # Errors
    /// As [`Layout::read`].
    pub fn read_as(proc: &Path, cgroup_root: &Path, own_pid: u32) -> Result<Self, Error> {
        let root = cgroup_root.canonicalize().map_err(|source| Error::io(cgroup_root, source))?;
        let (mut own, mut init, mut mountinfo) = (Vec::new(), Vec::new(), Vec::new());
        membership::read(proc, "self", &mut own)?;
        // Where these cannot be read, nothing is mounted, and there is no namespace.
        let _ = membership::read(proc, "1", &mut init);
        let _ = read::whole(&proc.join("self/mountinfo"), mounts::MAX_FILE, &mut mountinfo);
        let mounts = mounts::below(&root, &mountinfo);
        let mut hierarchies = Vec::new();
        for entry in membership::entries(&own).filter_map(Result::ok) {
            let initial = path_of(&init, &entry);
            let climbs = initial.map_or(0, path::climbs);
            let place = match mounts.is_empty() {
                true => find::by_name(&root, &entry).map(|place| (place, base::above(climbs))),
                false => find::mounted(&mounts, &entry),
            };
            let (directory, mounted) = place.map_or((None, PathBuf::from("/")), |(at, of)| (Some(at), of));
            let base = base::learn(climbs, directory.as_deref(), &mounted, entry.path, own_pid);
            let controllers = entry.controllers.to_owned();
            hierarchies.push(Hierarchy { number: entry.hierarchy, controllers, directory, mounted, base });
        }
        let mode = mode(&hierarchies).ok_or(Error::NoHierarchy { root })?;
        Ok(Self { hierarchies, mode })
    }

    /// What the hierarchies are, all together.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The hierarchies, as `/proc/self/cgroup` lists them, with those that have
    /// no directory.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The index of the hierarchy that an entry of `/proc/PID/cgroup` is of.
    pub fn index_of(&self, entry: &Entry<'_>) -> Option<usize> {
        let is_it = |hierarchy: &Hierarchy| hierarchy.controllers == entry.controllers;
        self.hierarchies.iter().position(is_it)
    }

    /// The directory of the cgroup that an entry of `/proc/PID/cgroup` names.
    /// `None` if it is not below the root, or not visible from here. Whether
    /// it is there is not looked at.
    pub fn directory(&self, entry: &Entry<'_>) -> Option<PathBuf> {
        let hierarchy = &self.hierarchies[self.index_of(entry)?];
        Some(hierarchy.directory.as_ref()?.join(hierarchy.relative(entry.path)?))
    }

    /// The index of the hierarchy that serves a resource: v1 where the
    /// controller is bound there, else v2. A controller that is bound to a v1
    /// hierarchy which is not mounted is in v2 neither.
    pub fn serving(&self, resource: Resource) -> Option<usize> {
        let bound = resource.controller().and_then(|controller| {
            let has = |one: &Hierarchy| one.controllers.split(',').any(|name| name == controller);
            self.hierarchies.iter().position(has)
        });
        let v2 = || self.hierarchies.iter().position(|one| one.version() == Version::V2);
        bound.or_else(v2).filter(|index| self.hierarchies[*index].directory.is_some())
    }
}

/// The path in `other`, a `/proc/PID/cgroup`, of the hierarchy of `entry`.
fn path_of<'a>(other: &'a [u8], entry: &Entry<'_>) -> Option<&'a Path> {
    let mut entries = membership::entries(other).filter_map(Result::ok);
    entries.find(|one| one.controllers == entry.controllers).map(|one| one.path)
}

fn mode(hierarchies: &[Hierarchy]) -> Option<Mode> {
    let mut there = hierarchies.iter().filter(|one| one.directory.is_some());
    let is_named_only = |one: &Hierarchy| one.controllers.split(',').all(|name| name.starts_with("name="));
    let v2 = there.clone().any(|one| one.version() == Version::V2);
    let v1 = there.any(|one| one.version() == Version::V1 && !is_named_only(one));
    match (v1, v2) {
        (true, true) => Some(Mode::Hybrid),
        (true, false) => Some(Mode::V1),
        (false, true) => Some(Mode::V2),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests;
