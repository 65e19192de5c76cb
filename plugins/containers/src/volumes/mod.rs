//! The file systems that containers see, and how full they are.
//!
//! # Layout
//! * [`mounted`]: what is mounted in one container, and when that is read again.
//! * [`choose`]: which of a container's mounts are worth showing.
//! * [`devices`]: names of block devices, and which disk a partition is of.
//! * [`filled`]: asking file systems, apart from all locks.
//! * [`within`]: asking beneath a container's root.

pub mod choose;
pub mod devices;
pub mod filled;
mod mounted;
pub mod within;

use crate::figures::Traffic;
use crate::metrics::*;
use choose::Noted;
use devices::Devices;
use filled::{Answered, Device};
pub use filled::{Answers, Asked, FileSystems};
use gantry_plugin_api::{ContainerRef, Sink};
use mounted::Mounted;
pub use mounted::Seen;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many containers that see the machine's own mounts are asked again in one
/// collection which files they have open: each costs some 0.2 ms.
const ASKED_AGAIN: usize = 8;

/// Collections for which the mounts of what is gone are remembered: by them
/// its last traffic is shown.
const GONE: u32 = 3;

/// All containers' mounts.
#[derive(Debug)]
pub struct Volumes {
    proc: PathBuf,
    root: PathBuf,
    devices: Devices,
    /// Boxed: a map has room for more than it holds.
    containers: HashMap<ContainerRef, Box<Mounted>>,
    /// So many `mountinfo` are kept open, by which the kernel tells of changes.
    kept_open: usize,
    /// Containers whose mounts could not be read, since the last collection.
    unreadable: u64,
}

/// What a container has open, and of how many processes it was not asked.
pub type OpenFiles<'a> = dyn Fn(ContainerRef) -> (Vec<String>, u64) + 'a;

impl Volumes {
    pub fn new(proc: &Path, sys: &Path, root: &Path, kept_open: usize) -> Self {
        Self {
            proc: proc.to_owned(),
            root: root.to_owned(),
            devices: Devices::new(sys, root),
            containers: HashMap::new(),
            kept_open,
            unreadable: 0,
        }
    }

    /// These containers are there; what of their mounts changed is read again.
    /// Which file systems are to be asked.
    pub fn containers_are<'a>(
        &mut self,
        all: impl Iterator<Item = (ContainerRef, Seen<'a>)>,
        open_files: &OpenFiles<'_>,
        now: Duration,
    ) -> Asked {
        let changed = self.changed();
        for mounted in self.containers.values_mut() {
            mounted.gone += 1;
        }
        let mut asked_again = ASKED_AGAIN;
        for (container, seen) in all {
            let known = self.containers.get_mut(&container);
            if let Some(mounted) = known.filter(|mounted| mounted.pid == seen.pid) {
                mounted.gone = 0;
                let is_due = mounted.is_due(now) && asked_again > 0;
                if !is_due && !changed.contains(&container) {
                    continue;
                }
                asked_again -= usize::from(is_due && asked_again > 0);
            }
            self.look(container, seen, open_files, now);
        }
        self.containers.retain(|_, mounted| mounted.gone <= GONE);
        let there = self.containers.values().filter(|mounted| mounted.gone == 0);
        Asked::of(there.flat_map(|mounted| &*mounted.mounts))
    }

    /// Reads the mounts of one container.
    fn look(&mut self, container: ContainerRef, seen: Seen<'_>, open_files: &OpenFiles<'_>, now: Duration) {
        let before = self.containers.remove(&container);
        let open = self.containers.values().filter(|mounted| mounted.is_open()).count();
        let files = || open_files(container);
        match mounted::read((&self.proc, &self.root, now), seen, &files, &mut self.devices) {
            Ok(mut mounted) => {
                if open >= self.kept_open {
                    mounted.let_go();
                }
                mounted.looks = before.map_or(0, |before| before.looks).saturating_add(1);
                self.containers.insert(container, Box::new(mounted));
            }
            // Its process is gone meanwhile: the next collection has another.
            Err(error) if is_gone(&error) => {}
            Err(_) => self.unreadable += 1,
        }
    }

    /// Lets go of what keeps a container's mounts in the kernel: it ends, and
    /// its volumes shall be free.
    pub fn let_go(&mut self, container: ContainerRef) {
        if let Some(mounted) = self.containers.get_mut(&container) {
            mounted.let_go();
        }
    }

    /// Those whose mounts are others since they were read.
    fn changed(&self) -> HashSet<ContainerRef> {
        let watched: Vec<(ContainerRef, PollFd<'_>)> = self
            .containers
            .iter()
            .filter_map(|(container, mounted)| {
                Some((*container, PollFd::new(mounted.file.as_ref()?, PollFlags::PRI)))
            })
            .collect();
        let (containers, mut fds): (Vec<ContainerRef>, Vec<PollFd<'_>>) = watched.into_iter().unzip();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut fds, Some(&now)).is_err() {
            return containers.into_iter().collect();
        }
        let told = fds.iter().zip(&containers).filter(|(fd, _)| !fd.revents().is_empty());
        told.map(|(_, container)| *container).collect()
    }

    /// How full what a container sees is.
    pub fn emit(&self, container: ContainerRef, answers: &Answers, sink: &mut Sink<'_>) {
        let Some(mounted) = self.containers.get(&container).filter(|mounted| mounted.gone == 0) else {
            return;
        };
        for mount in &mounted.mounts {
            let labels = mount.labels();
            match answers.of(mount.device) {
                Some(Answered::Known(usage)) => {
                    sink.container(&DISK_SIZE, container, &labels, usage.size);
                    sink.container(&DISK_USED, container, &labels, usage.used);
                    sink.container(&DISK_RESERVED, container, &labels, usage.reserved);
                    sink.container(&MOUNT_HUNG, container, &labels, 0);
                }
                Some(Answered::Hung) => sink.container(&MOUNT_HUNG, container, &labels, 1),
                Some(Answered::Failed | Answered::NotAsked) | None => {}
            }
        }
    }

    /// What is left out of this collection.
    pub fn report(&mut self, answers: &Answers, sink: &mut Sink<'_>) {
        let there = self.containers.values().filter(|mounted| mounted.gone == 0);
        let noted =
            there.filter_map(|mounted| mounted.noted.as_deref().copied()).fold(Noted::default(), Noted::and);
        let (failed, not_asked) = answers.left_out();
        for (reason, count) in [
            ("mounts_unreadable", std::mem::take(&mut self.unreadable)),
            ("mounts_cut", noted.cut),
            ("mounts_malformed", noted.malformed),
            ("mounts_beyond", noted.beyond),
            ("open_files_beyond", noted.processes),
            ("file_system_failed", failed),
            ("file_system_not_asked", not_asked),
        ] {
            if count > 0 {
                sink.skipped(reason, count);
            }
        }
    }
}

/// Whether a process was there no more.
fn is_gone(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    // EINVAL: of a process that has given up its mounts and is not yet reaped.
    matches!(errno, Some(Errno::NOENT | Errno::SRCH | Errno::INVAL))
}

impl Traffic for Volumes {
    /// A device's traffic, on each of the mounts that lie on it.
    fn of(&self, container: ContainerRef, devices: &BTreeMap<Device, [f64; 4]>, sink: &mut Sink<'_>) {
        let Some(mounted) = self.containers.get(&container) else { return };
        for mount in &mounted.mounts {
            let Some([reads, writes, read, written]) = devices.get(&mount.disk) else { continue };
            let labels = mount.labels();
            sink.container(&DISK_READS, container, &labels, *reads);
            sink.container(&DISK_WRITES, container, &labels, *writes);
            sink.container(&DISK_READ_BYTES, container, &labels, *read);
            sink.container(&DISK_WRITTEN_BYTES, container, &labels, *written);
        }
    }
}
