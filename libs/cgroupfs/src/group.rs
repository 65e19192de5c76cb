//! The cgroup of one container, in all hierarchies.

use crate::files::{Directory as Seen, Files, Kept};
use crate::layout::{Hierarchy, Layout, Mode, Resource, Version};
use crate::membership::Entry;
use crate::role::Role;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether a path is the hierarchy's root or cannot be told from it, and where
/// it lies below the hierarchy's directory.
type Directory = fn(&Hierarchy, &Path) -> Option<(bool, PathBuf)>;

/// A cgroup in one hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub hierarchy: u16,
    pub version: Version,
    /// Below the hierarchy's directory.
    pub directory: Arc<Path>,
    /// Which one was seen there.
    pub seen: Seen,
}

impl Place {
    /// The index of the hierarchy in the layout.
    pub fn hierarchy(&self) -> usize {
        usize::from(self.hierarchy)
    }
}

/// The cgroup of one container, in all hierarchies: where its figures are.
///
/// [`Reader::forget`](crate::Reader::forget) closes what it holds open; one that
/// is dropped without keeps its descriptors until the bound closes them.
#[derive(Debug, Clone)]
pub struct Group {
    places: Vec<Place>,
    /// For each [`Resource`] the index of its place.
    serving: [Option<u8>; Resource::ALL.len()],
    pub(crate) kept: [Kept; Role::COUNT],
}

impl Group {
    /// The cgroups that `entries` name, of a process of the container.
    ///
    /// Left out are: the root of a hierarchy, as its figures are the whole
    /// node's; cgroups that are removed, or not visible from here; and on a
    /// hybrid machine a v2 cgroup that none of the process's v1 cgroups is
    /// named like. There, older runtimes make cgroups in v1 only, and the
    /// process stays in its supervisor's v2 cgroup.
    pub fn of<'a>(layout: &Layout, entries: impl IntoIterator<Item = Entry<'a>>) -> Self {
        Self::made_of(layout, entries, |hierarchy, path| {
            let is_root = hierarchy.absolute(path).is_none_or(|path| path == Path::new("/"));
            Some((is_root, hierarchy.relative(path)?))
        })
    }

    /// As [`Self::of`], with paths from the roots of the hierarchies.
    pub fn at_roots<'a>(layout: &Layout, entries: impl IntoIterator<Item = Entry<'a>>) -> Self {
        Self::made_of(layout, entries, |hierarchy, path| {
            Some((path == Path::new("/"), hierarchy.below(path)?))
        })
    }

    fn made_of<'a>(
        layout: &Layout,
        entries: impl IntoIterator<Item = Entry<'a>>,
        directory: Directory,
    ) -> Self {
        let entries: Vec<_> = entries.into_iter().collect();
        let mut group = Self { places: Vec::new(), serving: [None; 6], kept: Default::default() };
        for resource in Resource::ALL {
            let index = layout.serving(resource);
            group.serving[resource as usize] =
                index.and_then(|index| group.place(layout, index, &entries, directory));
        }
        group
    }

    /// The index of the place in a hierarchy, which is made if need be.
    fn place(
        &mut self,
        layout: &Layout,
        hierarchy: usize,
        entries: &[Entry<'_>],
        directory: Directory,
    ) -> Option<u8> {
        let existing = self.places.iter().position(|place| place.hierarchy() == hierarchy);
        let index = existing.or_else(|| {
            let entry = entries.iter().find(|entry| layout.index_of(entry) == Some(hierarchy))?;
            let like_v1 = || entries.iter().any(|other| !other.is_v2() && other.path == entry.path);
            if entry.deleted || layout.mode() == Mode::Hybrid && entry.is_v2() && !like_v1() {
                return None;
            }
            let found = &layout.hierarchies()[hierarchy];
            // The namespace's own root may be a container's cgroup: only the hierarchy's is the node's.
            let (is_root, directory) = directory(found, entry.path)?;
            if is_root && directory.as_os_str().is_empty() {
                return None;
            }
            // Mostly it is the same in all.
            let same = self.places.iter().find(|place| *place.directory == *directory);
            let directory = same.map_or_else(|| directory.into(), |place| place.directory.clone());
            self.places.reserve_exact(1);
            let hierarchy = u16::try_from(hierarchy).ok()?;
            self.places.push(Place { hierarchy, version: found.version(), directory, seen: Seen::default() });
            Some(self.places.len() - 1)
        });
        index.and_then(|index| u8::try_from(index).ok())
    }

    /// Whether nothing can be read of it.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The generation that serves a resource of it.
    pub fn version(&self, resource: Resource) -> Option<Version> {
        self.at(resource).map(|place| place.version)
    }

    /// Its place in a hierarchy of this generation.
    pub(crate) fn any(&self, version: Version) -> Option<&Place> {
        self.places.iter().find(|place| place.version == version)
    }

    pub(crate) fn at(&self, resource: Resource) -> Option<&Place> {
        self.places.get(usize::from(self.serving[resource as usize]?))
    }

    /// The index of the place that serves a resource, and the place.
    pub(crate) fn at_mut(&mut self, resource: Resource) -> Option<(u8, &mut Place)> {
        let index = self.serving[resource as usize]?;
        self.places.get_mut(usize::from(index)).map(|place| (index, place))
    }

    /// Goes on from what was read of the same paths before: what is made anew
    /// since then is seen as such. Closes what that holds open.
    pub(crate) fn go_on_from(&mut self, mut before: Self, files: &mut Files) {
        before.forget(files);
        for place in &mut self.places {
            let same =
                |other: &&Place| other.hierarchy == place.hierarchy && other.directory == place.directory;
            if let Some(other) = before.places.iter().find(same) {
                place.seen = other.seen;
            }
        }
        self.kept.iter_mut().zip(&before.kept).for_each(|(kept, before)| kept.go_on_from(before));
    }

    pub(crate) fn forget(&mut self, files: &mut Files) {
        self.kept.iter_mut().for_each(|kept| files.forget(kept));
    }
}
