//! Directories of the cgroup tree as they come and go (inotify). Cgroup file
//! systems tell of `mkdir` and `rmdir`, version 1 too.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most directories that are watched: slices, pods and the like, whose
/// children may be containers. The kernel keeps about 1 KiB for each.
const MAX_WATCHES: usize = 8192;

/// How deep containers lie: `kubepods.slice/…-besteffort.slice/…-pod.slice` is
/// 3, in a machine that is itself a container 6. Who makes deeper trees on
/// purpose gains nothing.
const MAX_DEPTH: usize = 12;

/// Some hundred events: names are up to 255 bytes, mostly 80.
const BUFFER: usize = 32 << 10;

/// A hierarchy that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    pub hierarchy: u32,
    pub directory: PathBuf,
}

/// What came to be, or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A directory is there; its inode number is its cgroup's id.
    Made { hierarchy: u32, path: String, id: u64 },
    /// One is gone.
    Removed { hierarchy: u32, id: u64 },
    /// One came and was gone before somebody looked: nobody knows its id.
    Passed { hierarchy: u32, path: String },
}

/// Whether a directory's children are looked at: not those of a container.
pub type Descend<'a> = &'a mut dyn FnMut(&str) -> bool;

/// The tree, watched.
#[derive(Debug)]
pub struct Tree {
    inotify: OwnedFd,
    roots: Vec<Root>,
    watches: HashMap<i32, Watched>,
    /// Ids of directories that were told, by hierarchy and path: what is gone has
    /// none. A path that is there in several hierarchies is one text.
    ids: HashMap<(u32, Arc<str>), u64>,
    /// Directories that are not watched, since there are too many.
    refused: u64,
}

#[derive(Debug, Clone)]
struct Watched {
    hierarchy: u32,
    /// Below the hierarchy's root: `/`, `/docker`.
    path: String,
}

impl Tree {
    /// # Errors
    /// Where the kernel has no inotify left for this user
    /// (`fs.inotify.max_user_instances`).
    pub fn new(roots: Vec<Root>) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify, roots, watches: HashMap::new(), ids: HashMap::new(), refused: 0 })
    }

    /// Directories that are not watched, since there are too many.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// All directories that there are now, and those from now on are told.
    pub fn list(&mut self, descend: Descend<'_>, into: &mut Vec<Change>) {
        for (hierarchy, id) in self.gone() {
            into.push(Change::Removed { hierarchy, id });
        }
        for Root { hierarchy, .. } in self.roots.clone() {
            let is_watched = self.enter(hierarchy, "/", 0, true, descend, into);
            self.refused += u64::from(!is_watched);
        }
    }

    /// Reads what there is, without waiting. `false`: events were lost; list
    /// anew.
    pub fn read(&mut self, descend: Descend<'_>, into: &mut Vec<Change>) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut made = Vec::new();
        let mut whole = true;
        {
            let mut reader = Reader::new(&self.inotify, &mut buffer);
            loop {
                let event = match reader.next() {
                    Ok(event) => event,
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => continue,
                    Err(errno) => return Err(errno.into()),
                };
                if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                    whole = false;
                    continue;
                }
                if event.events().contains(ReadFlags::IGNORED) {
                    self.watches.remove(&event.wd());
                    continue;
                }
                let Some(parent) = self.watches.get(&event.wd()) else { continue };
                let Some(name) = event.file_name().and_then(|name| name.to_str().ok()) else { continue };
                let path = join(&parent.path, name);
                if event.events().contains(ReadFlags::DELETE) {
                    if let Some(id) = self.ids.remove(&(parent.hierarchy, path.into())) {
                        into.push(Change::Removed { hierarchy: parent.hierarchy, id });
                    }
                } else if event.events().contains(ReadFlags::ISDIR) {
                    made.push((parent.hierarchy, path));
                }
            }
        }
        for (hierarchy, path) in made {
            let depth = path.matches('/').count();
            if self.found(hierarchy, &path, depth, false, descend, into).is_none() {
                into.push(Change::Passed { hierarchy, path });
            }
        }
        Ok(whole)
    }

    /// A directory is there; `None` where it is not, or none. `again`: those
    /// that are known are looked into again, since some of their children may
    /// have been missed.
    fn found(
        &mut self,
        hierarchy: u32,
        path: &str,
        depth: usize,
        again: bool,
        descend: Descend<'_>,
        into: &mut Vec<Change>,
    ) -> Option<()> {
        let directory = self.directory(hierarchy, path)?;
        let metadata = std::fs::symlink_metadata(&directory).ok().filter(std::fs::Metadata::is_dir)?;
        let id = metadata.ino();
        let known = self.ids.insert((hierarchy, self.text(path)), id);
        if known != Some(id) {
            into.extend(known.map(|id| Change::Removed { hierarchy, id }));
            into.push(Change::Made { hierarchy, path: path.to_owned(), id });
        }
        if (again || known != Some(id)) && depth < MAX_DEPTH && descend(path) {
            let is_watched = self.enter(hierarchy, path, depth, again, descend, into);
            self.refused += u64::from(!is_watched && known != Some(id));
        }
        Some(())
    }

    /// Watches a directory, and tells of its children. `false`: it is not
    /// watched.
    fn enter(
        &mut self,
        hierarchy: u32,
        path: &str,
        depth: usize,
        again: bool,
        descend: Descend<'_>,
        into: &mut Vec<Change>,
    ) -> bool {
        let Some(directory) = self.directory(hierarchy, path) else { return true };
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR | WatchFlags::EXCL_UNLINK;
        let is_watched = match inotify::add_watch(&self.inotify, &directory, flags) {
            // One that is watched has the same number again, so only this tells whether it is one more.
            Ok(watch) if self.watches.len() >= MAX_WATCHES && !self.watches.contains_key(&watch) => {
                // It fails where the directory is gone, and the watch with it.
                let _ = inotify::remove_watch(&self.inotify, watch);
                false
            }
            Ok(watch) => {
                self.watches.insert(watch, Watched { hierarchy, path: path.to_owned() });
                true
            }
            Err(Errno::NOENT) => return true,
            Err(_) => false,
        };
        // Watched first: what comes in between is told twice and not missed.
        let Ok(entries) = std::fs::read_dir(&directory) else { return is_watched };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir())
                && let Some(name) = entry.file_name().to_str()
            {
                self.found(hierarchy, &join(path, name), depth + 1, again, descend, into);
            }
        }
        is_watched
    }

    /// Those that were told and are not there any more; they are forgotten.
    fn gone(&mut self) -> Vec<(u32, u64)> {
        let mut ids = std::mem::take(&mut self.ids);
        let mut gone = Vec::new();
        ids.retain(|(hierarchy, path), id| {
            let now = self.directory(*hierarchy, path).and_then(|path| std::fs::symlink_metadata(path).ok());
            let stays = now.is_some_and(|metadata| metadata.ino() == *id);
            if !stays {
                gone.push((*hierarchy, *id));
            }
            stays
        });
        self.ids = ids;
        gone
    }

    /// A path, as another hierarchy has it.
    fn text(&self, path: &str) -> Arc<str> {
        let mut key = (0, Arc::from(path));
        for root in &self.roots {
            key.0 = root.hierarchy;
            if let Some(((_, known), _)) = self.ids.get_key_value(&key) {
                return known.clone();
            }
        }
        key.1
    }

    fn directory(&self, hierarchy: u32, path: &str) -> Option<PathBuf> {
        let root = self.roots.iter().find(|root| root.hierarchy == hierarchy)?;
        Some(below(&root.directory, path))
    }
}

impl AsFd for Tree {
    /// Readable when there are changes.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn join(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories whose names begin with `c` are containers.
    fn descend(path: &str) -> bool {
        !path.rsplit('/').next().unwrap_or_default().starts_with('c')
    }

    fn made(changes: &[Change]) -> Vec<&str> {
        fn path(change: &Change) -> Option<&str> {
            match change {
                Change::Made { path, .. } => Some(path),
                Change::Removed { .. } | Change::Passed { .. } => None,
            }
        }
        let mut made: Vec<&str> = changes.iter().filter_map(path).collect();
        made.sort_unstable();
        made
    }

    #[test]
    fn what_is_there_and_what_comes_and_goes() {
        let root = tempfile::tempdir().expect("a directory");
        let make = |path: &str| std::fs::create_dir_all(root.path().join(path)).expect("a directory");
        ["docker/c1/inner", "other"].iter().for_each(|path| make(path));
        let mut tree =
            Tree::new(vec![Root { hierarchy: 4, directory: root.path().to_owned() }]).expect("inotify");
        let mut changes = Vec::new();
        tree.list(&mut descend, &mut changes);
        assert_eq!(made(&changes), ["/docker", "/docker/c1", "/other"], "not inside of a container");
        ["docker/c2", "other/deep/c3", "docker/c1/more"].iter().for_each(|path| make(path));
        changes.clear();
        while tree.read(&mut descend, &mut changes).expect("read") && changes.len() < 3 {}
        assert_eq!(made(&changes), ["/docker/c2", "/other/deep", "/other/deep/c3"]);
        let id = std::fs::metadata(root.path().join("docker/c2")).expect("there").ino();
        std::fs::remove_dir(root.path().join("docker/c2")).expect("remove");
        changes.clear();
        while tree.read(&mut descend, &mut changes).expect("read") && changes.is_empty() {}
        assert_eq!(changes, [Change::Removed { hierarchy: 4, id }]);
        changes.clear();
        std::fs::remove_dir(root.path().join("other/deep/c3")).expect("remove");
        make("other/deep/c4");
        tree.list(&mut descend, &mut changes);
        assert_eq!((made(&changes), changes.len()), (vec!["/other/deep/c4"], 2), "as after a loss");
    }

    #[test]
    fn those_that_are_too_many_are_counted_once() {
        let root = tempfile::tempdir().expect("a directory");
        for number in 0..MAX_WATCHES + 9 {
            std::fs::create_dir(root.path().join(number.to_string())).expect("a directory");
        }
        let mut tree =
            Tree::new(vec![Root { hierarchy: 4, directory: root.path().to_owned() }]).expect("inotify");
        for _ in 0..3 {
            tree.list(&mut descend, &mut Vec::new());
            // The root is one of those that are watched.
            assert_eq!((tree.refused(), tree.watches.len()), (10, MAX_WATCHES));
        }
    }

    #[test]
    fn a_maze_of_links_is_not_entered() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("a")).expect("a directory");
        std::os::unix::fs::symlink(root.path(), root.path().join("a/up")).expect("a link");
        let mut tree =
            Tree::new(vec![Root { hierarchy: 0, directory: root.path().to_owned() }]).expect("inotify");
        let mut changes = Vec::new();
        tree.list(&mut descend, &mut changes);
        assert_eq!(made(&changes), ["/a"]);
    }

    #[test]
    fn what_is_gone_before_the_look_is_told() {
        let root = tempfile::tempdir().expect("a directory");
        let roots = vec![Root { hierarchy: 4, directory: root.path().to_owned() }];
        let mut tree = Tree::new(roots).expect("inotify");
        tree.list(&mut descend, &mut Vec::new());
        std::fs::create_dir(root.path().join("c1")).expect("a directory");
        std::fs::remove_dir(root.path().join("c1")).expect("it is empty");
        std::fs::write(root.path().join("file"), "").expect("a file");
        let mut changes = Vec::new();
        assert!(tree.read(&mut descend, &mut changes).expect("it reads"));
        assert_eq!(changes, [Change::Passed { hierarchy: 4, path: "/c1".to_owned() }]);
    }
}
