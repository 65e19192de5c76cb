//! What the kernel counts in the files of cgroups: `memory.oom_control` of version 1,
//! `memory.events` of version 2, and `memory.events.local`, which leaves out the
//! cgroups below as an event's number does.

use gantry_cgroupfs::files::{At, Directory, Files, Kept};
use gantry_cgroupfs::layout::{Resource, Version};
use gantry_cgroupfs::{Failure, Hierarchy, Layout, list};
use gantry_plugin_api::Host;
use std::path::{Path, PathBuf};

/// Files that are kept open: one a container. More are opened each time.
const DESCRIPTORS: usize = 2048;

/// Cgroups that are listed to know which are there.
const LISTED: list::Bounds = list::Bounds { directories: 1 << 18, depth: 64 };

/// The file of one cgroup.
#[derive(Debug, Default)]
pub struct Place {
    directory: PathBuf,
    kept: Kept,
    seen: Directory,
}

/// What one look gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// Processes that were killed since there is the cgroup.
    pub kills: u64,
    /// It is another cgroup than at the last look.
    pub anew: bool,
}

/// The files.
#[derive(Debug)]
pub struct Counters {
    layout: Layout,
    index: usize,
    name: &'static str,
    files: Files,
}

impl Counters {
    /// Those of this machine; `local`: without what happened in cgroups below.
    ///
    /// # Errors
    /// Why there are none.
    pub fn of(host: &Host, local: bool) -> Result<Self, String> {
        let layout = Layout::read(&host.proc(), &host.cgroup()).map_err(|error| error.to_string())?;
        let index = layout.serving(Resource::Memory);
        let index = index.ok_or_else(|| {
            format!("{}: no hierarchy with the memory controller is mounted", host.cgroup().display())
        })?;
        let name = match (layout.hierarchies()[index].version(), local) {
            (Version::V1, _) => "memory.oom_control",
            (Version::V2, false) => "memory.events",
            (Version::V2, true) => "memory.events.local",
        };
        let files = Files::new(&layout, DESCRIPTORS);
        Ok(Self { layout, index, name, files })
    }

    fn hierarchy(&self) -> &Hierarchy {
        &self.layout.hierarchies()[self.index]
    }

    /// The number of the hierarchy; 0 is version 2.
    pub fn number(&self) -> u32 {
        self.hierarchy().number
    }

    /// The file of a cgroup, by its path from the hierarchy's root. `None`: it does not
    /// lie where it can be seen, or is the root.
    pub fn place(&self, path: &str) -> Option<Place> {
        let directory = self.hierarchy().below(Path::new(path))?;
        (path != "/").then(|| Place { directory, ..Place::default() })
    }

    /// Begins a collection.
    pub fn begin(&mut self) {
        self.files.begin();
    }

    /// What the file says. `None` where there is none, or no longer.
    ///
    /// # Errors
    /// What is wrong with a file that is there.
    pub fn read(&mut self, place: &mut Place) -> Result<Option<Number>, String> {
        let at = At { hierarchy: self.index, directory: &place.directory, name: self.name };
        let failed = |why: &str| format!("{}/{}: {why}", place.directory.display(), self.name);
        match self.files.read(&mut place.kept, &mut place.seen, at) {
            Ok(text) => match kills(text.bytes) {
                Some(kills) => Ok(Some(Number { kills, anew: text.anew })),
                None => Err(failed("no number of kills (oom_kill): Linux before 4.13 has none")),
            },
            Err(Failure::Gone | Failure::Missing) => Ok(None),
            Err(failure) => Err(failed(&failure.to_string())),
        }
    }

    /// Closes what is open.
    pub fn forget(&mut self, place: &mut Place) {
        self.files.forget(&mut place.kept);
    }

    /// The id of the youngest cgroup that is there: the kernel numbers them in the
    /// order in which they are made. `None` where not all can be seen.
    pub fn youngest(&self) -> Option<u64> {
        let root = self.hierarchy().directory.as_deref()?;
        let mut youngest = 0;
        let listing = list::below(root, Path::new(""), LISTED, |found| youngest = youngest.max(found.id));
        listing.ok().filter(|listing| !listing.truncated && listing.unreadable == 0).map(|_| youngest)
    }
}

/// The line `oom_kill`, which both versions have, without what the kernel counts twice:
/// the one that it chose of a group (`oom_group_kill`, since Linux 5.17).
fn kills(text: &[u8]) -> Option<u64> {
    let groups = line(text, b"oom_group_kill ").unwrap_or_default();
    line(text, b"oom_kill ").map(|kills| kills.saturating_sub(groups))
}

fn line(text: &[u8], key: &[u8]) -> Option<u64> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found_in_both_versions() {
        assert_eq!(kills(b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(kills(b"low 0\nhigh 0\nmax 12\noom 4\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(kills(b"oom_kill 4\noom_group_kill 1\n"), Some(3));
        assert_eq!(kills(b"oom_kill 0\noom_group_kill 1\n"), Some(0), "of cgroups below");
        for text in
            [&b""[..], b"oom_kill\n", b"oom_kill x\n", b"oom_kill_disable 0\n", b"\xff\xfe", b"oom_kill -1\n"]
        {
            assert_eq!(kills(text), None, "{text:?}");
        }
    }
}
