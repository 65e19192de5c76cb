//! What is shown: declarations only. The first name is that of coroot-node-agent.
#![allow(missing_docs, reason = "each family has its help text")]

use gantry_plugin_api::{Family, Unit, families};

families! { ALL:
    KILLS = Family::counter("container_oom_kills_total",
        "Processes of the container that the kernel killed for want of memory.").per_container();
    EVENTS = Family::counter("container_oom_events_total",
        "The same by whose limit was reached: the container's own (or of a cgroup within it), an ancestor's (a pod's, a \
         slice's), the node's, or unknown where only the cgroup's counter tells of the kill.")
        .per_container().labels(&["scope"]);

    UNATTRIBUTED = Family::counter("oom_unattributed_total",
        "Victims that belong to no container: no_container (in no cgroup of its own), unknown_cgroup (nobody knew it \
         within 30 s), waiting_full.").labels(&["reason"]);
    LOST = Family::counter("oom_lost_total",
        "Events that were lost. Kills of containers that are still there are found by their cgroups' counters.")
        .labels(&["reason"]);
    FOUND = Family::counter("oom_found_by_counters_total",
        "Kills of which a cgroup's counter alone told.");
    NOT_KILLED = Family::counter("oom_marked_without_kill_total",
        "Processes that were given the memory they needed to end, since they were ending anyhow.");
    PROGRAM = Family::gauge("oom_program_loaded", "Whether a program is in the kernel.").labels(&["program"]);
    MAP_BYTES = Family::gauge("oom_bpf_map_bytes", "Memory of the programs' maps in the kernel.").unit(Unit::Bytes);
}
