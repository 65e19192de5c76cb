//! Trees of plain files in the form of the kernel's, for tests and benchmarks.
//!
//! Unlike the kernel's, a removed file that is open can still be read: tests of
//! vanishing cgroups need the kernel.

mod render;

use crate::layout::{Layout, Mode, Resource, Version};
use crate::usage::{Cpu, Device, Io, Limit, Memory, Notes, Pids, Pressure, Stall, Usage};
use crate::{Error, Group, membership};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The v1 hierarchies of a tree: number, controllers, directory.
const V1: [(u32, &str, &str); 5] = [
    (1, "name=systemd", "systemd"),
    (2, "cpu,cpuacct", "cpu,cpuacct"),
    (3, "memory", "memory"),
    (4, "blkio", "blkio"),
    (5, "pids", "pids"),
];

/// A `/proc` and a cgroup root below one directory, which is the caller's to
/// remove.
#[derive(Debug)]
pub struct Fixture {
    root: PathBuf,
    mode: Mode,
}

impl Fixture {
    /// Writes an empty tree, as it is seen from the node's own namespace.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(root: &Path, mode: Mode) -> io::Result<Self> {
        let fixture = Self { root: root.to_path_buf(), mode };
        fs::create_dir_all(fixture.cgroup())?;
        if mode != Mode::V2 {
            for (_, _, directory) in V1 {
                fs::create_dir_all(fixture.cgroup().join(directory))?;
            }
            for link in ["cpu", "cpuacct"] {
                symlink("cpu,cpuacct", fixture.cgroup().join(link))?;
            }
        }
        if let Some(v2) = fixture.v2() {
            fs::create_dir_all(&v2)?;
            fs::write(v2.join("cgroup.controllers"), "cpu io memory pids\n")?;
        }
        fixture.process("self", "/")?;
        fixture.process("1", "/init.scope")?;
        fs::write(fixture.proc().join("self/mountinfo"), "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n")?;
        Ok(fixture)
    }

    /// Its `/proc`.
    pub fn proc(&self) -> PathBuf {
        self.root.join("proc")
    }

    /// Its `/sys/fs/cgroup`.
    pub fn cgroup(&self) -> PathBuf {
        self.root.join("cgroup")
    }

    /// Its layout.
    ///
    /// # Errors
    /// As [`Layout::read`].
    pub fn layout(&self) -> Result<Layout, Error> {
        Layout::read(&self.proc(), &self.cgroup())
    }

    /// Where v2 is, if the mode has it.
    fn v2(&self) -> Option<PathBuf> {
        match self.mode {
            Mode::V1 => None,
            Mode::V2 => Some(self.cgroup()),
            Mode::Hybrid => Some(self.cgroup().join("unified")),
        }
    }

    /// The directory of a cgroup in the hierarchy that serves a resource.
    /// There is none for pressure in v1; that is v2's where it would be.
    pub fn directory(&self, resource: Resource, path: &str) -> PathBuf {
        let hierarchy = match (self.mode, resource) {
            (Mode::V2, _) => self.cgroup(),
            (_, Resource::Cpu | Resource::CpuAccount) => self.cgroup().join("cpu,cpuacct"),
            (_, Resource::Memory) => self.cgroup().join("memory"),
            (_, Resource::Io) => self.cgroup().join("blkio"),
            (_, Resource::Pids) => self.cgroup().join("pids"),
            (_, Resource::Pressure) => self.cgroup().join("unified"),
        };
        hierarchy.join(path.trim_start_matches('/'))
    }

    /// What `/proc/PID/cgroup` says of a process in this cgroup.
    pub fn membership(&self, path: &str) -> String {
        let mut text = String::new();
        if self.mode != Mode::V2 {
            for (number, controllers, _) in V1.iter().rev() {
                text += &format!("{number}:{controllers}:{path}\n");
            }
        }
        if self.mode != Mode::V1 {
            text += &format!("0::{path}\n");
        }
        text
    }

    /// Writes `/proc/PROCESS/cgroup`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn process(&self, process: &str, path: &str) -> io::Result<()> {
        let directory = self.proc().join(process);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("cgroup"), self.membership(path))
    }

    /// Writes a process in this cgroup that runs `redis-server` in a mount
    /// namespace of its own, whose root is `root`, with a volume on each of two
    /// disks: `/data` and `/log`, directories that it makes below `root`.
    ///
    /// # Errors
    /// If it cannot be written, or `root` is not there.
    pub fn process_with_volumes(&self, pid: u32, path: &str, root: &Path) -> io::Result<()> {
        self.process(&pid.to_string(), path)?;
        for volume in ["data", "log"] {
            fs::create_dir_all(root.join(volume))?;
        }
        // The mount that the directories really lie on: it is what a reader finds.
        let mount = rustix::fs::statx(CWD, root, AtFlags::empty(), StatxFlags::MNT_ID)?.stx_mnt_id;
        let directory = self.proc().join(pid.to_string());
        fs::create_dir(directory.join("ns"))?;
        symlink(format!("mnt:[{pid}]"), directory.join("ns/mnt"))?;
        symlink(root, directory.join("root"))?;
        symlink("/bin/sleep", directory.join("exe"))?;
        fs::write(directory.join("cmdline"), "redis-server\0*:6379\0")?;
        let mounts = format!(
            "1 0 0:50 / / rw - overlay overlay rw\n\
             {mount} 1 8:0 /volumes/data/_data /data rw - ext4 /dev/sda rw\n\
             {mount} 1 254:16 /volumes/log/_data /log rw - ext4 /dev/vdb rw\n"
        );
        fs::write(directory.join("mountinfo"), mounts)
    }

    /// Makes a cgroup in all hierarchies, with all files, of these figures.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn cgroup_of(&self, path: &str, usage: &Usage) -> io::Result<()> {
        for resource in Resource::ALL {
            if resource == Resource::Pressure && self.mode == Mode::V1 {
                continue;
            }
            let directory = self.directory(resource, path);
            fs::create_dir_all(&directory)?;
            let version = match (self.mode, resource) {
                (Mode::V2, _) | (_, Resource::Pressure) => Version::V2,
                _ => Version::V1,
            };
            if version == Version::V2 {
                fs::write(directory.join("cgroup.controllers"), "cpu io memory pids\n")?;
                let populated = u8::from(usage.pids.current != Some(0));
                fs::write(directory.join("cgroup.events"), format!("populated {populated}\nfrozen 0\n"))?;
            }
            for (file, text) in render::files(resource, version, usage) {
                fs::write(directory.join(file), text)?;
            }
        }
        Ok(())
    }

    /// The group of a cgroup of this tree.
    pub fn group(&self, layout: &Layout, path: &str) -> Group {
        let text = self.membership(path);
        Group::of(layout, membership::entries(text.as_bytes()).filter_map(Result::ok))
    }

    /// The figures number `seed` as this mode's kernel has them, without limits
    /// above: one reads them back from [`Fixture::cgroup_of`].
    pub fn figures(&self, seed: u64) -> Usage {
        let mut usage = figures(seed);
        if self.mode == Mode::V1 {
            usage.pressure = Pressure::default();
        }
        usage
    }
}

fn figures(seed: u64) -> Usage {
    let limit = |limit: u64| Limit { own: Some(limit), binding: Some(limit) };
    let stall = |base: u64| Stall { some: Some(seed + base), full: Some(seed + base / 2) };
    let cores = (1 + seed % 16) as f64 / 2.0;
    Usage {
        cpu: Cpu {
            usage: Some((seed + 3) * 10_000_000),
            user: Some((seed + 2) * 10_000_000),
            system: Some(10_000_000),
            throttled: Some((seed + 5) * 1000),
            periods: Some(seed + 100),
            throttled_periods: Some(seed + 7),
            limit: Limit { own: Some(cores), binding: Some(cores) },
        },
        memory: Memory {
            rss: Some((seed + 300) << 12),
            cache: Some((seed + 200) << 12),
            usage: Some((seed + 600) << 12),
            working_set: Some((seed + 550) << 12),
            swap: Some(seed << 12),
            major_faults: Some(seed + 11),
            limit: limit((seed + 1000) << 12),
            swap_limit: limit((seed + 500) << 12),
        },
        io: Io {
            known: true,
            devices: [(8, 0), (254, 16)]
                .map(|number| Device {
                    number,
                    reads: seed + u64::from(number.0),
                    writes: seed + 2,
                    read_bytes: (seed + 3) << 12,
                    written_bytes: (seed + 4) << 12,
                })
                .to_vec(),
        },
        pressure: Pressure { cpu: stall(10), memory: stall(20), io: stall(30) },
        pids: Pids { current: Some(1 + seed), limit: Some(1000 + seed) },
        notes: Notes::default(),
    }
}
