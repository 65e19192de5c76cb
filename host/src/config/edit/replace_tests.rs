//! Files that may be replaced, and in how many ways one may not.

use super::{Prepared, replace};
use rustix::fs::{IFlags, XattrFlags, ioctl_getflags, ioctl_setflags};
use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "../../../tests/support/needs.rs"]
#[allow(dead_code, reason = "these tests need root alone")]
mod needs;

const OLD: &str = "[plugins.x]\nenabled = false\n";
const NEW: &str = "[plugins.x]\nenabled = true\n";

struct Place {
    dir: tempfile::TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("plugins.toml");
        std::fs::write(&file, OLD).expect("own directory");
        Self { dir, file }
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("own directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// It cannot be edited, for this reason, and nothing changed.
    fn refused(&self, path: &Path, cause: &str) {
        let before = self.names();
        let error = replace(path, OLD, NEW).expect_err(cause);
        let begin = format!("{} cannot be edited (", path.display());
        assert!(error.starts_with(&begin) && error.contains(cause), "{error}");
        assert!(error.contains("--until-restart") && error.contains("`gantry reload`"), "{error}");
        assert_eq!(self.names(), before, "{cause}");
        if path.is_file() {
            assert_eq!(std::fs::read_to_string(path).expect("it is there"), OLD, "{cause}");
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("own file");
}

#[test]
fn the_new_file_is_as_the_old_one_was() {
    let place = Place::new();
    for mode in [0o640, 0o600, 0o664] {
        std::fs::write(&place.file, OLD).expect("own file");
        set_mode(&place.file, mode);
        replace(&place.file, OLD, NEW).expect("own file");
        assert_eq!(std::fs::read_to_string(&place.file).expect("it is there"), NEW);
        assert_eq!(place.file.metadata().expect("it is there").mode() & 0o7777, mode);
        assert_eq!(place.names(), ["plugins.toml"]);
    }
}

#[test]
fn owner_and_attributes_are_kept() {
    if !needs::root() {
        return;
    }
    let place = Place::new();
    std::os::unix::fs::chown(&place.file, Some(4321), Some(1234)).expect("root may");
    let file = File::open(&place.file).expect("own file");
    let flags = XattrFlags::empty();
    let attributes = rustix::fs::fsetxattr(&file, "trusted.gantry-test", b"value", flags);
    // Group write is in the mode what the mask is in the list: without the
    // list, the group would gain it.
    let acl = [
        &2u32.to_le_bytes()[..],
        &[1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255, 255, 255, 255],
        &[16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255],
    ]
    .concat();
    let list = rustix::fs::fsetxattr(&file, "system.posix_acl_access", &acl, flags);
    replace(&place.file, OLD, NEW).expect("root may");
    let new = place.file.metadata().expect("it is there");
    assert_eq!((new.uid(), new.gid()), (4321, 1234));
    let mut value = [0; 64];
    if needs::have("a file system with trusted attributes", attributes.is_ok()) {
        let size = rustix::fs::getxattr(&place.file, "trusted.gantry-test", &mut value).expect("it is kept");
        assert_eq!(value[..size], *b"value");
    }
    if needs::have("a file system with lists of permissions", list.is_ok()) {
        let size =
            rustix::fs::getxattr(&place.file, "system.posix_acl_access", &mut value).expect("it is kept");
        assert_eq!(value[..size], acl);
    }
}

#[test]
fn a_link_stays_a_link() {
    let place = Place::new();
    let (middle, link) = (place.dir.path().join("middle"), place.dir.path().join("link"));
    symlink("plugins.toml", &middle).expect("own directory");
    symlink(&middle, &link).expect("own directory");
    replace(&link, OLD, NEW).expect("own file");
    assert_eq!(std::fs::read_link(&link).expect("still a link"), middle);
    assert_eq!(std::fs::read_to_string(&place.file).expect("it is there"), NEW);
    assert_eq!(place.names(), ["link", "middle", "plugins.toml"]);
}

#[test]
fn what_changed_meanwhile_is_not_overwritten() {
    let place = Place::new();
    for other in ["", "[plugins.y]\n", &OLD[..OLD.len() - 1], &format!("{OLD}# more\n")] {
        std::fs::write(&place.file, other).expect("own file");
        let error = replace(&place.file, OLD, NEW).expect_err("it changed");
        assert!(error.contains("changed since the agent read it") && error.contains("reload"), "{error}");
        assert_eq!(std::fs::read_to_string(&place.file).expect("it is there"), other);
        assert_eq!(place.names(), ["plugins.toml"]);
    }
}

#[test]
fn what_operators_mark_as_managed_elsewhere_is_left_alone() {
    let place = Place::new();
    set_mode(&place.file, 0o444);
    place.refused(&place.file, "its mode 0444 lets nobody write it");
    set_mode(&place.file, 0o644);
    let other = place.dir.path().join("other");
    std::fs::hard_link(&place.file, &other).expect("own directory");
    place.refused(&place.file, "more than one name");
    std::fs::remove_file(&other).expect("own directory");
    place.refused(&place.dir.path().join("none"), "No such file");
    place.refused(place.dir.path(), "not a regular file");
    replace(&place.file, OLD, NEW).expect("and at last it may");
}

/// Mounted by the test, and unmounted at its end.
struct Mounted(PathBuf);

impl Mounted {
    fn new(arguments: &[&str], at: &Path) -> Self {
        mount(arguments, at);
        Self(at.to_owned())
    }
}

fn mount(arguments: &[&str], at: &Path) {
    let status = Command::new("mount").args(arguments).arg(at).status();
    assert!(status.expect("mount runs").success(), "mount {arguments:?}");
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_read_only_file_system_is_named() {
    if !needs::root() {
        return;
    }
    let place = Place::new();
    let inner = place.dir.path().join("mnt");
    std::fs::create_dir(&inner).expect("own directory");
    let mounted = Mounted::new(&["-t", "tmpfs", "gantry-test"], &inner);
    let file = inner.join("plugins.toml");
    std::fs::write(&file, OLD).expect("own file");
    mount(&["-o", "remount,ro"], &inner);
    place.refused(&file, "its file system is read-only");
    // Also where only a link leads there.
    let link = place.dir.path().join("link");
    symlink(&file, &link).expect("own directory");
    place.refused(&link, "its file system is read-only");
    drop(mounted);
}

#[test]
fn a_full_file_system_loses_nothing() {
    if !needs::root() {
        return;
    }
    let place = Place::new();
    let inner = place.dir.path().join("mnt");
    std::fs::create_dir(&inner).expect("own directory");
    let mounted = Mounted::new(&["-t", "tmpfs", "-o", "size=16k", "gantry-test"], &inner);
    let file = inner.join("plugins.toml");
    std::fs::write(&file, OLD).expect("own file");
    let filled = std::fs::write(inner.join("fill"), [0; 64 << 10]);
    assert!(filled.is_err(), "it is full");
    place.refused(&file, "No space left");
    assert_eq!(std::fs::read_dir(&inner).expect("own directory").count(), 2);
    drop(mounted);
}

#[test]
fn a_mount_over_the_file_itself_is_named() {
    if !needs::root() {
        return;
    }
    let place = Place::new();
    let other = place.dir.path().join("other");
    std::fs::write(&other, OLD).expect("own directory");
    let source = other.to_str().expect("a plain path");
    let mounted = Mounted::new(&["--bind", source], &place.file);
    place.refused(&place.file, "it is a mount of its own");
    // Before anything else is done.
    let prepared = Prepared::new(&place.file, OLD, NEW).expect_err("it is refused at once");
    assert!(prepared.contains("it is a mount of its own"), "{prepared}");
    drop(mounted);
}

#[test]
fn an_immutable_file_is_left_alone() {
    if !needs::root() {
        return;
    }
    let place = Place::new();
    let dir = File::open(place.dir.path()).expect("own directory");
    let file = File::open(&place.file).expect("own file");
    let set = |of: &File, on: bool| {
        let mut flags = ioctl_getflags(of)?;
        flags.set(IFlags::IMMUTABLE, on);
        ioctl_setflags(of, flags)
    };
    if !needs::have("a file system with the immutable flag", set(&file, true).is_ok()) {
        return;
    }
    place.refused(&place.file, "it is immutable");
    set(&file, false).expect("it was set");
    set(&dir, true).expect("the file's could be set");
    // Nobody, not even root, makes a file in such a directory.
    place.refused(&place.file, "writing a new one into");
    set(&dir, false).expect("it was set");
    replace(&place.file, OLD, NEW).expect("and at last it may");
}
