//! What is shown: declarations only. Names, types and labels of the first
//! three groups are those of coroot-node-agent.
#![allow(missing_docs, reason = "each family has its help text")]

use gantry_plugin_api::{Family, Unit, families};

const DEVICE: &[&str] = &["device"];
const INTERFACE: &[&str] = &["interface"];
const KIND: &[&str] = &["kind"];
const MOUNT: &[&str] = &["mount_point", "device", "fs_type"];

const fn seconds(name: &'static str, help: &'static str) -> Family {
    Family::counter_read(name, help).unit(Unit::Seconds)
}
const fn bytes(name: &'static str, help: &'static str) -> Family {
    Family::gauge(name, help).unit(Unit::Bytes)
}
const fn bytes_total(name: &'static str, help: &'static str) -> Family {
    Family::counter_read(name, help).unit(Unit::Bytes)
}

families! { ALL:
    INFO = Family::gauge("node_info", "The node's host name and kernel.").labels(&["hostname", "kernel_version"]);
    UPTIME = Family::gauge("node_uptime_seconds", "Time since the node was booted, with the time it was suspended.")
        .unit(Unit::Seconds);

    CPU_USAGE = seconds("node_resources_cpu_usage_seconds_total",
        "CPU time of all cores by mode. Time of guests is within user and nice.").labels(&["mode"]);
    CPU_CORES = Family::gauge("node_resources_cpu_logical_cores", "Logical CPUs that are online.").unit(Unit::Cores);

    MEMORY_TOTAL = bytes("node_resources_memory_total_bytes", "Memory that the kernel can use.");
    MEMORY_FREE = bytes("node_resources_memory_free_bytes", "Memory that nothing uses.");
    MEMORY_AVAILABLE = bytes("node_resources_memory_available_bytes",
        "The kernel's estimate of what new processes can get without swapping.");
    MEMORY_CACHED = bytes("node_resources_memory_cached_bytes", "Page cache, with shared memory, without buffers.");

    DISK_READS = Family::counter_read("node_resources_disk_reads_total", "Completed reads.").labels(DEVICE);
    DISK_WRITES = Family::counter_read("node_resources_disk_writes_total", "Completed writes.").labels(DEVICE);
    DISK_READ_BYTES = bytes_total("node_resources_disk_read_bytes_total", "Bytes read.").labels(DEVICE);
    DISK_WRITTEN_BYTES = bytes_total("node_resources_disk_written_bytes_total", "Bytes written.").labels(DEVICE);
    DISK_READ_TIME = seconds("node_resources_disk_read_time_seconds_total",
        "Time that reads took, summed over reads that ran side by side.").labels(DEVICE);
    DISK_WRITE_TIME = seconds("node_resources_disk_write_time_seconds_total",
        "Time that writes took, summed over writes that ran side by side.").labels(DEVICE);
    DISK_IO_TIME = seconds("node_resources_disk_io_time_seconds_total",
        "Time in which at least one request was under way.").labels(DEVICE);

    NET_RECEIVED_BYTES = bytes_total("node_net_received_bytes_total", "Bytes received.").labels(INTERFACE);
    NET_TRANSMITTED_BYTES = bytes_total("node_net_transmitted_bytes_total", "Bytes transmitted.").labels(INTERFACE);
    NET_RECEIVED_PACKETS = Family::counter_read("node_net_received_packets_total", "Packets received.")
        .labels(INTERFACE);
    NET_TRANSMITTED_PACKETS = Family::counter_read("node_net_transmitted_packets_total", "Packets transmitted.")
        .labels(INTERFACE);
    NET_UP = Family::gauge("node_net_interface_up", "Whether the interface's operational state is up.")
        .labels(INTERFACE);
    NET_IP = Family::gauge("node_net_interface_ip",
        "Addresses of the interface, without link-local, multicast and loopback ones.").labels(&["interface", "ip"]);
    NET_RECEIVED_ERRORS = Family::counter_read("node_net_received_errors_total", "Bad packets received.")
        .labels(INTERFACE);
    NET_TRANSMITTED_ERRORS = Family::counter_read("node_net_transmitted_errors_total",
        "Packets that could not be transmitted for a fault.").labels(INTERFACE);
    NET_RECEIVED_DROPPED = Family::counter_read("node_net_received_dropped_total",
        "Packets received and dropped, for want of room or of a taker.").labels(INTERFACE);
    NET_TRANSMITTED_DROPPED = Family::counter_read("node_net_transmitted_dropped_total",
        "Packets dropped on their way out.").labels(INTERFACE);

    LOAD = Family::gauge("node_resources_load_average",
        "Tasks that run, wait for a CPU or wait uninterruptibly, averaged over 1, 5 and 15 minutes.")
        .labels(&["window"]);

    CPU_PRESSURE = seconds("node_resources_cpu_pressure_waiting_seconds_total",
        "Time in which some or all tasks waited for a CPU.").labels(KIND);
    MEMORY_PRESSURE = seconds("node_resources_memory_pressure_waiting_seconds_total",
        "Time in which some or all tasks waited for memory.").labels(KIND);
    IO_PRESSURE = seconds("node_resources_io_pressure_waiting_seconds_total",
        "Time in which some or all tasks waited for I/O.").labels(KIND);
    IRQ_PRESSURE = seconds("node_resources_irq_pressure_waiting_seconds_total",
        "Time in which all tasks waited for interrupts to be handled.").labels(KIND);

    SWAP_TOTAL = bytes("node_resources_swap_total_bytes", "Swap space.");
    SWAP_FREE = bytes("node_resources_swap_free_bytes", "Swap space that is free.");
    SWAP_IN = bytes_total("node_resources_swap_in_bytes_total", "Bytes swapped in.");
    SWAP_OUT = bytes_total("node_resources_swap_out_bytes_total", "Bytes swapped out.");

    FILESYSTEM_SIZE = bytes("node_resources_filesystem_size_bytes", "Size of the file system.").labels(MOUNT);
    FILESYSTEM_USED = bytes("node_resources_filesystem_used_bytes", "Used space.").labels(MOUNT);
    FILESYSTEM_RESERVED = bytes("node_resources_filesystem_reserved_bytes",
        "Free space that only root may use.").labels(MOUNT);
    FILESYSTEM_INODES = Family::gauge("node_resources_filesystem_inodes",
        "Inodes there can be; absent where the file system makes them as needed.").labels(MOUNT);
    FILESYSTEM_INODES_USED = Family::gauge("node_resources_filesystem_inodes_used", "Inodes in use.").labels(MOUNT);
    FILESYSTEM_READ_ONLY = Family::gauge("node_resources_filesystem_read_only",
        "Whether it is mounted read-only, or was made so after an error.").labels(MOUNT);
    FILESYSTEM_UNRESPONSIVE = Family::gauge("node_resources_filesystem_unresponsive",
        "Whether it did not answer in time.").labels(MOUNT);
}
