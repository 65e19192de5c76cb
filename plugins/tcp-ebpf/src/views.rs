//! Tables for people.

use crate::addresses::Addresses;
use crate::destination::Labels;
use crate::emit;
use crate::engine::{PROGRAMS, shown, without};
use crate::tracker::Tracker;
use gantry_bpf::{Measured, Outcome};
use gantry_plugin_api::{Cell, Column, Rows, View};

/// The views that there are.
pub static VIEWS: [View; 3] = [
    View::new(
        "connections",
        "Where containers connect to",
        &[
            Column::container("container"),
            Column::text("destination"),
            Column::text("actual_destination"),
            Column::number("active", ""),
            Column::number("connects", ""),
            Column::number("rate", ""),
            Column::number("failed", ""),
            Column::number("connect_time", "seconds"),
            Column::number("rtt", "seconds"),
            Column::number("sent", "bytes"),
            Column::number("received", "bytes"),
            Column::number("retransmits", ""),
        ],
    ),
    View::new(
        "listens",
        "Where containers listen",
        &[Column::container("container"), Column::text("listen_addr"), Column::text("state")],
    ),
    View::new(
        "programs",
        "The programs in the kernel",
        &[
            Column::text("program"),
            Column::text("state"),
            Column::text("missing"),
            Column::number("runs", ""),
            Column::number("each", "seconds"),
            Column::number("misses", ""),
        ],
    ),
];

/// Fills `connections`.
pub fn connections(tracker: &Tracker, rows: &mut Rows<'_>) {
    let mut labels = Labels::default();
    let mut all = emit::shown(tracker);
    let knows_active = tracker.knows_active();
    // A view may be cut: what is used most comes first.
    all.sort_by(|one, other| {
        let key = |shown: &emit::Shown| (shown.active, shown.numbers.connects);
        key(&other.2).cmp(&key(&one.2))
    });
    for (container, to, shown) in all {
        let [to, actual] = labels.of(to);
        let numbers = &shown.numbers;
        let each = |sum: f64, of: u64| if of == 0 { Cell::Empty } else { Cell::Number(sum / of as f64) };
        let more = rows.push(&[
            Cell::Container(container),
            Cell::Text(to),
            Cell::Text(actual),
            if knows_active { Cell::Number(f64::from(shown.active)) } else { Cell::Empty },
            Cell::Number(numbers.connects as f64),
            Cell::Number(shown.rate),
            Cell::Number(numbers.failed(true) as f64),
            each(numbers.connect_time as f64 / 1e9, numbers.connects),
            each(shown.rtt as f64 / 1e6, u64::from(shown.active)),
            Cell::Number(numbers.sent as f64),
            Cell::Number(numbers.received as f64),
            Cell::Number(numbers.retransmits as f64),
        ]);
        if !more {
            return;
        }
    }
}

/// Fills `listens`.
pub fn listens(tracker: &Tracker, addresses: &Addresses, rows: &mut Rows<'_>) {
    for ((container, at), is_open) in emit::listens(tracker, addresses).at {
        let state = if is_open { "open" } else { "closed" };
        if !rows.push(&[Cell::Container(container), Cell::Text(&at.to_string()), Cell::Text(state)]) {
            return;
        }
    }
}

/// Fills `programs`: what came of each, and what is missing without it.
pub fn programs(programs: &[Measured], rows: &mut Rows<'_>) {
    for measured in programs {
        let costs = measured.costs.unwrap_or_default();
        let is_loaded = measured.outcome == Outcome::Loaded;
        let number = |known: bool, number: f64| if known { Cell::Number(number) } else { Cell::Empty };
        // Counted only while somebody has the kernel measure.
        let is_measured = is_loaded && costs.runs > 0;
        rows.push(&[
            Cell::Text(measured.program),
            Cell::Text(shown(&measured.outcome)),
            if is_loaded { Cell::Empty } else { Cell::Text(without(measured.program)) },
            number(is_measured, costs.runs as f64),
            number(is_measured, costs.time.as_secs_f64() / costs.runs.max(1) as f64),
            number(is_loaded && measured.costs.is_some(), costs.misses as f64),
        ]);
    }
}

/// Fills `programs` where none was loaded: `why`.
pub fn no_programs(why: &str, rows: &mut Rows<'_>) {
    for (program, missing) in PROGRAMS {
        let [name, state, missing] = [program, why, missing].map(Cell::Text);
        rows.push(&[name, state, missing, Cell::Empty, Cell::Empty, Cell::Empty]);
    }
}
