//! Names of block devices (`/sys/dev/block/MAJOR:MINOR`,
//! Documentation/admin-guide/sysfs-rules.rst).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// More are forgotten together, and then read anew.
const MAX_DEVICES: usize = 4096;

/// A device, and the disk that it is a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The disk's name, as `vda` of `vda1`; empty where it is none.
    pub name: String,
    /// The disk's number: cgroups count requests by disk.
    pub disk: (u32, u32),
}

/// All that were asked for.
#[derive(Debug)]
pub struct Devices {
    dir: PathBuf,
    by_name: PathBuf,
    root: PathBuf,
    known: HashMap<(u32, u32), Device>,
}

impl Devices {
    /// By the machine's `/sys`, and its root.
    pub fn new(sys: &Path, root: &Path) -> Self {
        Self {
            dir: sys.join("dev/block"),
            by_name: sys.join("class/block"),
            root: root.to_owned(),
            known: HashMap::new(),
        }
    }

    /// The number of what is called so in `/dev`: `/dev/vda1`, `/dev/mapper/data`.
    pub fn number_of(&self, source: &str) -> Option<(u32, u32)> {
        let below = source.strip_prefix("/dev/")?;
        // Those of the device mapper are links to `../dm-0`.
        let link = std::fs::read_link(self.root.join("dev").join(below)).ok();
        let name = link.as_deref().unwrap_or(Path::new(below)).file_name()?;
        pair(&std::fs::read_to_string(self.by_name.join(name).join("dev")).ok()?)
    }

    pub fn of(&mut self, number: (u32, u32)) -> Device {
        if let Some(known) = self.known.get(&number) {
            return known.clone();
        }
        let device = self.read(number).unwrap_or(Device { name: String::new(), disk: number });
        if self.known.len() >= MAX_DEVICES {
            self.known.clear();
        }
        self.known.insert(number, device.clone());
        device
    }

    fn read(&self, number: (u32, u32)) -> Option<Device> {
        let dir = self.dir.join(format!("{}:{}", number.0, number.1)).canonicalize().ok()?;
        // A partition's directory lies in its disk's.
        let disk = if dir.join("partition").exists() { dir.parent()?.to_owned() } else { dir };
        let disk_number = pair(&std::fs::read_to_string(disk.join("dev")).ok()?)?;
        let name = disk.file_name()?.to_str()?.to_owned();
        Some(Device { name, disk: disk_number })
    }
}

/// `254:1`
fn pair(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_of_its_disk() {
        let root = tempfile::tempdir().expect("a directory");
        let sys = root.path();
        let write = |path: &str, text: &str| {
            let path = sys.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        };
        write("devices/vda/dev", "254:0\n");
        write("devices/vda/vda1/dev", "254:1\n");
        write("devices/vda/vda1/partition", "1\n");
        std::fs::create_dir_all(sys.join("dev/block")).expect("a directory");
        for (link, to) in [("254:0", "vda"), ("254:1", "vda/vda1")] {
            std::os::unix::fs::symlink(sys.join("devices").join(to), sys.join("dev/block").join(link))
                .expect("a link");
        }
        std::fs::create_dir_all(sys.join("class/block")).expect("a directory");
        std::os::unix::fs::symlink("../../devices/vda/vda1", sys.join("class/block/vda1")).expect("a link");
        std::fs::create_dir_all(sys.join("dev/mapper")).expect("a directory");
        std::os::unix::fs::symlink("../vda1", sys.join("dev/mapper/data")).expect("a link");
        let mut devices = Devices::new(sys, sys);
        for (source, found) in [
            ("/dev/vda1", Some((254, 1))),
            ("/dev/mapper/data", Some((254, 1))),
            ("/dev/vdz", None),
            ("/dev/..", None),
            ("pool/data", None),
        ] {
            assert_eq!(devices.number_of(source), found, "{source}");
        }
        let vda = Device { name: "vda".to_owned(), disk: (254, 0) };
        assert_eq!((devices.of((254, 0)), devices.of((254, 1))), (vda.clone(), vda));
        assert_eq!(devices.of((8, 0)), Device { name: String::new(), disk: (8, 0) });
    }
}
