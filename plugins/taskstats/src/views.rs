//! Tables for people.

use crate::engine::Counted;
use crate::left_alone::LeftAlone;
use gantry_netlink::{Delays, Kind};
use gantry_plugin_api::{Cell, Column, ContainerRef, Rows, View};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The views that there are.
pub static VIEWS: [View; 1] = [View::new(
    "processes",
    "Processes of containers, by how long they waited",
    &[
        Column::container("container"),
        Column::number("pid", ""),
        Column::text("name"),
        Column::number("waiting", "ratio"),
        Column::number("cpu_delay", "seconds"),
        Column::number("disk_delay", "seconds"),
        Column::number("memory_delay", "seconds"),
        Column::number("irq_delay", "seconds"),
    ],
)];

/// Rows that are made: those who waited most since their start.
const MOST: usize = 10_000;

/// A row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    container: ContainerRef,
    pid: u32,
    recent: u64,
    delays: Delays,
}

/// The rows, those who waited most between the last two looks first, then by what
/// they waited in all.
pub fn rows(counted: &Counted, left_alone: &LeftAlone) -> Vec<Row> {
    let row = |(pid, known): (u32, &crate::counts::Known)| Row {
        container: known.container,
        pid,
        recent: known.recent,
        delays: known.last,
    };
    let shown = counted.counts.processes().filter(|(_, known)| !left_alone.has(known.container));
    let mut rows: Vec<Row> = shown.map(row).collect();
    let key =
        |row: &Row| (row.recent, row.delays.iter().fold(0_u64, |sum, delay| sum.saturating_add(*delay)));
    rows.sort_unstable_by(|one, other| key(other).cmp(&key(one)).then(one.pid.cmp(&other.pid)));
    rows.truncate(MOST);
    rows
}

/// Fills `processes`. What is not counted is empty.
pub fn processes(
    all: &[Row],
    interval: f64,
    proc: &Path,
    counts: impl Fn(Kind) -> bool,
    into: &mut Rows<'_>,
) {
    let mut name = String::new();
    for row in all {
        comm(proc, row.pid, &mut name);
        let of = |kinds: &[Kind]| {
            let sum: u64 = kinds.iter().map(|kind| row.delays[*kind as usize]).sum();
            if kinds.iter().any(|kind| counts(*kind)) { Cell::Number(sum as f64 / 1e9) } else { Cell::Empty }
        };
        let memory = [Kind::Reclaim, Kind::SwapIn, Kind::Thrashing, Kind::Compaction, Kind::WriteProtectCopy];
        let waiting =
            if interval > 0.0 { Cell::Number(row.recent as f64 / 1e9 / interval) } else { Cell::Empty };
        let cells = [
            Cell::Container(row.container),
            Cell::Number(f64::from(row.pid)),
            Cell::Text(&name),
            waiting,
            of(&[Kind::Cpu]),
            of(&[Kind::Disk]),
            of(&memory),
            of(&[Kind::Irq]),
        ];
        if !into.push(&cells) {
            return;
        }
    }
}

/// The name of a process: it may be gone, and may have any bytes in it.
fn comm(proc: &Path, pid: u32, name: &mut String) {
    let mut bytes = Vec::new();
    let file = File::open(proc.join(pid.to_string()).join("comm"));
    name.clear();
    if file.and_then(|file| file.take(64).read_to_end(&mut bytes)).is_ok() {
        name.push_str(String::from_utf8_lossy(&bytes).trim_end());
    }
}
