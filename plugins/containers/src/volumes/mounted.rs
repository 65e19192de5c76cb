//! What is mounted in one container, and when that is read again.

use super::choose::{self, Chosen, Noted};
use super::devices::Devices;
use crate::brief::Volume;
use gantry_cgroupfs::own;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most that is read of one container's mounts: 10,000 of 300 bytes.
const MAX_MOUNTINFO: u64 = 4 << 20;

/// A service opens its files some time after its start, and others later: it
/// is asked again soon, and then now and then. What is not kept open is read
/// again as often.
const SOON: Duration = Duration::from_secs(5);
const NOW_AND_THEN: Duration = Duration::from_secs(60);

/// What is mounted in one container.
#[derive(Debug)]
pub(super) struct Mounted {
    /// Of whom it was read.
    pub pid: u32,
    /// Its `mountinfo`, by which the kernel tells when something is mounted or
    /// unmounted. It holds the container's mounts in the kernel as well.
    pub file: Option<File>,
    pub mounts: Box<[Chosen]>,
    /// It sees the machine's mounts: what it has open says which are its.
    shares: bool,
    /// By the host's monotonic clock.
    read_at: Duration,
    /// How often it was read.
    pub looks: u32,
    /// Collections since it was gone.
    pub gone: u32,
    /// What of it is not shown; mostly all is.
    pub noted: Option<Box<Noted>>,
}

impl Mounted {
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    pub fn let_go(&mut self) {
        self.file = None;
    }

    /// Whether it is to be read again though nobody told of a change.
    pub fn is_due(&self, now: Duration) -> bool {
        let age = now.saturating_sub(self.read_at);
        let wait = if self.looks <= 1 { SOON } else { NOW_AND_THEN };
        (self.shares && age >= wait) || (self.file.is_none() && age >= NOW_AND_THEN)
    }
}

/// One that is read.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What its runtime says is mounted.
    pub volumes: &'a [Volume],
    /// It is a unit of systemd. Most of these have mounts of their own by now
    /// (`PrivateTmp=`, `ProtectSystem=`), which are the machine's once more.
    pub is_unit: bool,
    /// One of its processes.
    pub pid: u32,
}

/// Reads what a process sees now; `files` are those that its container has open.
pub(super) fn read(
    (proc, root, now): (&Path, &Path, Duration),
    Seen { volumes, is_unit, pid }: Seen<'_>,
    files: &dyn Fn() -> (Vec<String>, u64),
    devices: &mut Devices,
) -> io::Result<Mounted> {
    let dir = proc.join(pid.to_string());
    let mut file = File::open(dir.join("mountinfo"))?;
    let mut text = Vec::new();
    let length = file.by_ref().take(MAX_MOUNTINFO).read_to_end(&mut text)?;
    file.rewind()?;
    let shares = is_unit || shares_mounts(proc, root, &dir);
    let (open, processes) = shares.then(files).unzip();
    let (mounts, mut noted) = choose::of(&text, volumes, open.as_deref(), devices, pid);
    noted.cut = u64::from(length as u64 >= MAX_MOUNTINFO);
    noted.processes = processes.unwrap_or_default();
    // Copied: these lie among all that was read besides, and would keep it from being used again.
    let mounts: Box<[Chosen]> = mounts.iter().cloned().collect();
    let noted = (noted != Noted::default()).then(|| Box::new(noted));
    Ok(Mounted { pid, file: Some(file), mounts, shares, read_at: now, looks: 0, gone: 0, noted })
}

/// Whether a process sees the machine's own mounts, as a service does; not
/// where it is not known which these are.
fn shares_mounts(proc: &Path, root: &Path, dir: &Path) -> bool {
    let link = |path: PathBuf| std::fs::read_link(path).ok();
    let of_node = link(proc.join("1/ns/mnt")).or_else(|| {
        // Those of an agent in a container are not the node's.
        let is_on_node = root == Path::new("/") && own::is_on_node(proc);
        is_on_node.then(|| link(proc.join("self/ns/mnt"))).flatten()
    });
    let own = link(dir.join("ns/mnt"));
    own.is_some() && own == of_node
}
