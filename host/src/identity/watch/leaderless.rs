//! Processes whose first thread is over while others go on: the kernel told
//! their end with that thread's, and tells it no more.

use super::super::read::{Living, Proc, is_gone};
use super::super::state::same_start;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Mostly all threads of a process are ending, the first one first, which takes
/// milliseconds.
const SOON: Duration = Duration::from_millis(100);

/// Those that are left then are few, and live on: a program may have left its
/// first thread for good.
const EVERY: Duration = Duration::from_secs(2);

/// The most of them; the end of others is seen by the next look at all.
const MOST: usize = 4096;

/// One that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    pub pid: u32,
    pub start: u64,
    /// When it was over, where that is known.
    pub ended: Option<u64>,
}

/// By pid, with their starts, and when their first threads were over.
#[derive(Debug, Default)]
pub struct Leaderless {
    all: HashMap<u32, (u64, Option<u64>)>,
    due: Option<Instant>,
}

impl Leaderless {
    /// `ended`: when its first thread was over, in nanoseconds since boot, if that
    /// was just told.
    pub fn add(&mut self, pid: u32, start: u64, ended: Option<u64>) {
        if self.all.len() < MOST {
            self.all.insert(pid, (start, ended));
            let soon = Instant::now() + SOON;
            self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
        }
    }

    /// When they should be looked at.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks at all of them, and gives those that are gone. One that executed a
    /// program has a first thread again, whose end is told. Those that are gone
    /// when they are first looked at ended with their first threads.
    pub fn gone(&mut self, proc: &Proc, buffer: &mut Vec<u8>) -> Vec<Over> {
        let mut gone = Vec::new();
        self.all.retain(|pid, (start, ended)| match proc.living(*pid, buffer) {
            Ok(Living { start: now, leaderless }) if same_start(now, *start) => {
                *ended = None;
                leaderless
            }
            Err(errno) if !is_gone(errno) => true,
            Ok(_) | Err(_) => {
                gone.push(Over { pid: *pid, start: *start, ended: *ended });
                false
            }
        });
        self.due = (!self.all.is_empty()).then(|| Instant::now() + EVERY);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_rechecked_until_they_are_gone_or_have_a_first_thread_again() {
        let root = tempfile::tempdir().expect("a directory");
        let proc = Proc::open(root.path()).expect("a proc");
        let is = |pid: u32, state: &str, threads: u32, start: u64| {
            let directory = root.path().join(pid.to_string());
            std::fs::create_dir_all(&directory).expect("a directory");
            let stat = format!("{pid} (a) {state} 1 7 7 0 -1 0 1 2 3 4 5 6 7 8 20 0 {threads} 0 {start} 1\n");
            std::fs::write(directory.join("stat"), stat).expect("a file");
        };
        let mut those = Leaderless::default();
        assert_eq!(those.due(), None);
        for pid in 1..=5 {
            is(pid, "Z", 2, 100);
            those.add(pid, 100, Some(7));
        }
        assert!(those.due().is_some());
        assert_eq!(those.gone(&proc, &mut Vec::new()), [], "all go on");
        is(1, "Z", 1, 100);
        is(2, "S", 2, 100);
        is(3, "S", 1, 900);
        std::fs::remove_dir_all(root.path().join("4")).expect("a directory");
        those.add(6, 100, Some(7));
        let mut gone = those.gone(&proc, &mut Vec::new());
        gone.sort_unstable_by_key(|one| one.pid);
        let over = |pid, ended| Over { pid, start: 100, ended };
        let is_over = [over(1, None), over(3, None), over(4, None), over(6, Some(7))];
        assert_eq!(
            gone, is_over,
            "2 executed a program, 3 is another one, 6 never outlived its first thread"
        );
        assert_eq!(those.all.keys().copied().collect::<Vec<_>>(), [5]);
        std::fs::remove_dir_all(root.path().join("5")).expect("a directory");
        assert_eq!(those.gone(&proc, &mut Vec::new()), [over(5, None)]);
        assert_eq!(those.due(), None);
        (0..10_000).for_each(|pid| those.add(pid, 1, None));
        assert_eq!(those.all.len(), MOST);
    }
}
