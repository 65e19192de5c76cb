//! The connections that are open, and what each record makes of the counts.
//!
//! A connection that begins and ends between two scans is one record, and is
//! never in the table. One that a scan finds is, with what was counted of it:
//! the next scan, and its end, count what came on top. So nothing is counted
//! twice, and what a missed end leaves is found by the next scan.
//!
//! A connection is known by its socket and the moment at which it began, which
//! no two have in common. An iterator passes over what moves while it runs, or
//! gives it twice: what it gives twice is active once, and what it passed over
//! goes on where it was.

mod handed;
mod missed;

pub use handed::Known;

use crate::counts::{Counts, Limits, Moved};
use crate::destination::{Destination, Rules};
use crate::reason::Reason;
use crate::record::{ADOPTED, ESTABLISHED, Kind, ORPHAN, Record};
use ahash::RandomState;
use handed::Handed;
use hashbrown::HashMap;
use missed::Missed;
use std::net::SocketAddr;

/// Connections in the table: each takes some 100 bytes.
const MAX_OPEN: usize = 1 << 18;

/// Those of one container, so that none takes the room of all others.
const MAX_EACH: u32 = 1 << 17;

/// Connections that are open and do not count, as far as they are remembered.
const MAX_UNCOUNTED: usize = 1 << 16;

/// Scans after which a connection that was handed over and that none of them
/// found is forgotten.
const HANDED_SCANS: u32 = 10;

/// A connection that a scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// By which another instance knows it: the ports, and the namespace.
    pub ends: Ends,
    /// Its series.
    pub series: u32,
    /// The scan that found it last.
    scan: u32,
    /// What was counted of it.
    pub counted: Counted,
    /// When it began as far as any generation knows, and was seen last.
    began: u64,
    at: u64,
    /// It was there before any generation knew of it.
    is_adopted: bool,
}

impl Open {
    fn known(&self) -> Known {
        Known {
            opened_at: self.began,
            at: self.at,
            is_adopted: self.is_adopted,
            counted: self.counted,
            counts: true,
        }
    }
}

/// What tells connections apart that had the same socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The socket.
    pub sock: u64,
    /// The namespace.
    pub netns: u32,
    /// The port of its own end.
    pub local: u16,
    /// The port of the other end.
    pub remote: u16,
}

impl From<&Record> for Ends {
    fn from(record: &Record) -> Self {
        Self {
            sock: record.sock,
            netns: record.netns,
            local: record.local.port(),
            remote: record.remote.port(),
        }
    }
}

/// What was counted of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// That it came to be.
    pub connect: bool,
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that were received.
    pub received: u64,
    /// Segments that were sent again.
    pub retransmits: u32,
}

impl Counted {
    /// All that a record tells.
    pub fn all(record: &Record) -> Self {
        Self {
            connect: record.is(ESTABLISHED),
            sent: record.sent,
            received: record.received,
            retransmits: record.retransmits,
        }
    }
}

/// The connections that are open, and what they add to.
#[derive(Debug)]
pub struct Connections {
    /// By socket and beginning: the next connection of a socket may be found
    /// before the end of the one before is told.
    open: HashMap<(u64, u64), Open, RandomState>,
    /// What the generation before knew of connections that are open.
    handed: Handed,
    missed: Missed,
    /// What the last scan found and does not count.
    uncounted: HashMap<(u64, u64), (Ends, Known), RandomState>,
    /// There were more of these than are remembered, or the last scan did not come to its end.
    is_partial: bool,
    /// The rules changed since the last scan: what is open may count no more.
    is_changed: bool,
    scan: u32,
    handed_scans: u32,
    /// When counting began: of what began before it, what comes on top counts.
    since: u64,
    /// Records of the last scan.
    pub found: usize,
    /// Connections that the last scan found no room for, and the one before it.
    over: [u64; 2],
    /// Connections whose end was not told.
    pub corrected: u64,
    /// Connections that found no room.
    pub refused: u64,
}

/// What a record is looked at with.
#[derive(Debug)]
pub struct Context<'a> {
    /// What counts.
    pub rules: &'a Rules,
    /// Series that there may be.
    pub limits: Limits,
    /// What is added to.
    pub counts: &'a mut Counts,
    /// Who knows where a connection really goes, if anybody does.
    pub really: Option<&'a mut (dyn Really + 'static)>,
}

/// Who knows where a connection really goes.
pub trait Really: std::fmt::Debug + Send {
    /// The other end of a connection, which may be another one than was asked for.
    fn destination(&mut self, record: &Record) -> SocketAddr;
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            open: HashMap::with_hasher(RandomState::new()),
            handed: Handed::default(),
            missed: Missed::default(),
            uncounted: HashMap::with_hasher(RandomState::new()),
            is_partial: true,
            is_changed: false,
            scan: 0,
            handed_scans: 0,
            since: 0,
            found: 0,
            over: [0; 2],
            corrected: 0,
            refused: 0,
        }
    }
}

impl Connections {
    /// How many are in the table.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What is known of all that are open, or were when this generation began; and of those
    /// that scans did not find any more and that may come back.
    pub fn known(&self) -> impl Iterator<Item = (Ends, Known)> {
        let waits = self.handed_scans < 2;
        let counted = self.open.values().map(|open| (open.ends, open.known()));
        let handed = self.handed.iter().filter(move |_| waits);
        counted.chain(self.uncounted.values().copied()).chain(handed).chain(self.missed.iter())
    }

    /// Whether these are not all that are open.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// What the generation before knew. To be told before any record is.
    pub fn hand(&mut self, handed: impl IntoIterator<Item = (Ends, Known)>) {
        self.refused += self.handed.extend(handed);
        self.handed_scans = 0;
    }

    /// Counting begins. What was there before adds what comes on top.
    pub fn begins(&mut self, since: u64) {
        self.since = since;
    }

    /// The rules change: what was open and did not count until now adds what comes on
    /// top where it does from here on; what did and does not from here on is let go by the next scan.
    pub fn rules_change(&mut self) {
        self.is_changed = true;
        let uncounted: Vec<(Ends, Known)> = self.uncounted.drain().map(|(_, of)| of).collect();
        self.hand(uncounted);
    }

    /// What was adopted before counting began is put to what the generation before knew.
    /// `is_unseen`: nobody looked for a while, and what it did not know began meanwhile,
    /// and all of it counts.
    pub fn settle(&mut self, is_unseen: bool, context: &mut Context<'_>) {
        for ((_, opened_at), open) in &mut self.open {
            let now = open.counted;
            let seen =
                Known { opened_at: *opened_at, at: open.at, is_adopted: true, counted: now, counts: true };
            match self.handed.take(&open.ends, &seen) {
                Some(known) => {
                    (open.began, open.is_adopted) = (known.opened_at, known.is_adopted);
                    // It may have been seen later than here.
                    open.counted = known.counted;
                }
                None if is_unseen => open.counted = Counted::default(),
                None => continue,
            }
            if let Some(series) = context.counts.series(open.series) {
                open.counted.goes_on(now, 0, series);
            }
        }
    }

    /// The records of a scan come now.
    pub fn begin_scan(&mut self, counts: &mut Counts) {
        self.scan = self.scan.wrapping_add(1);
        self.found = 0;
        self.over = [0, self.over[0]];
        self.uncounted.clear();
        self.is_partial = false;
        for series in counts.all_mut() {
            (series.active, series.rtt) = (0, 0);
        }
    }

    /// The scan did not come to its end: what does not count may not be known.
    pub fn scan_failed(&mut self) {
        self.is_partial = true;
    }

    /// How many the scan has not found that are open as far as is known.
    pub fn not_found(&self) -> usize {
        self.open.values().filter(|open| open.scan != self.scan).count()
    }

    /// All of them came: what was not among them, and not among those of the
    /// scan before, is gone and was not told. A processor may just be about to
    /// tell what this scan did not find any more.
    pub fn end_scan(&mut self, now: u64, counts: &mut Counts) {
        let (scan, missed, mut gone) = (self.scan, &mut self.missed, 0);
        self.open.retain(|key, open| {
            let stays = scan.wrapping_sub(open.scan) <= 1;
            if !stays {
                gone += 1;
                // Whoever comes next must not count it as gone once more.
                missed.keep(*key, (open.ends, Known { counts: false, ..open.known() }));
                counts.release(open.series, now);
            }
            stays
        });
        self.corrected += gone;
        self.is_changed = false;
        // Those that are there for long are lost once, and not with each scan.
        self.refused += self.over[0].saturating_sub(self.over[1]);
        self.handed_scans = self.handed_scans.saturating_add(1);
        if self.handed_scans == 2 {
            self.corrected += self.handed.counted();
        } else if self.handed_scans > HANDED_SCANS {
            self.handed.clear();
        }
        // A flood leaves much room that is needed no more.
        if self.open.capacity() > 4 * self.open.len().max(256) {
            self.open.shrink_to(2 * self.open.len());
        }
        if self.uncounted.capacity() > 4 * self.uncounted.len().max(256) {
            self.uncounted.shrink_to(2 * self.uncounted.len());
        }
    }

    /// Series are in others now.
    pub fn redirect(&mut self, moved: &Moved) {
        if moved.is_empty() {
            return;
        }
        for open in self.open.values_mut() {
            open.series = moved.get(&open.series).copied().unwrap_or(open.series);
        }
    }

    /// Its end was counted by another.
    pub fn forget(&mut self, record: &Record, counts: &mut Counts) {
        self.handed.take(&Ends::from(record), &Known::of(record));
        self.missed.take(key(record));
        if let Some(open) = self.open.remove(&key(record)) {
            counts.release(open.series, record.at);
        }
    }

    /// A connection that was there before counting began, or whose beginning was not
    /// told: it adds to nothing, but what comes on top will.
    pub fn adopt(&mut self, record: &Record, context: &mut Context<'_>) {
        let known = self.handed.take(&Ends::from(record), &Known::of(record));
        // The record may be older than what the generation before counted last.
        let counted = known.map_or(Counted::all(record), |known| known.counted);
        if self.is_full() {
            self.refused += 1;
            return;
        }
        self.put(record, known, counted, context);
    }

    /// A scan found it.
    pub fn live(&mut self, record: &Record, context: &mut Context<'_>) {
        self.found += 1;
        if self.is_changed
            && context.rules.destination(record).is_none()
            && let Some(open) = self.open.remove(&key(record))
        {
            context.counts.release(open.series, record.at);
        }
        let is_new = !self.open.contains_key(&key(record));
        if is_new && !record.is(ESTABLISHED) {
            // It counts when it came to be, or with its end; before, nobody can know where
            // it really goes.
            return;
        }
        if is_new && !self.begin(record, context) {
            self.leave_out(record);
            return;
        }
        let Some(open) = self.open.get_mut(&key(record)) else { return };
        let is_repeated = !is_new && open.scan == self.scan;
        open.scan = self.scan;
        open.at = record.at;
        // Where its own port is chosen later than it begins.
        open.ends = Ends::from(record);
        let Some(series) = context.counts.series(open.series) else { return };
        open.counted.add(record, series);
        if record.is(ESTABLISHED) && !record.is(ORPHAN) && !is_repeated {
            series.active += 1;
            series.rtt += u64::from(record.rtt);
        }
        series.used = record.at;
    }

    /// One that does not count: whoever comes next must not take it for new.
    fn leave_out(&mut self, record: &Record) {
        if self.uncounted.len() >= MAX_UNCOUNTED && !self.uncounted.contains_key(&key(record)) {
            self.is_partial = true;
            return;
        }
        let known = Known { counts: false, ..Known::of(record) };
        self.uncounted.insert(key(record), (Ends::from(record), known));
    }

    /// It ended.
    pub fn closed(&mut self, record: &Record, context: &mut Context<'_>) {
        if let Some(mut open) = self.open.remove(&key(record)) {
            if let Some(series) = context.counts.series(open.series) {
                open.counted.ended(record, series);
            }
            context.counts.release(open.series, record.at);
            return;
        }
        let missed = self.missed.take(key(record));
        let handed = self.handed.take(&Ends::from(record), &Known::of(record));
        let counted = missed.or(handed.map(|known| known.counted));
        if counted.is_none() && (record.is(ADOPTED) || record.opened_at < self.since) {
            // One that does not count, or that was there before counting began.
            return;
        }
        let Some(index) = hold(record, context) else { return };
        if let Some(series) = context.counts.series(index) {
            counted.unwrap_or_default().ended(record, series);
        }
        context.counts.release(index, record.at);
    }

    /// A connection that is not in the table yet; whether it is now.
    fn begin(&mut self, record: &Record, context: &mut Context<'_>) -> bool {
        if self.is_full() {
            // Once for each that a scan finds, also where it gives it twice. One that was
            // adopted was lost then.
            let is_new = !record.is(ADOPTED) && !self.uncounted.contains_key(&key(record));
            self.over[0] += u64::from(is_new && context.rules.destination(record).is_some());
            return false;
        }
        let missed = self.missed.take(key(record));
        let known = self.handed.take(&Ends::from(record), &Known::of(record));
        match missed.or(known.map(|known| known.counted)) {
            Some(counted) => self.put(record, known, counted, context),
            None if record.is(ADOPTED) => false,
            None if record.opened_at < self.since => self.put(record, None, Counted::all(record), context),
            None => self.put(record, None, Counted::default(), context),
        }
    }

    fn is_full(&self) -> bool {
        self.open.len() >= MAX_OPEN
    }

    fn put(
        &mut self,
        record: &Record,
        known: Option<Known>,
        counted: Counted,
        context: &mut Context<'_>,
    ) -> bool {
        let Some(series) = hold(record, context) else { return false };
        if context.counts.held_beside(series) > MAX_EACH {
            context.counts.release(series, record.at);
            // Once for each that a scan finds, as where the table is full.
            let is_told = record.is(ADOPTED) || self.uncounted.contains_key(&key(record));
            self.over[0] += u64::from(!is_told);
            self.refused += u64::from(record.kind == Kind::Adopted);
            return false;
        }
        let known = known.unwrap_or(Known::of(record));
        let open = Open {
            ends: Ends::from(record),
            series,
            scan: self.scan,
            counted,
            began: known.opened_at,
            at: record.at,
            is_adopted: known.is_adopted,
        };
        if let Some(before) = self.open.insert(key(record), open) {
            context.counts.release(before.series, record.at);
        }
        true
    }
}

fn key(record: &Record) -> (u64, u64) {
    (record.sock, record.opened_at)
}

fn hold(record: &Record, context: &mut Context<'_>) -> Option<u32> {
    context.rules.destination(record)?;
    let actual = context.really.as_mut().map_or(record.remote, |really| really.destination(record));
    let to = Destination::of(record.remote, actual);
    let counts = &mut *context.counts;
    // One that is open comes again with each scan, and counts once, with its end.
    let once = u64::from(record.kind == Kind::Closed);
    let Some(group) = counts.group(&record.owner, record.at) else {
        counts.refused += once;
        return None;
    };
    let held = counts.hold(group, to, context.limits, record.at);
    if held.is_none() {
        counts.unattributed += once;
    }
    held
}

impl Counted {
    /// Whether that can have come after this: else it is of another connection that has
    /// all the same names.
    fn is_before(&self, then: &Self) -> bool {
        // A FIN is taken for a byte until the socket says that it came.
        self.sent <= then.sent
            && self.received <= then.received.saturating_add(1)
            && self.retransmits <= then.retransmits
            && (!self.connect || then.connect)
    }

    fn add(&mut self, record: &Record, series: &mut crate::counts::Series) {
        let took = match record.established_at {
            0 => 0,
            at => at.saturating_sub(record.opened_at),
        };
        self.goes_on(Self::all(record), took, series);
    }

    /// What came on top; `took` is the time of its handshake.
    fn goes_on(&mut self, now: Self, took: u64, series: &mut crate::counts::Series) {
        let numbers = &mut series.numbers;
        if now.connect && !self.connect {
            numbers.connects += 1;
            numbers.connect_time += took;
        }
        numbers.sent += now.sent.saturating_sub(self.sent);
        numbers.received += now.received.saturating_sub(self.received);
        numbers.retransmits += u64::from(now.retransmits.saturating_sub(self.retransmits));
        *self = Self {
            connect: self.connect || now.connect,
            sent: self.sent.max(now.sent),
            received: self.received.max(now.received),
            retransmits: self.retransmits.max(now.retransmits),
        };
    }

    fn ended(&mut self, record: &Record, series: &mut crate::counts::Series) {
        self.add(record, series);
        if !self.connect {
            series.numbers.failures[Reason::of(record) as usize] += 1;
        }
    }
}

#[cfg(test)]
mod tests;
