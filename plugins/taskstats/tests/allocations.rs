//! Asking for a process that is known allocates nothing. Over the files of the
//! plugin, since its library brings an allocator of its own.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "two files of the plugin, of which this uses a part"
)]

#[path = "../src/counts.rs"]
mod counts;
#[path = "../src/source.rs"]
mod source;

use counts::{Counts, Rule};
use gantry_plugin_api::{ContainerRef, Process};
use source::{AT_ONCE, Source};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::path::Path;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn a_process_that_is_known_allocates_nothing() {
    let (mut source, exits) = match Source::kernel(Path::new("/proc"), Path::new("/sys"), 1 << 20) {
        Ok(both) => both,
        Err(why) => {
            assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "CI=true forbids to skip: {why}");
            eprintln!("\n*** SKIPPED: this test needs the kernel's TASKSTATS: {why} ***\n");
            return;
        }
    };
    let container = ContainerRef::from_handle(7).expect("not 0");
    let pids = [std::process::id(), 1].repeat(AT_ONCE / 2);
    let mut counts = Counts::new(0);
    let mut look = |counts: &mut Counts| {
        counts.begin_look(5);
        let mut answers = 0;
        let told = source.of_all(&pids, |at, delays| {
            answers += 1;
            counts.seen(Process { pid: pids[at], start: 5 }, container, delays, Rule::Grows);
        });
        told.expect("answers");
        counts.end_look();
        assert_eq!(answers, AT_ONCE);
    };
    // Buffers and the table are warm.
    (0..3).for_each(|_| look(&mut counts));
    assert_eq!(least(|| look(&mut counts)), 0, "a look at {AT_ONCE}");
    let mut start = 10;
    let end = || {
        start += 10;
        counts.ended(Process { pid: 99, start }, container, start, &[1; 8]);
    };
    assert_eq!(least(end), 0, "an end");
    drop(exits);
}

/// The fewest allocations of many rounds: other tests of this file allocate at any time.
fn least(mut round: impl FnMut()) -> usize {
    let counted = (0..500).map(|_| {
        let region = Region::new(HEAP);
        round();
        let change = region.change();
        change.allocations + change.reallocations
    });
    counted.min().unwrap_or(usize::MAX)
}
