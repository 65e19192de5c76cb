//! Asking for all processes, and joining ends of processes with what the
//! identity service knows of them.
//!
//! Two locks. One is held by whoever reads ends (`Reader`): first the events
//! of the identity service, then the kernel's messages, of which each is there
//! that an event tells of. The other is on what was counted ([`Counted`]). The
//! first is taken before the second; the host is asked without the second, but
//! for the few ends that are settled by their pid.

use crate::counts::{Counts, Mark};
use crate::handover::Marks;
use crate::left_alone::LeftAlone;
use crate::source::{AT_ONCE, Source};
use crate::waiting::{Ended, PATIENCE, Waiting};
use gantry_netlink::exits::{Of, Read};
use gantry_netlink::{Error, Exit, Exits};
use gantry_plugin_api::host::Clock;
use gantry_plugin_api::identity::{Cursor, Event, EventKind};
use gantry_plugin_api::{ContainerRef, Host, Process, tracing};
use rustix::process::{Pid, test_kill_process};
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Events that are asked for at once.
const EVENTS: u32 = 4096;

/// Messages that are read at once.
const MESSAGES: usize = 4096;

/// Rounds of both in one turn: no flood keeps a turn from its end.
const ROUNDS: usize = 16;

/// Ends that a generation keeps until it begins to count.
const EARLY: usize = 1 << 16;

/// After so many questions that were not answered the others are not asked.
const FAILURES: u32 = 3;

/// After an overrun an end without a message is taken for one that was lost.
const OVERRUN: u64 = 10_000_000_000;

/// A clock tick, in nanoseconds.
const TICK: u128 = 10_000_000;

/// What was not seen, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// There was no room in the kernel's buffer.
    pub overrun: u64,
    /// The identity service knows nothing of it.
    pub unknown: u64,
    /// There was no room here.
    pub full: u64,
    /// It made no sense.
    pub malformed: u64,
    /// The kernel did not answer.
    pub unanswered: u64,
}

/// What was counted, and of itself.
#[derive(Debug, Default)]
pub struct Counted {
    /// By process and container.
    pub counts: Counts,
    /// Counting began.
    pub is_active: bool,
    /// Ends of processes.
    pub exits: u64,
    /// What is missing.
    pub lost: Lost,
    /// How often the kernel's buffer ran over, and how often all was looked at after.
    pub overruns: u64,
    /// See `overruns`.
    pub resyncs: u64,
    /// A look is due after an overrun.
    is_overrun: bool,
    /// Processes at the last look.
    pub asked: usize,
    /// Between the last two looks, in seconds.
    pub interval: f64,
    looked: Duration,
    /// What the last look complained of.
    pub trouble: Option<String>,
}

/// Who reads ends.
#[derive(Debug)]
struct Reader {
    exits: Option<Exits>,
    cursor: Cursor,
    waiting: Waiting,
    early: Vec<(Exit, u64, u64)>,
    read: Vec<Exit>,
    ended: Vec<(Process, Option<ContainerRef>, u64)>,
    overrun: Option<u64>,
}

/// Both, each under its lock.
#[derive(Debug)]
pub struct Engine {
    host: Host,
    reader: Mutex<Reader>,
    counted: Mutex<Counted>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Engine {
    /// One that counts nothing yet; `exits` tell it of ends from now on.
    pub fn new(host: &Host, exits: Option<Exits>) -> Self {
        let mut reader = Reader {
            exits,
            cursor: Cursor::default(),
            waiting: Waiting::default(),
            early: Vec::new(),
            read: Vec::new(),
            ended: Vec::new(),
            overrun: None,
        };
        // What ended before is of no concern.
        reader.follow(host, |_| ());
        Self { host: host.clone(), reader: Mutex::new(reader), counted: Mutex::default() }
    }

    /// What was counted.
    pub fn counted(&self) -> MutexGuard<'_, Counted> {
        lock(&self.counted)
    }

    fn tick_of_now(&self) -> u64 {
        u64::try_from(self.host.now(Clock::Boottime).as_nanos() / TICK).unwrap_or(u64::MAX)
    }

    /// Counting begins: where another generation stopped, or with what each
    /// process waited until now taken for known.
    pub fn activate(&self, before: Option<(Counts, Marks)>, left_alone: &LeftAlone, source: &mut Source) {
        let goes_on = before.is_some();
        let (counts, marks) = before.unwrap_or_else(|| (Counts::new(self.tick_of_now()), Marks::default()));
        {
            let reader = &mut *lock(&self.reader);
            reader.receive(&self.host, &mut self.counted());
            let mut counted = self.counted();
            counted.counts = counts;
            counted.counts.go_on(self.host.now(Clock::Boottime).as_secs());
            counted.is_active = true;
            for (exit, read, slept) in std::mem::take(&mut reader.early) {
                // The one before counted it.
                if !marks.contains(&Mark { pid: exit.pid, mark: exit.mark }) {
                    reader.add(&self.host, &mut counted, Ended { exit, read, slept, is_of_none: false });
                }
            }
        }
        if !goes_on {
            self.look(left_alone, source);
        }
        self.turn();
    }

    /// Takes over what was told of ends until now.
    pub fn turn(&self) {
        let reader = &mut *lock(&self.reader);
        for _ in 0..ROUNDS {
            if !self.counted().is_active {
                reader.receive(&self.host, &mut self.counted());
                return;
            }
            let is_all = reader.follow_ends(&self.host);
            let more = reader.receive(&self.host, &mut self.counted());
            let counted = &mut *self.counted();
            for ended in std::mem::take(&mut reader.ended) {
                reader.join(&self.host, counted, ended);
            }
            if is_all && !more {
                break;
            }
        }
        let now = nanos(self.host.now(Clock::Boottime));
        self.settle(reader, now.saturating_sub(nanos(PATIENCE)));
    }

    /// Ends that waited for long enough.
    fn settle(&self, reader: &mut Reader, before: u64) {
        while let Some(ended) = reader.waiting.oldest(before) {
            reader.by_pid(&self.host, &mut self.counted(), &ended);
        }
    }

    /// Asks for all processes of containers, but those that asked to be left alone.
    pub fn look(&self, left_alone: &LeftAlone, source: &mut Source) {
        self.turn();
        let now = self.host.now(Clock::Monotonic);
        {
            let counted = &mut *self.counted();
            counted.counts.begin_look(self.host.now(Clock::Boottime).as_secs());
            counted.interval = now.saturating_sub(counted.looked).as_secs_f64();
            counted.looked = now;
            counted.resyncs += u64::from(std::mem::take(&mut counted.is_overrun));
            counted.trouble = None;
        }
        let containers = self.host.containers();
        let (rule, mut asked, mut failures) = (source.rule(), 0, 0);
        for container in containers.iter().filter(|container| !left_alone.has(**container)) {
            let processes = self.host.processes(*container);
            self.counted().counts.is_there(*container);
            // Asked for and counted under one lock: an end comes before or after both.
            for batch in processes.chunks(AT_ONCE) {
                let counted = &mut *self.counted();
                let mut pids = [0; AT_ONCE];
                batch.iter().zip(&mut pids).for_each(|(process, pid)| *pid = process.pid);
                if failures >= FAILURES {
                    counted.lost.unanswered += batch.len() as u64;
                    continue;
                }
                let mut answers = 0;
                let counts = &mut counted.counts;
                let told = source.of_all(&pids[..batch.len()], |at, delays| {
                    answers += 1;
                    if let Some(process) = batch.get(at) {
                        counts.seen(*process, *container, delays, rule);
                    }
                });
                if let Err(error) = told {
                    failures += 1;
                    counted.lost.unanswered += (batch.len() - answers) as u64;
                    counted.trouble = Some(error);
                }
                asked += batch.len();
            }
        }
        let there: HashSet<ContainerRef> = containers.into_iter().collect();
        let absent: Vec<ContainerRef> = {
            let counted = &mut *self.counted();
            counted.asked = asked;
            counted.counts.end_look();
            counted.counts.containers().map(|(each, _)| each).filter(|each| !there.contains(each)).collect()
        };
        // One that is gone is shown for as long as the host knows it.
        let gone: HashSet<ContainerRef> =
            absent.into_iter().filter(|each| self.host.container(*each).is_none()).collect();
        if !gone.is_empty() {
            self.counted().counts.retain(|container| !gone.contains(&container));
        }
    }

    /// Whether ends wait for the identity service.
    pub fn is_waiting(&self) -> bool {
        !lock(&self.reader).waiting.is_empty()
    }

    /// The last turn: all that was told until now is counted, by its pid where
    /// the identity service has not told of it.
    pub fn end(&self) {
        // It is about to.
        for _ in 0..20 {
            self.turn();
            if !self.is_waiting() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let reader = &mut *lock(&self.reader);
        self.settle(reader, u64::MAX);
        reader.exits = None;
    }
}

impl Reader {
    /// Reads events; whether those are all that there are.
    fn follow(&mut self, host: &Host, mut each: impl FnMut(&Event)) -> bool {
        for _ in 0..ROUNDS {
            let events = host.events(self.cursor, EVENTS);
            self.cursor = events.next;
            events.events.iter().for_each(&mut each);
            if events.events.len() < EVENTS as usize {
                return true;
            }
        }
        false
    }

    fn follow_ends(&mut self, host: &Host) -> bool {
        let mut ended = std::mem::take(&mut self.ended);
        let is_all = self.follow(host, |event| {
            if let (EventKind::ProcessExited, Some(process)) = (event.kind, event.process) {
                ended.push((process, event.container, event.at));
            }
        });
        self.ended = ended;
        is_all
    }

    /// Reads the kernel's messages; whether there may be more.
    fn receive(&mut self, host: &Host, counted: &mut Counted) -> bool {
        let Some(exits) = &self.exits else { return false };
        let read = match exits.read(&mut self.read, MESSAGES) {
            Ok(read) => read,
            Err(Error::Overrun) => {
                counted.overruns += 1;
                counted.is_overrun = true;
                self.overrun = Some(nanos(host.now(Clock::Boottime)));
                Read { more: true, ..Read::default() }
            }
            Err(error) => {
                tracing::warn!("ends of processes: {error}");
                return false;
            }
        };
        counted.lost.malformed += read.malformed;
        let now = host.now(Clock::Boottime);
        let slept = nanos(now.saturating_sub(host.now(Clock::Monotonic)));
        let now = nanos(now);
        let mut all = std::mem::take(&mut self.read);
        for exit in all.drain(..) {
            if counted.is_active {
                counted.exits += 1;
                self.add(host, counted, Ended { exit, read: now, slept, is_of_none: false });
            } else if self.early.len() < EARLY {
                self.early.push((exit, now, slept));
            }
        }
        self.read = all;
        read.more
    }

    fn add(&mut self, host: &Host, counted: &mut Counted, ended: Ended) {
        if let Some(other) = self.waiting.add(ended) {
            self.by_pid(host, counted, &other);
        }
    }

    /// The identity service says that a process ended.
    fn join(
        &mut self,
        host: &Host,
        counted: &mut Counted,
        (process, container, at): (Process, Option<ContainerRef>, u64),
    ) {
        let ended = self.waiting.take(process);
        match (ended, container) {
            (Some(Ended { exit, .. }), Some(container)) => {
                counted.counts.ended(process, container, exit.mark, &exit.delays);
            }
            (None, Some(_)) => {
                let was_overrun = self.overrun.is_some_and(|overrun| at.abs_diff(overrun) < OVERRUN);
                counted.lost.overrun += u64::from(was_overrun);
            }
            (Some(ended), None) => self.add(host, counted, Ended { is_of_none: true, ..ended }),
            (None, None) => {}
        }
    }

    /// The identity service says nothing: whose pid it is.
    fn by_pid(&self, host: &Host, counted: &mut Counted, ended: &Ended) {
        let Exit { pid, mark, delays, .. } = ended.exit;
        let known = counted.counts.known(pid).map(|known| (known.start, known.container));
        let found = match (known, ended.start()) {
            (Some((start, container)), None) => Some((start, container)),
            (Some((start, container)), Some(estimate)) if start <= estimate + 2 => Some((start, container)),
            (_, Some(estimate)) => {
                let exact = host.container_of_pid(pid, estimate);
                // Read late, its start is not known to the tick: any process of this
                // pid will do, if it is none that is there now.
                let is_free = || {
                    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                    pid.is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
                };
                let any = || if is_free() { host.container_of_pid(pid, 0) } else { None };
                exact.or_else(any).map(|container| (estimate, container))
            }
            (None, None) => None,
        };
        match found {
            Some((start, container)) => {
                counted.counts.may_have_ended(Process { pid, start }, container, mark, &delays);
            }
            // Before version 12 of the structure a thread that ended looks the same.
            None => {
                let is_lost = ended.exit.of == Of::Process && !ended.is_of_none;
                counted.lost.unknown += u64::from(is_lost);
            }
        }
    }
}
