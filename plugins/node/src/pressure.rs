//! Pressure (`/proc/pressure/*`, Documentation/accounting/psi.rst).

use crate::metrics::{CPU_PRESSURE, IO_PRESSURE, IRQ_PRESSURE, MEMORY_PRESSURE};
use crate::reader::{SourceError, lines};
use crate::sources::{Out, Run, Source, State, all_but};
use gantry_plugin_api::Family;
use procfs_core::parse_pressure_record;

/// Reads and shows all four.
pub fn collect(run: &mut Run<'_, '_>) {
    let files = [
        (Source::CpuPressure, &CPU_PRESSURE),
        (Source::MemoryPressure, &MEMORY_PRESSURE),
        (Source::IoPressure, &IO_PRESSURE),
        (Source::IrqPressure, &IRQ_PRESSURE),
    ];
    for (source, family) in files {
        run.file(source, |bytes, out| show(bytes, family, out));
    }
}

/// A line at a time: `cpu` has no line `full` before Linux 5.13, and `irq` has
/// no line `some`.
fn show(bytes: &[u8], family: &'static Family, out: &mut Out<'_, '_>) -> Result<State, SourceError> {
    let (mut found, mut bad) = (0, 0);
    for line in lines(bytes) {
        // The record's reader wants the word and the blank behind it to be there.
        let kind = line.and_then(|line| line.split_once(' ')).map(|(kind, _)| kind);
        let record = match (kind, line) {
            (Some("some" | "full"), Some(line)) => parse_pressure_record(line).ok(),
            _ => None,
        };
        match (record, kind) {
            (Some(record), Some(kind)) => {
                // Microseconds.
                out.emit(family, &[kind], record.total as f64 / 1e6);
                found += 1;
            }
            _ => bad += 1,
        }
    }
    if found == 0 {
        return Err(SourceError::Malformed("it has no line \"some\" or \"full\"".to_owned()));
    }
    Ok(all_but(bad, out))
}
