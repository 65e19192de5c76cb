//! Where connections really go whose destination is translated: by the kernel's
//! connection tracking in the network namespace of the socket, and then in the
//! machine's own, through which it may go on.
//!
//! A connection that begins is told of before its first packet goes on. So whoever looks
//! at a connection that came to be, or ended, can read its event: events are read when a
//! record is newer than the last reading, and never otherwise. What began before somebody
//! listened, or when an event was lost, is asked for.
//!
//! # Layout
//! * [`translations`]: what is known. [`namespaces`]: whom it is heard from.

pub mod namespaces;
pub mod translations;

use crate::record::Record;
use gantry_netlink::conntrack::Tuple;
use namespaces::Namespaces;
use std::net::SocketAddr;
use std::path::PathBuf;
use translations::Translations;

/// How many connections are asked for, one by one, between two collections: some 10 µs
/// each.
const QUESTIONS: u32 = 5_000;

/// What could not be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Events that were lost.
    pub lost: u64,
    /// Connections that were not asked for, since there were too many.
    pub not_asked: u64,
    /// Translations for which there was no room.
    pub full: u64,
}

/// All that is known of translations.
#[derive(Debug)]
pub struct Actual {
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
    /// One that hears nothing yet; `host` is the machine's own namespace.
    pub fn new(host: u32) -> Self {
        Self {
            translations: Translations::default(),
            namespaces: Namespaces::default(),
            host,
            read_until: 0,
            questions: QUESTIONS,
            not_asked: 0,
        }
    }

    /// Where a connection really goes. `now` is the clock of records.
    pub fn of(&mut self, record: &Record, now: impl FnOnce() -> u64) -> SocketAddr {
        if self.namespaces.is_empty() {
            return record.remote;
        }
        if self.read_until <= record.at {
            self.read(now());
        }
        let mut at = Tuple { source: record.local, destination: record.remote };
        // Within the container first, and then on its way through the machine.
        let places = [record.netns, self.host];
        let places = if record.netns == self.host { &places[..1] } else { &places[..] };
        for netns in places {
            at = self.beyond(*netns, &at, record.opened_at).unwrap_or(at);
        }
        at.destination
    }

    fn beyond(&mut self, netns: u32, at: &Tuple, opened_at: u64) -> Option<Tuple> {
        if let Some(known) = self.translations.get(netns, at, self.read_until) {
            return Some(known);
        }
        // Heard since before it began, and nothing was told of it: it is not translated.
        if self.namespaces.knows_since(netns)? < opened_at {
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
    pub fn read(&mut self, now: u64) {
        let translations = &mut self.translations;
        self.namespaces.read(now, |netns, entry| translations.put(netns, entry, now));
        self.read_until = now;
    }

    /// Whether a namespace is not listened to that could be.
    pub fn is_deaf_to(&self, netns: u32) -> bool {
        self.namespaces.is_new(netns)
    }

    /// Listens to a namespace from now on. `now` is to be from before it was entered.
    pub fn hear(&mut self, netns: u32, heard: namespaces::Heard, now: u64) {
        let translations = &mut self.translations;
        self.namespaces.add(netns, heard, now, |entry| translations.put(netns, entry, now));
    }

    /// These namespaces are there; others are let go of, since a socket keeps each alive.
    /// Those that nobody listens to are given back, with a file of each.
    pub fn keep(&mut self, there: impl IntoIterator<Item = (u32, PathBuf)>, now: u64) -> Vec<(u32, PathBuf)> {
        self.questions = QUESTIONS;
        self.translations.forget(now);
        self.namespaces.keep(there)
    }

    /// What could not be known, in all.
    pub fn unknown(&self) -> Unknown {
        Unknown { lost: self.namespaces.lost(), not_asked: self.not_asked, full: self.translations.refused }
    }

    /// How many translations are known, and namespaces listened to.
    pub fn len(&self) -> (usize, usize) {
        (self.translations.len(), self.namespaces.len())
    }

    /// Why nothing is known of translations, where that is so.
    pub fn trouble(&self) -> Option<&str> {
        self.namespaces.trouble()
    }
}
