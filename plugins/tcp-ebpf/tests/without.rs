//! Without programs: what is open and who listens is known still, and the
//! health says what is missing.

mod support;

use gantry_plugin_testkit::{Check, Kit, NewContainer, PATIENCE, Tree};
use gantry_tcp_ebpf::TcpEbpf;
use support::net::Net;
use support::{of, skip_without_root};

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
    let (troubles, counts, listens) = with(&kit.allow(Check::Skipped, ""), "", 31);
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
    let (troubles, counts, listens) = with(&support::kit(), "ebpf = false", 32);
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
