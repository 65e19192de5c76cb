//! What is shown: declarations only. Names, types and labels of the first two
//! are those of coroot-node-agent.
#![allow(missing_docs, reason = "each family has its help text")]

use gantry_netlink::Kind;
use gantry_plugin_api::{Family, Unit, families};

const fn waited(name: &'static str, help: &'static str) -> Family {
    Family::counter(name, help).per_container().unit(Unit::Seconds)
}

families! { ALL:
    CPU_DELAY = waited("container_resources_cpu_delay_seconds_total",
        "Time in which the container's threads were ready to run and waited for a CPU, summed over threads.");
    DISK_DELAY = waited("container_resources_disk_delay_seconds_total",
        "Time in which the container's threads waited for block devices, summed over threads.");
    DELAY = waited("container_resources_delay_seconds_total",
        "Time in which the container's threads waited for memory to be reclaimed or compacted, for pages that were swapped out or thrash, for copies of pages, and in which they were held up by interrupts, by kind.")
        .labels(&["kind"]);

    PROCESSES = Family::gauge("taskstats_processes", "Processes of containers that the last collection asked for.");
    ACCOUNTING = Family::gauge("taskstats_delay_accounting",
        "Whether the kernel counts all delays (kernel.task_delayacct): those of a CPU it counts always.");
    EXITS = Family::counter("taskstats_exits_total", "Ends of processes that the kernel told.");
    LOST = Family::counter("taskstats_lost_total",
        "Ends of processes whose last delays are not counted, by reason.").labels(&["reason"]);
    OVERRUNS = Family::counter("taskstats_overruns_total",
        "How often the kernel had no room for the end of a process. All processes are asked for after it.");
    RESYNCS = Family::counter("taskstats_resyncs_total", "Looks at all processes after an overrun.");
}

/// The label of [`DELAY`]; `None` of what has a family of its own.
pub fn label(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Cpu | Kind::Disk => return None,
        Kind::Reclaim => "memory_reclaim",
        Kind::SwapIn => "swap_in",
        Kind::Thrashing => "thrashing",
        Kind::Compaction => "compaction",
        Kind::WriteProtectCopy => "write_protect_copy",
        Kind::Irq => "irq",
    })
}
