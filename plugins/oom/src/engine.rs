//! The programs in the kernel (`bpf/`).

use crate::record::Mark;
use gantry_bpf::{Error, Kernel, Measured, Object, Ring};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

/// An array of bytes at an address that the loader can work with.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static OF_TASK: &Aligned<[u8]> = &Aligned(*include_bytes!("../bpf/oom.bpf.o"));
static OF_PID: &Aligned<[u8]> = &Aligned(*include_bytes!("../bpf/oom_pid.bpf.o"));

/// An object with the programs.
#[derive(Debug, Clone, Copy)]
pub struct Variant<'a> {
    /// Its name.
    pub name: &'static str,
    /// As it is in the file, aligned to 8.
    pub bytes: &'a [u8],
    /// Programs and their tracepoints, in the order in which they are attached.
    pub programs: &'static [(&'static str, &'static str)],
}

/// What a kernel takes whose tracepoint gives the victim's task: since 6.9, and
/// where that was ported back.
pub static TASK: Variant<'static> =
    Variant { name: "oom", bytes: &OF_TASK.0, programs: &[("oom_mark", "mark_victim")] };

/// The programs of the others.
pub const BY_PID: &[(&str, &str)] = &[("oom_signal", "signal_generate"), ("oom_mark", "mark_victim")];

/// What a kernel takes whose tracepoint gives the victim's pid alone.
pub static PID: Variant<'static> = Variant { name: "oom_pid", bytes: &OF_PID.0, programs: BY_PID };

/// Bytes of the ring: 4,096 victims.
pub const RING: u32 = 512 << 10;

/// What was not told since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Events for which the ring had no room.
    pub ring: u64,
    /// Records that made no sense.
    pub malformed: u64,
}

/// The programs in the kernel. Dropped, all of it leaves the kernel.
#[derive(Debug)]
pub struct Engine {
    object: Object,
    ring: Ring,
    programs: &'static [(&'static str, &'static str)],
    page: u64,
    malformed: u64,
    before: Losses,
}

impl Engine {
    /// Loads what the kernel takes and begins to buffer.
    ///
    /// # Errors
    /// Why there are no events here.
    pub fn start(sys: &Path) -> Result<Self, String> {
        let kernel = Kernel::open(sys).map_err(|error| error.to_string())?;
        let first = match Self::load(&kernel, &TASK, RING) {
            Ok(engine) => return Ok(engine),
            Err(error) => error.to_string(),
        };
        Self::load(&kernel, &PID, RING).map_err(|error| {
            let second = error.to_string();
            // A missing capability is in the way of both.
            if first.contains("CAP_") { first } else { format!("{first}; {second}") }
        })
    }

    /// Loads one of the objects, with a ring of so many bytes.
    ///
    /// # Errors
    /// Where the kernel does not take one of its programs.
    pub fn load(kernel: &Kernel, variant: &Variant<'_>, ring: u32) -> Result<Self, Error> {
        let mut object = Object::open(kernel, variant.name, variant.bytes, &[("events", ring)], &[])?;
        for (program, tracepoint) in variant.programs {
            object.trace(kernel, program, tracepoint)?;
        }
        let ring = object.ring("events")?;
        let page = rustix::param::page_size() as u64;
        let before = Losses::default();
        Ok(Self { object, ring, programs: variant.programs, page, malformed: 0, before })
    }

    /// Something to wait at for events.
    pub fn events(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Gives events, at most so many; how many there were.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(Mark)) -> usize {
        let (page, malformed) = (self.page, &mut self.malformed);
        self.ring.drain(most, |bytes| match Mark::read(bytes, page) {
            Some(mark) => take(mark),
            None => *malformed += 1,
        })
    }

    /// What was not told since the last look.
    pub fn losses(&mut self) -> Losses {
        let before = self.before;
        // What cannot be read is as it was.
        let lost = self.object.sum("lost", 0).unwrap_or(before.ring);
        self.before = Losses { ring: lost, malformed: self.malformed };
        Losses { ring: lost.saturating_sub(before.ring), malformed: self.malformed - before.malformed }
    }

    /// From here on there are no more events than those that are in the ring.
    pub fn detach(&mut self) {
        for (program, _) in self.programs {
            self.object.detach(program);
        }
    }

    /// What became of each program, and costs.
    pub fn programs(&self) -> Vec<Measured> {
        self.object.programs()
    }

    /// Bytes of all maps in the kernel.
    pub fn map_bytes(&self) -> u64 {
        self.object.map_bytes() + self.ring.map_bytes()
    }
}
