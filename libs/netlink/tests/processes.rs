//! Process events of the running kernel.

use gantry_netlink::{Error, ProcessEvent, ProcessEvents, What};
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn open() -> Option<ProcessEvents> {
    match ProcessEvents::open(1 << 20, TIMEOUT) {
        Ok(events) => Some(events),
        Err(error) => {
            let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!ci, "CI=true forbids to skip: {error}");
            eprintln!("\n*** SKIPPED: this test needs the first namespaces and CAP_NET_ADMIN: {error} ***\n");
            None
        }
    }
}

/// All events, until each of the pids has exited.
fn until_exits(events: &ProcessEvents, pids: &[u32]) -> Vec<ProcessEvent> {
    let mut all = Vec::new();
    let exited =
        |all: &[ProcessEvent], pid| all.iter().any(|event| event.pid == pid && event.what == What::Exited);
    while !pids.iter().all(|pid| exited(&all, *pid)) {
        let mut fds = [PollFd::new(events, PollFlags::IN)];
        let timeout = TIMEOUT.try_into().expect("short");
        assert_ne!(poll(&mut fds, Some(&timeout)).expect("poll"), 0, "events of {pids:?} in {all:?}");
        while events.read(&mut all, 100).expect("read") {}
    }
    all
}

#[test]
fn a_process_starts_executes_and_exits() {
    let Some(events) = open() else { return };
    let pids: Vec<u32> = (0..20)
        .map(|_| {
            let mut child = Command::new("/bin/true").spawn().expect("spawn");
            child.wait().expect("wait");
            child.id()
        })
        .collect();
    let all = until_exits(&events, &pids);
    let mut by_pid: HashMap<u32, Vec<What>> = HashMap::new();
    for event in &all {
        by_pid.entry(event.pid).or_default().push(event.what);
    }
    for pid in pids {
        let whole = [What::Forked { parent: std::process::id() }, What::Executed, What::Exited];
        assert_eq!(by_pid[&pid], whole, "pid {pid}");
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    let recent = now.saturating_sub(60_000_000_000)..now;
    assert!(all.iter().all(|event| recent.contains(&event.at)));
}

#[test]
fn an_overrun_is_told_and_events_go_on() {
    let Some(_) = open() else { return };
    let events = ProcessEvents::open(4096, TIMEOUT).expect("open");
    for _ in 0..50 {
        Command::new("/bin/true").status().expect("run");
    }
    let mut all = Vec::new();
    let lost = (0..100).map(|_| events.read(&mut all, 1)).find_map(Result::err);
    assert!(matches!(lost, Some(Error::Overrun)), "{lost:?} after {all:?}");
    // The socket may still be full: room first.
    while events.read(&mut all, 100).unwrap_or(true) {}
    let mut child = Command::new("/bin/true").spawn().expect("spawn");
    until_exits(&events, &[child.id()]);
    assert!(events.is_there(child.id()), "nobody waited for it yet");
    child.wait().expect("wait");
    assert!(!events.is_there(child.id()));
}
