//! Files for a plugin to read: a node's root in a directory of the test's own.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use tempfile::TempDir;

/// A node's root directory: `proc`, `sys` (with `fs/cgroup`) and whatever else
/// a test writes. A temporary one is removed with the tree.
///
/// # Panics
/// Each method panics, with the path, where the file system does not do what
/// it was told: a test cannot go on without its fixtures.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    _temporary: Option<TempDir>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// An empty one, with the directories `proc`, `sys` and `sys/fs/cgroup`.
    #[track_caller]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("gantry-kit-").tempdir();
        let dir = done(Path::new("a temporary directory"), dir);
        let tree = Self { root: dir.path().to_owned(), _temporary: Some(dir) };
        ["proc", "sys/fs/cgroup"].iter().for_each(|path| tree.dir(path));
        tree
    }

    /// A directory that is there, as `/` or a stored fixture. It stays.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), _temporary: None }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the root.
    ///
    /// # Panics
    /// Where it would lead out of the root: a fixture is beneath it.
    #[track_caller]
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        let below = below.as_ref();
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        assert!(below.components().all(plain), "{}: name a path below the tree's root", below.display());
        self.root.join(below)
    }

    /// Writes a file, with the directories on its way.
    #[track_caller]
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        self.parent_of(&path);
        done(&path, fs::write(&path, content));
    }

    /// Makes a directory, with those on its way.
    #[track_caller]
    pub fn dir(&self, path: impl AsRef<Path>) {
        let path = self.path(path);
        done(&path, fs::create_dir_all(&path));
    }

    /// Makes a symbolic link to `target`, which is written as it is.
    #[track_caller]
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) {
        let path = self.path(path);
        self.parent_of(&path);
        done(&path, std::os::unix::fs::symlink(target, &path));
    }

    /// Takes a file, a link, or a directory with all that is in it away.
    #[track_caller]
    pub fn remove(&self, path: impl AsRef<Path>) {
        let path = self.path(path);
        let kind = done(&path, fs::symlink_metadata(&path));
        done(&path, if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) });
    }

    #[track_caller]
    fn parent_of(&self, path: &Path) {
        if let Some(parent) = path.parent() {
            done(parent, fs::create_dir_all(parent));
        }
    }
}

#[track_caller]
fn done<T>(path: &Path, result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("the fixture {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_made_and_gone() {
        let tree = Tree::new();
        tree.write("proc/1/stat", "x");
        tree.symlink("1", "proc/self");
        assert_eq!(fs::read_to_string(tree.path("proc/self/stat")).unwrap(), "x");
        tree.remove("proc/self");
        tree.remove("proc/1");
        assert!(!tree.path("proc/1").exists() && tree.path("sys/fs/cgroup").is_dir());
        let root = tree.root().to_owned();
        drop(tree);
        assert!(!root.exists());
    }

    #[test]
    #[should_panic(expected = "below the tree's root")]
    fn a_fixture_is_beneath_the_root() {
        Tree::new().write("../x", "");
    }
}
