//! A table as the agent delivers it. Older and newer agents may leave out or
//! add fields: what is missing has a default, what is unknown is passed over.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A row: its cells by the name of their column.
pub type Row = Map<String, Value>;

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// What the rows are: `containers`, `connections`.
    #[serde(default)]
    pub view: String,
    /// The columns, in the order in which they are shown. Without them it is
    /// no table, but perhaps an error that the agent answered.
    pub columns: Vec<Column>,
    /// The rows.
    #[serde(default)]
    pub rows: Vec<Row>,
    /// The agent cut the rows at its bound.
    #[serde(default)]
    pub truncated: bool,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, in snake_case.
    pub name: String,
    /// What its cells hold.
    #[serde(default)]
    pub kind: Kind,
    /// The unit of its numbers, a base unit, or empty.
    #[serde(default)]
    pub unit: String,
}

/// What the cells of a column hold. Each may be null: nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A number in the column's unit.
    Number,
    /// Seconds since the epoch.
    Time,
    /// A container's id.
    Container,
    /// A text. Also what a newer agent's kind reads as: any cell can be shown so.
    #[default]
    #[serde(other)]
    Text,
}

impl Table {
    /// The cell of a row; one that the agent left out is null.
    pub fn cell<'a>(row: &'a Row, column: &Column) -> &'a Value {
        row.get(&column.name).unwrap_or(&Value::Null)
    }
}

/// A cell's text, as it is: whoever prints it escapes it.
pub fn text(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_form_of_the_contract_is_read_and_written() {
        let form = json!({
            "view": "connections",
            "columns": [
                {"name": "peer", "kind": "text", "unit": ""},
                {"name": "rtt", "kind": "number", "unit": "seconds"},
                {"name": "since", "kind": "time", "unit": ""},
                {"name": "owner", "kind": "container", "unit": ""},
            ],
            "rows": [{"peer": "a", "rtt": 0.0002, "since": 1.5, "owner": null}],
            "truncated": true,
        });
        let table: Table = serde_json::from_value(form.clone()).unwrap();
        let kinds: Vec<Kind> = table.columns.iter().map(|column| column.kind).collect();
        assert_eq!(kinds, [Kind::Text, Kind::Number, Kind::Time, Kind::Container]);
        assert_eq!(serde_json::to_value(&table).unwrap(), form);
    }

    #[test]
    fn agents_of_other_ages_are_understood() {
        let table: Table = serde_json::from_value(json!({
            "view": "v", "note": "new", "columns": [{"name": "a", "kind": "histogram", "hidden": true}, {"name": "b"}],
            "rows": [{"b": true, "more": 1}],
        }))
        .unwrap();
        assert!(!table.truncated);
        assert!(table.columns.iter().all(|column| column.kind == Kind::Text && column.unit.is_empty()));
        assert_eq!(Table::cell(&table.rows[0], &table.columns[0]), &Value::Null);
        assert_eq!(text(Table::cell(&table.rows[0], &table.columns[1])), "true");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for bad in [
            json!([]),
            json!({}),
            json!({"columns": [], "rows": [1]}),
            json!({"columns": [{"kind": "text"}]}),
        ] {
            assert!(serde_json::from_value::<Table>(bad).is_err());
        }
    }
}
