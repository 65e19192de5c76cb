//! Where the hierarchies are mounted (`/proc/PID/mountinfo`,
//! Documentation/filesystems/proc.rst, section 3.5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The most that is read of `mountinfo`: 10,000 mounts of 300 bytes, and more.
pub const MAX_FILE: usize = 4 << 20;

/// A mount at or below the place that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is.
    pub point: PathBuf,
    /// What part of the hierarchy is there, as the reader's namespace sees it.
    pub root: PathBuf,
    /// Whether it is cgroup v2.
    pub is_v2: bool,
    /// The file system's own options; for v1 the controllers are among them.
    options: Vec<u8>,
}

impl Mount {
    /// Whether it is of the hierarchy that `/proc/PID/cgroup` calls so.
    pub fn is_of(&self, controllers: &str) -> bool {
        if controllers.is_empty() || self.is_v2 {
            return self.is_v2 && controllers.is_empty();
        }
        let has = |one: &str| self.options.split(|byte| *byte == b',').any(|option| option == one.as_bytes());
        controllers.split(',').all(has)
    }
}

/// The visible cgroup mounts at and below `top`. Lines that cannot be
/// understood are skipped.
pub fn below(top: &Path, mountinfo: &[u8]) -> Vec<Mount> {
    let mut visible: Vec<(Mount, bool)> = Vec::new();
    for line in mountinfo.split(|byte| *byte == b'\n') {
        let Some((mount, is_cgroup)) = parse(line) else { continue };
        if !mount.point.starts_with(top) && !top.starts_with(&mount.point) {
            continue;
        }
        // A later mount hides what was there and below.
        visible.retain(|(earlier, _)| !earlier.point.starts_with(&mount.point));
        visible.push((mount, is_cgroup));
    }
    let is_wanted =
        |(mount, is_cgroup): (Mount, bool)| (is_cgroup && mount.point.starts_with(top)).then_some(mount);
    visible.into_iter().filter_map(is_wanted).collect()
}

/// `36 35 98:0 /root /mnt2 rw,noatime master:1 - cgroup cgroup rw,cpu,cpuacct`
fn parse(line: &[u8]) -> Option<(Mount, bool)> {
    let mut words = line.split(|byte| *byte == b' ');
    let root = path(words.nth(3)?)?;
    let point = path(words.next()?)?;
    words.next()?;
    // Any number of optional fields ends with a dash.
    words.find(|word| *word == b"-")?;
    let kind = words.next()?;
    let options = words.nth(1)?.to_vec();
    let is_v2 = kind == b"cgroup2";
    Some((Mount { point, root, is_v2, options }, is_v2 || kind == b"cgroup"))
}

/// The kernel writes white space, backslash and `#` as a backslash and three
/// octal digits.
fn path(word: &[u8]) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, behind @ ..] = rest {
        (rest, _) = match (first, behind) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..]) => {
                (behind, bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0')))
            }
            _ => (behind, bytes.push(*first)),
        };
    }
    Some(PathBuf::from(OsString::from_vec(bytes))).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(top: &str, text: &str) -> Vec<String> {
        let found = below(Path::new(top), text.as_bytes());
        found.iter().map(|mount| mount.point.to_str().expect("a text").to_owned()).collect()
    }

    #[test]
    fn controllers_are_found_in_any_order() {
        let text = "1 0 0:1 / /cg rw - tmpfs tmpfs rw\n\
            2 1 0:2 /docker/x /cg/cpu,cpuacct ro shared:4 master:1 - cgroup cgroup rw,cpu,cpuacct\n\
            3 1 0:3 / /cg/my\\040systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            4 1 0:4 /../.. /cg/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
            garbage\n5 1 0:5 / relative rw - cgroup2 none rw\n";
        let found = below(Path::new("/cg"), text.as_bytes());
        assert_eq!(found.len(), 3);
        assert!(found[0].is_of("cpuacct,cpu") && !found[0].is_of("cpu,memory") && !found[0].is_of(""));
        assert_eq!(found[0].root, Path::new("/docker/x"));
        assert!(found[1].is_of("name=systemd") && found[1].point == Path::new("/cg/my systemd"));
        assert!(found[2].is_of("") && !found[2].is_of("cpu"));
    }

    #[test]
    fn what_is_hidden_or_elsewhere_is_not_there() {
        let v2 = |point: &str| format!("1 0 0:1 / {point} rw - cgroup2 c rw\n");
        let tmpfs = |point: &str| format!("1 0 0:1 / {point} rw - tmpfs t rw\n");
        assert_eq!(points("/cg", &v2("/cg")), ["/cg"]);
        assert_eq!(points("/cg", &(v2("/cg") + &v2("/cg"))), ["/cg"], "mounted twice");
        assert!(points("/cg", &v2("/cgroup")).is_empty());
        assert!(points("/cg", &(v2("/cg/a") + &tmpfs("/cg/a"))).is_empty(), "masked");
        assert!(points("/cg", &(v2("/cg/a") + &tmpfs("/cg"))).is_empty(), "masked from above");
        assert!(points("/h/cg", &(v2("/h/cg/a") + &tmpfs("/h"))).is_empty(), "masked from far above");
        assert_eq!(points("/cg", &(tmpfs("/cg") + &v2("/cg/a"))), ["/cg/a"]);
    }
}
