//! What is shown: declarations only.
#![allow(missing_docs, reason = "each family has its help text")]

use gantry_plugin_api::{Family, Unit, families};

families! { ALL:
    INFO = Family::info_gauge("container_info", "The container's image, or what kind of unit it is; always 1.")
        .labels(&["image", "systemd_triggered_by", "systemd_type"]).per_container();
    RUNTIME_INFO = Family::info_gauge("container_runtime_info", "What the container's runtime calls it; always 1.")
        .labels(&["runtime", "runtime_id", "name", "log_driver"]).per_container();

    RUNTIME_UP = Family::gauge("container_runtime_up",
        "Whether the container runtime at this socket answers over this API. Without it containers that are new have no names.")
        .labels(&["runtime", "api", "socket"]);
    RUNTIME_REQUESTS = Family::counter("container_runtime_requests_total",
        "Requests to container runtimes, by API, by what was asked and what became of it.")
        .labels(&["runtime", "api", "request", "result"]);

    APPLICATION_TYPE = Family::gauge("container_application_type",
        "What runs in the container, by the programs of its processes; always 1.")
        .labels(&["application_type"]).per_container().largest();
    RESTARTS = Family::counter("container_restarts_total",
        "How often all processes of the container were gone and another came.").per_container();

    CPU_LIMIT = Family::gauge("container_resources_cpu_limit_cores", "The CPU time that the container's own cgroup allows.")
        .per_container().unit(Unit::Cores);
    CPU_BINDING_LIMIT = Family::gauge("container_resources_cpu_binding_limit_cores",
        "The smallest limit of CPU time of the container's cgroup and all above it, as a pod's: the one that holds.")
        .per_container().unit(Unit::Cores);
    CPU_USAGE = Family::counter_read("container_resources_cpu_usage_seconds_total", "CPU time that the container used.")
        .per_container().unit(Unit::Seconds);
    CPU_THROTTLED = Family::counter_read("container_resources_cpu_throttled_seconds_total",
        "For how long the container was held back by its limit of CPU time.").per_container().unit(Unit::Seconds);
    CPU_PERIODS = Family::counter_read("container_resources_cpu_periods_total",
        "Periods of the limit of CPU time in which the container ran.").per_container();
    CPU_THROTTLED_PERIODS = Family::counter_read("container_resources_cpu_throttled_periods_total",
        "Periods of the limit of CPU time in which the container was held back.").per_container();

    MEMORY_RSS = Family::gauge("container_resources_memory_rss_bytes", "Anonymous and mapped memory.")
        .per_container().unit(Unit::Bytes);
    MEMORY_CACHE = Family::gauge("container_resources_memory_cache_bytes", "Page cache.")
        .per_container().unit(Unit::Bytes);
    MEMORY_WORKING_SET = Family::gauge("container_resources_memory_working_set_bytes",
        "All that is charged, without file pages that were not used of late: what the kubelet evicts by.")
        .per_container().unit(Unit::Bytes);
    MEMORY_SWAP = Family::gauge("container_resources_memory_swap_bytes", "Memory that is swapped out.")
        .per_container().unit(Unit::Bytes);
    MEMORY_LIMIT = Family::gauge("container_resources_memory_limit_bytes", "The memory that the container's own cgroup allows.")
        .per_container().unit(Unit::Bytes);
    MEMORY_BINDING_LIMIT = Family::gauge("container_resources_memory_binding_limit_bytes",
        "The smallest limit of memory of the container's cgroup and all above it, as a pod's: the one that holds.")
        .per_container().unit(Unit::Bytes);
    SWAP_LIMIT = Family::gauge("container_resources_memory_swap_limit_bytes", "The swap that the container's own cgroup allows.")
        .per_container().unit(Unit::Bytes);
    MAJOR_FAULTS = Family::counter_read("container_resources_memory_major_faults_total",
        "Page faults that had to wait for a device.").per_container();

    CPU_PRESSURE = Family::counter_read("container_resources_cpu_pressure_waiting_seconds_total",
        "Time in which some, or all (full), of the container's processes waited for a CPU.")
        .labels(&["kind"]).per_container().unit(Unit::Seconds);
    MEMORY_PRESSURE = Family::counter_read("container_resources_memory_pressure_waiting_seconds_total",
        "Time in which some, or all (full), of the container's processes waited for memory.")
        .labels(&["kind"]).per_container().unit(Unit::Seconds);
    IO_PRESSURE = Family::counter_read("container_resources_io_pressure_waiting_seconds_total",
        "Time in which some, or all (full), of the container's processes waited for a block device.")
        .labels(&["kind"]).per_container().unit(Unit::Seconds);

    DISK_SIZE = Family::gauge("container_resources_disk_size_bytes", "Size of a file system that the container sees.")
        .labels(&["mount_point", "device", "volume"]).per_container().largest().unit(Unit::Bytes);
    DISK_USED = Family::gauge("container_resources_disk_used_bytes", "What of the file system is taken.")
        .labels(&["mount_point", "device", "volume"]).per_container().largest().unit(Unit::Bytes);
    DISK_RESERVED = Family::gauge("container_resources_disk_reserved_bytes", "What of the file system is free, but for root alone.")
        .labels(&["mount_point", "device", "volume"]).per_container().largest().unit(Unit::Bytes);
    DISK_READS = Family::counter_read("container_resources_disk_reads_total",
        "Requests of the container that read from the file system's device.")
        .labels(&["mount_point", "device", "volume"]).per_container();
    DISK_WRITES = Family::counter_read("container_resources_disk_writes_total",
        "Requests of the container that wrote to the file system's device.")
        .labels(&["mount_point", "device", "volume"]).per_container();
    DISK_READ_BYTES = Family::counter_read("container_resources_disk_read_bytes_total",
        "What the container read from the file system's device.")
        .labels(&["mount_point", "device", "volume"]).per_container().unit(Unit::Bytes);
    DISK_WRITTEN_BYTES = Family::counter_read("container_resources_disk_written_bytes_total",
        "What the container wrote to the file system's device.")
        .labels(&["mount_point", "device", "volume"]).per_container().unit(Unit::Bytes);
    MOUNT_HUNG = Family::gauge("container_resources_disk_hung",
        "Whether the file system does not answer: its figures are missing.")
        .labels(&["mount_point", "device", "volume"]).per_container().largest();
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_plugin_api::description::Merge;

    /// Runs of a cron job that overlap, and a task beside the one that it is to
    /// replace, have one id and one file system.
    #[test]
    fn a_file_system_that_two_of_one_id_see_is_there_once() {
        for family in [&DISK_SIZE, &DISK_USED, &DISK_RESERVED, &MOUNT_HUNG] {
            assert_eq!(family.info().merge, Merge::Largest, "{}", family.name());
        }
        for family in [&DISK_READS, &MEMORY_RSS] {
            assert_eq!(family.info().merge, Merge::Sum, "{}", family.name());
        }
    }
}
