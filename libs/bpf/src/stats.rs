//! What programs cost, and maps take.

use crate::call;
use crate::object::Outcome;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A program that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Its name.
    pub program: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// What it cost so far. `None`: it is not there, or the kernel does not say.
    pub costs: Option<Costs>,
}

/// What a program cost, by the kernel's own count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Costs {
    /// How often it ran, while somebody had the kernel measure.
    pub runs: u64,
    /// How long, in all of these.
    pub time: Duration,
    /// How often it was not run, since it was running on that processor:
    /// counted always, since Linux 5.12.
    pub misses: u64,
}

/// While it is there, the kernel measures all BPF programs: some 50 ns a run.
#[derive(Debug)]
pub struct Measuring(#[expect(dead_code, reason = "is closed when it is dropped")] OwnedFd);

impl Measuring {
    /// Has the kernel measure. Needs CAP_SYS_ADMIN, and Linux 5.8.
    ///
    /// # Errors
    /// The system call's.
    pub fn begin() -> io::Result<Self> {
        call::enable_stats().map(Self)
    }
}

pub(crate) fn of_program(program: BorrowedFd<'_>) -> io::Result<Costs> {
    let info = call::program_info(program)?;
    Ok(Costs {
        runs: info.run_cnt,
        time: Duration::from_nanos(info.run_time_ns),
        misses: info.recursion_misses,
    })
}

/// The kernel says it in the descriptor's file: `memlock` in `fdinfo`. That of
/// storage at sockets leaves out what is stored.
pub(crate) fn of_map(map: BorrowedFd<'_>) -> Option<u64> {
    said(map, "memlock:")
}

/// Of a ring, whose room Linux before 6.4 leaves out of `memlock`.
pub(crate) fn of_ring(map: BorrowedFd<'_>) -> Option<u64> {
    of_map(map).max(said(map, "max_entries:"))
}

fn said(map: BorrowedFd<'_>, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}
