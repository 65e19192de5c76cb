//! The identity service of the fake host: the containers, processes and events
//! that a test declares.

use super::clock::Clock;
use super::container::NewContainer;
use super::labelled::Labelled;
use gantry_events::Memory;
use gantry_plugin_api::abi::types::{AbiEvent, AbiEvents};
use gantry_plugin_api::identity::{Container, ContainerRef, EventKind, Process};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many events are remembered until a test says otherwise.
const REMEMBERED: usize = 4096;

/// The containers and processes that the host knows. What a test does to them
/// is told to the plugin as events, but for what it [`declares`](Self::declare).
#[derive(Debug)]
pub struct Identity {
    clock: Arc<Clock>,
    state: Mutex<State>,
    pushed: Condvar,
}

#[derive(Debug)]
struct State {
    containers: BTreeMap<u64, Known>,
    /// By pid: whose it is, 0 for nobody's.
    processes: HashMap<u32, (Process, u64)>,
    open_files: HashMap<Process, Vec<String>>,
    listening: HashMap<Process, Vec<String>>,
    events: Memory,
    next_handle: u64,
}

#[derive(Debug)]
struct Known {
    container: Container,
    /// Its last values are still shown for a while, so it is still known.
    gone: bool,
}

impl Identity {
    pub(crate) fn new(clock: Arc<Clock>) -> Self {
        let state = State {
            containers: BTreeMap::new(),
            processes: HashMap::new(),
            open_files: HashMap::new(),
            listening: HashMap::new(),
            events: Memory::new(REMEMBERED),
            // Not 1: a plugin that takes a handle for an index is found.
            next_handle: 101,
        };
        Self { clock, state: Mutex::new(state), pushed: Condvar::new() }
    }

    /// A container that was there before anybody looked: no event.
    pub fn declare(&self, new: NewContainer) -> ContainerRef {
        self.insert(new, false)
    }

    /// A container appears.
    pub fn appear(&self, new: NewContainer) -> ContainerRef {
        self.insert(new, true)
    }

    /// Something of a container is different now.
    ///
    /// # Panics
    /// Where no such container was declared.
    #[track_caller]
    pub fn change(&self, container: ContainerRef, change: impl FnOnce(&mut Container)) {
        let mut state = self.lock();
        change(&mut state.known(container).container);
        self.push(state, EventKind::ContainerChanged, Some(container), None);
    }

    /// A container goes, with its processes. Its last values are shown for a
    /// while ([`Collected::text`](crate::Collected::text) has them), and it is looked up by its handle,
    /// cgroups and namespace still; until [`forget`](Self::forget).
    ///
    /// # Panics
    /// Where no such container was declared.
    #[track_caller]
    pub fn vanish(&self, container: ContainerRef) {
        let mut state = self.lock();
        state.known(container).gone = true;
        state.processes.retain(|_, (_, whose)| *whose != container.handle());
        self.push(state, EventKind::ContainerGone, Some(container), None);
    }

    /// The while is over: the host knows no such container any more, shows
    /// nothing of it, and refuses its samples.
    pub fn forget(&self, container: ContainerRef) {
        let mut state = self.lock();
        state.containers.remove(&container.handle());
        state.processes.retain(|_, (_, whose)| *whose != container.handle());
    }

    /// The host asks for the metadata of a container.
    pub fn want_metadata(&self, container: ContainerRef) {
        self.push(self.lock(), EventKind::MetadataWanted, Some(container), None);
    }

    /// A process starts, in a container or in none.
    pub fn process_starts(&self, container: Option<ContainerRef>, process: Process) {
        let mut state = self.lock();
        state.processes.insert(process.pid, (process, container.map_or(0, ContainerRef::handle)));
        self.push(state, EventKind::ProcessStarted, container, Some(process));
    }

    /// A process replaces its program.
    pub fn process_executes(&self, process: Process) {
        let state = self.lock();
        let container = state.whose(process);
        self.push(state, EventKind::ProcessExecuted, container, Some(process));
    }

    /// A process exits; its pid is free then.
    pub fn process_exits(&self, process: Process) {
        let mut state = self.lock();
        let container = state.whose(process);
        if state.processes.get(&process.pid).is_some_and(|(known, _)| *known == process) {
            state.processes.remove(&process.pid);
        }
        state.open_files.remove(&process);
        state.listening.remove(&process);
        self.push(state, EventKind::ProcessExited, container, Some(process));
    }

    /// The regular files that a process holds open, as paths in its own root.
    pub fn open_files(&self, process: Process, paths: &[&str]) {
        self.lock().open_files.insert(process, owned(paths));
    }

    /// The addresses that a process listens at, as `ADDRESS:PORT`.
    pub fn listening(&self, process: Process, addresses: &[&str]) {
        self.lock().listening.insert(process, owned(addresses));
    }

    /// How many events the host remembers from now on; a plugin that is slower
    /// is told how many it lost.
    pub fn remember(&self, events: usize) {
        self.lock().events.bound(events);
    }

    /// What is known of a container.
    pub fn container(&self, container: ContainerRef) -> Option<Container> {
        self.lock().containers.get(&container.handle()).map(|known| known.container.clone())
    }

    pub(super) fn of_pid(&self, pid: u32, start: u64) -> u64 {
        let state = self.lock();
        let process = state.processes.get(&pid).filter(|(process, _)| start == 0 || process.start == start);
        process.map_or(0, |(_, whose)| *whose)
    }

    pub(super) fn of_cgroup(&self, hierarchy: u32, id: u64) -> u64 {
        self.lock().find(|container| {
            container.cgroups.iter().any(|cgroup| cgroup.hierarchy == hierarchy && cgroup.id == id)
        })
    }

    pub(super) fn of_network_namespace(&self, inode: u64) -> u64 {
        self.lock().find(|container| inode != 0 && container.network_namespace == inode)
    }

    pub(super) fn living(&self) -> Vec<u64> {
        let state = self.lock();
        state.containers.iter().filter(|(_, known)| !known.gone).map(|(handle, _)| *handle).collect()
    }

    pub(super) fn processes(&self, handle: u64) -> Vec<Process> {
        let state = self.lock();
        let of = state.processes.values().filter(|(_, whose)| *whose == handle && handle != 0);
        let mut of: Vec<Process> = of.map(|(process, _)| *process).collect();
        of.sort_unstable_by_key(|process| process.pid);
        of
    }

    pub(super) fn files_of(&self, process: Process) -> Option<Vec<String>> {
        self.lock().open_files.get(&process).cloned()
    }

    pub(super) fn addresses_of(&self, process: Process) -> Option<Vec<String>> {
        self.lock().listening.get(&process).cloned()
    }

    pub(super) fn events(&self, cursor: u64, max: u32) -> AbiEvents {
        self.lock().events.read(cursor, max)
    }

    pub(super) fn wait(&self, cursor: u64, at_most: Duration) -> bool {
        let nothing = |state: &mut State| !state.events.calls_after(cursor);
        let (state, _) = self
            .pushed
            .wait_timeout_while(self.lock(), at_most, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        state.events.calls_after(cursor)
    }

    /// The labels of all containers, as they are now.
    pub(crate) fn labelled(&self) -> Labelled {
        let state = self.lock();
        Labelled::of(state.containers.iter().map(|(handle, known)| (*handle, &known.container, known.gone)))
    }

    fn insert(&self, new: NewContainer, tell: bool) -> ContainerRef {
        let mut state = self.lock();
        let handle = state.next_handle;
        state.next_handle += 1;
        for process in new.processes {
            state.processes.insert(process.pid, (process, handle));
        }
        state.containers.insert(handle, Known { container: new.container, gone: false });
        let container = ContainerRef::from_handle(handle).expect("handles are counted from 101 on");
        if tell {
            self.push(state, EventKind::ContainerAppeared, Some(container), None);
        }
        container
    }

    fn push(
        &self,
        mut state: MutexGuard<'_, State>,
        kind: EventKind,
        container: Option<ContainerRef>,
        process: Option<Process>,
    ) {
        let at = u64::try_from(self.clock.boottime().as_nanos()).unwrap_or(u64::MAX);
        let Process { pid, start } = process.unwrap_or(Process { pid: 0, start: 0 });
        let container = container.map_or(0, ContainerRef::handle);
        state.events.push(AbiEvent { container, at, start, pid, kind: kind.code() });
        drop(state);
        self.pushed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    #[track_caller]
    fn known(&mut self, container: ContainerRef) -> &mut Known {
        let handle = container.handle();
        self.containers.get_mut(&handle).unwrap_or_else(|| {
            panic!("no container has the handle {handle}; take it from Identity::declare or appear")
        })
    }

    fn whose(&self, process: Process) -> Option<ContainerRef> {
        let known = self.processes.get(&process.pid).filter(|(known, _)| *known == process)?;
        ContainerRef::from_handle(known.1)
    }

    /// The newest container of these: numbers are used again.
    fn find(&self, is: impl Fn(&Container) -> bool) -> u64 {
        self.containers.iter().rev().find(|(_, known)| is(&known.container)).map_or(0, |(handle, _)| *handle)
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
