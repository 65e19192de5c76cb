//! The programs in the kernel: loading them, and asking them.

use crate::config::Settings;
use crate::record::{Record, SIZE, STALE};
use gantry_bpf::stats::Measuring;
use gantry_bpf::{Iterator, Kernel, Measured, Object, Outcome, Ring};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

/// An array of bytes at an address that the loader can work with.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static STORAGE: &Aligned<[u8]> = &Aligned(*include_bytes!("../bpf/tcp.bpf.o"));
static HASH: &Aligned<[u8]> = &Aligned(*include_bytes!("../bpf/tcp_hash.bpf.o"));

const STATE: &str = "tcp_state";
const LIVE: &str = "tcp_live";
const ADOPT: &str = "tcp_adopt";
const CONNECTIONS: &str = "connections";

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
}

impl Losses {
    /// Whether there was any.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

/// The programs in the kernel. Dropped, all of it leaves the kernel.
#[derive(Debug)]
pub struct Engine {
    object: Object,
    ring: Ring,
    live: Option<Iterator>,
    adopt: Option<Iterator>,
    is_hash: bool,
    /// What is missing, for people.
    missing: Vec<String>,
    lost_before: Losses,
    malformed: u64,
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
        for (name, bytes, is_hash) in [("tcp", &STORAGE.0, false), ("tcp_hash", &HASH.0, true)] {
            match Self::load(&kernel, name, bytes, is_hash, settings) {
                Ok(engine) => return Ok(engine),
                Err(error) if why.is_empty() => why = error.to_string(),
                Err(error) => why = format!("{why}; {error}"),
            }
        }
        Err(why)
    }

    fn load(
        kernel: &Kernel,
        name: &'static str,
        bytes: &[u8],
        is_hash: bool,
        settings: &Settings,
    ) -> Result<Self, gantry_bpf::Error> {
        let mut object = Object::open(kernel, name, bytes, &[("events", settings.ring)])?;
        object.trace(kernel, STATE, "inet_sock_set_state")?;
        let ring = object.ring("events")?;
        let mut missing = Vec::new();
        let kind = if is_hash { "bpf_map_elem" } else { "bpf_sk_storage_map" };
        let mut optional = |object: &mut Object, program, kind, map, without: &str| {
            let loaded = object.iterate(kernel, program, kind, map);
            loaded.map_err(|error| missing.push(format!("{error}; {without}"))).ok()
        };
        let live = optional(
            &mut object,
            LIVE,
            kind,
            Some(CONNECTIONS),
            "connections count when they end, and active ones are not shown",
        );
        let adopt = optional(
            &mut object,
            ADOPT,
            "task_file",
            None,
            "sockets that were there before are not known, nor found again after a loss",
        );
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
            live,
            adopt,
            is_hash,
            missing,
            lost_before: Losses::default(),
            malformed: 0,
            _measuring: measuring,
        };
        Ok(engine)
    }

    /// What is missing, for people.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Whether there is a scan of what is open.
    pub fn scans(&self) -> bool {
        self.live.is_some()
    }

    /// Something to wait at for events.
    ///
    /// # Errors
    /// Where there are no descriptors left.
    pub fn events(&self) -> std::io::Result<OwnedFd> {
        self.ring.as_fd().try_clone_to_owned()
    }

    /// Gives events, at most so many; how many there were.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(&Record)) -> usize {
        let malformed = &mut self.malformed;
        self.ring.drain(most, |bytes| match Record::read(bytes) {
            Some(record) => take(&record),
            None => *malformed += 1,
        })
    }

    /// All that is open.
    ///
    /// # Errors
    /// The system call's, as a text; what was found before it is lost.
    pub fn live(&mut self) -> Result<Vec<Record>, String> {
        let mut found = collected(self.live.as_mut(), &mut self.malformed)?;
        if self.is_hash {
            let stale: Vec<u64> =
                found.extract_if(.., |record| record.is(STALE)).map(|record| record.sock).collect();
            self.object.remove(CONNECTIONS, &stale).map_err(|error| error.to_string())?;
        }
        Ok(found)
    }

    /// All sockets that processes hold: those that listen, and those that are
    /// open and that nothing was known of; it is now.
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn sockets(&mut self) -> Result<Vec<Record>, String> {
        collected(self.adopt.as_mut(), &mut self.malformed)
    }

    /// What was not seen since the last look.
    pub fn losses(&mut self) -> Losses {
        // What cannot be read is as it was.
        let sum = |index, before| self.object.sum("lost", index).unwrap_or(before);
        let missed = self.object.programs().iter().map(|program| program.costs.misses).sum();
        let before = self.lost_before;
        let now = Losses {
            ring: sum(0, before.ring),
            storage: sum(1, before.storage),
            missed,
            malformed: self.malformed,
        };
        self.lost_before = now;
        Losses {
            ring: now.ring.saturating_sub(before.ring),
            storage: now.storage.saturating_sub(before.storage),
            missed: now.missed.saturating_sub(before.missed),
            malformed: now.malformed - before.malformed,
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

/// Whether a program is there, as a text for people.
pub fn shown(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Loaded => "loaded",
        Outcome::Refused(why) => why,
    }
}

fn collected(iterator: Option<&mut Iterator>, malformed: &mut u64) -> Result<Vec<Record>, String> {
    let mut found = Vec::new();
    let Some(iterator) = iterator else { return Ok(found) };
    let run = iterator.run(SIZE, |bytes| match Record::read(bytes) {
        Some(record) => found.push(record),
        None => *malformed += 1,
    });
    run.map_err(|error| error.to_string())?;
    Ok(found)
}
