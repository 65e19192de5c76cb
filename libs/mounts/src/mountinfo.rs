//! The lines of `/proc/PID/mountinfo` (Documentation/filesystems/proc.rst,
//! section 3.5).
//!
//! They are read here and not by a crate: one line that is not of the kernel's
//! form must cost itself alone, and the crates give up the whole file.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// A mount, as a process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The kernel's number of it, which no other mount has while it is there.
    pub id: u64,
    /// Which directory of the file system is mounted there: `/` for the whole.
    pub root: PathBuf,
    /// Where it is, from the process's root.
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

/// The mounts of a whole file; a line that cannot be understood is `None`.
pub fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = Option<Mount>> {
    mountinfo.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse)
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse(line: &[u8]) -> Option<Mount> {
    // Not white space in general: a source may be empty.
    let mut words = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let device = std::str::from_utf8(words.nth(1)?).ok()?.split_once(':')?;
    let device = (device.0.parse().ok()?, device.1.parse().ok()?);
    let root = PathBuf::from(OsString::from_vec(unescape(words.next()?)));
    let path = PathBuf::from(OsString::from_vec(unescape(words.next()?)));
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
        id,
        root,
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
