//! What a look-up costs, measured where a benchmark of its own cannot reach:
//! `cargo test --release -p gantry-host identity::cost -- --ignored --nocapture`.

use super::Identity;
use crate::config::{IdentityConfig, Paths};
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

const LOOKUPS: u32 = 1_000_000;

#[test]
#[ignore = "a measurement, and no test"]
#[allow(clippy::print_stdout, reason = "a measurement prints")]
fn of_a_process_that_is_known() {
    let [proc, sys, cgroup, root] = ["/proc", "/sys", "/sys/fs/cgroup", "/"].map(PathBuf::from);
    let identity = Identity::new(&Paths { proc, sys, cgroup, root }, &IdentityConfig::default());
    let pids = [1, std::process::id()];
    for pid in pids {
        black_box(identity.of_pid(pid, 0));
    }
    let begin = Instant::now();
    for at in 0..LOOKUPS {
        black_box(identity.of_pid(pids[at as usize % 2], 0));
    }
    let each = begin.elapsed() / LOOKUPS;
    println!("a look-up by pid: {each:?}, of {LOOKUPS} among all processes of this machine");
}
