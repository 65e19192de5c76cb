//! Paths as they are seen from a cgroup namespace (cgroup_namespaces(7)).
//!
//! The kernel shows each path from the root of the reader's namespace. A
//! cgroup outside of it is `/../x`: as many `..` as it takes to climb to the
//! common ancestor, and only at the front.

use std::path::{Component, Path, PathBuf};

/// `path`, seen from a namespace whose root is `base`, from the hierarchy's
/// root. `None` where it climbs above that root, or is not absolute.
///
/// ```
/// # use std::path::{Path, PathBuf};
/// let base = Path::new("/kubepods/pod1/agent");
/// let seen = gantry_cgroupfs::path::join(base, Path::new("/../../pod2/web"));
/// assert_eq!(seen, Some(PathBuf::from("/kubepods/pod2/web")));
/// ```
pub fn join(base: &Path, path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    let mut joined = base.to_path_buf();
    for component in path.components().skip(1) {
        match component {
            Component::Normal(name) => joined.push(name),
            // `/` has no parent: `pop` says so.
            Component::ParentDir if joined.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(joined)
}

/// How often a path climbs out of the namespace before it descends.
pub fn climbs(path: &Path) -> usize {
    let below = path.components().skip_while(|component| *component == Component::RootDir);
    below.take_while(|component| *component == Component::ParentDir).count()
}

/// Whether all components are names: nothing that climbs or starts anew.
pub(crate) fn is_plain(relative: &Path) -> bool {
    relative.components().all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str, path: &str) -> Option<String> {
        join(Path::new(base), Path::new(path)).map(|path| path.to_str().expect("a text").to_owned())
    }

    #[test]
    fn paths_are_joined_to_the_namespace_s_root() {
        assert_eq!(joined("/", "/a/b").as_deref(), Some("/a/b"));
        assert_eq!(joined("/docker/x", "/").as_deref(), Some("/docker/x"));
        assert_eq!(joined("/docker/x", "/in").as_deref(), Some("/docker/x/in"));
        assert_eq!(joined("/docker/x", "/../y").as_deref(), Some("/docker/y"));
        assert_eq!(joined("/docker/x", "/../..").as_deref(), Some("/"));
        assert_eq!(joined("/docker/x", "/../../init.scope").as_deref(), Some("/init.scope"));
        assert_eq!(joined("/docker/x", "/../../.."), None, "above the root");
        assert_eq!(joined("/", "/../y"), None);
        assert_eq!(joined("/", "y"), None);
    }

    #[test]
    fn only_leading_climbs_count() {
        assert_eq!(climbs(Path::new("/")), 0);
        assert_eq!(climbs(Path::new("/a/../..")), 0);
        assert_eq!(climbs(Path::new("/../../init.scope")), 2);
    }

    #[test]
    fn plain_is_what_cannot_lead_elsewhere() {
        assert!(is_plain(Path::new("")) && is_plain(Path::new("a/..b")));
        assert!(!is_plain(Path::new("a/../b")) && !is_plain(Path::new("/a")));
    }
}
