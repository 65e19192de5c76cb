//! Which rows of a table are shown, and in which order.

use super::data::{self, Column, Kind, Row, Table};
use super::typed::Typed;
use crate::config::suggestion;
use crate::logging::printable;
use serde_json::Value;
use std::cmp::Ordering;

/// What was asked for; the default takes every row as it comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The column to sort by, reversed by a `-` before it.
    pub sort: Option<String>,
    /// How many rows at most, after sorting.
    pub top: Option<usize>,
    /// Columns and what they must hold, all of them.
    pub filters: Vec<(String, String)>,
}

impl Selection {
    /// Leaves of a table what was asked for. Fails on a column that is not
    /// there, and on a value that its column cannot hold.
    pub fn apply(&self, table: &mut Table) -> Result<(), String> {
        let mut wanted = Vec::with_capacity(self.filters.len());
        for (name, value) in &self.filters {
            let column = find(table, name)?.clone();
            let value = Wanted::parse(&column, value)?;
            wanted.push((column, value));
        }
        let sort = match &self.sort {
            Some(name) => {
                let (name, reversed) = name.strip_prefix('-').map_or((&**name, false), |rest| (rest, true));
                Some((find(table, name)?.clone(), reversed))
            }
            None => None,
        };
        table
            .rows
            .retain(|row| wanted.iter().all(|(column, value)| value.is(Table::cell(row, column), column)));
        if let Some((column, reversed)) = sort {
            sort_by(&mut table.rows, &column, reversed);
        }
        if let Some(top) = self.top {
            table.rows.truncate(top);
        }
        Ok(())
    }
}

/// The column of a name, which may also be written as the header shows it.
fn find<'a>(table: &'a Table, name: &str) -> Result<&'a Column, String> {
    let as_shown = name.to_lowercase().replace([' ', '-'], "_");
    let exact = table.columns.iter().find(|column| column.name == name);
    exact.or_else(|| table.columns.iter().find(|column| column.name == as_shown)).ok_or_else(|| {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let near = suggestion(&as_shown, names.iter().copied());
        let error = format!("there is no column {name:?} among {}{near}", names.join(", "));
        printable(&error)
    })
}

/// What a cell must hold.
enum Wanted<'a> {
    Nothing,
    Text(&'a str),
    Number(Typed),
}

impl<'a> Wanted<'a> {
    fn parse(column: &Column, value: &'a str) -> Result<Self, String> {
        if value.is_empty() {
            return Ok(Self::Nothing);
        }
        if !matches!(column.kind, Kind::Number | Kind::Time) {
            return Ok(Self::Text(value));
        }
        let (holds, example) = match (column.kind, column.unit.as_str()) {
            (Kind::Time, _) => ("times in seconds since the epoch", "1700000000"),
            (_, "seconds") => ("durations", "1.5s or 0.002"),
            (_, "bytes") => ("sizes", "16MiB or 1024"),
            _ => ("numbers", "12.5"),
        };
        Typed::parse(value, &column.unit).map(Self::Number).ok_or_else(|| {
            let name = printable(&column.name);
            format!("{value:?} is nothing that column {name} holds: {holds}, such as {example}")
        })
    }

    fn is(&self, cell: &Value, column: &Column) -> bool {
        match self {
            Self::Nothing => cell.is_null() || cell == "",
            Self::Text(wanted) => cell
                .as_str()
                .map_or_else(|| !cell.is_null() && data::text(cell) == *wanted, |text| text == *wanted),
            Self::Number(wanted) => cell.as_f64().is_some_and(|number| wanted.means(number, &column.unit)),
        }
    }
}

/// A cell as rows are sorted by it.
enum Key {
    Number(f64),
    Text(String),
    Nothing,
}

/// Sorts: the largest number and the latest time first, since those are looked
/// for; texts from A to Z; what is not known last, also when reversed.
fn sort_by(rows: &mut [Row], column: &Column, reversed: bool) {
    let numeric = matches!(column.kind, Kind::Number | Kind::Time);
    let key = |row: &Row| match Table::cell(row, column) {
        Value::Null => Key::Nothing,
        cell => match cell.as_f64().filter(|_| numeric) {
            Some(number) => Key::Number(number),
            None => Key::Text(data::text(cell)),
        },
    };
    let turned = |order: Ordering| if reversed { order.reverse() } else { order };
    let compare = |a: &Key, b: &Key| match (a, b) {
        (Key::Number(a), Key::Number(b)) => turned(b.total_cmp(a)),
        (Key::Text(a), Key::Text(b)) => turned(a.cmp(b)),
        (a, b) => a.rank().cmp(&b.rank()),
    };
    let mut keyed: Vec<(Key, Row)> = rows.iter_mut().map(|row| (key(row), std::mem::take(row))).collect();
    keyed.sort_by(|(a, _), (b, _)| compare(a, b));
    for (place, (_, row)) in rows.iter_mut().zip(keyed) {
        *place = row;
    }
}

impl Key {
    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Nothing => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table() -> Table {
        serde_json::from_value(json!({
            "view": "v",
            "columns": [
                {"name": "name", "kind": "text"},
                {"name": "heap", "kind": "number", "unit": "bytes"},
                {"name": "last_seen", "kind": "time"},
                {"name": "owner", "kind": "container"},
            ],
            "rows": [
                {"name": "b", "heap": 16_777_216, "last_seen": 10.5, "owner": "/x"},
                {"name": "a", "heap": null, "last_seen": 30, "owner": null},
                {"name": "d", "heap": 14_050_918.0, "last_seen": null, "owner": ""},
                {"name": "c", "heap": 16_777_216, "last_seen": 20, "owner": "/x"},
            ],
        }))
        .unwrap()
    }

    fn names(sort: Option<&str>, top: Option<usize>, filters: &[(&str, &str)]) -> Result<String, String> {
        let mut table = table();
        let filters = filters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Selection { sort: sort.map(str::to_owned), top, filters }.apply(&mut table)?;
        Ok(table.rows.iter().map(|row| data::text(&row["name"])).collect())
    }

    #[test]
    fn nothing_asked_changes_nothing() {
        let mut same = table();
        Selection::default().apply(&mut same).unwrap();
        assert_eq!(same, table());
    }

    #[test]
    fn numbers_and_times_fall_texts_rise_and_nulls_are_last() {
        for (sort, order) in [
            ("heap", "bcda"),
            ("-heap", "dbca"),
            ("last_seen", "acbd"),
            ("-last_seen", "bcad"),
            ("name", "abcd"),
            ("-name", "dcba"),
            ("owner", "dbca"),
            ("-owner", "bcda"),
        ] {
            assert_eq!(names(Some(sort), None, &[]).as_deref(), Ok(order), "{sort}");
        }
    }

    #[test]
    fn the_top_is_taken_after_sorting_and_filtering() {
        assert_eq!(names(Some("heap"), Some(1), &[("owner", "/x")]).as_deref(), Ok("b"));
        assert_eq!(names(Some("last_seen"), Some(2), &[]).as_deref(), Ok("ac"));
        assert_eq!(names(None, Some(9), &[]).as_deref(), Ok("badc"));
    }

    #[test]
    fn every_filter_must_hold() {
        assert_eq!(names(None, None, &[("owner", "/x"), ("name", "c")]).as_deref(), Ok("c"));
        assert_eq!(names(None, None, &[("name", "B")]).as_deref(), Ok(""));
        assert_eq!(names(None, None, &[("owner", "")]).as_deref(), Ok("ad"));
        assert_eq!(names(None, None, &[("heap", "")]).as_deref(), Ok("a"));
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert_eq!(names(None, None, &[("heap", "16777216.0")]).as_deref(), Ok("bc"));
        assert_eq!(names(None, None, &[("heap", "16MiB")]).as_deref(), Ok("bc"));
        assert_eq!(names(None, None, &[("heap", "13.4 MiB")]).as_deref(), Ok("d"));
        assert_eq!(names(None, None, &[("last_seen", "20")]).as_deref(), Ok("c"));
    }

    #[test]
    fn a_column_may_be_named_as_its_header_shows_it() {
        assert_eq!(names(Some("LAST SEEN"), None, &[]), names(Some("last_seen"), None, &[]));
        assert_eq!(names(Some("-last-seen"), None, &[]), names(Some("-last_seen"), None, &[]));
    }

    #[test]
    fn mistakes_are_named_with_their_remedy() {
        assert_eq!(
            names(Some("-heep"), None, &[]).unwrap_err(),
            "there is no column \"heep\" among name, heap, last_seen, owner; did you mean \"heap\"?"
        );
        assert_eq!(
            names(None, None, &[("x", "1")]).unwrap_err(),
            "there is no column \"x\" among name, heap, last_seen, owner"
        );
        assert_eq!(
            names(None, None, &[("heap", "big")]).unwrap_err(),
            "\"big\" is nothing that column heap holds: sizes, such as 16MiB or 1024"
        );
        assert!(names(None, None, &[("last_seen", "yesterday")]).unwrap_err().contains("since the epoch"));
    }

    #[test]
    fn an_error_stays_one_harmless_line() {
        let mut table = table();
        table.columns[0].name = "na\u{1b}[2J\nme".to_owned();
        let error = Selection { sort: Some("y\u{9b}".to_owned()), ..Selection::default() }.apply(&mut table);
        assert!(!error.unwrap_err().contains(char::is_control));
    }
}
