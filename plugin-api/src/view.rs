//! Views: tables that a plugin offers to people, made on request.

use crate::abi::{ViewSinkRef, types::AbiCell};
use crate::description::{ColumnInfo, ViewInfo};
use crate::identity::ContainerRef;
use abi_stable::std_types::RSlice;
use std::time::SystemTime;

/// The most columns of a view.
pub const MAX_COLUMNS: usize = 32;

/// A view, declared in [`crate::Plugin::views`].
#[derive(Debug, Clone, Copy)]
pub struct View {
    name: &'static str,
    help: &'static str,
    columns: &'static [Column],
}

/// A column of a view.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    name: &'static str,
    kind: &'static str,
    unit: &'static str,
}

impl View {
    /// A view with its columns. Names are in snake_case.
    pub const fn new(name: &'static str, help: &'static str, columns: &'static [Column]) -> Self {
        assert!(columns.len() <= MAX_COLUMNS, "a view has at most 32 columns");
        Self { name, help, columns }
    }

    pub(crate) fn info(&self) -> ViewInfo {
        let column = |column: &Column| ColumnInfo {
            name: column.name.to_owned(),
            kind: column.kind.to_owned(),
            unit: column.unit.to_owned(),
        };
        ViewInfo {
            name: self.name.to_owned(),
            help: self.help.to_owned(),
            columns: self.columns.iter().map(column).collect(),
        }
    }
}

impl Column {
    /// A text. It may come from a container: whoever prints it escapes it.
    pub const fn text(name: &'static str) -> Self {
        Self { name, kind: "text", unit: "" }
    }
    /// A number, in base units (`seconds`, `bytes`) or `""`.
    pub const fn number(name: &'static str, unit: &'static str) -> Self {
        Self { name, kind: "number", unit }
    }
    /// A time.
    pub const fn time(name: &'static str) -> Self {
        Self { name, kind: "time", unit: "" }
    }
    /// A container.
    pub const fn container(name: &'static str) -> Self {
        Self { name, kind: "container", unit: "" }
    }
}

/// A cell of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Cell<'a> {
    /// Nothing is known.
    Empty,
    /// A text.
    Text(&'a str),
    /// A number, in the column's unit.
    Number(f64),
    /// A time, in seconds since the epoch.
    Time(f64),
    /// A container; the host shows its id.
    Container(ContainerRef),
}

impl Cell<'_> {
    /// A time out of the system's.
    pub fn time(at: SystemTime) -> Self {
        at.duration_since(SystemTime::UNIX_EPOCH).map_or(Cell::Empty, |since| Cell::Time(since.as_secs_f64()))
    }
}

/// Takes the rows of a view.
#[derive(Debug)]
pub struct Rows<'a> {
    abi: ViewSinkRef<'a>,
}

impl<'a> Rows<'a> {
    /// Over what crossed; for this crate's guard and for test kits.
    #[doc(hidden)]
    pub fn new(abi: ViewSinkRef<'a>) -> Self {
        Self { abi }
    }

    /// Adds a row: one cell a column. `false` means that the host wants no
    /// more, and the rest may be left out.
    pub fn push(&mut self, cells: &[Cell<'_>]) -> bool {
        let mut crossing = [AbiCell::EMPTY; MAX_COLUMNS];
        let count = cells.len().min(MAX_COLUMNS);
        for (slot, cell) in crossing.iter_mut().zip(cells) {
            *slot = AbiCell::from_cell(*cell);
        }
        self.abi.row(RSlice::from_slice(&crossing[..count]))
    }
}
