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

mod missed;

use crate::counts::{Counts, Limits, Moved};
use crate::destination::Rules;
use crate::reason::Reason;
use crate::record::{ADOPTED, ESTABLISHED, Kind, ORPHAN, Record};
use ahash::RandomState;
use hashbrown::HashMap;
use missed::Missed;

/// Connections in the table: each takes some 100 bytes.
const MAX_OPEN: usize = 1 << 18;

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
    /// What the generation before counted of connections that are open.
    handed: HashMap<Ends, Counted, RandomState>,
    missed: Missed,
    scan: u32,
    handed_scans: u32,
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
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            open: HashMap::with_hasher(RandomState::new()),
            handed: HashMap::with_hasher(RandomState::new()),
            missed: Missed::default(),
            scan: 0,
            handed_scans: 0,
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

    /// What is known of all that are open, or were when this generation began.
    pub fn counted(&self) -> impl Iterator<Item = (Ends, Counted)> {
        let waits = self.handed_scans < 2;
        let handed = self.handed.iter().filter(move |_| waits);
        let handed = handed.map(|(ends, counted)| (*ends, *counted));
        self.open.values().map(|open| (open.ends, open.counted)).chain(handed)
    }

    /// What the generation before counted. To be told before any record.
    pub fn hand(&mut self, handed: impl IntoIterator<Item = (Ends, Counted)>) {
        self.handed.extend(handed.into_iter().take(MAX_OPEN));
        self.handed_scans = 0;
    }

    /// The records of a scan come now.
    pub fn begin_scan(&mut self, counts: &mut Counts) {
        self.scan = self.scan.wrapping_add(1);
        for series in counts.all_mut() {
            (series.active, series.rtt) = (0, 0);
        }
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
                missed.keep(*key, open.counted);
                counts.release(open.series, now);
            }
            stays
        });
        self.corrected += gone;
        self.handed_scans = self.handed_scans.saturating_add(1);
        if self.handed_scans == 2 {
            self.corrected += self.handed.len() as u64;
        } else if self.handed_scans > HANDED_SCANS && !self.handed.is_empty() {
            self.handed = HashMap::with_hasher(RandomState::new());
        }
        // A flood leaves much room that is needed no more.
        if self.open.capacity() > 4 * self.open.len().max(256) {
            self.open.shrink_to(2 * self.open.len());
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
        self.handed.remove(&Ends::from(record));
        self.missed.take(key(record));
        if let Some(open) = self.open.remove(&key(record)) {
            counts.release(open.series, record.at);
        }
    }

    /// A connection that was there before counting began: it adds to nothing,
    /// but what comes on top will.
    pub fn adopt(&mut self, record: &Record, context: &mut Context<'_>) {
        // The record may be older than what the generation before counted last.
        let counted = self.handed.remove(&Ends::from(record)).unwrap_or(Counted::all(record));
        self.put(record, counted, context);
    }

    /// The same where nobody looked for a while: what the generation before did not
    /// know began meanwhile, and nobody counted any of it.
    pub fn adopt_unseen(&mut self, record: &Record, context: &mut Context<'_>) {
        let counted = self.handed.remove(&Ends::from(record)).unwrap_or_default();
        self.put(record, counted, context);
    }

    /// A scan found it.
    pub fn live(&mut self, record: &Record, context: &mut Context<'_>) {
        let is_new = !self.open.contains_key(&key(record));
        if is_new && !self.begin(record, context) {
            return;
        }
        let Some(open) = self.open.get_mut(&key(record)) else { return };
        let is_repeated = !is_new && open.scan == self.scan;
        open.scan = self.scan;
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
        let handed = self.handed.remove(&Ends::from(record));
        if missed.is_none() && handed.is_none() && record.is(ADOPTED) {
            // One that was taken from a listening socket, or does not count.
            return;
        }
        let Some(index) = hold(record, context) else { return };
        if let Some(series) = context.counts.series(index) {
            let handed = handed.filter(|handed| handed.is_before(record));
            missed.or(handed).unwrap_or_default().ended(record, series);
        }
        context.counts.release(index, record.at);
    }

    /// A connection that is not in the table yet; whether it is now.
    fn begin(&mut self, record: &Record, context: &mut Context<'_>) -> bool {
        let missed = self.missed.take(key(record));
        let handed = self.handed.remove(&Ends::from(record)).filter(|handed| handed.is_before(record));
        match missed.or(handed) {
            Some(counted) => self.put(record, counted, context),
            None if record.is(ADOPTED) => false,
            None => self.put(record, Counted::default(), context),
        }
    }

    fn put(&mut self, record: &Record, counted: Counted, context: &mut Context<'_>) -> bool {
        if self.open.len() >= MAX_OPEN {
            self.refused += 1;
            return false;
        }
        let Some(series) = hold(record, context) else { return false };
        let open = Open { ends: Ends::from(record), series, scan: self.scan, counted };
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
    let to = context.rules.destination(record)?;
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
    /// Whether what a record tells can have come after this: else it is of
    /// another connection that has all the same names.
    fn is_before(&self, record: &Record) -> bool {
        // A FIN is taken for a byte until the socket says that it came.
        self.sent <= record.sent
            && self.received <= record.received.saturating_add(1)
            && self.retransmits <= record.retransmits
            && (!self.connect || record.is(ESTABLISHED))
    }

    fn add(&mut self, record: &Record, series: &mut crate::counts::Series) {
        let numbers = &mut series.numbers;
        if record.is(ESTABLISHED) && !self.connect {
            numbers.connects += 1;
            if record.established_at != 0 {
                numbers.connect_time += record.established_at.saturating_sub(record.opened_at);
            }
        }
        numbers.sent += record.sent.saturating_sub(self.sent);
        numbers.received += record.received.saturating_sub(self.received);
        numbers.retransmits += u64::from(record.retransmits.saturating_sub(self.retransmits));
        *self = Self {
            connect: self.connect || record.is(ESTABLISHED),
            sent: self.sent.max(record.sent),
            received: self.received.max(record.received),
            retransmits: self.retransmits.max(record.retransmits),
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
