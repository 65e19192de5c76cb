//! The programs in the kernel: loading them, and asking them.

use crate::asks::{Asks, Meanwhile};
use crate::config::Settings;
use crate::record::{Kind, Record, UNDERFLOW};
use gantry_bpf::stats::Measuring;
use gantry_bpf::{Hash, Kernel, Measured, Object, Outcome, Ring};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::Mutex;

/// An array of bytes at an address that the loader can work with.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static STORED: &Aligned<[u8]> = &Aligned(*include_bytes!("../bpf/tcp.bpf.o"));
static HASHED: &Aligned<[u8]> = &Aligned(*include_bytes!("../bpf/tcp_hash.bpf.o"));

/// An object with the programs.
#[derive(Debug, Clone, Copy)]
pub struct Variant<'a> {
    /// Its name.
    pub name: &'static str,
    /// As it is in the file, aligned to 8.
    pub bytes: &'a [u8],
    /// By what an iterator goes through the connections.
    pub iterates: &'static str,
}

/// With storage at the socket: since Linux 5.11.
pub static STORAGE: Variant<'static> =
    Variant { name: "tcp", bytes: &STORED.0, iterates: "bpf_sk_storage_map" };

/// With a hash by the socket's address.
pub static HASH: Variant<'static> = Variant { name: "tcp_hash", bytes: &HASHED.0, iterates: "bpf_map_elem" };

/// The programs, with what is missing without each.
pub const PROGRAMS: [(&str, &str); 3] = [
    (STATE, "all of container_net_tcp_* but what can be looked at"),
    (
        LIVE,
        "container_net_tcp_active_connections, tcp_ebpf_tracked_connections, round trip times; bytes and \
         retransmits of a connection count when it ends",
    ),
    (
        ADOPT,
        "container_net_tcp_active_connections, container_net_tcp_listen_info and bytes of sockets that were \
         there before; what a loss of events leaves is not put right",
    ),
];

/// What is missing without a program.
pub fn without(program: &str) -> &'static str {
    PROGRAMS.iter().find(|(name, _)| *name == program).map_or("", |(_, without)| without)
}

const STATE: &str = "tcp_state";
const LIVE: &str = "tcp_live";
const ADOPT: &str = "tcp_adopt";
const CONNECTIONS: &str = "connections";

/// Records that are read between two turns of an iterator: as many as are in the ring.
const BATCH: usize = 1 << 16;

/// The reader is woken when a part of the ring is full: what comes until it runs has
/// room many times over, and a wake-up is worth its cost.
const WAKES: u32 = 16;

/// Iterators leave the half of the ring to events.
const SCANS: u32 = 2;

/// Nor do they write more without a pause: the kernel goes through a part of a map without
/// letting anybody else run, some 2 ms for as much.
const MOST_SCANNED: u32 = 512 << 10;

/// Bytes that the kernel keeps of a connection besides what the map says of
/// itself: a storage with one element (kernel/bpf/bpf_local_storage.c), or an
/// element of a hash.
const EACH: u64 = 384;

/// What was not seen since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Events for which the ring had no room.
    pub ring: u64,
    /// Sockets of which nothing could be kept.
    pub storage: u64,
    /// Changes during which the programs were running on that processor.
    pub missed: u64,
    /// Records that made no sense.
    pub malformed: u64,
    /// Listening sockets that the programs had no room for.
    pub listens: u64,
}

impl Losses {
    /// Whether there is anything that a look at all sockets would put right.
    pub fn any(self) -> bool {
        Self { listens: 0, ..self } != Self::default()
    }
}

/// What was read of the kernel and made no sense.
#[derive(Debug, Clone, Copy, Default)]
struct Read {
    /// Records of another length, version or kind.
    malformed: u64,
    /// Sockets that had sent less than they had sent again.
    underflows: u64,
    /// Records that iterators wrote.
    found: u64,
}

impl Read {
    fn record(&mut self, bytes: &[u8]) -> Option<Record> {
        let record = Record::read(bytes);
        match &record {
            Some(record) => {
                self.underflows += u64::from(record.is(UNDERFLOW));
                self.found += u64::from(matches!(record.kind, Kind::Live | Kind::Listening | Kind::Adopted));
            }
            None => self.malformed += 1,
        }
        record
    }
}

/// The programs in the kernel. Dropped, all of it leaves the kernel.
#[derive(Debug)]
pub struct Engine {
    object: Object,
    ring: Ring,
    asks: Asks,
    /// What is missing, for people.
    missing: Vec<String>,
    lost_before: Losses,
    read: Read,
    _measuring: Option<Measuring>,
}

impl Engine {
    /// Loads what the kernel takes and begins to buffer.
    ///
    /// # Errors
    /// Why there are no events here.
    pub fn start(sys: &Path, settings: &Settings) -> Result<Self, String> {
        let kernel = Kernel::open(sys).map_err(|error| error.to_string())?;
        let mut why = String::new();
        for variant in [&STORAGE, &HASH] {
            match Self::load(&kernel, variant, settings) {
                Ok(engine) => return Ok(engine),
                Err(error) if why.is_empty() => why = error.to_string(),
                Err(error) => why = format!("{why}; {error}"),
            }
        }
        Err(why)
    }

    /// Loads one of the objects.
    ///
    /// # Errors
    /// Where the kernel does not take the program that tells of events.
    pub fn load(
        kernel: &Kernel,
        variant: &Variant<'_>,
        settings: &Settings,
    ) -> Result<Self, gantry_bpf::Error> {
        let wake_at = settings.ring / WAKES;
        let mut object = Object::open(
            kernel,
            variant.name,
            variant.bytes,
            &[("events", settings.ring)],
            &[("wake_at", wake_at), ("scan_most", (settings.ring / SCANS).min(MOST_SCANNED))],
        )?;
        object.trace(kernel, STATE, "inet_sock_set_state")?;
        let ring = object.ring("events")?;
        let mut missing = Vec::new();
        let mut optional = |object: &mut Object, program, kind, map| {
            let loaded = object.iterate(kernel, program, kind, map);
            loaded.map_err(|error| missing.push(format!("{error}; missing: {}", without(program)))).ok()
        };
        let live = optional(&mut object, LIVE, variant.iterates, Some(CONNECTIONS));
        let adopt = optional(&mut object, ADOPT, "task_file", None);
        let listening = Some(Mutex::new(object.hash("listening")?));
        let measuring = if settings.measure {
            Measuring::begin()
                .map_err(|error| {
                    missing.push(format!("bpf(BPF_ENABLE_STATS): {error}; run times are not measured"));
                })
                .ok()
        } else {
            None
        };
        let engine = Self {
            object,
            ring,
            asks: Asks { live, adopt, listening },
            missing,
            lost_before: Losses::default(),
            read: Read::default(),
            _measuring: measuring,
        };
        Ok(engine)
    }

    /// What is missing, for people.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Something to wait at for events.
    pub fn events(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Gives events, at most so many; how many there were.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(&Record)) -> usize {
        let read = &mut self.read;
        self.ring.drain(most, |bytes| {
            if let Some(record) = read.record(bytes) {
                take(&record);
            }
        })
    }

    /// How much was told until now, for [`Self::is_read`].
    pub fn told(&self) -> usize {
        self.ring.written()
    }

    /// Whether all that was told until then was given.
    pub fn is_read(&self, until: usize) -> bool {
        self.ring.is_read(until)
    }

    /// Records of iterators that were read.
    pub fn found(&self) -> u64 {
        self.read.found
    }

    /// What can be asked: whoever has it asks without having the engine.
    pub fn asks(&mut self) -> Asks {
        std::mem::take(&mut self.asks)
    }

    /// Has `tcp_adopt` look for something else.
    ///
    /// # Errors
    /// The system call's, as a text.
    pub fn look_for(&mut self, what: u32) -> Result<(), String> {
        self.object.set("looks_for", what).map_err(|error| error.to_string())
    }

    /// Where somebody listens.
    ///
    /// # Errors
    /// The system call's, as a text.
    pub fn hash(&self) -> Result<Hash, String> {
        self.object.hash("listening").map_err(|error| error.to_string())
    }

    /// All that is open, at once. Events that come meanwhile are lost, so this is for
    /// tests and measurements. `None`: there is no program that could tell.
    ///
    /// # Errors
    /// As [`Asks::live`].
    pub fn live(&mut self) -> Result<Option<Vec<Record>>, String> {
        self.collected(Kind::Live, Asks::live)
    }

    /// The same of all sockets that processes hold: those that listen, and those that
    /// are open and that nothing was known of; it is now.
    ///
    /// # Errors
    /// As [`Asks::live`].
    pub fn sockets(&mut self) -> Result<Option<Vec<Record>>, String> {
        let listening = self.collected(Kind::Listening, Asks::listening)?;
        let others = self.collected(Kind::Adopted, Asks::others)?;
        Ok(listening.zip(others).map(|(listening, others)| [listening, others].concat()))
    }

    fn collected(
        &mut self,
        kind: Kind,
        ask: fn(&Asks, &mut dyn Meanwhile) -> Result<bool, String>,
    ) -> Result<Option<Vec<Record>>, String> {
        let asks = self.asks();
        let mut collects = Collects { engine: self, kind, found: Vec::new() };
        let asked = ask(&asks, &mut collects);
        collects.read();
        let found = collects.found;
        self.asks = asks;
        Ok(asked?.then_some(found))
    }

    /// Sockets that had sent less than they had sent again, so far.
    pub fn underflows(&self) -> u64 {
        self.read.underflows
    }

    /// What was not seen since the last look.
    pub fn losses(&mut self) -> Losses {
        // What cannot be read is as it was.
        let sum = |index, before| self.object.sum("lost", index).unwrap_or(before);
        let before = self.lost_before;
        let missed = missed(&self.object.programs()).unwrap_or(before.missed);
        let now = Losses {
            ring: sum(0, before.ring),
            storage: sum(1, before.storage),
            missed,
            malformed: self.read.malformed,
            listens: sum(2, before.listens),
        };
        self.lost_before = now;
        Losses {
            ring: now.ring.saturating_sub(before.ring),
            storage: now.storage.saturating_sub(before.storage),
            missed: now.missed.saturating_sub(before.missed),
            malformed: now.malformed - before.malformed,
            listens: now.listens.saturating_sub(before.listens),
        }
    }

    /// From here on there are no more events than those that are in the ring.
    pub fn detach(&mut self) {
        self.object.detach(STATE);
    }

    /// What became of each program, and costs.
    pub fn programs(&self) -> Vec<Measured> {
        self.object.programs()
    }

    /// Bytes of all maps in the kernel, with what is kept of so many sockets.
    pub fn map_bytes(&self, tracked: usize) -> u64 {
        self.object.map_bytes() + self.ring.map_bytes() + EACH * tracked as u64
    }
}

/// What all of them passed over. `None`: the kernel does not say it of one at the moment, and
/// what it had said would count again.
fn missed(programs: &[Measured]) -> Option<u64> {
    let loaded = programs.iter().filter(|program| program.outcome == Outcome::Loaded);
    loaded.map(|program| Some(program.costs?.misses)).sum()
}

/// Whether a program is there, as a text for people.
pub fn shown(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Loaded => "loaded",
        Outcome::Refused(why) => why,
    }
}

/// Takes what is of one kind, and leaves out all else.
struct Collects<'a> {
    engine: &'a mut Engine,
    kind: Kind,
    found: Vec<Record>,
}

impl Meanwhile for Collects<'_> {
    fn read(&mut self) -> u64 {
        let (kind, found) = (self.kind, &mut self.found);
        self.engine.drain(BATCH, |record| found.extend((record.kind == kind).then_some(*record)));
        self.engine.found()
    }

    fn look_for(&mut self, what: u32) -> Result<(), String> {
        self.engine.look_for(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_bpf::Costs;

    #[test]
    fn what_is_not_known_is_not_nothing() {
        let loaded = |misses: Option<u64>| Measured {
            program: "one",
            outcome: Outcome::Loaded,
            costs: misses.map(|misses| Costs { misses, ..Costs::default() }),
        };
        let refused = Measured { outcome: Outcome::Refused(String::new()), ..loaded(None) };
        assert_eq!(missed(&[loaded(Some(3)), refused, loaded(Some(4))]), Some(7));
        assert_eq!(missed(&[loaded(Some(3)), loaded(None)]), None);
    }
}
