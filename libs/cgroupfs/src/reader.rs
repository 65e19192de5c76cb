//! Reading what cgroups use.
//!
//! What all figures of one container cost, in µs (`benches/usage.rs`; two busy
//! cores, one run; another differs by up to a third):
//!
//! | files | all kept open | some half | opened each time |
//! |---|---|---|---|
//! | the kernel's, hybrid, one container alone | 10 | | 29 |
//! | plain ones, v1, one of 1,000 in turn | 23 | 34 | 53 |
//! | plain ones, v2, one of 1,000 in turn | 20 | 29 | 33 |
//!
//! Without limits it is a tenth less for one alone and a third less for one of
//! 1,000, each pod of which has 4.

use crate::ancestors::Ancestors;
use crate::files::{At, Counters, Failure, Files, Kept, Text};
use crate::group::{Group, Place};
use crate::layout::{Layout, Resource, Version};
use crate::role::Role;
use crate::usage::io::What;
use crate::usage::number::{Bad, alone, lines};
use crate::usage::{Counted, Limit, Notes, Stall, Usage, cpu, io, memory, pressure};

/// What is read; the rest stays `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Used CPU time, and throttling.
    pub cpu: bool,
    /// CPU time by mode. It is a file of its own with v1; with v2 both come
    /// from one, and each brings the other.
    pub cpu_modes: bool,
    /// Memory and swap.
    pub memory: bool,
    /// Block devices.
    pub io: bool,
    /// Waiting.
    pub pressure: bool,
    /// Number of processes.
    pub pids: bool,
    /// The limits of those of the above that are read, also of the cgroups
    /// above.
    pub limits: bool,
}

impl Parts {
    /// Everything.
    pub const ALL: Self =
        Self { cpu: true, cpu_modes: true, memory: true, io: true, pressure: true, pids: true, limits: true };
}

/// Reads what cgroups use, over files that are kept open.
#[derive(Debug)]
pub struct Reader {
    files: Files,
    ancestors: Ancestors,
}

impl Reader {
    /// A reader that keeps at most `bound` descriptors, as [`Files::new`] has
    /// it. All figures of a container take up to 16 with v1, 13 with v2.
    pub fn new(layout: &Layout, bound: usize) -> Self {
        let ancestors = Ancestors::new(layout.hierarchies().len());
        Self { files: Files::new(layout, bound), ancestors }
    }

    /// Begins a collection. Within one, the limits of a cgroup that is above
    /// several are read once.
    pub fn begin(&mut self) {
        self.files.begin();
        self.ancestors.begin(&mut self.files);
    }

    /// What happened to descriptors so far.
    pub fn counters(&self) -> Counters {
        self.files.counters()
    }

    /// How many descriptors are open.
    pub fn kept(&self) -> usize {
        self.files.kept()
    }

    /// Puts a group in the place of one that was made of the same paths, when
    /// more of them are known, say. It goes on where that was.
    pub fn replace(&mut self, old: &mut Group, new: Group) {
        let before = std::mem::replace(old, new);
        old.go_on_from(before, &mut self.files);
    }

    /// Closes what is open of a group. It can be read again.
    pub fn forget(&mut self, group: &mut Group) {
        group.forget(&mut self.files);
    }

    /// Whether a process is in it or below it, by a file that is opened for that:
    /// of the second version, or of the first's `pids`. `None` where neither is
    /// there.
    pub fn has_processes(&mut self, group: &Group) -> Option<bool> {
        let place = group.any(Version::V2).or_else(|| group.at(Resource::Pids))?;
        let (name, key) = match place.version {
            Version::V1 => ("pids.current", &b""[..]),
            Version::V2 => ("cgroup.events", &b"populated "[..]),
        };
        let at = At { hierarchy: place.hierarchy(), directory: &place.directory, name };
        let mut kept = Kept::default();
        let text = self.files.read(&mut kept, &mut place.seen.clone(), at).ok();
        let value = text.and_then(|text| lines(text.bytes).find_map(|line| alone(line.strip_prefix(key)?)));
        self.files.forget(&mut kept);
        value.map(|value| value > 0)
    }

    /// Reads what a group uses; `usage` is overwritten, and its memory used
    /// again. The files are read one after the other: figures of two files are
    /// not of the same moment.
    pub fn read(&mut self, group: &mut Group, parts: Parts, usage: &mut Usage) {
        usage.clear();
        let (notes, bad) = (Notes::default(), Bad::default());
        let mut reading = Reading { files: &mut self.files, group, notes, bad, read: 0, gone: 0 };
        if parts.cpu || parts.cpu_modes {
            reading.cpu(parts, usage);
        }
        if parts.memory {
            reading.memory(parts, usage);
        }
        if parts.limits {
            reading.limits_above(&mut self.ancestors, parts, usage);
        }
        if parts.io {
            reading.io(usage);
        }
        if parts.pressure {
            usage.pressure.cpu = reading.stall(Role::CpuPressure);
            usage.pressure.memory = reading.stall(Role::MemoryPressure);
            usage.pressure.io = reading.stall(Role::IoPressure);
        }
        if parts.pids {
            usage.pids.current = reading.parse(Role::Pids, |text, bad| bad.check(alone(text)));
            if parts.limits {
                usage.pids.limit = reading.parse(Role::PidsLimit, memory::limit_v2);
            }
        }
        usage.notes = reading.notes;
        usage.notes.gone = reading.read != 0 && reading.read == reading.gone;
        usage.notes.malformed += reading.bad.0;
    }
}

/// One reading of one group.
struct Reading<'a> {
    files: &'a mut Files,
    group: &'a mut Group,
    notes: Notes,
    bad: Bad,
    /// The places that were read, and those of them that are gone: a bit each.
    read: u8,
    gone: u8,
}

impl Reading<'_> {
    /// What `parse` makes of a file, if it is there.
    fn text<T>(&mut self, role: Role, parse: impl FnOnce(&[u8], &mut Bad) -> T) -> Option<T> {
        // The place is borrowed while its descriptor changes.
        let mut kept = std::mem::take(&mut self.group.kept[role as usize]);
        let mut value = None;
        if let Some((index, place)) = self.group.at_mut(role.resource()) {
            self.read |= 1 << index;
            match text(self.files, &mut kept, place, role, &mut self.notes) {
                Read::Text(text) => {
                    if text.anew {
                        role.counted().into_iter().for_each(|counted| self.notes.anew.add(counted));
                        if role == Role::CpuStat && place.version == Version::V2 {
                            // That file has both.
                            self.notes.anew.add(Counted::CpuUsage);
                        }
                    }
                    value = Some(parse(text.bytes, &mut self.bad));
                }
                Read::Gone => self.gone |= 1 << index,
                Read::Nothing => {}
            }
        }
        self.group.kept[role as usize] = kept;
        value
    }

    fn parse<T>(&mut self, role: Role, parse: impl FnOnce(&[u8], &mut Bad) -> Option<T>) -> Option<T> {
        self.text(role, parse).flatten()
    }

    fn cpu(&mut self, parts: Parts, usage: &mut Usage) {
        let cpu = &mut usage.cpu;
        let versions = (self.group.version(Resource::CpuAccount), self.group.version(Resource::Cpu));
        // One file has both.
        if versions == (Some(Version::V2), Some(Version::V2)) {
            self.text(Role::CpuStat, |text, bad| {
                cpu::usage_v2(text, cpu, bad);
                cpu::throttling(text, Version::V2, cpu, bad);
            });
        } else {
            if versions.0 == Some(Version::V2) {
                self.text(Role::CpuUsage, |text, bad| cpu::usage_v2(text, cpu, bad));
            } else if parts.cpu {
                cpu.usage = self.parse(Role::CpuUsage, |text, bad| bad.check(alone(text)));
            }
            if versions.0 == Some(Version::V1) && parts.cpu_modes {
                self.text(Role::CpuModes, |text, bad| cpu::modes_v1(text, cpu, bad));
            }
            if let Some(version) = versions.1.filter(|_| parts.cpu) {
                self.text(Role::CpuStat, |text, bad| cpu::throttling(text, version, cpu, bad));
            }
        }
        if !parts.cpu || !parts.limits {
            return;
        }
        cpu.limit.own = match self.group.version(Resource::Cpu) {
            Some(Version::V1) => self.parse(Role::CpuQuota, cpu::quota_v1).and_then(|quota| {
                self.parse(Role::CpuPeriod, |text, bad| {
                    let period = bad.check(alone(text))?;
                    bad.check(cpu::cores(quota, period))
                })
            }),
            Some(Version::V2) => self.parse(Role::CpuQuota, cpu::limit_v2),
            None => None,
        };
    }

    fn memory(&mut self, parts: Parts, usage: &mut Usage) {
        let memory = &mut usage.memory;
        let Some(version) = self.group.version(Resource::Memory) else { return };
        let is_v1 = version == Version::V1;
        let number = |text: &[u8], bad: &mut Bad| bad.check(alone(text));
        memory.usage = self.parse(Role::MemoryUsage, number);
        let stat = if is_v1 { memory::stat_v1 } else { memory::stat_v2 };
        let rest =
            self.parse(Role::MemoryStat, |text, bad| Some(stat(text, memory, bad))).unwrap_or_default();
        memory.working_set = memory::working_set(memory.usage, rest);
        if !is_v1 {
            memory.swap = self.parse(Role::SwapUsage, number);
        }
        let limit = if is_v1 { memory::limit_v1 } else { memory::limit_v2 };
        if !parts.limits {
            return;
        }
        memory.limit.own = self.parse(Role::MemoryLimit, limit);
        let swap = self.parse(Role::SwapLimit, limit);
        match version {
            Version::V1 => memory::finish_v1(memory, rest, swap),
            Version::V2 => memory.swap_limit.own = swap,
        }
    }

    fn limits_above(&mut self, ancestors: &mut Ancestors, parts: Parts, usage: &mut Usage) {
        let cpu = self.group.at(Resource::Cpu).filter(|_| parts.cpu);
        if let Some(place) = cpu {
            let above = ancestors.above(self.files, place, &mut self.notes);
            bind(&mut usage.cpu.limit, above.cpu);
        }
        let memory = self.group.at(Resource::Memory).filter(|_| parts.memory);
        if let Some(place) = memory.filter(|place| place.version == Version::V2) {
            let above = ancestors.above(self.files, place, &mut self.notes);
            bind(&mut usage.memory.limit, above.memory);
            bind(&mut usage.memory.swap_limit, above.swap);
        }
    }

    fn io(&mut self, usage: &mut Usage) {
        let io = &mut usage.io;
        match self.group.version(Resource::Io) {
            Some(Version::V1) => {
                for (what, all, own) in [
                    (What::Requests, Role::IoRequests, Role::IoOwnRequests),
                    (What::Bytes, Role::IoBytes, Role::IoOwnBytes),
                ] {
                    if self.text(all, |text, bad| io::stat_v1(text, what, io, bad)).is_none() {
                        self.text(own, |text, bad| io::stat_v1(text, what, io, bad));
                    }
                }
            }
            Some(Version::V2) => {
                self.text(Role::IoRequests, |text, bad| io::stat_v2(text, io, bad));
            }
            None => {}
        }
    }

    fn stall(&mut self, role: Role) -> Stall {
        self.text(role, pressure::stall).unwrap_or_default()
    }
}

fn bind<T: PartialOrd + Copy>(limit: &mut Limit<T>, above: Option<T>) {
    limit.binding = memory::min(limit.own, above);
}

/// What came of reading a file.
pub(crate) enum Read<'f> {
    Text(Text<'f>),
    /// The cgroup is not there.
    Gone,
    /// The file is not there, or it was noted what is wrong with it.
    Nothing,
}

impl<'f> Read<'f> {
    pub(crate) fn bytes(self) -> Option<&'f [u8]> {
        match self {
            Self::Text(text) => Some(text.bytes),
            Self::Gone | Self::Nothing => None,
        }
    }
}

/// Reads one file; what went wrong is noted.
pub(crate) fn text<'f>(
    files: &'f mut Files,
    kept: &mut Kept,
    place: &mut Place,
    role: Role,
    notes: &mut Notes,
) -> Read<'f> {
    let Some(name) = role.file(place.version) else { return Read::Nothing };
    let at = At { hierarchy: place.hierarchy(), directory: &place.directory, name };
    match files.read(kept, &mut place.seen, at) {
        Ok(text) => return Read::Text(text),
        Err(Failure::Missing) => {}
        Err(Failure::Gone) => return Read::Gone,
        Err(Failure::TooLarge) => notes.too_large += 1,
        Err(Failure::Unreadable { .. }) => notes.unreadable += 1,
    }
    Read::Nothing
}
