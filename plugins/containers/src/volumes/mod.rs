//! The file systems that containers see, and how full they are.
//!
//! # Layout
//! * [`choose`]: which of a container's mounts are worth showing.
//! * [`devices`]: names of block devices, and which disk a partition is of.

pub mod choose;
pub mod devices;

use crate::figures::Traffic;
use crate::metrics::*;
use choose::Chosen;
use devices::Devices;
use gantry_mounts::statfs::{Answer, Ask, Asker, Usage};
use gantry_plugin_api::{Container, ContainerRef, Sink};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The most that is read of one container's mounts: 10,000 of 300 bytes.
const MAX_MOUNTINFO: u64 = 4 << 20;

/// How long file systems may take to answer, all together: the rest is shown
/// at the next collection, or never, where it hangs.
const PATIENCE: Duration = Duration::from_millis(250);

/// All containers' mounts.
pub struct Volumes {
    proc: PathBuf,
    devices: Devices,
    containers: HashMap<ContainerRef, Mounted>,
    asker: Asker,
    /// Of one collection: containers that share a file system ask once.
    answers: HashMap<(u32, u32), Answered>,
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
            asker: Asker::new(ask_within(proc.to_owned())),
            answers: HashMap::new(),
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

    /// Asks each file system once.
    fn ask(&mut self) {
        let mut paths: BTreeMap<(u32, u32), PathBuf> = BTreeMap::new();
        for mount in self.containers.values().flat_map(|mounted| &mounted.mounts) {
            paths.entry(mount.device).or_insert_with(|| mount.ask.clone());
        }
        let answers = self.asker.ask(paths.values().map(PathBuf::as_path), PATIENCE);
        self.answers.clear();
        for (device, answer) in paths.keys().zip(answers) {
            let answered = match answer {
                Answer::Known(usage) => Answered::Known(usage),
                Answer::Stuck(_) => Answered::Hung,
                Answer::Failed(_) | Answer::NotAsked => Answered::Nothing,
            };
            self.answers.insert(*device, answered);
        }
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
    fn of(&mut self, container: ContainerRef, devices: &BTreeMap<(u32, u32), [f64; 4]>, sink: &mut Sink<'_>) {
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

/// Asks by paths of the form `/PID/where/the/process/sees/it`. Beneath the
/// process's root, without following links out of it.
fn ask_within(proc: PathBuf) -> Arc<Ask> {
    Arc::new(move |path| {
        let mut parts = path.components();
        parts.next();
        let pid = parts.next().ok_or(io::ErrorKind::NotFound)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root: OwnedFd = openat(CWD, proc.join(pid).join("root"), flags, Mode::empty())?;
        let below = parts.as_path();
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(&root, below, flags, Mode::empty(), resolve)?;
        Ok(rustix::fs::fstatvfs(file)?.into())
    })
}
