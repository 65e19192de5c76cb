//! What is shown: declarations only. Names, types and labels of the first group
//! are those of coroot-node-agent, but for the failures by reason.
#![allow(missing_docs, reason = "each family has its help text")]

use gantry_plugin_api::{Family, Unit, families};

const TO: &[&str] = &["destination", "actual_destination"];

families! { ALL:
    LISTEN = Family::gauge("container_net_tcp_listen_info",
        "1 for each address at which the container listens, 0 for a while after it ceased.")
        .labels(&["listen_addr", "proxy"]).per_container().largest();
    CONNECTS = Family::counter("container_net_tcp_successful_connects_total",
        "Connections that the container opened.").labels(TO).per_container();
    FAILED = Family::counter("container_net_tcp_failed_connects_total",
        "Connects of the container that failed, by default without those that it gave up itself.")
        .labels(&["destination"]).per_container();
    FAILURES = Family::counter("container_net_tcp_connect_failures_total",
        "Connects of the container that failed, by reason.")
        .labels(&["destination", "actual_destination", "reason"]).per_container();
    CONNECT_TIME = Family::counter("container_net_tcp_connection_time_seconds_total",
        "Time that the handshakes of the container's connections took.")
        .labels(TO).per_container().unit(Unit::Seconds);
    ACTIVE = Family::gauge("container_net_tcp_active_connections",
        "Connections that the container opened and that are open.").labels(TO).per_container();
    RETRANSMITS = Family::counter("container_net_tcp_retransmits_total",
        "Segments that were sent again on connections that the container opened.").labels(TO).per_container();
    SENT = Family::counter("container_net_tcp_bytes_sent_total",
        "Bytes sent on connections that the container opened.").labels(TO).per_container();
    RECEIVED = Family::counter("container_net_tcp_bytes_received_total",
        "Bytes received on connections that the container opened.").labels(TO).per_container();
    LATENCY = Family::gauge("container_net_latency_seconds",
        "How long an echo (ICMP) took from the container's network namespace to a destination and back, the last time.")
        .labels(&["destination_ip"]).per_container().unit(Unit::Seconds);
    LATENCY_LOST = Family::counter("container_net_latency_lost_total",
        "Echoes from the container's network namespace that were not answered, or found no way.")
        .labels(&["destination_ip"]).per_container();

    EVENTS = Family::counter("tcp_ebpf_events_total", "Events that were read from the kernel.");
    LOST = Family::counter("tcp_ebpf_lost_total",
        "What was not seen, by reason; of the kernel's own (ring_full, no_storage, recursion, malformed) a look at all sockets follows.").labels(&["reason"]);
    CORRECTIONS = Family::counter("tcp_ebpf_corrections_total",
        "Connections whose end was not told and that a scan found gone.");
    RESYNCS = Family::counter("tcp_ebpf_resyncs_total", "Looks at all sockets after a loss.");
    UNATTRIBUTED = Family::counter("tcp_ebpf_unattributed_connects_total",
        "Connects of processes that are of no container.");
    FOLDED = Family::counter("tcp_ebpf_folded_connects_total",
        "Connects to destinations for which there was no series left: they are counted as ~other.");
    UNWATCHED = Family::counter("tcp_ebpf_unwatched_seconds_total",
        "Time in which nobody followed connections, as while the agent was restarted: what began and ended in it is not counted.")
        .unit(Unit::Seconds);
    UNDERFLOWS = Family::counter("tcp_ebpf_underflows_total",
        "Looks at a socket that found more bytes sent again than sent, as of two moments: taken for none.");
    TRACKED = Family::gauge("tcp_ebpf_tracked_connections", "Connections that are followed at present.");
    UNKNOWN = Family::counter("tcp_ebpf_translations_unknown_total",
        "What was not learned of translated addresses, by reason: events that were lost, connections that were not asked for since there were too many, translations for which there was no room.")
        .labels(&["reason"]);
    TRANSLATIONS = Family::gauge("tcp_ebpf_translations", "Connections of which it is known that their destination is translated.");
    TRANSLATING = Family::gauge("tcp_ebpf_translation_namespaces",
        "Network namespaces whose connection tracking is listened to.");
    PROGRAM = Family::gauge("tcp_ebpf_program_loaded", "Whether the kernel runs a program of the plugin.")
        .labels(&["program"]);
    MAP_BYTES = Family::gauge("tcp_ebpf_map_bytes", "Kernel memory of the plugin's BPF maps.")
        .unit(Unit::Bytes);
}
