//! Processes that wait for one CPU, and a kit over this machine.
#![allow(dead_code, reason = "each test file uses its part")]

use gantry_plugin_api::Process;
use gantry_plugin_testkit::{Check, Collected, Kit, PATIENCE, Running, Tree};
use gantry_taskstats::Taskstats;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The plugin over this machine.
pub fn kit() -> Kit {
    Kit::of::<Taskstats>().with_tree(Tree::at("/")).deadline(PATIENCE).allow(Check::Skipped, "")
}

/// Whether the kernel answers here; else it was said that the test is skipped.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn has_kernel() -> bool {
    let opened = gantry_taskstats::source::Source::kernel(Path::new("/proc"), Path::new("/sys"), 1 << 20);
    if let Err(why) = &opened {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "CI=true forbids to skip: {why}");
        eprintln!("\n*** SKIPPED: this test needs the kernel's TASKSTATS: {why} ***\n");
    }
    opened.is_ok()
}

/// Lets a kit's clocks go with the machine's, until it is dropped.
pub struct Ticking {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticking {
    pub fn start(kit: &Kit) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (kit, stopped) = (kit.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut last = Instant::now();
            while !stopped.load(Relaxed) {
                std::thread::park_timeout(Duration::from_millis(1));
                let now = Instant::now();
                kit.clock().advance(now.duration_since(last));
                last = now;
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A process that started just now, as the identity service would know it; after
/// the plugin, whatever the clock's tick is.
pub fn started(kit: &Kit, pid: u32) -> Process {
    let now = kit.clock().boottime();
    Process { pid, start: u64::try_from(now.as_millis() / 10).expect("small") }
}

/// A process that never sleeps, on the first CPU.
pub struct Hog(Child);

impl Hog {
    pub fn start() -> Self {
        Self::of(&["/bin/sh", "-c", "while :; do :; done"])
    }

    /// Another program. It shares the CPU with all that is there.
    pub fn of(program: &[&str]) -> Self {
        let has_taskset = Command::new("taskset").arg("-V").output().is_ok();
        let pinned = if has_taskset { &["taskset", "-c", "0"][..] } else { &[] };
        let all: Vec<&str> = pinned.iter().chain(program).copied().collect();
        let child = Command::new(all[0]).args(&all[1..]).stdout(Stdio::null()).spawn().expect("it starts");
        Self(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("not 0");
        kill_process(pid, signal).expect("it is ours");
    }

    /// It runs no more, and waits for nothing, until it goes on.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let until = Instant::now() + PATIENCE;
        let stat = format!("/proc/{}/stat", self.pid());
        while !std::fs::read_to_string(&stat).expect("it is there").contains(") T ") {
            assert!(Instant::now() < until, "it never stopped");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long a process waited for a CPU, by the kernel's own files; in seconds.
pub fn schedstat(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it is there").flatten();
    let waited = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).expect("CONFIG_SCHED_INFO");
        text.split_whitespace().nth(1).expect("three numbers").parse::<f64>().expect("a number")
    };
    threads.map(|thread| waited(thread.path())).sum::<f64>() / 1e9
}

/// What was counted of a container.
pub fn cpu_delay(collected: &Collected, id: &str) -> f64 {
    let series = format!("container_resources_cpu_delay_seconds_total{{container_id={id:?}}}");
    collected.find(&series).unwrap_or(0.0)
}

/// Collects until something holds.
#[track_caller]
pub fn until(running: &mut Running, what: &str, mut holds: impl FnMut(&Collected) -> bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        let collected = running.collect().expect("it collects");
        if holds(&collected) {
            return;
        }
        assert!(Instant::now() < end, "never: {what}\n{collected:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
