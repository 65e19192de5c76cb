//! Delay accounting of the running kernel.

use gantry_netlink::exits::Of;
use gantry_netlink::taskstats::AT_ONCE;
use gantry_netlink::{Error, Exit, Exits, Kind, Taskstats};
use rustix::event::{PollFd, PollFlags, poll};
use std::process::Command;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn open() -> Option<Taskstats> {
    match Taskstats::open(None, TIMEOUT) {
        Ok(taskstats) => Some(taskstats),
        Err(error) => {
            let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!ci, "CI=true forbids to skip: {error}");
            eprintln!("\n*** SKIPPED: this test needs the first namespaces and CAP_NET_ADMIN: {error} ***\n");
            None
        }
    }
}

fn possible() -> String {
    std::fs::read_to_string("/sys/devices/system/cpu/possible").expect("sysfs")
}

fn listen(taskstats: &Taskstats, buffer: usize) -> Exits {
    Exits::listen(&possible(), taskstats.form(), buffer, None, TIMEOUT).expect("it listens")
}

/// Reads until one fulfils this.
fn until(exits: &Exits, holds: impl Fn(&Exit) -> bool) -> Exit {
    let mut all = Vec::new();
    loop {
        let mut fds = [PollFd::new(exits, PollFlags::IN)];
        let timeout = TIMEOUT.try_into().expect("short");
        assert_ne!(poll(&mut fds, Some(&timeout)).expect("poll"), 0, "none of {all:?}");
        while exits.read(&mut all, 100).expect("read").more {}
        if let Some(found) = all.iter().find(|exit| holds(exit)) {
            return *found;
        }
    }
}

/// By the kernel's own files: how long each thread waited for a CPU.
fn schedstat(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it is there").flatten();
    let waited = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).expect("CONFIG_SCHED_INFO");
        text.split_whitespace().nth(1).expect("three numbers").parse::<u64>().expect("a number")
    };
    threads.map(|thread| waited(thread.path())).sum()
}

#[test]
fn a_process_is_answered_with_the_sum_of_its_threads() {
    let Some(mut taskstats) = open() else { return };
    let form = taskstats.form();
    assert!(form.version >= 8 && form.has(Kind::Reclaim), "{form:?}");
    // It sleeps: nothing changes between the two.
    let mut child = Command::new("sleep").arg("100").spawn().expect("it starts");
    std::thread::park_timeout(Duration::from_millis(100));
    let ask = |taskstats: &mut Taskstats| taskstats.of(child.id()).expect("an answer").expect("it is there");
    let same = (0..50).any(|_| {
        let (before, theirs) = (ask(&mut taskstats), schedstat(child.id()));
        before[Kind::Cpu as usize] == theirs
    });
    assert!(same, "the kernel's files say {}, and {:?}", schedstat(child.id()), ask(&mut taskstats));
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    assert_eq!(taskstats.of(child.id()).expect("an answer"), None);
}

#[test]
fn many_are_asked_for_at_once_and_those_that_are_gone_are_among_them() {
    let Some(mut taskstats) = open() else { return };
    let own = std::process::id();
    let mut gone = Command::new("/bin/true").spawn().expect("it starts");
    gone.wait().expect("it is ours");
    // The list is longer than what is asked for at once.
    let pids: Vec<u32> = (0..100).map(|at| if at % 3 == 0 { gone.id() } else { own }).collect();
    for _ in 0..10 {
        let mut seen = Vec::new();
        taskstats.of_all(&pids, |at, delays| seen.push((at, delays.is_some()))).expect("answers");
        let expected: Vec<(usize, bool)> = (0..AT_ONCE).map(|at| (at, at % 3 != 0)).collect();
        assert_eq!(seen, expected);
    }
    taskstats.of_all(&[], |_, _| panic!("nobody was asked for")).expect("nothing");
}

#[test]
fn an_end_is_told_with_what_was_waited_in_all() {
    let Some(taskstats) = open() else { return };
    let exits = listen(&taskstats, 1 << 20);
    let mut child = Command::new("/bin/true").spawn().expect("it starts");
    let exit = until(&exits, |exit| exit.pid == child.id());
    child.wait().expect("it is ours");
    let lived = exit.lived.expect("one thread");
    assert!(lived > 0 && lived < 60_000_000, "{exit:?}");
    if taskstats.form().version >= 12 {
        assert_eq!(exit.of, Of::Process);
    }
}

/// The listener's own process has threads that end.
#[test]
fn a_thread_that_ends_is_no_process() {
    let Some(taskstats) = open() else { return };
    if taskstats.form().version < 12 {
        return;
    }
    let exits = listen(&taskstats, 1 << 20);
    let mut all = Vec::new();
    let mut threads = 0;
    while threads < 5 {
        std::thread::spawn(|| ()).join().expect("it ends");
        let read = exits.read(&mut all, 100).expect("read");
        assert_eq!(read.malformed, 0);
        threads += read.threads;
    }
    assert!(all.iter().all(|exit| exit.pid != std::process::id()), "{all:?}");
}

#[test]
fn an_overrun_is_told_and_ends_go_on() {
    let Some(taskstats) = open() else { return };
    let exits = listen(&taskstats, 4096);
    for _ in 0..50 {
        Command::new("/bin/true").status().expect("it runs");
    }
    let mut all = Vec::new();
    let lost = (0..100).map(|_| exits.read(&mut all, 1)).find_map(Result::err);
    assert!(matches!(lost, Some(Error::Overrun)), "{lost:?} after {all:?}");
    while exits.read(&mut all, 100).map_or(true, |read| read.more) {}
    let mut child = Command::new("/bin/true").spawn().expect("it starts");
    until(&exits, |exit| exit.pid == child.id());
    child.wait().expect("it is ours");
}

#[test]
fn processors_that_cannot_be_are_refused_and_named() {
    let Some(taskstats) = open() else { return };
    for cpus in ["0-4095", "nothing", "-1"] {
        let error = Exits::listen(cpus, taskstats.form(), 4096, None, TIMEOUT).expect_err(cpus);
        assert!(matches!(error, Error::Refused { .. }), "{cpus}: {error}");
    }
}

/// As in a container: there is no such family, or nothing is heard of it; the first
/// namespace is found by its file.
#[test]
fn another_network_namespace_hears_nothing() {
    let Some(taskstats) = open() else { return };
    let mut other = Command::new("unshare").args(["-n", "sleep", "100"]).spawn().expect("it starts");
    let namespace = |pid: u32| format!("/proc/{pid}/ns/net");
    let own = std::fs::read_link(namespace(std::process::id())).expect("it is readable");
    let until = std::time::Instant::now() + TIMEOUT;
    while std::fs::read_link(namespace(other.id())).expect("it runs") == own {
        assert!(std::time::Instant::now() < until, "it never left");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let within = |pid: u32, timeout: Duration| {
        let path = namespace(pid);
        Exits::listen(&possible(), taskstats.form(), 1 << 20, Some(path.as_ref()), timeout).map(drop)
    };
    let error = within(other.id(), Duration::from_millis(200)).expect_err("nothing is told there");
    assert!(matches!(error, Error::Refused { .. } | Error::TimedOut(_)), "{error}");
    within(std::process::id(), TIMEOUT).expect("it is told here");
    other.kill().expect("it runs");
    other.wait().expect("it is ours");
}
