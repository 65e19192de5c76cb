//! Views: a plugin's rows on their way out, and asking for them.

use super::life::Call;
use super::unit::Unit;
use super::worker::Command;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::RSlice;
use gantry_plugin_api::abi::types::AbiCell;
use gantry_plugin_api::abi::{AbiViewSink, AbiViewSink_TO, ViewSinkRef};
use gantry_plugin_api::description::ViewInfo;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::oneshot;

/// More rows than a person reads; a plugin sorts its most telling ones to the front.
const MAX_ROWS: usize = 10_000;

/// Of all texts of a view together.
const MAX_TEXT: usize = 8 << 20;

/// Questions that wait for one plugin: its thread answers one after the other.
const MAX_WAITING: u32 = 4;

/// Why a view cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    #[error("there is no such view")]
    Unknown,
    /// The plugin does not run; why.
    #[error("{0}")]
    NotRunning(String),
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Late(String),
}

/// The rows of a view, as the plugin gives them.
#[derive(Debug)]
pub struct Rows {
    pub info: ViewInfo,
    pub rows: Vec<Map<String, Value>>,
    /// The plugin had more than is taken.
    pub truncated: bool,
    text: usize,
}

impl Rows {
    pub fn new(info: ViewInfo) -> Self {
        Self { info, rows: Vec::new(), truncated: false, text: 0 }
    }

    pub fn crossing(&mut self) -> ViewSinkRef<'_> {
        AbiViewSink_TO::from_ptr(RMut::new(self), TD_Opaque)
    }

    /// A cell, if it is of its column's kind.
    fn value(&mut self, kind: &str, cell: &AbiCell<'_>) -> Value {
        match (cell.kind, kind) {
            (1, "text" | "container") => {
                let bytes = cell.text.as_slice();
                let room = MAX_TEXT.saturating_sub(self.text);
                self.truncated |= bytes.len() > room;
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(room)]);
                self.text += text.len();
                Value::from(text)
            }
            // JSON has no infinities.
            (2, "number") | (3, "time") => {
                serde_json::Number::from_f64(cell.number).map_or(Value::Null, Value::Number)
            }
            // Until all are there: see `name_containers`.
            (4, "container") => Value::from(cell.container),
            _ => Value::Null,
        }
    }

    /// Puts ids in the place of handles; what is not known has none. Asks once for
    /// each container.
    pub fn name_containers(&mut self, id: impl Fn(u64) -> Option<String>) {
        let mut known: HashMap<u64, Value> = HashMap::new();
        for column in self.info.columns.iter().filter(|column| column.kind == "container") {
            for row in &mut self.rows {
                let Some(cell) = row.get_mut(&column.name) else { continue };
                if let Some(handle) = cell.as_u64() {
                    let value =
                        known.entry(handle).or_insert_with(|| id(handle).map_or(Value::Null, Value::from));
                    *cell = value.clone();
                }
            }
        }
    }
}

impl AbiViewSink for Rows {
    fn row(&mut self, cells: RSlice<'_, AbiCell<'_>>) -> bool {
        if self.rows.len() >= MAX_ROWS || self.text >= MAX_TEXT {
            self.truncated = true;
            return false;
        }
        let columns = self.info.columns.clone();
        // A cell too few is empty, one too many has no name.
        let empty = AbiCell::EMPTY;
        let row = columns.into_iter().enumerate().map(|(at, column)| {
            let value = self.value(&column.kind, cells.get(at).unwrap_or(&empty));
            (column.name, value)
        });
        let row = row.collect();
        self.rows.push(row);
        true
    }
}

impl Unit {
    /// Asks for a view, and waits for it at most a collection's deadline.
    pub async fn view(self: &Arc<Self>, name: &str) -> Result<Rows, ViewError> {
        let status = self.status();
        if !status.state.collects() {
            let why = status.reasons.first().map(|why| format!(": {why}")).unwrap_or_default();
            let state = status.state.as_str();
            return Err(ViewError::NotRunning(format!("{} is {state}{why}", self.name())));
        }
        if !status.views().iter().any(|view| view.name == name) {
            return Err(ViewError::Unknown);
        }
        let deadline = self.config().deadline;
        let late = |call: Call| {
            ViewError::Late(format!(
                "{} did not answer within {deadline:?} ({}); it may be busy, ask again",
                self.name(),
                call.as_str()
            ))
        };
        let _place = Waiting::of(self).ok_or_else(|| late(Call::View))?;
        let (reply, answer) = oneshot::channel();
        self.ask(Command::View { name: name.to_owned(), reply });
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(_)) => Err(ViewError::NotRunning(format!("{} has just ended", self.name()))),
            Err(_) => Err(late(Call::View)),
        }
    }
}

/// A question that waits; it no longer does when this is dropped.
struct Waiting(Arc<Unit>);

impl Waiting {
    fn of(unit: &Arc<Unit>) -> Option<Self> {
        let waiting = unit.looking.fetch_add(1, Relaxed);
        let place = Self(unit.clone());
        (waiting < MAX_WAITING).then_some(place)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.looking.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_plugin_api::description::ColumnInfo;

    fn rows() -> Rows {
        let column = |name: &str, kind: &str| ColumnInfo {
            name: name.to_owned(),
            kind: kind.to_owned(),
            unit: String::new(),
        };
        Rows::new(ViewInfo {
            name: "view".to_owned(),
            help: String::new(),
            columns: vec![
                column("text", "text"),
                column("odd", "of another version"),
                column("container", "container"),
            ],
        })
    }

    fn text(bytes: &[u8]) -> AbiCell<'_> {
        AbiCell { kind: 1, text: RSlice::from_slice(bytes), ..AbiCell::EMPTY }
    }

    // A plugin's own library makes texts and kinds that are good ones; what
    // crosses need not come from it.
    #[test]
    fn cells_that_no_good_library_makes_do_no_harm() {
        let mut rows = rows();
        for cell in [text(b"\xff\xfe cut \xe2\x82"), AbiCell { kind: 77, ..text(b"x") }] {
            assert!(rows.row(RSlice::from_slice(&[cell, cell])));
        }
        assert_eq!(rows.rows[0]["text"], "\u{fffd}\u{fffd} cut \u{fffd}");
        assert_eq!((&rows.rows[0]["odd"], &rows.rows[1]["text"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn handles_of_containers_become_their_ids() {
        let mut rows = rows();
        let of = |container: u64| AbiCell { kind: 4, container, ..AbiCell::EMPTY };
        for container in [of(7), of(7), of(8), text(b"/docker/told"), AbiCell::EMPTY] {
            assert!(rows.row(RSlice::from_slice(&[of(7), AbiCell::EMPTY, container])));
        }
        let asked = std::cell::Cell::new(0);
        rows.name_containers(|handle| {
            asked.set(asked.get() + 1);
            (handle == 7).then(|| "/docker/seven".to_owned())
        });
        let named: Vec<&Value> = rows.rows.iter().map(|row| &row["container"]).collect();
        let seven = Value::from("/docker/seven");
        assert_eq!(named, [&seven, &seven, &Value::Null, &Value::from("/docker/told"), &Value::Null]);
        assert!(rows.rows.iter().all(|row| row["text"].is_null()), "it is no column of containers");
        assert_eq!(asked.get(), 2);
    }

    #[test]
    fn one_endless_text_is_cut_like_many() {
        let mut rows = rows();
        let endless = vec![b'y'; MAX_TEXT + 1];
        assert!(rows.row(RSlice::from_slice(&[text(&endless)])));
        assert_eq!(rows.rows[0]["text"].as_str().map(str::len), Some(MAX_TEXT));
        assert!(rows.truncated);
        assert!(!rows.row(RSlice::from_slice(&[text(b"more")])));
    }
}
