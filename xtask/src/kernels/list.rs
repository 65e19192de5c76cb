//! What runs in the kernels.

/// A test target of a package.
#[derive(Debug, Clone, Copy)]
pub struct Tests {
    pub package: &'static str,
    pub target: &'static str,
    /// Those that need what is not in the machine, or take minutes there, by name.
    pub skip: &'static [&'static str],
}

const fn all(package: &'static str, target: &'static str) -> Tests {
    Tests { package, target, skip: &[] }
}

/// Tests that ask the running kernel. Those that play one with files say the
/// same everywhere.
pub const TESTS: &[Tests] = &[
    all("gantry-cgroupfs", "kernel"),
    all("gantry-netlink", "kernel"),
    all("gantry-netlink", "processes"),
    all("gantry-netlink", "taskstats"),
    all("gantry-taskstats", "kernel"),
    // The root of the machine is in memory, and not shown.
    Tests { package: "gantry-node", target: "kernel", skip: &["file_systems_are_as_statfs_says"] },
    all("gantry-containers", "volumes"),
    all("gantry-tcp-ebpf", "traffic"),
    all("gantry-tcp-ebpf", "attribution"),
    all("gantry-tcp-ebpf", "kernel"),
    all("gantry-tcp-ebpf", "looks"),
    all("gantry-tcp-ebpf", "full"),
    all("gantry-tcp-ebpf", "views"),
    all("gantry-tcp-ebpf", "without"),
    all("gantry-oom", "kernel"),
    all("gantry-oom", "counters"),
    // It takes iproute2 to make a link.
    Tests { package: "gantry-tcp-ebpf", target: "failures", skip: &["unreachable"] },
    // Python is what ends a first thread alone.
    Tests {
        package: "gantry-host",
        target: "identity",
        skip: &["a_process_whose_first_thread_ends_is_there_until_the_last_one_does"],
    },
    all("gantry-host", "cgroup2"),
    // What is the agent's is the same in all kernels, and takes a minute there.
    Tests {
        package: "gantry-host",
        target: "oom",
        skip: &[
            "containers_of_docker",
            "an_upgrade_under_load",
            "a_restart_of_the_agent",
            "without_cap",
            "it_runs_once",
        ],
    },
    all("gantry-host", "clock"),
    Tests {
        package: "gantry-host",
        target: "runtimes",
        skip: &["a_container_of_lxc_has_its_name_and_is_the_same_when_it_is_started_again"],
    },
];

/// Programs of this machine that they start, beside busybox'.
pub const PROGRAMS: &[&str] = &["/usr/bin/unshare"];

/// Modules that are loaded: the disk's driver, and what tests need.
pub const MODULES: &[&str] = &["virtio_pci", "virtio_blk", "loop", "veth", "fuse", "tcp_diag"];
