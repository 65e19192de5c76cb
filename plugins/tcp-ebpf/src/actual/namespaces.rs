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
use std::path::Path;
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

#[derive(Debug)]
struct Namespace {
    events: Events,
    table: Table,
    /// All that began later was told. 0: all that began before is known, too.
    since: u64,
    /// One who is in it.
    pid: u32,
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

    /// Listens to one from `now` on, in which `pid` is. Gives what is translated there
    /// already.
    pub fn open(
        &mut self,
        (netns, pid): (u32, u32),
        now: u64,
        path: &Path,
        is_host: bool,
        give: impl FnMut(&Entry),
    ) {
        match self.try_to_open(netns, now, path, is_host, give) {
            Ok(mut namespace) => {
                namespace.pid = pid;
                self.all.insert(netns, namespace);
            }
            Err(error) => {
                self.pass_over(netns);
                if is_host {
                    self.trouble = Some(error.to_string());
                }
            }
        }
    }

    /// One cannot be listened to before the next look.
    pub fn pass_over(&mut self, netns: u32) {
        self.closed.insert(netns);
    }

    fn try_to_open(
        &mut self,
        netns: u32,
        now: u64,
        path: &Path,
        is_host: bool,
        mut give: impl FnMut(&Entry),
    ) -> Result<Namespace, Error> {
        let failed = |errno: rustix::io::Errno| Error::Call { call: "epoll", source: errno.into() };
        let events = Events::open_in(path, if is_host { BUFFER } else { SMALL }, TIMEOUT)?;
        let mut table = Table::open_in(path, TIMEOUT)?;
        let is_known = if is_host {
            // What is there while the table is read is given by it: it is gone through place
            // by place, and grows without those that are in it moving.
            table.translated(BOUNDS, |entry| give(&entry))?;
            true
        } else {
            // The table is one for all namespaces: some 50 ms where it has 200,000 entries. In
            // most there is nothing, and in others what began before is asked for.
            table.count()? == 0
        };
        if self.ready.is_none() {
            self.ready = Some(epoll::create(CreateFlags::CLOEXEC).map_err(failed)?);
        }
        if let Some(ready) = &self.ready {
            let data = EventData::new_u64(u64::from(netns));
            epoll::add(ready, &events, data, EventFlags::IN).map_err(failed)?;
        }
        Ok(Namespace { events, table, since: if is_known { 0 } else { now }, pid: 0 })
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

    /// Lets go of those for which `stays` says no: it is given each with one who was in it,
    /// and may name another.
    pub fn retain(&mut self, mut stays: impl FnMut(u32, &mut u32) -> bool) {
        self.all.retain(|netns, namespace| stays(*netns, &mut namespace.pid));
    }

    /// Those that could not be listened to: they are new again.
    pub fn passed_over(&mut self) -> HashSet<u32> {
        std::mem::take(&mut self.closed)
    }
}
