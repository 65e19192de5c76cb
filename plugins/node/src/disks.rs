//! Block devices (`/sys/block` for which there are, `/proc/diskstats` for what
//! they did: Documentation/admin-guide/iostats.rst).

use crate::config::Excluded;
use crate::metrics::*;
use crate::reader::{SourceError, lines};
use crate::sources::{Out, Run, Source, State, all_but};
use procfs_core::DiskStat;
use std::collections::HashSet;

/// The kernel counts in sectors of 512 bytes, whatever the device's are.
const SECTOR: u64 = 512;

/// Which devices there are.
#[derive(Debug, Default)]
pub struct Disks {
    names: HashSet<String>,
}

impl Disks {
    /// Reads and shows.
    pub fn collect(&mut self, run: &mut Run<'_, '_>, excluded: &Excluded) {
        self.names.clear();
        let mut listed = false;
        run.other(Source::Block, |run| {
            for entry in std::fs::read_dir(run.sources.path(Source::Block))? {
                // sysfs cannot hold the slash of `cciss/c0d0`.
                let name = entry?.file_name().to_string_lossy().replace('!', "/");
                if !excluded.contains(&name) {
                    self.names.insert(name);
                }
            }
            listed = true;
            Ok(State::Good)
        });
        if listed {
            run.file(Source::Diskstats, |bytes, out| self.show(bytes, out));
        }
    }

    fn show(&self, bytes: &[u8], out: &mut Out<'_, '_>) -> Result<State, SourceError> {
        let (mut bad, mut lines_read) = (0, 0);
        for line in lines(bytes) {
            lines_read += 1;
            // Partitions and what is left out need not be parsed.
            let name = line.and_then(|line| line.split_ascii_whitespace().nth(2));
            let (Some(line), Some(name)) = (line, name) else {
                bad += 1;
                continue;
            };
            if !self.names.contains(name) {
                continue;
            }
            match DiskStat::from_line(line) {
                Ok(disk) => emit(&disk, out),
                Err(_) => bad += 1,
            }
        }
        if lines_read == bad && !(self.names.is_empty() && bad == 0) {
            return Err(SourceError::Malformed("it has no line of a device".to_owned()));
        }
        Ok(all_but(bad, out))
    }
}

fn emit(disk: &DiskStat, out: &mut Out<'_, '_>) {
    let device = &[disk.name.as_str()];
    // Milliseconds.
    let seconds = |count: u64| count as f64 / 1e3;
    out.emit(&DISK_READS, device, disk.reads);
    out.emit(&DISK_WRITES, device, disk.writes);
    out.emit(&DISK_READ_BYTES, device, disk.sectors_read.saturating_mul(SECTOR));
    out.emit(&DISK_WRITTEN_BYTES, device, disk.sectors_written.saturating_mul(SECTOR));
    out.emit(&DISK_READ_TIME, device, seconds(disk.time_reading));
    out.emit(&DISK_WRITE_TIME, device, seconds(disk.time_writing));
    out.emit(&DISK_IO_TIME, device, seconds(disk.time_in_progress));
}
