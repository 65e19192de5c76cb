//! Without programs: what is open and who listens is known still, and the
//! health says what is missing.

mod support;

use gantry_plugin_testkit::{Check, Kit, NewContainer, PATIENCE, Tree};
use gantry_tcp_ebpf::TcpEbpf;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use support::net::Net;
use support::{DONE, child, numbers, of, run_to_its_end, skip_without_root};

fn with(kit: &Kit, config: &str, number: u8) -> (Vec<String>, [f64; 2], Option<f64>) {
    let net = Net::new(number);
    let server = net.server(8000);
    let _open = net.connect(server.at).expect("somebody listens");
    let own = support::in_own_cgroup(NewContainer::new("/docker/own"));
    kit.identity().declare(own.process(std::process::id(), 1).process(net.pid(), 1));
    let mut running = kit.start(config).expect("it starts");
    let collected = running.collect().expect("it collects");
    let label = server.at.to_string();
    let counts =
        ["active_connections", "successful_connects_total"].map(|family| of(&collected, family, &label));
    let listens = collected.find(&format!("container_net_tcp_listen_info{{listen_addr={label:?}}}"));
    let programs = running.view("programs").expect("has the view");
    let missing = |row| programs.text(row, "missing").contains("container_net_tcp_");
    assert_eq!((0..programs.rows().len()).filter(|row| missing(*row)).count(), 3);
    (running.troubles().expect("has a health"), counts, listens)
}

#[test]
fn without_the_kernel_s_types_it_says_what_is_missing() {
    if skip_without_root() {
        return;
    }
    let nothing = Tree::new();
    let kit = Kit::of::<TcpEbpf>().with_tree(nothing).with_path("proc", "/proc").deadline(PATIENCE);
    let (troubles, counts, listens) = with(&kit.allow(Check::Skipped, ""), "", 91);
    assert_eq!((counts, listens), ([1.0, 0.0], Some(1.0)));
    assert!(troubles.len() == 1 && troubles[0].contains("kernel/btf/vmlinux"), "{troubles:?}");
    assert!(
        troubles[0].contains("failures") && troubles[0].contains("CONFIG_DEBUG_INFO_BTF"),
        "{troubles:?}"
    );
}

#[test]
fn who_wants_no_programs_gets_none() {
    if skip_without_root() {
        return;
    }
    let (troubles, counts, listens) = with(&support::kit(), "ebpf = false", 92);
    assert_eq!((counts, listens), ([1.0, 0.0], Some(1.0)));
    assert_eq!(troubles, [""; 0]);
}

#[test]
fn a_hand_over_that_makes_no_sense_is_passed_over() {
    if skip_without_root() {
        return;
    }
    let kit = support::kit();
    let mut running = kit.start_from("", Some(b"not one of ours, but long enough")).expect("it starts");
    running.collect().expect("it collects");
}

/// A plugin over files that say something else of the kernel than there is.
fn over_types(bytes: &[u8]) -> Kit {
    let tree = Tree::new();
    tree.write("sys/kernel/btf/vmlinux", bytes);
    let kit = Kit::of::<TcpEbpf>().with_tree(tree).with_path("proc", "/proc").deadline(PATIENCE);
    kit.allow(Check::Skipped, "")
}

#[test]
fn types_that_make_no_sense_are_as_none() {
    if skip_without_root() {
        return;
    }
    for (number, bytes) in
        [(93, &[][..]), (94, b"no types at all"), (95, &[0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 255])]
    {
        let (troubles, counts, listens) = with(&over_types(bytes), "", number);
        assert_eq!((counts, listens), ([1.0, 0.0], Some(1.0)));
        assert!(troubles.len() == 1 && troubles[0].contains("kernel/btf/vmlinux"), "{troubles:?}");
    }
}

/// As a kernel that has it no more, or never had it.
#[test]
fn a_kernel_without_the_tracepoint_is_asked_for_what_is_open() {
    const TRACEPOINT: &[u8] = b"btf_trace_inet_sock_set_state\0";
    if skip_without_root() {
        return;
    }
    let mut bytes = std::fs::read("/sys/kernel/btf/vmlinux").expect("a kernel with BTF");
    let at = bytes.windows(TRACEPOINT.len()).position(|part| part == TRACEPOINT).expect("it has it");
    bytes[at + TRACEPOINT.len() - 2] = b'_';
    let (troubles, counts, listens) = with(&over_types(&bytes), "", 96);
    assert_eq!((counts, listens), ([1.0, 0.0], Some(1.0)));
    assert!(troubles.len() == 1 && troubles[0].contains("inet_sock_set_state"), "{troubles:?}");
    assert!(troubles[0].contains("failures"), "{troubles:?}");
}

const DROPS: &str = "GANTRY_TEST_DROPS";

/// Not a test: what the one below starts, in a namespace of its own.
#[test]
#[ignore = "is started by another test"]
#[allow(clippy::print_stdout, reason = "it says that it came to its end")]
fn without_a_capability() {
    let Ok(drops) = std::env::var(DROPS) else { return };
    // Who may do anything may do this as well.
    let dropped = CapabilitySet::SYS_ADMIN
        | match drops.as_str() {
            "CAP_BPF" => CapabilitySet::BPF,
            "CAP_PERFMON" => CapabilitySet::PERFMON,
            other => panic!("{other}"),
        };
    let mut sets = capabilities(None).expect("our own");
    sets.effective -= dropped;
    sets.permitted -= dropped;
    set_capabilities(None, sets).expect("anybody may have fewer");
    let address: IpAddr = std::env::var("GANTRY_TEST_AT").expect("told").parse().expect("an address");
    let at = SocketAddr::new(address, 8000);
    let listener = TcpListener::bind(at).expect("a free port");
    let _open = TcpStream::connect(at).expect("it waits to be taken");
    let kit = support::kit();
    let own = support::in_own_cgroup(NewContainer::new("/docker/own"));
    kit.identity().declare(own.process(std::process::id(), 1));
    let mut running = kit.start("").expect("it starts");
    let collected = running.collect().expect("it collects");
    let troubles = running.troubles().expect("has a health");
    assert!(troubles.iter().any(|trouble| trouble.contains(&drops)), "{troubles:?}");
    assert!(troubles.iter().any(|trouble| trouble.contains("failures")), "{troubles:?}");
    // Its own namespace needs no entering.
    assert_eq!(numbers(&collected, at), [0.0, 1.0, 0.0, 0.0], "{troubles:?}");
    let listens = collected.find(&format!("container_net_tcp_listen_info{{listen_addr=\"{at}\"}}"));
    assert_eq!(listens, Some(1.0), "{troubles:?}");
    drop(listener);
    println!("{DONE}");
}

#[test]
fn without_a_capability_it_says_which_and_shows_what_is_open() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(97);
    for drops in ["CAP_BPF", "CAP_PERFMON"] {
        let mut command = child(&net, "without_a_capability");
        command.env(DROPS, drops).env("GANTRY_TEST_AT", net.v4.to_string());
        run_to_its_end(command);
    }
}
