//! Tables for people.

use crate::kill::Kill;
use gantry_bpf::{Measured, Outcome};
use gantry_plugin_api::{Cell, Column, ContainerRef, Rows, View};

/// The views that there are.
pub static VIEWS: [View; 2] = [
    View::new(
        "kills",
        "The last processes that the kernel killed for want of memory, up to 256",
        &[
            Column::time("at"),
            Column::container("container"),
            Column::text("id"),
            Column::number("pid", ""),
            Column::text("command"),
            Column::text("scope"),
            Column::number("memory", "bytes"),
            Column::number("anon", "bytes"),
            Column::number("file", "bytes"),
            Column::number("shmem", "bytes"),
            Column::number("limit", "bytes"),
        ],
    ),
    View::new(
        "programs",
        "The programs in the kernel",
        &[Column::text("program"), Column::text("state"), Column::number("misses", "")],
    ),
];

/// Fills `kills`.
pub fn kills<'a>(kills: impl Iterator<Item = &'a Kill>, rows: &mut Rows<'_>) {
    for kill in kills {
        let bytes = |number: u64| Cell::Number(number as f64);
        let id = if kill.id.is_empty() { Cell::Empty } else { Cell::Text(&kill.id) };
        let more = rows.push(&[
            Cell::Time(kill.at),
            ContainerRef::from_handle(kill.container).map_or(Cell::Empty, Cell::Container),
            // As it was then: the container may be gone for long.
            id,
            Cell::Number(f64::from(kill.pid)),
            Cell::Text(&kill.comm),
            Cell::Text(kill.scope.as_str()),
            bytes(kill.memory.all()),
            bytes(kill.memory.anon),
            bytes(kill.memory.file),
            bytes(kill.memory.shmem),
            kill.limit.map_or(Cell::Empty, |limit| bytes(limit.bytes)),
        ]);
        if !more {
            return;
        }
    }
}

/// Fills `programs`.
pub fn programs(programs: &[Measured], rows: &mut Rows<'_>) {
    for measured in programs {
        let misses = measured.costs.map_or(Cell::Empty, |costs| Cell::Number(costs.misses as f64));
        let (state, misses) = match &measured.outcome {
            Outcome::Loaded => ("loaded", misses),
            Outcome::Refused(why) => (why.as_str(), Cell::Empty),
        };
        rows.push(&[Cell::Text(measured.program), Cell::Text(state), misses]);
    }
}

/// Fills `programs` where none was loaded: `why`.
pub fn no_programs(why: &str, rows: &mut Rows<'_>) {
    rows.push(&[Cell::Text("oom_mark"), Cell::Text(why), Cell::Empty]);
}
