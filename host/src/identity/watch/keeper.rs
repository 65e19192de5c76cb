//! The loop: events of processes and directories as they come, and a look at
//! all of them at the start, after each loss, and now and then.

use super::super::clock;
use super::super::path::UserSlices;
use super::super::read::{self, Living, Proc};
use super::super::shared::Shared;
use super::super::state::{Directory, Placement, State};
use super::leaderless::Leaderless;
use super::memory::Memory;
use super::order::Order;
use super::place::{Inside, Places};
use super::seen;
use super::sources::Sources;
use super::tree::Change;
use ahash::RandomState;
use gantry_cgroupfs::own;
use gantry_netlink::{ProcessEvent, What};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// With events, a look at everything only repairs what they do not tell, as a
/// process that was moved to another cgroup.
const RARE: Duration = Duration::from_secs(10 * 60);

/// Without events, it is all there is.
const OFTEN: Duration = Duration::from_secs(5);

/// After a loss, so that a flood of losses does not make a flood of looks.
const AFTER_LOSS: Duration = Duration::from_millis(200);

/// How often what only time changes is looked at while nobody collects.
const ADVANCE: Duration = Duration::from_secs(10);

/// How often containers without a process are looked at: directories whose
/// end was not told.
const EMPTY: Duration = Duration::from_secs(2);

/// How long events are let come together after the last ones. A process that
/// starts, executes and exits is three events, and each wake-up costs what two
/// of them cost. What comes after a quiet time is looked at first: a program
/// that a runtime starts may be gone in a millisecond. On a busy machine one
/// that lives shorter than this is taken to be where its parent was.
const GATHER: Duration = Duration::from_millis(2);

/// The most events that are taken under one lock.
const BATCH: usize = 512;

/// What comes after a panic: one that comes again and again shall not take a processor.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// Where the machine is read.
#[derive(Debug)]
pub struct Machine {
    pub proc: Proc,
    pub places: Places,
    /// Says that the thread shall end, or look.
    pub wake: OwnedFd,
}

/// What was read of the process of an event.
enum Read {
    Nothing,
    /// Its start, where that was not known, and where it is.
    Executes(u64, Placement),
    /// It was told to have ended, and is there.
    Lives(Living),
}

/// The thread's own.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    machine: Machine,
    sources: Sources,
    memory: Memory,
    leaderless: Leaderless,
    /// When all is looked at again.
    next_look: Instant,
    next_advance: Instant,
    next_empty: Instant,
    buffer: Vec<u8>,
}

impl Watcher {
    /// Subscribes: a look at everything comes after it, so that nothing is missed
    /// between.
    pub fn new(shared: Arc<Shared>, machine: Machine) -> Self {
        let now = Instant::now();
        // An agent in a container has namespaces that are not the machine's.
        let own = || own::is_on_node(machine.proc.path()).then(clock::own_network_namespace).flatten();
        let host = machine.proc.network_namespace(1).or_else(own);
        shared.write(|state| state.set_host_namespace(host.unwrap_or_default()));
        Self {
            sources: Sources::new(shared.clone(), machine.places.roots()),
            memory: Memory::of(machine.proc.path()),
            shared,
            machine,
            leaderless: Leaderless::default(),
            next_look: now,
            next_advance: now + ADVANCE,
            next_empty: now + EMPTY,
            buffer: Vec::with_capacity(4096),
        }
    }

    /// Watches until it is told to end. A panic costs what was being done then:
    /// all is looked at again after it.
    pub fn run(mut self) {
        while !self.shared.is_ending() {
            let turns = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.turn_round()));
            if turns.is_err() {
                self.shared.lost("panics");
                tracing::error!("identity: a panic, which is a defect of the agent; all is looked at again");
                self.next_look = Instant::now();
                // What woke it wakes it no more; the end is looked at anyhow.
                let _ = rustix::io::read(self.machine.wake.as_fd(), &mut [0_u8; 64][..]);
                self.pause(AFTER_PANIC);
            }
        }
    }

    fn turn_round(&mut self) {
        let mut events = Vec::with_capacity(BATCH);
        while !self.shared.is_ending() {
            #[cfg(test)]
            self.trip();
            self.follow_the_rules();
            self.wait();
            self.take_processes(&mut events);
            self.take_directories();
            self.look_at_new();
            self.look();
            self.recheck();
            self.follow_the_clock();
            self.shared.beat();
            // Lets events come together.
            self.pause(GATHER);
        }
    }

    #[cfg(test)]
    fn trip(&self) {
        use std::sync::atomic::Ordering::Relaxed;
        let trips = &self.shared.trips;
        assert!(trips.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err(), "as a test wants");
    }

    fn wait(&self) {
        let due = self.next_look.min(self.next_advance).min(self.next_empty);
        let due = [self.sources.due(), self.leaderless.due()].into_iter().flatten().fold(due, Instant::min);
        let span = due.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(span).ok();
        let mut fds = vec![PollFd::new(&self.machine.wake, PollFlags::IN)];
        fds.extend(self.sources.connector.as_ref().map(|connector| PollFd::new(connector, PollFlags::IN)));
        fds.extend(self.sources.tree.as_ref().map(|tree| PollFd::new(tree, PollFlags::IN)));
        // An error, an interrupt: the loop looks at everything that it waits for anyhow.
        let _ = poll(&mut fds, timeout.as_ref());
        let woken = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if woken {
            let _ = rustix::io::read(self.machine.wake.as_fd(), &mut [0_u8; 64][..]);
        }
    }

    /// Sleeps, unless it is told to end.
    fn pause(&self, span: Duration) {
        let mut fds = [PollFd::new(&self.machine.wake, PollFlags::IN)];
        let _ = poll(&mut fds, Timespec::try_from(span).ok().as_ref());
    }

    /// Process events, as they came.
    fn take_processes(&mut self, events: &mut Vec<ProcessEvent>) {
        loop {
            let Some(connector) = &self.sources.connector else { return };
            events.clear();
            let more = connector.read(events, BATCH);
            self.apply(events);
            match more {
                Ok(true) => {}
                Ok(false) => return,
                Err(gantry_netlink::Error::Overrun) => {
                    self.shared.lost("process_events");
                    self.look_soon();
                    return;
                }
                Err(error) => {
                    tracing::warn!(
                        "process events: {error}; processes are looked for every {} s",
                        OFTEN.as_secs()
                    );
                    self.shared.lost("process_events");
                    self.sources.lose_connector();
                    self.look_soon();
                    return;
                }
            }
        }
    }

    /// What is read of processes is read before the state is locked, once for
    /// all of them: plugins ask it at the same time.
    fn apply(&mut self, events: &[ProcessEvent]) {
        let offset = clock::boot_offset();
        let order = Order::of(events);
        let is_v1 = self.machine.places.is_v1();
        // What earlier events of these say: it is there, or not.
        let mut told: HashMap<u32, bool, RandomState> = HashMap::default();
        let mut read = Vec::with_capacity(events.len());
        for (at, event) in events.iter().enumerate() {
            read.push(match event.what {
                What::Executed => match self.seen(event.pid, told.get(&event.pid).copied()) {
                    // Of a zombie the first version of cgroups says that it is in none
                    // (proc_cgroup_show in kernel/cgroup/cgroup.c).
                    Some((_, Placement { found: None, .. })) if is_v1 && order.short.contains(&at) => {
                        self.shared.missed();
                        Read::Nothing
                    }
                    Some((start, placement)) => Read::Executes(start, placement),
                    None => Read::Nothing,
                },
                What::Forked { .. } => {
                    told.insert(event.pid, true);
                    Read::Nothing
                }
                What::Exited if order.go_on.contains(&at) => Read::Nothing,
                What::Exited => match self.living(event.pid) {
                    Some(living) => Read::Lives(living),
                    None => {
                        told.insert(event.pid, false);
                        Read::Nothing
                    }
                },
            });
        }
        let mut leaderless = Vec::new();
        self.shared.write(|state| {
            for (index, (event, read)) in events.iter().zip(read).enumerate() {
                let at = event.at.saturating_add(offset);
                match (event.what, read) {
                    (What::Forked { parent }, _) => {
                        state.process_forked(event.pid, parent, at / clock::TICK, at);
                    }
                    (What::Exited, _) if order.go_on.contains(&index) => {}
                    // Its first thread alone is over. One of another start is the next of its pid.
                    (What::Exited, Read::Lives(living)) if state.is_living(event.pid, living.start) => {
                        leaderless.extend(living.leaderless.then_some((event.pid, living.start, at)));
                    }
                    (What::Exited, _) => state.process_exited(event.pid, at),
                    (What::Executed, Read::Executes(start, placement)) => {
                        state.process_executed(event.pid, start, &placement, at);
                    }
                    (What::Executed, _) => state.process_unseen(event.pid),
                }
            }
        });
        leaderless.into_iter().for_each(|(pid, start, at)| self.leaderless.add(pid, start, Some(at)));
    }

    /// Processes that go on without their first thread.
    fn recheck(&mut self) {
        let asked = self.shared.read(State::has_rechecks);
        if asked {
            let those = self.shared.write(State::take_rechecks);
            those.into_iter().for_each(|(pid, start)| self.leaderless.add(pid, start, None));
        }
        if self.leaderless.due().is_none_or(|due| Instant::now() < due) {
            return;
        }
        let gone = self.leaderless.gone(&self.machine.proc, &mut self.buffer);
        if !gone.is_empty() {
            let now = clock::boot();
            self.shared.write(|state| {
                gone.iter().for_each(|one| state.process_ended(one.pid, one.start, one.ended, now));
            });
        }
    }

    /// Whether there is something to read of a process of which an event told:
    /// those that are gone are many, and asking for them costs little.
    fn is_there(&self, pid: u32) -> bool {
        self.sources.connector.as_ref().is_none_or(|connector| connector.is_there(pid))
    }

    /// A process that was told to have ended, if it is there.
    fn living(&mut self, pid: u32) -> Option<Living> {
        self.is_there(pid).then(|| self.machine.proc.living(pid, &mut self.buffer).ok()).flatten()
    }

    /// Where a process is that executes, and its start, where that is not known:
    /// its fork, also one that was just read, tells it.
    fn seen(&mut self, pid: u32, is_told: Option<bool>) -> Option<(u64, Placement)> {
        let is_there = self.is_there(pid);
        let shared = &self.shared;
        let is_known =
            is_told.unwrap_or_else(|| shared.read(|state| state.processes().living(pid).is_some()));
        let proc = &self.machine.proc;
        let start = match (is_there, is_known) {
            (false, _) => Err(Errno::SRCH),
            (true, true) => Ok(0),
            (true, false) => proc.start(pid, &mut self.buffer),
        };
        let read = start.and_then(|start| proc.cgroup(pid, &mut self.buffer).map(|()| start));
        let Ok(start) = read else {
            // It exited meanwhile: it stays where its parent was.
            shared.missed();
            return None;
        };
        let placement = self.machine.places.of(&self.buffer, |key| shared.has_directories(key));
        Some((start, placement))
    }

    fn take_directories(&mut self) {
        let Some(tree) = &mut self.sources.tree else { return };
        let mut changes = Vec::new();
        let places = &self.machine.places;
        let whole = tree.read(&mut |path| places.may_hold_containers(path), &mut changes);
        let lost = tree.refused();
        self.directories(changes);
        self.shared.set_lost("cgroup_watches", lost);
        match whole {
            Ok(true) => {}
            Ok(false) => {
                self.shared.lost("cgroup_events");
                self.look_soon();
            }
            Err(error) => {
                tracing::warn!("inotify: {error}; cgroups are known by their processes alone");
                self.sources.lose_tree();
            }
        }
    }

    fn directories(&mut self, changes: Vec<Change>) {
        let now = clock::boot();
        for change in changes {
            match change {
                Change::Made { hierarchy, path, id } => {
                    let placement = self.machine.places.directory(hierarchy, &path, id);
                    self.shared.write(|state| state.directory_is(&placement, now));
                }
                Change::Passed { hierarchy, path } => {
                    let placement = self.machine.places.directory(hierarchy, &path, 0);
                    self.shared.write(|state| state.directory_passed(&placement, now));
                }
                Change::Removed { hierarchy, id } => {
                    self.shared.write(|state| state.directory_gone(hierarchy, id, now));
                }
            }
        }
    }

    /// What a container's process tells besides its cgroups.
    fn look(&mut self) {
        loop {
            let looks = self.shared.write(State::take_looks);
            if looks.is_empty() {
                return;
            }
            for look in looks {
                let Machine { proc, places, .. } = &mut self.machine;
                let (seen, placement) = seen::at(look.pid, proc, &mut self.memory, places, &mut self.buffer);
                self.shared.beat();
                let now = clock::boot();
                self.shared.write(|state| state.looked(look, seen, &placement, now));
            }
        }
    }

    fn look_soon(&mut self) {
        self.next_look = self.next_look.min(Instant::now() + AFTER_LOSS);
    }

    fn follow_the_clock(&mut self) {
        if self.sources.due().is_some_and(|due| Instant::now() >= due) && self.sources.try_again() {
            self.look_soon();
        }
        let now = Instant::now();
        if now >= self.next_look {
            self.look_at_all();
        }
        if now >= self.next_empty {
            self.next_empty = now + EMPTY;
            self.look_at_empty();
        }
        if now >= self.next_advance {
            self.next_advance = now + ADVANCE;
            let (boot, epoch) = (clock::boot(), clock::epoch());
            self.shared.write(|state| {
                state.set_clock(boot, epoch);
                state.advance(boot);
            });
        }
    }

    /// Containers without a process: their directories may have gone unseen,
    /// and a process may have moved into them, which the kernel does not tell.
    fn look_at_empty(&mut self) {
        let those = self.shared.read(State::empty);
        self.look_into_empty(those);
    }

    /// Those that were just made: they have a process any moment, as their
    /// runtime moves one there some milliseconds before it executes the
    /// container's program. That may end before somebody can look where it was.
    fn look_at_new(&mut self) {
        let now = clock::boot();
        let those = self.shared.read(|state| state.new_and_empty(now));
        self.look_into_empty(those);
    }

    fn look_into_empty(&mut self, those: Vec<(u64, Vec<Directory>)>) {
        for (handle, cgroups) in those {
            match self.machine.places.look_into(&cgroups) {
                Inside::Gone => {
                    let now = clock::boot();
                    self.shared.write(|state| state.directories_gone(handle, now));
                }
                Inside::Empty => {}
                Inside::Processes(pids) => {
                    for pid in pids {
                        // One that is gone is told of, or seen by the next look at all.
                        let _ = self.look_at(pid);
                    }
                }
            }
        }
    }

    /// Where a process is, now.
    fn look_at(&mut self, pid: u32) -> rustix::io::Result<()> {
        let now = clock::boot();
        let start = self.machine.proc.start(pid, &mut self.buffer)?;
        self.machine.proc.cgroup(pid, &mut self.buffer)?;
        let shared = &self.shared;
        let placement = self.machine.places.of(&self.buffer, |key| shared.has_directories(key));
        shared.write(|state| state.process_is(pid, start, &placement, now));
        Ok(())
    }

    /// What users run counts from now on, or does not.
    fn follow_the_rules(&mut self) {
        let users = self.shared.users();
        if !self.machine.places.set_users(users) {
            return;
        }
        self.next_look = Instant::now();
        if users == UserSlices::Hidden {
            let now = clock::boot();
            self.shared.write(|state| state.leave_out_users(now));
        }
    }

    /// All directories and all processes.
    pub fn look_at_all(&mut self) {
        let connected = self.sources.connector.is_some();
        self.next_look = Instant::now() + if connected { RARE } else { OFTEN };
        let (boot, epoch) = (clock::boot(), clock::epoch());
        self.shared.write(|state| state.set_clock(boot, epoch));
        if let Some(tree) = &mut self.sources.tree {
            let (places, mut changes) = (&self.machine.places, Vec::new());
            tree.list(&mut |path| places.may_hold_containers(path), &mut changes);
            self.directories(changes);
        }
        let began = clock::boot();
        // Directories first: their containers are then known when their processes come.
        let pids = match self.machine.proc.pids() {
            Ok(pids) => pids,
            Err(error) => {
                tracing::warn!(
                    "{}: {error}; processes are looked for again in {} s",
                    self.machine.proc.path().display(),
                    OFTEN.as_secs()
                );
                self.shared.lost("scan");
                self.next_look = Instant::now() + OFTEN;
                return;
            }
        };
        let mut there = HashSet::with_capacity(pids.len());
        for pid in pids {
            match self.look_at(pid) {
                Err(errno) if read::is_gone(errno) => {}
                Ok(()) => drop(there.insert(pid)),
                // It is there, and the agent has no descriptors or memory left: what was known stays.
                Err(_) => {
                    there.insert(pid);
                    self.shared.lost("scan");
                }
            }
            self.shared.beat();
        }
        // Those that started since then are not among them: what the kernel tells of them comes after.
        let known = clock::boot();
        self.shared.write(|state| state.processes_are(&there, began, known));
        self.look();
        self.shared.looked_at_all();
    }
}
