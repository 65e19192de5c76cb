//! The threads that a plugin made in the agent's process, and the CPU time they
//! take, as its allocator and the kernel tell of them.

use super::parts::Parts;
use gantry_crash::Stamp;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Those that were there at the last look, by what the allocator says of them:
/// a running number, and the thread's.
#[derive(Debug, Default)]
pub struct OwnThreads {
    known: HashMap<u64, Known>,
    /// When the thread that calls the plugin began: those that are older were
    /// another's.
    since: u64,
}

#[derive(Debug)]
struct Known {
    /// When it started (field 22 of its `stat`): its number may be given again.
    /// `None`: it has ended, and is told of all the same.
    start: Option<u64>,
    ran: Duration,
    /// Should it end the agent, the next start knows whose it was.
    stamp: Option<Stamp>,
}

impl OwnThreads {
    /// Those that came since the last call are known from here on: should one end
    /// the agent, the next start names the plugin. Reads nothing of those that
    /// were known before, so that it may be asked behind each call.
    pub fn meet(&mut self, told: &[u64], caller: u32, plugin: &str, parts: &Parts) {
        if self.since == 0 {
            self.since = seen(&task(caller)).map_or(1, |(start, _)| start);
        }
        for thread in told {
            // The lower half is the number.
            let number = (thread & u64::from(u32::MAX)) as u32;
            if self.known.contains_key(thread) || number == caller || parts.is_worker(number) {
                continue;
            }
            let known = match seen(&task(number)) {
                Some((start, ran)) => Known {
                    start: Some(start),
                    // One of an instance before, that was left behind, was charged then.
                    ran: if start >= self.since { Duration::ZERO } else { ran },
                    stamp: parts.crashes.thread_of(plugin, number),
                },
                None => Known { start: None, ran: Duration::ZERO, stamp: None },
            };
            self.known.insert(*thread, known);
        }
    }

    /// The CPU time that they took since the last look. What a thread took after
    /// its last one, when it ends, is of nobody.
    pub fn look(&mut self, told: &[u64], caller: u32, plugin: &str, parts: &Parts) -> Duration {
        self.known.retain(|thread, _| told.contains(thread));
        self.meet(told, caller, plugin, parts);
        let mut took = Duration::ZERO;
        for (thread, known) in &mut self.known {
            let Some(start) = known.start else { continue };
            let now = seen(&task((thread & u64::from(u32::MAX)) as u32));
            match now.filter(|(now, _)| *now == start) {
                Some((_, ran)) => {
                    took += ran.saturating_sub(known.ran);
                    known.ran = ran;
                }
                // Its number may be somebody else's now.
                None => (known.start, known.stamp) = (None, None),
            }
        }
        took
    }
}

fn task(number: u32) -> PathBuf {
    PathBuf::from(format!("/proc/self/task/{number}"))
}

/// When a thread started, and for how long it ran (`stat`, and the finer
/// `schedstat` where the kernel has it, Documentation/scheduler/sched-stats.rst);
/// `None` where it is gone.
fn seen(task: &Path) -> Option<(u64, Duration)> {
    let stat = std::fs::read_to_string(task.join("stat")).ok()?;
    let schedstat = std::fs::read_to_string(task.join("schedstat"));
    of_files(&stat, schedstat.ok().as_deref())
}

fn of_files(stat: &str, schedstat: Option<&str>) -> Option<(u64, Duration)> {
    // Its name may hold anything, also blanks and parentheses.
    let behind = &stat[stat.rfind(')')? + 1..];
    let field = |number: usize| behind.split_whitespace().nth(number - 3)?.parse::<u64>().ok();
    let start = field(22)?;
    let exact = schedstat.and_then(|text| text.split_whitespace().next()?.parse().ok());
    let ran = match exact {
        Some(nanoseconds) => Duration::from_nanos(nanoseconds),
        // User and system time, in ticks (proc_pid_stat(5)).
        None => {
            let ticks = field(14)? + field(15)?;
            Duration::from_nanos(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second())
        }
    };
    Some((start, ran))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_s_time_is_that_of_the_kernel() {
        let task = Path::new("/proc/thread-self");
        let (start, before) = seen(task).expect("this thread");
        // Until the kernel has counted some of it.
        while seen(task).expect("this thread").1 == before {
            std::hint::black_box(0);
        }
        assert_eq!(seen(task).expect("this thread").0, start);
        assert!(seen(Path::new("/proc/self/task/0")).is_none());
    }

    #[test]
    fn a_kernel_that_counts_ticks_alone_is_asked_for_them() {
        let stat = "12 (a) b) S 1 1 1 0 -1 0 0 0 0 0 300 150 0 0 20 0 1 0 777 0 0";
        let tick = Duration::from_nanos(1_000_000_000 / rustix::param::clock_ticks_per_second());
        assert_eq!(of_files(stat, None), Some((777, tick * 450)));
        assert_eq!(of_files(stat, Some("5000 1 2")), Some((777, Duration::from_nanos(5000))));
        assert_eq!(of_files("12 (cut", None), None);
    }
}
