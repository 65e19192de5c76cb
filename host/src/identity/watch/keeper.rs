//! The loop: events of processes and directories as they come, and a look at
//! all of them at the start, after each loss, and now and then.

use super::super::clock;
use super::super::path::UserSlices;
use super::super::read::{self, Proc};
use super::super::shared::Shared;
use super::super::state::{Directory, Placement, State};
use super::place::{Inside, Places};
use super::tree::{Change, Tree};
use super::{order, seen};
use gantry_netlink::{ProcessEvent, ProcessEvents, What};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many bytes the kernel keeps of process events: some 8,000 events, which
/// is what a machine of two processors makes in half a second at its worst.
const EVENT_BUFFER: usize = 8 << 20;

/// How long the connector may take to speak.
const CONNECTOR_WAIT: Duration = Duration::from_millis(200);

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

/// Where the machine is read.
#[derive(Debug)]
pub struct Sources {
    pub proc: Proc,
    pub places: Places,
    /// Says that the thread shall end, or look.
    pub wake: OwnedFd,
}

/// The thread's own.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    sources: Sources,
    connector: Option<ProcessEvents>,
    tree: Option<Tree>,
    /// When all is looked at again.
    next_look: Instant,
    next_advance: Instant,
    next_empty: Instant,
    buffer: Vec<u8>,
}

impl Watcher {
    /// Subscribes: a look at everything comes after it, so that nothing is missed
    /// between.
    pub fn new(shared: Arc<Shared>, sources: Sources) -> Self {
        let connector = match ProcessEvents::open(EVENT_BUFFER, CONNECTOR_WAIT) {
            Ok(connector) => Some(connector),
            Err(error) => {
                tracing::info!(
                    "the kernel tells no process events ({error}); processes are looked for every {} s, and \
                     those that live shorter are missed; run in the machine's own namespaces with CAP_NET_ADMIN",
                    OFTEN.as_secs()
                );
                None
            }
        };
        let tree = match Tree::new(sources.places.roots()) {
            Ok(tree) => Some(tree),
            Err(error) => {
                tracing::warn!("inotify: {error}; cgroups are known by their processes alone");
                None
            }
        };
        shared.set_watched(connector.is_some());
        let now = Instant::now();
        let watcher = Self {
            shared,
            sources,
            connector,
            tree,
            next_look: now,
            next_advance: now + ADVANCE,
            next_empty: now + EMPTY,
            buffer: Vec::with_capacity(4096),
        };
        let host = watcher.sources.proc.network_namespace(1).or_else(clock::own_network_namespace);
        watcher.shared.write(|state| state.set_host_namespace(host.unwrap_or_default()));
        watcher
    }

    /// Watches until it is told to end.
    pub fn run(mut self) {
        let mut events = Vec::with_capacity(BATCH);
        while !self.shared.is_ending() {
            self.follow_the_rules();
            self.wait();
            self.take_processes(&mut events);
            self.take_directories();
            self.look_at_new();
            self.look();
            self.follow_the_clock();
            self.gather();
        }
    }

    fn wait(&self) {
        let due = self.next_look.min(self.next_advance).min(self.next_empty);
        let span = due.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(span).ok();
        let mut fds = vec![PollFd::new(&self.sources.wake, PollFlags::IN)];
        fds.extend(self.connector.as_ref().map(|connector| PollFd::new(connector, PollFlags::IN)));
        fds.extend(self.tree.as_ref().map(|tree| PollFd::new(tree, PollFlags::IN)));
        // An error, an interrupt: the loop looks at everything that it waits for anyhow.
        let _ = poll(&mut fds, timeout.as_ref());
        let woken = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if woken {
            let _ = rustix::io::read(self.sources.wake.as_fd(), &mut [0_u8; 64][..]);
        }
    }

    /// Lets events come together, unless it is told to end.
    fn gather(&self) {
        let mut fds = [PollFd::new(&self.sources.wake, PollFlags::IN)];
        let _ = poll(&mut fds, Timespec::try_from(GATHER).ok().as_ref());
    }

    /// Process events, as they came.
    fn take_processes(&mut self, events: &mut Vec<ProcessEvent>) {
        loop {
            let Some(connector) = &self.connector else { return };
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
                    self.connector = None;
                    self.shared.set_watched(false);
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
        let go_on = order::exits_that_go_on(events);
        // What earlier events of these say: it is there, or not.
        let mut told = HashMap::new();
        let mut seen = Vec::with_capacity(events.len());
        for (at, event) in events.iter().enumerate() {
            seen.push(match event.what {
                What::Executed => self.seen(event.pid, told.get(&event.pid).copied()),
                What::Forked { .. } => {
                    told.insert(event.pid, true);
                    None
                }
                What::Exited => {
                    if !go_on.contains(&at) {
                        told.insert(event.pid, false);
                    }
                    None
                }
            });
        }
        self.shared.write(|state| {
            for (index, (event, seen)) in events.iter().zip(seen).enumerate() {
                let at = event.at.saturating_add(offset);
                match (event.what, seen) {
                    (What::Forked { parent }, _) => {
                        state.process_forked(event.pid, parent, at / clock::TICK, at);
                    }
                    (What::Exited, _) if go_on.contains(&index) => {}
                    (What::Exited, _) => state.process_exited(event.pid, at),
                    (What::Executed, Some((start, placement))) => {
                        state.process_executed(event.pid, start, &placement, at);
                    }
                    (What::Executed, None) => {}
                }
            }
        });
    }

    /// Where a process is that executes, and its start, where that is not known:
    /// its fork, also one that was just read, tells it.
    fn seen(&mut self, pid: u32, is_told: Option<bool>) -> Option<(u64, Arc<Placement>)> {
        let shared = &self.shared;
        let is_known =
            is_told.unwrap_or_else(|| shared.read(|state| state.processes().living(pid).is_some()));
        let proc = &self.sources.proc;
        let start = if is_known { Ok(0) } else { proc.start(pid, &mut self.buffer) };
        let read = start.and_then(|start| proc.cgroup(pid, &mut self.buffer).map(|()| start));
        let Ok(start) = read else {
            // It exited meanwhile: it stays where its parent was.
            shared.missed();
            return None;
        };
        let placement = self.sources.places.of(&self.buffer, |key| shared.has_directories(key));
        Some((start, placement))
    }

    fn take_directories(&mut self) {
        let Some(tree) = &mut self.tree else { return };
        let mut changes = Vec::new();
        let places = &mut self.sources.places;
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
                self.tree = None;
            }
        }
    }

    fn directories(&mut self, changes: Vec<Change>) {
        let now = clock::boot();
        for change in changes {
            match change {
                Change::Made { hierarchy, path, id } => {
                    let placement = self.sources.places.directory(hierarchy, &path, id);
                    self.shared.write(|state| state.directory_is(&placement, now));
                }
                Change::Passed { hierarchy, path } => {
                    let placement = self.sources.places.directory(hierarchy, &path, 0);
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
                let Sources { proc, places, .. } = &mut self.sources;
                let (seen, placement) = seen::at(look.pid, proc, places, &mut self.buffer);
                let now = clock::boot();
                self.shared.write(|state| state.looked(look, seen, &placement, now));
            }
        }
    }

    fn look_soon(&mut self) {
        self.next_look = self.next_look.min(Instant::now() + AFTER_LOSS);
    }

    fn follow_the_clock(&mut self) {
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
            match self.sources.places.look_into(&cgroups) {
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
        let start = self.sources.proc.start(pid, &mut self.buffer)?;
        self.sources.proc.cgroup(pid, &mut self.buffer)?;
        let shared = &self.shared;
        let placement = self.sources.places.of(&self.buffer, |key| shared.has_directories(key));
        shared.write(|state| state.process_is(pid, start, &placement, now));
        Ok(())
    }

    /// What users run counts from now on, or does not.
    fn follow_the_rules(&mut self) {
        let users = self.shared.users();
        if !self.sources.places.set_users(users) {
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
        let connected = self.connector.is_some();
        self.next_look = Instant::now() + if connected { RARE } else { OFTEN };
        let (boot, epoch) = (clock::boot(), clock::epoch());
        self.shared.write(|state| state.set_clock(boot, epoch));
        if let Some(tree) = &mut self.tree {
            let (places, mut changes) = (&mut self.sources.places, Vec::new());
            tree.list(&mut |path| places.may_hold_containers(path), &mut changes);
            self.directories(changes);
        }
        // Directories first: their containers are then known when their processes come.
        let pids = match self.sources.proc.pids() {
            Ok(pids) => pids,
            Err(error) => {
                tracing::warn!(
                    "{}: {error}; processes are looked for again in {} s",
                    self.sources.proc.path().display(),
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
        }
        // Those that started since then are not among them: what the kernel tells of them comes after.
        let known = clock::boot();
        self.shared.write(|state| state.processes_are(&there, known));
        self.look();
        self.shared.looked_at_all();
    }
}
