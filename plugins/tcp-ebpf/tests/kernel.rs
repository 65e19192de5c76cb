//! The parts beneath the plugin, over this kernel: what it is asked for, and
//! what it tells.

mod support;

use gantry_plugin_testkit::{NewContainer, eventually};
use gantry_tcp_ebpf::addresses::Addresses;
use gantry_tcp_ebpf::config::{Config, Settings};
use gantry_tcp_ebpf::published::Published;
use gantry_tcp_ebpf::refresh::refresh;
use gantry_tcp_ebpf::watch::Watch;
use support::net::Net;
use support::{in_own_cgroup, kit, skip_without_root};

fn settings() -> Settings {
    Settings::of(&Config::default(), None, 0).expect("the default is good")
}

#[test]
fn the_kernel_is_asked_for_addresses_without_the_lock() {
    if skip_without_root() {
        return;
    }
    let net = Net::new(41);
    let _server = net.server_at("0.0.0.0:8000".parse().expect("an address"));
    let kit = kit();
    kit.identity().declare(in_own_cgroup(NewContainer::new("/docker/own").process(net.pid(), 1)));
    let watch = Watch::start(&kit.host(), settings()).expect("root, and a kernel with BTF");
    watch.lock().activate(None);
    let (mut addresses, mut asked) = (Addresses::default(), 0);
    refresh(&kit.host(), &Published::default(), &watch, &mut addresses, |_| {
        asked += 1;
        // The reader has it now and then.
        eventually(|| watch.try_lock().map(drop).ok_or("it is held".to_owned())).expect("it is free");
        None
    });
    assert!(asked > 0);
}
