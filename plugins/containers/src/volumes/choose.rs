//! Which of a container's mounts are worth showing.

use super::devices::Devices;
use super::within;
use crate::brief::Volume;
use gantry_mounts::{Mount, mountinfo};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The most of one container: each is some ten series.
const MOST: usize = 64;

/// A mount that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub mount_point: String,
    /// The disk's name, or what is mounted of a network.
    pub device_name: String,
    /// The volume that an orchestrator made, as `pvc-…`, or a runtime's by its name.
    pub volume: String,
    /// The file system's number, and that of the disk which it lies on.
    pub device: (u32, u32),
    pub disk: (u32, u32),
    /// How it is asked.
    pub ask: PathBuf,
}

impl Chosen {
    pub fn labels(&self) -> [&str; 3] {
        [&self.mount_point, &self.device_name, &self.volume]
    }
}

/// File systems without a device whose fill is nevertheless worth knowing:
/// those of a network, ZFS, which has no block device of its own, and FUSE of a
/// server that does not say what it is (`fuse.TYPE` otherwise).
const WITHOUT_DEVICE: &[&str] = &[
    "fuse",
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "glusterfs",
    "lustre",
    "9p",
    "beegfs",
    "zfs",
    "btrfs",
    "virtiofs",
];

/// Files that runtimes mount into each container; they lie on the machine's disk.
const OF_THE_RUNTIME: &[&str] = &["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"];

/// What was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Noted {
    /// The text has more than is read.
    pub cut: u64,
    /// Lines that are not of the kernel's form.
    pub malformed: u64,
    /// Mounts beyond [`MOST`].
    pub beyond: u64,
    /// Processes of the container that were not asked what they have open.
    pub processes: u64,
}

impl Noted {
    pub fn and(self, other: Self) -> Self {
        Self {
            cut: self.cut + other.cut,
            malformed: self.malformed + other.malformed,
            beyond: self.beyond + other.beyond,
            processes: self.processes + other.processes,
        }
    }
}

/// The mounts that are shown. `open`: where the container sees the machine's
/// own mounts or copies of them, the files that it has open; only what they lie
/// on is of it.
pub fn of(
    text: &[u8],
    volumes: &[Volume],
    open: Option<&[String]>,
    devices: &mut Devices,
    pid: u32,
) -> (Vec<Chosen>, Noted) {
    let mut noted = Noted::default();
    // A later mount on the same point hides the earlier one.
    let mut visible: HashMap<PathBuf, Mount> = HashMap::new();
    for mount in mountinfo::mounts(text) {
        match mount {
            Some(mount) => drop(visible.insert(mount.path.clone(), mount)),
            None => noted.malformed += 1,
        }
    }
    if let Some(open) = open {
        let used: Vec<PathBuf> = open.iter().filter_map(|file| mount_of(Path::new(file), &visible)).collect();
        visible.retain(|path, _| used.contains(path));
    }
    let mut mounts: Vec<Mount> = visible.into_values().filter(is_worth_it).collect();
    mounts.sort_unstable_by(|one, two| one.path.cmp(&two.path));
    noted.beyond = mounts.len().saturating_sub(MOST) as u64;
    mounts.truncate(MOST);
    let chosen = mounts.into_iter().map(|mount| {
        // What btrfs lies on is said by the name that it was mounted by alone.
        let of_source = || devices.number_of(&mount.source).filter(|_| mount.fs_type == "btrfs");
        let number = of_source().unwrap_or(mount.device);
        let device = devices.of(number);
        let volume = volume(&mount, volumes);
        Chosen {
            ask: within::path(pid, mount.id, &mount.path),
            device_name: if device.name.is_empty() && mount.device.0 == 0 {
                mount.source
            } else {
                device.name
            },
            mount_point: mount.mount_point,
            volume,
            device: mount.device,
            disk: device.disk,
        }
    });
    (chosen.collect(), noted)
}

fn is_worth_it(mount: &Mount) -> bool {
    let is_of_runtime = OF_THE_RUNTIME.iter().any(|path| mount.path == Path::new(path));
    let is_of_kernel = ["/proc", "/sys", "/dev"].iter().any(|top| mount.path.starts_with(top));
    let has_figures = mount.device.0 != 0
        || WITHOUT_DEVICE.contains(&mount.fs_type.as_str())
        || mount.fs_type.starts_with("fuse.");
    has_figures && !is_of_runtime && !is_of_kernel
}

/// The mount that a file lies on.
fn mount_of(file: &Path, visible: &HashMap<PathBuf, Mount>) -> Option<PathBuf> {
    file.ancestors().find(|path| visible.contains_key(*path)).map(Path::to_owned)
}

/// The name that an orchestrator or a runtime gave to what is mounted there.
fn volume(mount: &Mount, volumes: &[Volume]) -> String {
    let here = volumes.iter().find(|volume| Path::new(&*volume.mount_point) == mount.path);
    let sources = [here.map(|volume| &*volume.source), mount.root.to_str(), Some(mount.source.as_str())];
    let claim = sources.into_iter().flatten().find_map(claim_of);
    claim.or_else(|| here.map(|volume| volume.name.to_string())).unwrap_or_default()
}

/// `pvc-` and a UUID: how provisioners name what they make for a claim
/// (kubernetes-sigs/sig-storage-lib-external-provisioner).
fn claim_of(path: &str) -> Option<String> {
    path.split('/').find_map(|part| {
        let at = part.find("pvc-")?;
        let name = part.get(at..at + "pvc-".len() + 36)?;
        let is_uuid = name["pvc-".len()..].bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
        is_uuid.then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &[u8] = b"\
1 0 0:50 / / rw - overlay overlay rw\n\
2 1 0:51 / /proc rw - proc proc rw\n\
3 1 0:52 / /dev rw - tmpfs tmpfs rw\n\
4 1 254:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/vda1 rw\n\
5 1 254:1 /var/lib/docker/volumes/data/_data /data rw - ext4 /dev/vda1 rw\n\
6 1 254:1 /pods/u/volumes/kubernetes.io~csi/pvc-0a1b2c3d-0000-1111-2222-333344445555/mount /claim rw - ext4 /dev/vda1 rw\n\
7 1 0:60 / /share rw - nfs4 nas:/export rw\n\
8 1 0:61 / /tmp rw - tmpfs tmpfs rw\n\
9 1 0:62 / /bucket rw - fuse s3 rw\n\
10 1 0:63 / /control rw - fusectl fusectl rw\n";

    #[test]
    fn disks_claims_and_shares_are_shown() {
        let volume = Volume { mount_point: "/data".into(), name: "data".into(), ..Volume::default() };
        let root = tempfile::tempdir().expect("a directory");
        let chosen = of(CONTAINER, &[volume], None, &mut Devices::new(root.path(), root.path()), 7).0;
        let shown: Vec<[&str; 3]> = chosen.iter().map(Chosen::labels).collect();
        let claim = "pvc-0a1b2c3d-0000-1111-2222-333344445555";
        let (bucket, share) = (["/bucket", "s3", ""], ["/share", "nas:/export", ""]);
        assert_eq!(shown, [bucket, ["/claim", "", claim], ["/data", "", "data"], share]);
        assert_eq!(chosen[3].ask, Path::new("/7/7/share"));
    }

    #[test]
    fn a_service_shows_what_its_files_lie_on() {
        let mounts = b"1 0 254:1 / / rw - ext4 /dev/vda1 rw\n2 1 254:2 / /var/lib/db rw - ext4 /dev/vdb rw\n\
                       3 1 254:3 / /home rw - ext4 /dev/vdc rw\n";
        let open = ["/var/lib/db/data/1".to_owned(), "/var/log/x".to_owned()];
        let root = tempfile::tempdir().expect("a directory");
        let chosen = of(mounts, &[], Some(&open), &mut Devices::new(root.path(), root.path()), 7).0;
        let shown: Vec<&str> = chosen.iter().map(|mount| mount.mount_point.as_str()).collect();
        assert_eq!(shown, ["/", "/var/lib/db"]);
    }

    #[test]
    fn only_a_uuid_makes_a_claim() {
        assert_eq!(claim_of("/x/pvc-short/y"), None);
        assert_eq!(claim_of("/x/pvc-0a1b2c3d-0000-1111-2222-33334444555é/y"), None);
        let name = "pvc-0a1b2c3d-0000-1111-2222-333344445555";
        assert_eq!(claim_of(&format!("/a/kubernetes-dynamic-{name}")).as_deref(), Some(name));
    }
}
