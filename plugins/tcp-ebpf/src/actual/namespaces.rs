//! The network namespaces whose connection tracking is listened to.
//!
//! In one without rules the kernel tracks nothing, and listening does not make it: such a
//! socket costs its memory and nothing else. A socket keeps its namespace alive, so it is
//! closed when nobody of a container is in it any more.

use gantry_netlink::conntrack::{Entry, Events, Table, Tuple};
use gantry_netlink::{Bounds, Error};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most that are listened to, with two sockets each: of 20,000 descriptors.
const MOST: usize = 2048;

/// What the kernel may keep of events until they are read: some 4,000 connections within
/// 0.1 s, each of the machine's own namespace, through which those of all containers go.
const BUFFER: usize = 4 << 20;

/// Of a container's own namespace: the kernel takes what is used, not what is allowed.
const SMALL: usize = 256 << 10;

/// The kernel answers at once, unless somebody holds its lock.
const TIMEOUT: Duration = Duration::from_millis(500);

/// What a table may have: 400,000 entries of some 300 bytes.
const BOUNDS: Bounds = Bounds { bytes: 128 << 20, messages: 400_000 };

/// Events that are read of one namespace at a time.
const BATCH: usize = 1 << 16;

/// Namespaces that had events, of one look.
const READY: usize = 64;

/// What hears a namespace.
#[derive(Debug)]
pub struct Heard {
    events: Events,
    table: Table,
    /// What was translated when it began to listen.
    begun: Vec<Entry>,
}

impl Heard {
    /// Listens in the namespace whose file is at `path`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(path: &Path, is_host: bool) -> Result<Self, Error> {
        let events = Events::open_in(path, if is_host { BUFFER } else { SMALL }, TIMEOUT)?;
        let mut table = Table::open_in(path, TIMEOUT)?;
        let mut begun = Vec::new();
        // What is passed over since the table changed is asked for when it matters.
        table.translated(BOUNDS, |entry| begun.push(entry))?;
        Ok(Self { events, table, begun })
    }
}

#[derive(Debug)]
struct Namespace {
    events: Events,
    table: Table,
    /// All that began later was told.
    since: u64,
}

/// All that are listened to.
#[derive(Debug, Default)]
pub struct Namespaces {
    all: HashMap<u32, Namespace>,
    /// Those that could not be: they are not tried again before the next look.
    closed: HashSet<u32>,
    ready: Option<OwnedFd>,
    lost: u64,
    trouble: Option<String>,
}

impl Namespaces {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether nobody is listened to.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Events that were lost: each time at least one.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Why nobody can be listened to.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether one was never tried, and there is room for it.
    pub fn is_new(&self, netns: u32) -> bool {
        self.all.len() < MOST && !self.all.contains_key(&netns) && !self.closed.contains(&netns)
    }

    /// One could not be listened to.
    pub fn refuse(&mut self, netns: u32, error: &Error) {
        self.closed.insert(netns);
        // A namespace that is gone is none of this.
        if !matches!(error, Error::Namespace { .. }) {
            self.trouble = Some(error.to_string());
        }
    }

    /// One is listened to from `now` on, or earlier.
    pub fn add(&mut self, netns: u32, heard: Heard, now: u64, mut give: impl FnMut(&Entry)) {
        let Heard { events, table, begun } = heard;
        if self.ready.is_none() {
            self.ready = epoll::create(CreateFlags::CLOEXEC).ok();
        }
        let data = EventData::new_u64(u64::from(netns));
        let added = self.ready.as_ref().map(|ready| epoll::add(ready, &events, data, EventFlags::IN));
        if added.is_none_or(|added| added.is_err()) {
            self.closed.insert(netns);
            return;
        }
        begun.iter().for_each(&mut give);
        self.trouble = None;
        self.all.insert(netns, Namespace { events, table, since: now });
    }

    /// Since when all that begins in one is told.
    pub fn knows_since(&self, netns: u32) -> Option<u64> {
        self.all.get(&netns).map(|namespace| namespace.since)
    }

    /// Reads all events. After a loss what began until then is not sure.
    pub fn read(&mut self, now: u64, mut give: impl FnMut(u32, &Entry)) {
        let Some(ready) = &self.ready else { return };
        loop {
            let mut came: Vec<Event> = Vec::with_capacity(READY);
            let none = Timespec { tv_sec: 0, tv_nsec: 0 };
            if epoll::wait(ready, rustix::buffer::spare_capacity(&mut came), Some(&none)).is_err() {
                return;
            }
            for event in &came {
                // Its fields are not aligned.
                let netns = { event.data }.u64() as u32;
                let Some(namespace) = self.all.get_mut(&netns) else { continue };
                match namespace.events.read(BATCH, |entry| give(netns, &entry)) {
                    Ok(_) => {}
                    Err(Error::Overrun) => {
                        self.lost += 1;
                        namespace.since = now;
                    }
                    Err(_) => {
                        self.all.remove(&netns);
                        self.closed.insert(netns);
                    }
                }
            }
            if came.len() < READY {
                return;
            }
        }
    }

    /// Asks for one connection.
    pub fn find(&mut self, netns: u32, of: &Tuple) -> Option<Entry> {
        let namespace = self.all.get_mut(&netns)?;
        namespace.table.find(of).ok().flatten().filter(Entry::is_translated)
    }

    /// See [`super::Actual::keep`].
    pub fn keep(&mut self, there: impl IntoIterator<Item = (u32, PathBuf)>) -> Vec<(u32, PathBuf)> {
        let there: HashMap<u32, PathBuf> = there.into_iter().collect();
        self.all.retain(|netns, _| there.contains_key(netns));
        self.closed.clear();
        let room = MOST.saturating_sub(self.all.len());
        let new = there.into_iter().filter(|(netns, _)| !self.all.contains_key(netns));
        new.take(room).collect()
    }
}
