//! The rows of a view.

use crate::check::{Check, Problem, Report, words};
use crate::failure::Failure;
use crate::host::Labelled;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::RSlice;
use gantry_plugin_api::abi::types::AbiCell;
use gantry_plugin_api::abi::{AbiViewSink, AbiViewSink_TO, ViewSinkRef};
use gantry_plugin_api::description::{ColumnInfo, ViewInfo};
use gantry_plugin_api::identity::ContainerRef;
use serde_json::{Map, Value, json};

/// A cell of a view.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// Nothing is known.
    Empty,
    /// A text.
    Text(String),
    /// A number, in the column's unit.
    Number(f64),
    /// A time, in seconds since the epoch.
    Time(f64),
    /// A container.
    Container(ContainerRef),
}

/// What a view gave.
#[derive(Debug, Clone)]
pub struct Table {
    info: ViewInfo,
    rows: Vec<Vec<Cell>>,
    labelled: Labelled,
    report: Report,
}

impl Table {
    /// The view's columns.
    pub fn columns(&self) -> &[ColumnInfo] {
        &self.info.columns
    }

    /// The rows, each with its cells in the order of the columns.
    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// A cell by the number of its row and the name of its column.
    ///
    /// # Panics
    /// Where there is no such row or column.
    #[track_caller]
    pub fn cell(&self, row: usize, column: &str) -> &Cell {
        let place = self.info.columns.iter().position(|known| known.name == column);
        let place = place.unwrap_or_else(|| panic!("view {} has no column {column:?}", self.info.name));
        let row = self.rows.get(row).unwrap_or_else(|| panic!("{} rows, no row {row}", self.rows.len()));
        row.get(place).unwrap_or(&Cell::Empty)
    }

    /// A cell as a text: a container as its id, an empty one as nothing.
    ///
    /// # Panics
    /// Where there is no such row or column.
    #[track_caller]
    pub fn text(&self, row: usize, column: &str) -> String {
        match self.cell(row, column) {
            // As people write it: 1 and not 1.0.
            Cell::Number(number) | Cell::Time(number) => number.to_string(),
            other => match self.json_of(other) {
                Value::String(text) => text,
                Value::Null => String::new(),
                other => other.to_string(),
            },
        }
    }

    /// The first row whose column has this text.
    ///
    /// # Panics
    /// Where there is no such column.
    #[track_caller]
    pub fn row_where(&self, column: &str, text: &str) -> Option<usize> {
        (0..self.rows.len()).find(|row| self.text(*row, column) == text)
    }

    /// As the host serves it: `{"view", "columns", "rows"}`, rows as objects.
    pub fn to_json(&self) -> Value {
        let object = |row: &Vec<Cell>| {
            let cells = self.info.columns.iter().zip(row);
            cells.map(|(column, cell)| (column.name.clone(), self.json_of(cell))).collect::<Map<_, _>>()
        };
        let rows: Vec<_> = self.rows.iter().map(object).collect();
        json!({ "view": self.info.name, "columns": self.info.columns, "rows": rows })
    }

    /// What is wrong with the rows.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// A failure with every problem, where there is one.
    pub fn check(&self) -> Result<(), Failure> {
        self.report.result()
    }

    fn json_of(&self, cell: &Cell) -> Value {
        match cell {
            Cell::Empty => Value::Null,
            Cell::Text(text) => json!(text),
            Cell::Number(number) | Cell::Time(number) => json!(number),
            Cell::Container(container) => match self.labelled.id(container.handle()) {
                Some(id) => json!(id),
                None => json!(container.handle()),
            },
        }
    }

    pub(crate) fn of(view: ViewInfo, given: Given, labelled: Labelled, report: Report) -> Self {
        Self { info: view, rows: given.rows, labelled, report }
    }
}

/// A sink for rows, which wants no more than so many.
#[derive(Debug)]
pub(crate) struct Given {
    rows: Vec<Vec<Cell>>,
    max_rows: usize,
    columns: Vec<ColumnInfo>,
    view: String,
    /// Rows that came though no more were wanted.
    unwanted: u64,
    found: Vec<Problem>,
    labelled: Labelled,
}

/// A plugin that gives only wrong rows is described by the first ones.
const MAX_PROBLEMS: usize = 20;

impl Given {
    pub(crate) fn new(view: &ViewInfo, max_rows: usize, labelled: Labelled) -> Self {
        Self {
            rows: Vec::new(),
            max_rows,
            columns: view.columns.clone(),
            view: view.name.clone(),
            unwanted: 0,
            found: Vec::new(),
            labelled,
        }
    }

    pub(crate) fn sink(&mut self) -> ViewSinkRef<'_> {
        AbiViewSink_TO::from_ptr(RMut::new(self), TD_Opaque)
    }

    /// What is wrong with the rows, and what is only to be noted.
    pub(crate) fn problems(&self) -> (Vec<Problem>, Vec<Problem>) {
        let mut notes = Vec::new();
        if self.unwanted > 0 {
            let message = format!(
                "{} rows came after the host wanted no more; stop where Rows::push gives false",
                self.unwanted
            );
            notes.push(Problem::new(Check::View, words(&self.view, None), message));
        }
        (self.found.clone(), notes)
    }

    fn wrong(&mut self, column: Option<&str>, message: String) {
        if self.found.len() < MAX_PROBLEMS {
            let subject = format!("{}, row {}", words(&self.view, column), self.rows.len());
            self.found.push(Problem::new(Check::View, subject, message));
        }
    }

    fn read(&mut self, cell: &AbiCell<'_>, column: Option<&ColumnInfo>) -> Cell {
        let name = column.map(|column| column.name.clone());
        let (kind, read) = match cell.kind {
            0 => return Cell::Empty,
            1 => match std::str::from_utf8(cell.text.as_slice()) {
                Ok(text) => ("text", Cell::Text(text.to_owned())),
                Err(_) => {
                    self.wrong(name.as_deref(), "is not UTF-8; pass String::from_utf8_lossy".to_owned());
                    ("text", Cell::Text(String::from_utf8_lossy(cell.text.as_slice()).into_owned()))
                }
            },
            2 => ("number", Cell::Number(cell.number)),
            3 => ("time", Cell::Time(cell.number)),
            4 => match ContainerRef::from_handle(cell.container) {
                Some(container) => ("container", Cell::Container(container)),
                None => return Cell::Empty,
            },
            other => {
                self.wrong(name.as_deref(), format!("is of no kind that the boundary knows ({other})"));
                return Cell::Empty;
            }
        };
        if let Some(column) = column.filter(|column| column.kind != kind) {
            let message = format!("is a {kind} in a column of kind {}; make both alike", column.kind);
            self.wrong(name.as_deref(), message);
        }
        match &read {
            Cell::Number(number) | Cell::Time(number) if !number.is_finite() => {
                self.wrong(name.as_deref(), format!("is {number}, which JSON has not; use Cell::Empty"));
            }
            Cell::Container(container) if self.labelled.text(container.handle()).is_none() => {
                let message = format!("is container {}, which the host does not know", container.handle());
                self.wrong(name.as_deref(), message);
            }
            _ => {}
        }
        read
    }
}

impl AbiViewSink for Given {
    fn row(&mut self, cells: RSlice<'_, AbiCell<'_>>) -> bool {
        if self.rows.len() >= self.max_rows {
            self.unwanted += 1;
            return false;
        }
        if cells.len() != self.columns.len() {
            let (have, want) = (cells.len(), self.columns.len());
            self.wrong(None, format!("has {have} cells for {want} columns; give one for each"));
        }
        let columns = self.columns.clone();
        let cells = cells.iter().enumerate();
        let row = cells.map(|(place, cell)| self.read(cell, columns.get(place))).collect();
        self.rows.push(row);
        // A plugin is told with its last row, so that it need not make another.
        self.rows.len() < self.max_rows
    }
}
