//! The tests of `tcp_ebpf.rs` once more, with the plugins in processes of their own.

#[path = "tcp_ebpf.rs"]
mod tcp_ebpf;
