//! What the plugin declares is as the host wants it.

use gantry_plugin_testkit::Kit;
use gantry_tcp_ebpf::TcpEbpf;

#[test]
fn declarations_are_good() {
    Kit::of::<TcpEbpf>().check().expect("good");
}
