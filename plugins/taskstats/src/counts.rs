//! Who waited how long: the last values of each process, and the sums of
//! containers. No host, no kernel.
//!
//! The kernel counts for each process from its start, and its numbers only
//! grow. What came on top since the last look goes to the container that the
//! process is in now. A process that began after [`Counts::since`] counts from
//! zero; of one that was there before, what it waited until it is seen first is
//! not counted: a counter of a container begins with the plugin, and what
//! processes did days ago is no increase of now.
//!
//! A process is known by pid and start. What was known of it stays until it can
//! be asked for no more, so that its end and an answer that was on its way do
//! not count it twice.

use ahash::RandomState;
use gantry_netlink::taskstats::KINDS;
use gantry_netlink::{Delays, Kind};
use gantry_plugin_api::{ContainerRef, Process};
use std::collections::{HashMap, VecDeque};

/// The most processes: twice what a large machine runs; some 40 MiB.
const MAX_PROCESSES: usize = 1 << 18;

/// Ends that are remembered for a generation that watched them too: at 1,000
/// a second those of a minute.
const MAX_MARKS: usize = 1 << 16;

/// As the identity service: two notions of one start lie a clock tick apart.
const TOLERANCE: u64 = 1;

/// Looks, and seconds, that pass without a process until it is forgotten: one may
/// be in no container for a while, and an agent that has just begun does not know
/// all processes yet. One that is forgotten too early would count anew.
const UNSEEN: u32 = 2;
const UNSEEN_SECONDS: u64 = 60;

/// What is known of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// In clock ticks since boot.
    pub start: u64,
    /// Where it was last.
    pub container: ContainerRef,
    /// The largest values that were seen.
    pub last: Delays,
    /// What came on top at the last look, of all kinds.
    pub recent: u64,
    /// At which look, and when.
    seen: u32,
    seen_at: u64,
    /// It ended, and may still be in a list that was made before.
    is_over: bool,
}

/// Names a message of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The process.
    pub pid: u32,
    /// See [`gantry_netlink::Exit::mark`].
    pub mark: u64,
}

/// What the numbers of a process mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// They are those of all its threads; what is less than before is a moment's.
    Grows,
    /// Those of threads that ended are missing.
    OfLivingThreads,
}

/// All that was counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Processes that started later count from zero; in clock ticks since boot.
    pub since: u64,
    processes: HashMap<u32, Known, RandomState>,
    containers: HashMap<ContainerRef, Delays, RandomState>,
    marks: VecDeque<Mark>,
    look: u32,
    /// When that began, in seconds.
    now: u64,
    is_looking: bool,
    /// Processes that there was no room for.
    pub refused: u64,
}

impl Counts {
    /// One that counts what begins from now on.
    pub fn new(since: u64) -> Self {
        Self { since, ..Self::default() }
    }

    /// What another generation counted goes on from now, in seconds since boot.
    pub fn go_on(&mut self, now: u64) {
        self.now = now;
        self.processes.values_mut().for_each(|known| known.seen_at = now);
    }

    /// All processes are about to be asked for: a list of them is made after this.
    /// `now` is in seconds since boot.
    pub fn begin_look(&mut self, now: u64) {
        self.now = now;
        self.look = self.look.wrapping_add(1);
        self.is_looking = true;
    }

    /// A container is there: it is shown, also before anything of it waited.
    pub fn is_there(&mut self, container: ContainerRef) {
        self.containers.entry(container).or_insert([0; KINDS]);
    }

    /// A process is there.
    pub fn seen(&mut self, process: Process, container: ContainerRef, now: &Delays, rule: Rule) {
        let (look, at) = (self.look, self.now);
        if let Some((known, recent)) = self.take(process, container, now, rule)
            && !known.is_over
        {
            (known.recent, known.seen, known.seen_at) = (recent, look, at);
        }
    }

    /// A process ended, after it had waited so long.
    pub fn ended(&mut self, process: Process, container: ContainerRef, mark: u64, all: &Delays) {
        let is_looking = self.is_looking;
        if let Some((known, _)) = self.take(process, container, all, Rule::Grows) {
            known.is_over = true;
            if !is_looking {
                self.processes.remove(&process.pid);
            }
        }
        self.remember(Mark { pid: process.pid, mark });
    }

    /// A process may have ended, or one of its threads: nobody knows. What is
    /// known of it stays until looks pass without it.
    pub fn may_have_ended(&mut self, process: Process, container: ContainerRef, mark: u64, all: &Delays) {
        let (look, at) = (self.look, self.now);
        if let Some((known, _)) = self.take(process, container, all, Rule::Grows) {
            (known.seen, known.seen_at) = (look, at);
        }
        self.remember(Mark { pid: process.pid, mark });
    }

    fn remember(&mut self, mark: Mark) {
        if self.marks.len() >= MAX_MARKS {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
    }

    /// All were asked for. Those that were not among them are forgotten in time.
    pub fn end_look(&mut self) {
        let (look, now) = (self.look, self.now);
        self.is_looking = false;
        let is_recent = |known: &Known| {
            look.wrapping_sub(known.seen) < UNSEEN || now.saturating_sub(known.seen_at) < UNSEEN_SECONDS
        };
        self.processes.retain(|_, known| !known.is_over && is_recent(known));
    }

    /// Adds what came on top.
    fn take(
        &mut self,
        process: Process,
        container: ContainerRef,
        now: &Delays,
        rule: Rule,
    ) -> Option<(&mut Known, u64)> {
        let Process { pid, start } = process;
        let is_full = self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&pid);
        if is_full {
            self.refused += 1;
            return None;
        }
        let fresh = Known {
            start,
            container,
            last: if start > self.since { [0; KINDS] } else { *now },
            recent: 0,
            seen: self.look,
            seen_at: self.now,
            is_over: false,
        };
        let known = self.processes.entry(pid).or_insert(fresh);
        if known.start.abs_diff(start) > TOLERANCE {
            if known.start > start {
                // Its pid is another's by now: an end that is told late.
                return None;
            }
            *known = fresh;
        }
        known.container = container;
        let sums = self.containers.entry(container).or_insert([0; KINDS]);
        let mut recent = 0;
        for ((last, now), sum) in known.last.iter_mut().zip(now).zip(sums) {
            let more = now.saturating_sub(*last);
            *sum += more;
            recent += more;
            *last = if rule == Rule::Grows { (*last).max(*now) } else { *now };
        }
        Some((known, recent))
    }

    /// What is known of a pid.
    pub fn known(&self, pid: u32) -> Option<&Known> {
        self.processes.get(&pid)
    }

    /// All processes that are known.
    pub fn processes(&self) -> impl Iterator<Item = (u32, &Known)> {
        self.processes.iter().map(|(pid, known)| (*pid, known))
    }

    /// The sums of all containers.
    pub fn containers(&self) -> impl Iterator<Item = (ContainerRef, &Delays)> {
        self.containers.iter().map(|(container, sums)| (*container, sums))
    }

    /// Forgets containers of which this does not hold.
    pub fn retain(&mut self, mut holds: impl FnMut(ContainerRef) -> bool) {
        self.containers.retain(|container, _| holds(*container));
    }

    /// Ends that were counted, the newest at the end.
    pub fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.marks.iter()
    }

    /// What the kernel counted of a kind in all containers.
    pub fn has_any(&self, kind: Kind) -> bool {
        self.containers.values().any(|sums| sums[kind as usize] > 0)
    }

    /// A sum that another generation counted.
    pub fn restore_container(&mut self, container: ContainerRef, sums: Delays) {
        self.containers.insert(container, sums);
    }

    /// A process as another generation knew it.
    pub fn restore_process(&mut self, process: Process, container: ContainerRef, last: Delays) {
        let known = Known {
            start: process.start,
            container,
            last,
            recent: 0,
            seen: self.look,
            seen_at: self.now,
            is_over: false,
        };
        self.processes.insert(process.pid, known);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn container(number: u64) -> ContainerRef {
        ContainerRef::from_handle(number).expect("not 0")
    }

    fn process(pid: u32, start: u64) -> Process {
        Process { pid, start }
    }

    fn cpu(nanos: u64) -> Delays {
        let mut delays = [0; KINDS];
        delays[Kind::Cpu as usize] = nanos;
        delays
    }

    fn sum(counts: &Counts, number: u64) -> u64 {
        let found = counts.containers().find(|(each, _)| *each == container(number));
        found.map_or(0, |(_, sums)| sums[Kind::Cpu as usize])
    }

    fn look(counts: &mut Counts, those: &[(Process, u64, u64)]) {
        look_at(counts, 5, those);
    }

    fn look_at(counts: &mut Counts, now: u64, those: &[(Process, u64, u64)]) {
        counts.begin_look(now);
        for (process, number, nanos) in those {
            counts.seen(*process, container(*number), &cpu(*nanos), Rule::Grows);
        }
        counts.end_look();
    }

    #[test]
    fn a_new_process_counts_from_zero_and_an_old_one_from_what_it_had() {
        let mut counts = Counts::new(100);
        look(&mut counts, &[(process(7, 90), 1, 5000), (process(8, 101), 2, 40)]);
        assert_eq!((sum(&counts, 1), sum(&counts, 2)), (0, 40));
        look(&mut counts, &[(process(7, 90), 1, 5001), (process(8, 101), 2, 45)]);
        assert_eq!((sum(&counts, 1), sum(&counts, 2)), (1, 45));
    }

    #[test]
    fn what_comes_on_top_goes_to_the_container_that_it_is_in_then() {
        let mut counts = Counts::new(100);
        look(&mut counts, &[(process(7, 200), 1, 10)]);
        look(&mut counts, &[(process(7, 201), 2, 15)]);
        assert_eq!((sum(&counts, 1), sum(&counts, 2)), (10, 5), "a tick is the same process");
        look(&mut counts, &[(process(7, 300), 2, 3)]);
        assert_eq!(sum(&counts, 2), 8, "the pid is another's");
        counts.ended(process(7, 200), container(1), 9, &cpu(99));
        assert_eq!(sum(&counts, 1), 10, "an end of long ago is not its end");
    }

    #[test]
    fn an_end_and_an_answer_that_was_on_its_way_count_once() {
        for is_known in [false, true] {
            let mut counts = Counts::new(100);
            if is_known {
                look(&mut counts, &[(process(7, 200), 1, 10)]);
            }
            counts.begin_look(5);
            counts.ended(process(7, 200), container(1), 9, &cpu(30));
            // It waits for its parent: the kernel says what it had, or nothing at all.
            counts.seen(process(7, 200), container(1), &cpu(30), Rule::Grows);
            counts.seen(process(7, 200), container(1), &cpu(0), Rule::Grows);
            counts.end_look();
            assert_eq!(sum(&counts, 1), 30);
            assert!(counts.known(7).is_none());
        }
    }

    #[test]
    fn an_end_between_two_looks_counts_what_was_left() {
        let mut counts = Counts::new(100);
        look(&mut counts, &[(process(7, 200), 1, 10), (process(8, 90), 1, 50)]);
        counts.ended(process(7, 200), container(1), 9, &cpu(12));
        counts.ended(process(8, 90), container(1), 9, &cpu(55));
        counts.ended(process(9, 300), container(1), 9, &cpu(100));
        counts.ended(process(10, 80), container(1), 9, &cpu(1000));
        assert_eq!(sum(&counts, 1), 10 + 2 + 5 + 100, "of the last nobody knows what is new");
        assert_eq!(counts.processes().count(), 0);
        assert_eq!(counts.marks().count(), 4);
    }

    #[test]
    fn the_end_of_a_first_thread_does_not_make_its_process_new() {
        let mut counts = Counts::new(100);
        look(&mut counts, &[(process(7, 200), 1, 1000)]);
        counts.may_have_ended(process(7, 200), container(1), 9, &cpu(400));
        look(&mut counts, &[(process(7, 200), 1, 1100)]);
        assert_eq!(sum(&counts, 1), 1100);
        counts.may_have_ended(process(8, 300), container(1), 9, &cpu(40));
        look(&mut counts, &[(process(7, 200), 1, 1100), (process(8, 300), 1, 70)]);
        assert_eq!(sum(&counts, 1), 1170);
    }

    #[test]
    fn less_than_before_is_a_moment_s_unless_threads_that_ended_are_missing() {
        let mut counts = Counts::new(100);
        look(&mut counts, &[(process(7, 200), 1, 100)]);
        look(&mut counts, &[(process(7, 200), 1, 0)]);
        look(&mut counts, &[(process(7, 200), 1, 101)]);
        assert_eq!(sum(&counts, 1), 101);
        for nanos in [60, 70] {
            counts.begin_look(5);
            counts.seen(process(7, 200), container(1), &cpu(nanos), Rule::OfLivingThreads);
        }
        assert_eq!(sum(&counts, 1), 111);
    }

    #[test]
    fn who_is_gone_is_forgotten_after_two_looks_and_a_minute() {
        let mut counts = Counts::new(100);
        look_at(&mut counts, 5, &[(process(7, 200), 1, 100)]);
        look_at(&mut counts, 300, &[]);
        assert!(counts.known(7).is_some(), "one look");
        look_at(&mut counts, 310, &[(process(7, 200), 1, 101)]);
        assert_eq!(sum(&counts, 1), 101, "it is no new one");
        for now in 311..370 {
            look_at(&mut counts, now, &[]);
        }
        assert!(counts.known(7).is_some(), "59 s");
        look_at(&mut counts, 370, &[]);
        assert!(counts.known(7).is_none());
        assert_eq!(sum(&counts, 1), 101, "what it waited stays");
    }

    #[test]
    fn who_is_not_known_yet_after_a_restart_does_not_count_anew() {
        let mut counts = Counts::new(100);
        counts.restore_process(process(7, 200), container(1), cpu(100));
        counts.go_on(1000);
        for now in 1000..1010 {
            look_at(&mut counts, now, &[]);
        }
        look_at(&mut counts, 1010, &[(process(7, 200), 1, 105)]);
        assert_eq!(sum(&counts, 1), 5);
    }

    #[test]
    fn processes_and_marks_are_bounded() {
        let mut counts = Counts::new(0);
        for pid in 1..=MAX_PROCESSES as u32 + 10 {
            counts.seen(process(pid, 5), container(1), &cpu(1), Rule::Grows);
        }
        assert_eq!((counts.processes().count(), counts.refused), (MAX_PROCESSES, 10));
        for pid in 1..=MAX_MARKS as u32 + 10 {
            counts.ended(process(pid, 5), container(1), 0, &cpu(1));
        }
        assert_eq!(counts.marks().count(), MAX_MARKS);
    }
}
