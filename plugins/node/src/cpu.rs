//! CPU time (`/proc/stat`, Documentation/filesystems/proc.rst, section 1.7).

use crate::metrics::{CPU_CORES, CPU_USAGE};
use crate::reader::SourceError;
use crate::sources::{Out, Run, Source, State};
use procfs_core::prelude::FromBufReadSI as _;
use procfs_core::{CpuTime, ExplicitSystemInfo, KernelStats};

/// The modes in the order of the file.
pub const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// By so much, in seconds, idle and waiting time may go back and still be the
/// same counter: the kernel corrects what it guessed for a CPU without a tick.
/// A larger step back is another counter (a restored checkpoint, lxcfs).
const CORRECTION: f64 = 60.0;

/// CPU time, and what was shown of it last.
#[derive(Debug)]
pub struct Cpu {
    ticks: u64,
    shown: [f64; MODES.len()],
}

impl Cpu {
    /// `ticks` are the clock ticks a second that `/proc` counts in
    /// (`sysconf(_SC_CLK_TCK)`).
    pub fn new(ticks: u64) -> Self {
        Self { ticks: ticks.max(1), shown: [0.0; MODES.len()] }
    }

    /// Reads and shows.
    pub fn collect(&mut self, run: &mut Run<'_, '_>) {
        run.file(Source::Stat, |bytes, out| self.show(bytes, out));
    }

    fn show(&mut self, bytes: &[u8], out: &mut Out<'_, '_>) -> Result<State, SourceError> {
        let system = ExplicitSystemInfo {
            boot_time_secs: 0,
            ticks_per_second: self.ticks,
            page_size: 0,
            is_little_endian: cfg!(target_endian = "little"),
        };
        let stats = KernelStats::from_buf_read(bytes, &system)?;
        let ticks = self.ticks as f64;
        for ((mode, count), shown) in MODES.iter().zip(counts(&stats.total)).zip(&mut self.shown) {
            // Columns that an old kernel does not have are left out.
            let Some(count) = count else { continue };
            let seconds = count as f64 / ticks;
            if seconds > *shown || *shown - seconds > CORRECTION {
                *shown = seconds;
            }
            out.emit(&CPU_USAGE, &[mode], *shown);
        }
        out.emit(&CPU_CORES, &[], stats.cpu_time.len());
        Ok(State::Good)
    }
}

fn counts(time: &CpuTime) -> [Option<u64>; MODES.len()] {
    [
        Some(time.user),
        Some(time.nice),
        Some(time.system),
        Some(time.idle),
        time.iowait,
        time.irq,
        time.softirq,
        time.steal,
    ]
}
