//! Uptime and load (`/proc/uptime`, `/proc/loadavg`,
//! Documentation/filesystems/proc.rst, section 1.5).

use crate::metrics::{LOAD, UPTIME};
use crate::reader::SourceError;
use crate::sources::{Run, Source, State};
use procfs_core::prelude::FromRead as _;
use procfs_core::{LoadAverage, Uptime};

/// Reads and shows both.
pub fn collect(run: &mut Run<'_, '_>) {
    run.file(Source::Uptime, |bytes, out| {
        let uptime = Uptime::from_read(bytes)?.uptime;
        // "nan" and "inf" are numbers to the parser.
        if !uptime.is_finite() || uptime < 0.0 {
            return Err(SourceError::Malformed("the uptime is no number".to_owned()));
        }
        out.emit(&UPTIME, &[], uptime);
        Ok(State::Good)
    });
    run.file(Source::Load, |bytes, out| {
        let load = LoadAverage::from_read(bytes)?;
        for (window, average) in [("1m", load.one), ("5m", load.five), ("15m", load.fifteen)] {
            if !average.is_finite() || average < 0.0 {
                return Err(SourceError::Malformed("a load average is no number".to_owned()));
            }
            // The file has two decimals; a single-precision number shown in
            // double precision would have more.
            out.emit(&LOAD, &[window], (f64::from(average) * 100.0).round() / 100.0);
        }
        Ok(State::Good)
    });
}
