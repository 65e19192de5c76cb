//! The figures of one cgroup, with those of all cgroups below it.
//!
//! A figure is `None` where the kernel does not have its file, the cgroup does
//! not have the controller, or the file cannot be understood ([`Notes`] counts
//! the last).

pub(crate) mod cpu;
pub(crate) mod io;
pub(crate) mod memory;
pub(crate) mod number;
pub(crate) mod pressure;

/// What one cgroup uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// CPU time.
    pub cpu: Cpu,
    /// Memory and swap.
    pub memory: Memory,
    /// Block devices.
    pub io: Io,
    /// Waiting.
    pub pressure: Pressure,
    /// Processes.
    pub pids: Pids,
    /// What went wrong.
    pub notes: Notes,
}

/// What is allowed; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limit<T> {
    /// By the cgroup itself.
    pub own: Option<T>,
    /// The smallest of its own and those of all cgroups above, which is the one
    /// that holds: a Kubernetes pod's, or a slice's. Never that of the
    /// hierarchy's root, which has none.
    pub binding: Option<T>,
}

/// CPU time, all counters since the cgroup was made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cpu {
    /// Used, in ns.
    pub usage: Option<u64>,
    /// Of it in user mode, in ns. v1 has 10 ms steps.
    pub user: Option<u64>,
    /// Of it in kernel mode, in ns.
    pub system: Option<u64>,
    /// Summed over its threads' CPUs, how long it was held back, in ns.
    pub throttled: Option<u64>,
    /// Periods of the limit in which it ran.
    pub periods: Option<u64>,
    /// Those in which it was held back.
    pub throttled_periods: Option<u64>,
    /// Cores: quota divided by period.
    pub limit: Limit<f64>,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// Anonymous and mapped: v1 `total_rss` + `total_mapped_file`, v2 `anon` +
    /// `file_mapped`.
    pub rss: Option<u64>,
    /// Page cache, mapped or not: v1 `total_cache`, v2 `file`.
    pub cache: Option<u64>,
    /// All that is charged, with the kernel's own.
    pub usage: Option<u64>,
    /// `usage` without the file pages that were not used of late, not below 0:
    /// what the kubelet evicts by.
    pub working_set: Option<u64>,
    /// Swapped out. v1 tells it where swap is accounted.
    pub swap: Option<u64>,
    /// Page faults that had to wait for a device, a counter.
    pub major_faults: Option<u64>,
    /// Limit of `usage`.
    pub limit: Limit<u64>,
    /// Limit of `swap`; of v1, the limit of both less that of memory.
    pub swap_limit: Limit<u64>,
}

/// Traffic of block devices. One without traffic may be missing.
///
/// With v1, recent kernels (seen with 6.18) count only on devices for which some
/// cgroup has, or had, a limit: on others there is traffic, and no device here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Io {
    /// Whether the kernel tells of devices at all.
    pub known: bool,
    /// In no order, each once.
    pub devices: Vec<Device>,
}

/// Traffic of one block device, all counters since the cgroup was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Its major and minor number.
    pub number: (u32, u32),
    /// Requests that read.
    pub reads: u64,
    /// Requests that write.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
}

/// Time lost in waiting (PSI, Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pressure {
    /// For CPUs.
    pub cpu: Stall,
    /// For memory.
    pub memory: Stall,
    /// For block devices.
    pub io: Stall,
}

/// Counters of time in µs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stall {
    /// In which some of the processes waited.
    pub some: Option<u64>,
    /// In which all of them did. Kernels before 5.13 do not have it for CPUs.
    pub full: Option<u64>,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pids {
    /// How many there are.
    pub current: Option<u64>,
    /// How many the cgroup itself allows.
    pub limit: Option<u64>,
}

/// Counters whose file can be another than before, while others go on: with v1
/// each hierarchy has a cgroup of its own, with v2 a controller can be taken
/// away and given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// [`Cpu::usage`], `user` and `system`.
    CpuUsage,
    /// [`Cpu::throttled`], `periods` and `throttled_periods`.
    Throttling,
    /// [`Memory::major_faults`].
    Memory,
    /// [`Io`].
    Io,
    /// [`Pressure::cpu`].
    CpuPressure,
    /// [`Pressure::memory`].
    MemoryPressure,
    /// [`Pressure::io`].
    IoPressure,
}

/// Counters that began at 0 since the group was read before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Anew(u8);

impl Anew {
    /// Whether these did.
    pub fn has(self, what: Counted) -> bool {
        self.0 & 1 << what as u8 != 0
    }

    pub(crate) fn add(&mut self, what: Counted) {
        self.0 |= 1 << what as u8;
    }
}

/// What went wrong in one reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// The cgroup is removed in all hierarchies that were read. What was read
    /// before is there. Where it is removed in some alone, their figures are missing.
    pub gone: bool,
    /// The kernel counts anew.
    pub anew: Anew,
    /// Figures that are not of the kernel's form, or beyond 64 bits.
    pub malformed: u32,
    /// Files that have more than is read.
    pub too_large: u32,
    /// Files that could not be read for another reason.
    pub unreadable: u32,
}

impl Usage {
    /// As `default`, with the memory of before.
    pub(crate) fn clear(&mut self) {
        let mut devices = std::mem::take(&mut self.io.devices);
        devices.clear();
        *self = Self { io: Io { known: false, devices }, ..Self::default() };
    }
}
