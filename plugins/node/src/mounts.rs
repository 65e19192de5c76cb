//! The mounts of the node (`/proc/PID/mountinfo`,
//! Documentation/filesystems/proc.rst, section 3.5).
//!
//! The lines are read here and not by `procfs-core`: see the README.

use crate::config::Settings;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// A mount whose file system is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is, from the node's root.
    pub path: PathBuf,
    /// The same as a text; bytes that are no UTF-8 are replaced.
    pub mount_point: String,
    /// Its device's number, which all mounts of one file system share.
    pub device: (u32, u32),
    /// What is mounted: `/dev/vda1`, `nas:/export`, `tmpfs`.
    pub source: String,
    /// `ext4`, `nfs4`, …
    pub fs_type: String,
    /// By the mount's or the file system's own options.
    pub read_only: bool,
}

/// The mounts that are shown, one a file system, and the number of lines that
/// could not be understood.
pub fn shown(mountinfo: &[u8], settings: &Settings) -> (Vec<Mount>, u64) {
    let mut bad = 0;
    // A later mount on the same point hides the earlier one.
    let mut visible: HashMap<PathBuf, Mount> = HashMap::new();
    for line in mountinfo.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match parse(line) {
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

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse(line: &[u8]) -> Option<Mount> {
    // Not white space in general: a source may be empty.
    let mut words = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(words.nth(2)?).ok()?.split_once(':')?;
    let device = (device.0.parse().ok()?, device.1.parse().ok()?);
    let path = PathBuf::from(OsString::from_vec(unescape(words.nth(1)?)));
    if !path.is_absolute() {
        return None;
    }
    let mount_options = words.next()?;
    // Any number of optional fields ends with a dash.
    words.find(|word| *word == b"-")?;
    let fs_type = text(words.next()?);
    let source = text(words.next()?);
    let own_options = words.next()?;
    Some(Mount {
        mount_point: String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned(),
        path,
        device,
        source,
        fs_type,
        read_only: is_read_only(mount_options) || is_read_only(own_options),
    })
}

fn is_read_only(options: &[u8]) -> bool {
    options.split(|byte| *byte == b',').any(|option| option == b"ro")
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(word)).into_owned()
}

/// The kernel writes white space, backslash and `#` as a backslash and three
/// octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, behind @ ..] = rest {
        match (first, behind) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = behind;
            }
            _ => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_escapes_are_undone_once() {
        assert_eq!(unescape(br"/a\040b\011c\134d\012e\043f"), b"/a b\tc\\d\ne#f");
        assert_eq!(unescape(br"/not\134040a\040blank"), br"/not\040a blank");
        assert_eq!(unescape(br"\\04\9\400\"), br"\\04\9\400\");
    }

    #[test]
    fn optional_fields_and_empty_sources_are_no_obstacle() {
        let mount = parse(b"9 1 0:5 / /m rw shared:1 master:2 - tmpfs  ro,size=4k").expect("a mount");
        assert_eq!((mount.source.as_str(), mount.fs_type.as_str(), mount.read_only), ("", "tmpfs", true));
        assert!(parse(b"9 1 0:5 / /m rw tmpfs tmpfs rw").is_none(), "without a dash");
        assert!(parse(b"9 1 05 / /m rw - tmpfs tmpfs rw").is_none(), "without a device");
        assert!(parse(b"9 1 0:5 / m rw - tmpfs tmpfs rw").is_none(), "not absolute");
        assert!(parse(b"").is_none());
    }
}
