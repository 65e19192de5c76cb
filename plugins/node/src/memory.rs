//! Memory and swap (`/proc/meminfo` and `/proc/vmstat`,
//! Documentation/filesystems/proc.rst, section 1.2).
//!
//! The lines are read here and not by `procfs-core`: see the README.

use crate::metrics::*;
use crate::reader::{SourceError, lines};
use crate::sources::{Out, Run, Source, State, all_but};
use gantry_plugin_api::Family;

/// The lines of `meminfo` that are shown. Their unit is 1024 bytes, though the
/// file calls it kB.
static MEMINFO: [(&str, &Family); 6] = [
    ("MemTotal:", &MEMORY_TOTAL),
    ("MemFree:", &MEMORY_FREE),
    ("MemAvailable:", &MEMORY_AVAILABLE),
    ("Cached:", &MEMORY_CACHED),
    ("SwapTotal:", &SWAP_TOTAL),
    ("SwapFree:", &SWAP_FREE),
];

/// The lines of `vmstat` that are shown, in pages.
static VMSTAT: [(&str, &Family); 2] = [("pswpin", &SWAP_IN), ("pswpout", &SWAP_OUT)];

/// Reads and shows both files. `page` is the size of a page in bytes.
pub fn collect(run: &mut Run<'_, '_>, page: u64) {
    run.file(Source::Meminfo, |bytes, out| show(bytes, out, &MEMINFO, 1024, Some("kB")));
    run.file(Source::Vmstat, |bytes, out| show(bytes, out, &VMSTAT, page, None));
}

fn show(
    bytes: &[u8],
    out: &mut Out<'_, '_>,
    wanted: &[(&str, &'static Family)],
    factor: u64,
    unit: Option<&str>,
) -> Result<State, SourceError> {
    // One bit a wanted line.
    let (mut found, mut bad) = (0u32, 0);
    for line in bytes.split(|byte| *byte == b'\n') {
        let is_wanted = |(key, _): &&(&str, &Family)| {
            line.strip_prefix(key.as_bytes())
                .is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
        };
        let Some(index) = wanted.iter().position(|entry| is_wanted(&entry)) else { continue };
        match amount(line, factor, unit) {
            Some(amount) if found & (1 << index) == 0 => {
                out.emit(wanted[index].1, &[], amount);
                found |= 1 << index;
            }
            _ => bad += 1,
        }
    }
    if found == 0 {
        return Err(SourceError::Malformed(format!("it has no line {:?}", wanted[0].0)));
    }
    Ok(all_but(bad, out))
}

/// The number of a line, in bytes.
fn amount(line: &[u8], factor: u64, unit: Option<&str>) -> Option<u64> {
    let mut words = lines(line).next()??.split_ascii_whitespace().skip(1);
    let number: u64 = words.next()?.parse().ok()?;
    if words.next() != unit {
        return None;
    }
    number.checked_mul(factor)
}
