//! Where connections really go whose destination is translated: by the kernel's
//! connection tracking in the network namespace of the socket, and then in the
//! machine's own, through which it may go on.
//!
//! A connection that begins is told of before its first packet goes on. So whoever looks
//! at a connection that came to be, or ended, can read its event: events are read when a
//! record is newer than the last reading, and never otherwise. What began before somebody
//! listened is in the table that is read then. What began before an event was lost is
//! asked for, one by one.
//!
//! # Layout
//! * [`translations`]: what is known. [`namespaces`]: whom it is heard from. [`own`]: what could not be learned.

pub mod namespaces;
pub mod own;
pub mod translations;

use crate::addresses::namespace_of;
use crate::clock::Clock;
use crate::connections::Really;
use crate::record::Record;
use gantry_netlink::conntrack::{Entry, Tuple};
use namespaces::Namespaces;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use translations::Translations;

/// How many questions there are between two looks at the namespaces: some 10 µs for a
/// connection, some 300 for a namespace.
const QUESTIONS: u32 = 5_000;

/// What a namespace counts for.
const NAMESPACE: u32 = 30;

/// What could not be known, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Events that were lost: each time at least one.
    pub lost: u64,
    /// Connections that were not asked for, since there were too many.
    pub not_asked: u64,
    /// Translations for which there was no room.
    pub full: u64,
}

/// All that is known of translations.
#[derive(Debug)]
pub struct Actual {
    proc: PathBuf,
    clock: Clock,
    translations: Translations,
    namespaces: Namespaces,
    /// The machine's own namespace.
    host: u32,
    /// Until when all events were read.
    read_until: u64,
    questions: u32,
    not_asked: u64,
}

impl Actual {
    /// One that listens to the machine's own namespace, `host`, in which one of `pids` is,
    /// and to others as connections come from them.
    pub fn start(proc: &Path, clock: Clock, host: u32, pids: &[u32]) -> Self {
        let mut actual = Self {
            proc: proc.to_owned(),
            clock,
            translations: Translations::default(),
            namespaces: Namespaces::default(),
            host,
            read_until: 0,
            questions: QUESTIONS,
            not_asked: 0,
        };
        let is_in = |pid: &&u32| namespace_of(proc, **pid).is_some_and(|(netns, _)| netns == host);
        if let Some(pid) = pids.iter().find(is_in) {
            actual.hear(host, *pid);
        }
        actual
    }

    /// Where a connection really goes.
    pub fn of(&mut self, record: &Record) -> SocketAddr {
        if self.read_until <= record.at {
            self.read();
        }
        let mut at = Tuple { source: record.local, destination: record.remote };
        // Within the container first, and then on its way through the machine.
        let places = [record.netns, self.host];
        for netns in if record.netns == self.host { &places[..1] } else { &places[..] } {
            if self.namespaces.is_new(*netns) {
                self.hear(*netns, record.owner.tgid);
            }
            at = self.beyond(*netns, &at, record.opened_at).unwrap_or(at);
        }
        at.destination
    }

    fn beyond(&mut self, netns: u32, at: &Tuple, opened_at: u64) -> Option<Tuple> {
        if let Some(known) = self.translations.get(netns, at, self.read_until) {
            return Some(known);
        }
        // All that began since then was told: this one is not translated.
        if self.namespaces.knows_since(netns)? <= opened_at {
            return None;
        }
        if self.questions == 0 {
            self.not_asked += 1;
            return None;
        }
        self.questions -= 1;
        let entry = self.namespaces.find(netns, at)?;
        self.translations.put(netns, &entry, self.read_until);
        Some(entry.beyond())
    }

    /// Reads all events that there are.
    fn read(&mut self) {
        let (now, translations) = (self.clock.now(), &mut self.translations);
        self.namespaces.read(now, |netns, entry| translations.put(netns, entry, now));
        self.read_until = now;
    }

    /// Listens to a namespace from now on, in which a process is, or was.
    fn hear(&mut self, netns: u32, pid: u32) {
        if self.questions < NAMESPACE {
            return;
        }
        self.questions -= NAMESPACE;
        let (now, translations) = (self.clock.now(), &mut self.translations);
        match namespace_of(&self.proc, pid) {
            Some((found, path)) if found == netns => {
                let give = |entry: &Entry| translations.put(netns, entry, now);
                self.namespaces.open((netns, pid), now, &path, netns == self.host, give);
            }
            // Gone, or elsewhere by now.
            _ => self.namespaces.pass_over(netns),
        }
    }

    /// Lets go of namespaces in which nobody is any more, since a socket keeps each alive.
    /// To be called each few seconds. `others` says who else is in one.
    pub fn look(&mut self, mut others: impl FnMut(u32) -> Option<u32>) {
        let (proc, host) = (self.proc.clone(), self.host);
        let is_in = |netns, pid| namespace_of(&proc, pid).is_some_and(|(found, _)| found == netns);
        self.namespaces.retain(|netns, pid| {
            if netns == host || is_in(netns, *pid) {
                return true;
            }
            let other = others(netns).filter(|other| is_in(netns, *other));
            *pid = other.unwrap_or(*pid);
            other.is_some()
        });
        self.questions = QUESTIONS;
        // The one by whom it was known may have been gone already.
        for netns in self.namespaces.passed_over() {
            if let Some(pid) = others(netns) {
                self.hear(netns, pid);
            }
        }
        self.read();
        self.translations.forget(self.read_until);
    }

    /// What could not be known, in all.
    pub fn unknown(&self) -> Unknown {
        Unknown { lost: self.namespaces.lost(), not_asked: self.not_asked, full: self.translations.refused }
    }

    /// How many translations are known, and namespaces listened to.
    pub fn known(&self) -> (usize, usize) {
        (self.translations.len(), self.namespaces.len())
    }

    /// Why translations of the machine's own namespace are not known, or may not be, where
    /// that is so.
    pub fn trouble(&self) -> Option<String> {
        let read = |name: &str| std::fs::read_to_string(self.proc.join("sys/net/netfilter").join(name)).ok();
        // Where the kernel tracks no connections it translates none.
        read("nf_conntrack_max")?;
        let without = "actual_destination is the destination where the machine translates it";
        if let Some(error) = self.namespaces.trouble() {
            return Some(format!("connection tracking: {error}; {without}"));
        }
        let is_silent = read("nf_conntrack_events").is_some_and(|value| value.trim() == "0");
        is_silent.then(|| {
            format!("net.netfilter.nf_conntrack_events is 0: {without}; it is 2 by itself, and 1 before Linux 5.19")
        })
    }
}

/// One for all threads.
#[derive(Debug, Clone)]
pub struct SharedActual(Arc<Mutex<Actual>>);

impl SharedActual {
    /// Of one that listens.
    pub fn new(actual: Actual) -> Self {
        Self(Arc::new(Mutex::new(actual)))
    }

    /// All that is known, for as long as the answer lives.
    pub fn lock(&self) -> MutexGuard<'_, Actual> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Really for SharedActual {
    fn destination(&mut self, record: &Record) -> SocketAddr {
        self.lock().of(record)
    }
}
