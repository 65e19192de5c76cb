//! The file systems that containers see, and how full they are.
//!
//! # Layout
//! * [`choose`]: which of a container's mounts are worth showing.
//! * [`devices`]: names of block devices, and which disk a partition is of.
//! * [`within`]: asking beneath a container's root.

pub mod choose;
pub mod devices;
pub mod within;

use crate::figures::Traffic;
use crate::metrics::*;
use choose::Chosen;
use devices::Devices;
use gantry_mounts::statfs::{Answer, Asker, Usage};
use gantry_plugin_api::{Container, ContainerRef, Sink};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most that is read of one container's mounts: 10,000 of 300 bytes.
const MAX_MOUNTINFO: u64 = 4 << 20;

/// How long file systems may take to answer, all together: the rest is shown
/// at the next collection, or never, where it hangs.
const PATIENCE: Duration = Duration::from_millis(250);

/// By how many of its mounts a file system is asked, where the first does not do.
const TRIES: usize = 3;

/// A file system's number.
type Device = (u32, u32);

/// All containers' mounts.
pub struct Volumes {
    proc: PathBuf,
    devices: Devices,
    containers: HashMap<ContainerRef, Mounted>,
    asker: Asker,
    /// Of one collection: containers that share a file system ask once.
    answers: HashMap<Device, Answered>,
    /// By which path those that hang were asked.
    hung: BTreeMap<Device, PathBuf>,
}

#[derive(Debug, Clone, Copy)]
enum Answered {
    Known(Usage),
    Hung,
    Nothing,
}

/// What is mounted in one container.
#[derive(Debug)]
struct Mounted {
    /// Whose `/proc/PID/mountinfo` is open.
    pid: u32,
    /// Told by the kernel when something is mounted or unmounted.
    file: File,
    mounts: Vec<Chosen>,
    seen: bool,
}

impl std::fmt::Debug for Volumes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volumes").field("containers", &self.containers.len()).finish_non_exhaustive()
    }
}

impl Volumes {
    pub fn new(proc: &Path, sys: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            devices: Devices::new(sys),
            containers: HashMap::new(),
            asker: Asker::new(within::ask(proc.to_owned())),
            answers: HashMap::new(),
            hung: BTreeMap::new(),
        }
    }

    /// These containers are there, each with one of its processes; what of
    /// their mounts changed is read again.
    pub fn containers_are<'a>(
        &mut self,
        all: impl Iterator<Item = (ContainerRef, &'a Container, u32)>,
        open_files: &dyn Fn(ContainerRef) -> Vec<String>,
    ) {
        for mounted in self.containers.values_mut() {
            mounted.seen = false;
        }
        let changed = self.changed();
        for (container, known, pid) in all {
            let stays = self.containers.get(&container).is_some_and(|mounted| mounted.pid == pid);
            if stays && !changed.contains(&container) {
                if let Some(mounted) = self.containers.get_mut(&container) {
                    mounted.seen = true;
                }
                continue;
            }
            let files = || open_files(container);
            match self.read(pid, known, &files) {
                Ok(mounted) => drop(self.containers.insert(container, mounted)),
                // Its process is gone meanwhile: the next collection has another.
                Err(_) => drop(self.containers.remove(&container)),
            }
        }
        self.containers.retain(|_, mounted| mounted.seen);
        self.ask();
    }

    /// Those whose mounts are others since they were read.
    fn changed(&self) -> Vec<ContainerRef> {
        let watched: Vec<(&ContainerRef, &Mounted)> = self.containers.iter().collect();
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(_, mounted)| PollFd::new(&mounted.file, PollFlags::PRI)).collect();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut fds, Some(&now)).is_err() {
            return watched.iter().map(|(container, _)| **container).collect();
        }
        let told = fds.iter().zip(&watched).filter(|(fd, _)| !fd.revents().is_empty());
        told.map(|(_, (container, _))| **container).collect()
    }

    fn read(&mut self, pid: u32, known: &Container, files: &dyn Fn() -> Vec<String>) -> io::Result<Mounted> {
        let dir = self.proc.join(pid.to_string());
        let mut file = File::open(dir.join("mountinfo"))?;
        let mut text = Vec::new();
        file.by_ref().take(MAX_MOUNTINFO).read_to_end(&mut text)?;
        file.rewind()?;
        let shares = self.shares_mounts(&dir);
        let open = if shares { Some(files()) } else { None };
        let mounts = choose::of(&text, known, open.as_deref(), &mut self.devices, pid);
        Ok(Mounted { pid, file, mounts, seen: true })
    }

    /// Whether a process sees the machine's own mounts, as a service does.
    fn shares_mounts(&self, dir: &Path) -> bool {
        let link = |path: PathBuf| std::fs::read_link(path).ok();
        let of_host = link(self.proc.join("1/ns/mnt")).or_else(|| link("/proc/self/ns/mnt".into()));
        let own = link(dir.join("ns/mnt"));
        own.is_some() && own == of_host
    }

    /// Asks each file system once; by another of its mounts where one is not
    /// to be seen, as that of a process that is just gone.
    fn ask(&mut self) {
        let mut mounts: BTreeMap<Device, Vec<&PathBuf>> = BTreeMap::new();
        for mount in self.containers.values().flat_map(|mounted| &mounted.mounts) {
            let paths = mounts.entry(mount.device).or_default();
            if paths.len() < TRIES {
                paths.push(&mount.ask);
            }
        }
        // A thread that hangs is waited for; another one would hang as well.
        self.hung.retain(|device, _| mounts.contains_key(device));
        for (device, path) in &self.hung {
            mounts.insert(*device, vec![path]);
        }
        self.answers.clear();
        let mut hung = BTreeMap::new();
        for at in 0..TRIES {
            let open: Vec<(Device, &Path)> = mounts
                .iter()
                .filter(|(device, _)| {
                    !matches!(self.answers.get(device), Some(Answered::Known(_) | Answered::Hung))
                })
                .filter_map(|(device, paths)| Some((*device, paths.get(at)?.as_path())))
                .collect();
            if open.is_empty() {
                break;
            }
            let answers = self.asker.ask(open.iter().map(|(_, path)| *path), PATIENCE);
            for ((device, path), answer) in open.iter().zip(answers) {
                let answered = match answer {
                    Answer::Known(usage) => Answered::Known(usage),
                    Answer::Stuck(_) => {
                        hung.insert(*device, path.to_path_buf());
                        Answered::Hung
                    }
                    Answer::Failed(_) | Answer::NotAsked => Answered::Nothing,
                };
                self.answers.insert(*device, answered);
            }
        }
        self.hung = hung;
    }

    /// How full what a container sees is.
    pub fn emit(&self, container: ContainerRef, sink: &mut Sink<'_>) {
        let Some(mounted) = self.containers.get(&container) else { return };
        for mount in &mounted.mounts {
            let labels = mount.labels();
            match self.answers.get(&mount.device) {
                Some(Answered::Known(usage)) => {
                    sink.container(&DISK_SIZE, container, &labels, usage.size);
                    sink.container(&DISK_USED, container, &labels, usage.used);
                    sink.container(&DISK_RESERVED, container, &labels, usage.reserved);
                    sink.container(&MOUNT_HUNG, container, &labels, 0);
                }
                Some(Answered::Hung) => sink.container(&MOUNT_HUNG, container, &labels, 1),
                Some(Answered::Nothing) | None => {}
            }
        }
    }

    /// Ends the threads; how many are stuck and left behind.
    pub fn stop(&mut self, deadline: Duration) -> usize {
        self.asker.stop(deadline)
    }
}

impl Traffic for Volumes {
    /// A device's traffic, on each of the mounts that lie on it.
    fn of(&mut self, container: ContainerRef, devices: &BTreeMap<Device, [f64; 4]>, sink: &mut Sink<'_>) {
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
