//! The files of a cgroup that are read, by what they are for.

use crate::layout::{Resource, Version};
use crate::usage::Counted;

/// What a file is for. Its name differs between the generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Used CPU time; with v2 also that in user and kernel mode.
    CpuUsage,
    /// CPU time in user and kernel mode.
    CpuModes,
    /// Throttling.
    CpuStat,
    /// CPU time per period that is allowed; with v2 also the period.
    CpuQuota,
    /// The period.
    CpuPeriod,
    /// Kinds of memory.
    MemoryStat,
    /// All memory.
    MemoryUsage,
    /// What is allowed of it.
    MemoryLimit,
    /// Swap.
    SwapUsage,
    /// What is allowed: of swap with v2, of memory and swap together with v1.
    SwapLimit,
    /// Requests by device; with v2 also bytes.
    IoRequests,
    /// Bytes by device.
    IoBytes,
    /// Requests without those of cgroups below, of kernels before 4.14.
    IoOwnRequests,
    /// Bytes without those of cgroups below.
    IoOwnBytes,
    /// Number of processes and threads.
    Pids,
    /// What is allowed of them.
    PidsLimit,
    /// Waiting for CPUs.
    CpuPressure,
    /// Waiting for memory.
    MemoryPressure,
    /// Waiting for block devices.
    IoPressure,
}

impl Role {
    /// How many there are.
    pub const COUNT: usize = Self::IoPressure as usize + 1;

    /// Whose hierarchy it is in.
    pub fn resource(self) -> Resource {
        match self {
            Self::CpuUsage | Self::CpuModes => Resource::CpuAccount,
            Self::CpuStat | Self::CpuQuota | Self::CpuPeriod => Resource::Cpu,
            Self::MemoryStat | Self::MemoryUsage | Self::MemoryLimit => Resource::Memory,
            Self::SwapUsage | Self::SwapLimit => Resource::Memory,
            Self::IoRequests | Self::IoBytes | Self::IoOwnRequests | Self::IoOwnBytes => Resource::Io,
            Self::Pids | Self::PidsLimit => Resource::Pids,
            Self::CpuPressure | Self::MemoryPressure | Self::IoPressure => Resource::Pressure,
        }
    }

    /// What is counted in it.
    pub fn counted(self) -> Option<Counted> {
        Some(match self {
            Self::CpuUsage | Self::CpuModes => Counted::CpuUsage,
            Self::CpuStat => Counted::Throttling,
            Self::MemoryStat => Counted::Memory,
            Self::IoRequests | Self::IoBytes | Self::IoOwnRequests | Self::IoOwnBytes => Counted::Io,
            Self::CpuPressure => Counted::CpuPressure,
            Self::MemoryPressure => Counted::MemoryPressure,
            Self::IoPressure => Counted::IoPressure,
            Self::CpuQuota | Self::CpuPeriod | Self::MemoryUsage | Self::MemoryLimit => return None,
            Self::SwapUsage | Self::SwapLimit | Self::Pids | Self::PidsLimit => return None,
        })
    }

    /// Its file (Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst), if
    /// this generation has one of its own for it.
    pub fn file(self, version: Version) -> Option<&'static str> {
        let (v1, v2) = match self {
            Self::CpuUsage => ("cpuacct.usage", "cpu.stat"),
            Self::CpuModes => ("cpuacct.stat", ""),
            Self::CpuStat => ("cpu.stat", "cpu.stat"),
            Self::CpuQuota => ("cpu.cfs_quota_us", "cpu.max"),
            Self::CpuPeriod => ("cpu.cfs_period_us", ""),
            Self::MemoryStat => ("memory.stat", "memory.stat"),
            Self::MemoryUsage => ("memory.usage_in_bytes", "memory.current"),
            Self::MemoryLimit => ("memory.limit_in_bytes", "memory.max"),
            Self::SwapUsage => ("", "memory.swap.current"),
            Self::SwapLimit => ("memory.memsw.limit_in_bytes", "memory.swap.max"),
            Self::IoRequests => ("blkio.throttle.io_serviced_recursive", "io.stat"),
            Self::IoBytes => ("blkio.throttle.io_service_bytes_recursive", ""),
            Self::IoOwnRequests => ("blkio.throttle.io_serviced", ""),
            Self::IoOwnBytes => ("blkio.throttle.io_service_bytes", ""),
            Self::Pids => ("pids.current", "pids.current"),
            Self::PidsLimit => ("pids.max", "pids.max"),
            Self::CpuPressure => ("", "cpu.pressure"),
            Self::MemoryPressure => ("", "memory.pressure"),
            Self::IoPressure => ("", "io.pressure"),
        };
        let name = if version == Version::V1 { v1 } else { v2 };
        (!name.is_empty()).then_some(name)
    }
}
