//! The loop: events of processes and directories as they come, and a look at
//! all of them at the start, after each loss, and now and then.

use super::super::clock;
use super::super::optout::opted_out;
use super::super::path::sandbox_of_command;
use super::super::read::Proc;
use super::super::shared::Shared;
use super::super::state::{Look, Placement, Seen, State};
use super::place::{Inside, Places};
use super::tree::{Change, Tree};
use gantry_netlink::{ProcessEvent, ProcessEvents, What};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashSet;
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

/// A container that is as new has a process any moment: its runtime moves one
/// there, some milliseconds before it executes the container's program. That
/// may end before somebody can look where it was. In nanoseconds.
const NEW: u64 = 1_000_000_000;

/// How long events are let come together after the last ones. A process that
/// starts, executes and exits is three events, and each wake-up costs what two
/// of them cost. What comes after a quiet time is looked at first: a program
/// that a runtime starts may be gone in a millisecond. On a busy machine one
/// that lives shorter than this is taken to be where its parent was.
const GATHER: Duration = Duration::from_millis(2);

/// The most events that are taken under one lock.
const BATCH: usize = 512;

/// A task of Nomad has some fifty variables of its own.
const MAX_VARIABLES: usize = 128;

/// The variables of a `/proc/PID/environ`; what is no text is left out.
fn variables(environ: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    environ.split(|byte| *byte == 0).filter_map(|one| std::str::from_utf8(one).ok()?.split_once('='))
}

/// The arguments of a `/proc/PID/cmdline`.
fn arguments(cmdline: &[u8]) -> impl Iterator<Item = &str> {
    let cmdline = cmdline.strip_suffix(b"\0").unwrap_or(cmdline);
    cmdline.split(|byte| *byte == 0).map(|one| std::str::from_utf8(one).unwrap_or_default())
}

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
    /// Subscribes first and then looks, so that nothing is missed between.
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
        let mut watcher = Self {
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
        watcher.look_at_all();
        watcher
    }

    /// Watches until it is told to end.
    pub fn run(mut self) {
        let mut events = Vec::with_capacity(BATCH);
        while !self.shared.is_ending() {
            if self.sources.places.set_users(self.shared.users()) {
                self.next_look = Instant::now();
            }
            self.wait();
            self.take_processes(&mut events);
            self.take_directories();
            self.look_at_empty(NEW);
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
        let mut forked = HashSet::new();
        let mut seen = Vec::with_capacity(events.len());
        for event in events {
            if matches!(event.what, What::Forked { .. }) {
                forked.insert(event.pid);
            }
            seen.push(self.seen(event, forked.contains(&event.pid)));
        }
        self.shared.write(|state| {
            for (event, seen) in events.iter().zip(seen) {
                let at = event.at.saturating_add(offset);
                match (event.what, seen) {
                    (What::Forked { parent }, _) => {
                        state.process_forked(event.pid, parent, at / clock::TICK, at);
                    }
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
    fn seen(&mut self, event: &ProcessEvent, is_forked: bool) -> Option<(u64, Arc<Placement>)> {
        if event.what != What::Executed {
            return None;
        }
        if self.sources.proc.cgroup(event.pid, &mut self.buffer).is_none() {
            // It exited meanwhile: it stays where its parent was.
            self.shared.missed();
            return None;
        }
        let shared = &self.shared;
        let placement = self.sources.places.of(&self.buffer, |key| shared.has_directories(key));
        let is_known = is_forked || shared.read(|state| state.processes().living(event.pid).is_some());
        let start = if is_known { 0 } else { self.sources.proc.start(event.pid, &mut self.buffer)? };
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
        for Look { handle, pid } in self.shared.write(State::take_looks) {
            let proc = &self.sources.proc;
            let mut seen =
                Seen { namespace: proc.network_namespace(pid).unwrap_or_default(), ..Seen::default() };
            if proc.environ(pid, &mut self.buffer).is_some() {
                seen.opted_out = opted_out(variables(&self.buffer));
                let nomad = variables(&self.buffer)
                    .filter(|(name, _)| name.starts_with("NOMAD_"))
                    .take(MAX_VARIABLES);
                seen.environment = nomad.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            }
            let placement = match proc.cgroup(pid, &mut self.buffer) {
                Some(()) => self.sources.places.of(&self.buffer, |_| false),
                None => Arc::default(),
            };
            if placement.found.as_ref().is_some_and(|found| found.pod_uid.is_some())
                && proc.cmdline(pid, &mut self.buffer).is_some()
            {
                seen.sandbox = sandbox_of_command(arguments(&self.buffer)).map(str::to_owned);
            }
            let now = clock::boot();
            self.shared.write(|state| state.looked(handle, seen, &placement, now));
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
            self.look_at_empty(u64::MAX);
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
    /// Those at most so old, in nanoseconds.
    fn look_at_empty(&mut self, age: u64) {
        let since = clock::boot().saturating_sub(age);
        for (handle, cgroups) in self.shared.read(|state| state.empty(since)) {
            match self.sources.places.look_into(&cgroups) {
                Inside::Gone => {
                    let now = clock::boot();
                    self.shared.write(|state| state.directories_gone(handle, now));
                }
                Inside::Empty => {}
                Inside::Processes(pids) => {
                    for pid in pids {
                        self.look_at(pid);
                    }
                }
            }
        }
    }

    /// Where a process is, now. `None`: nowhere.
    fn look_at(&mut self, pid: u32) -> Option<()> {
        let now = clock::boot();
        let start = self.sources.proc.start(pid, &mut self.buffer)?;
        self.sources.proc.cgroup(pid, &mut self.buffer)?;
        let shared = &self.shared;
        let placement = self.sources.places.of(&self.buffer, |key| shared.has_directories(key));
        shared.write(|state| state.process_is(pid, start, &placement, now));
        Some(())
    }

    /// All directories and all processes.
    fn look_at_all(&mut self) {
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
                tracing::warn!("{}: {error}; no process is known", self.sources.proc.path().display());
                self.shared.lost("scan");
                return;
            }
        };
        let mut there = HashSet::with_capacity(pids.len());
        for pid in pids {
            if self.look_at(pid).is_some() {
                there.insert(pid);
            }
        }
        // Those that started since then are not among them: what the kernel tells of them comes after.
        let known = clock::boot();
        self.shared.write(|state| state.processes_are(&there, known));
        self.look();
        self.shared.looked_at_all();
    }
}
