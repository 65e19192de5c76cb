//! A table for people: no lines around it, two spaces between the columns,
//! numbers on the right with their units, as wide as the terminal at most.

use super::data::{self, Column, Kind, Table};
use super::layout::{GAP, Need, fit};
use super::style::{Paint, Style};
use super::text::{self, Keep};
use super::units;
use crate::logging::printable;
use serde_json::Value;

/// What stands where nothing is known: the columns can still be told apart,
/// also by `awk`.
const NOTHING: &str = "-";

/// Numbers in columns whose name ends with one of these words name something.
/// `12,345` cannot be pasted behind `kill`.
const IDENTIFIERS: [&str; 7] = ["id", "pid", "tid", "uid", "gid", "port", "inode"];

/// What is said of a table whose rows the agent cut, also where it goes to
/// programs, which no line in it could tell.
pub const TRUNCATED: &str = "rows are missing: the agent cut them before --where; only the plugin can narrow";

/// A table as text, each line ended. `nothing` is said of one without rows, if
/// more is known than that there are none.
pub fn render(table: &Table, style: &Style, nothing: Option<String>) -> String {
    let mut lines = if table.rows.is_empty() || table.columns.is_empty() {
        vec![nothing.unwrap_or_else(|| format!("no rows in {}", printable(&table.view)))]
    } else {
        grid(table, style)
    };
    if table.truncated {
        lines.push(TRUNCATED.to_owned());
    }
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// A column as it is shown.
struct Shown {
    right: bool,
    header: Cell,
    cells: Vec<Cell>,
}

struct Cell {
    text: String,
    keep: Keep,
    paint: Option<Paint>,
}

fn grid(table: &Table, style: &Style) -> Vec<String> {
    let columns: Vec<Shown> = table.columns.iter().map(|column| shown(table, column, style.now)).collect();
    let needs: Vec<Need> =
        table.columns.iter().zip(&columns).map(|(column, shown)| need(column, shown)).collect();
    let widths = fit(&needs, style.width.map(usize::from));
    let of = |cell: fn(&Shown, usize) -> &Cell, row: usize| {
        let cells = columns.iter().map(|column| (cell(column, row), column.right));
        line(cells.zip(widths.iter().copied()), style.colours)
    };
    let mut lines = vec![of(|column, _| &column.header, 0)];
    lines.extend((0..table.rows.len()).map(|row| of(|column, row| &column.cells[row], row)));
    match columns.len() - widths.len() {
        0 => (),
        1 => lines.push("1 column not shown: widen the terminal or use --json".to_owned()),
        some => lines.push(format!("{some} columns not shown: widen the terminal or use --json")),
    }
    lines
}

/// A line out of cells, whether each is on the right, and their widths.
fn line<'a>(cells: impl Iterator<Item = ((&'a Cell, bool), usize)>, colours: bool) -> String {
    let mut line = String::new();
    // Written before the next cell: spaces that nothing follows would only be
    // copied along.
    let mut pending = 0;
    for ((cell, right), width) in cells {
        let text = text::cut(&cell.text, width, cell.keep);
        let spaces = width.saturating_sub(text::width(&text));
        let (before, after) = if right { (spaces, 0) } else { (0, spaces) };
        line.push_str(&" ".repeat(pending + before));
        match cell.paint.filter(|_| colours) {
            Some(paint) => line.push_str(&paint.on(&text)),
            None => line.push_str(&text),
        }
        pending = after + GAP;
    }
    line
}

fn need(column: &Column, shown: &Shown) -> Need {
    let widest = shown.cells.iter().map(|cell| text::width(&cell.text)).max().unwrap_or_default();
    Need {
        width: widest.max(text::width(&shown.header.text)),
        // Ages are short, and a part of one would be another.
        cuttable: matches!(column.kind, Kind::Text | Kind::Container),
    }
}

fn shown(table: &Table, column: &Column, now: f64) -> Shown {
    let state = column.name == "state";
    // Containers of one runtime, or of one pod, begin alike: what tells them
    // apart is the end.
    let keep = if column.kind == Kind::Container { Keep::End } else { Keep::Start };
    let cells = table.rows.iter().map(|row| {
        let text = cell(Table::cell(row, column), column, now);
        Cell { paint: Paint::of_state(&text).filter(|_| state), text, keep }
    });
    Shown {
        right: column.kind == Kind::Number,
        cells: cells.collect(),
        header: Cell {
            text: printable(&column.name.replace('_', " ").to_uppercase()),
            keep: Keep::Start,
            paint: Some(Paint::Bold),
        },
    }
}

/// A cell as text, harmless before anything is measured.
fn cell(cell: &Value, column: &Column, now: f64) -> String {
    let text = match (column.kind, cell.as_f64()) {
        (Kind::Time, Some(time)) => units::age(time, now),
        (Kind::Number, Some(_)) if names(column) && (cell.is_u64() || cell.is_i64()) => cell.to_string(),
        (Kind::Number, Some(number)) if names(column) => units::identifier(number),
        (Kind::Number, Some(number)) => units::number(number, &column.unit),
        _ => data::text(cell),
    };
    if text.is_empty() { NOTHING.to_owned() } else { printable(&text) }
}

fn names(column: &Column) -> bool {
    let word = column.name.rsplit('_').next().unwrap_or_default();
    column.unit.is_empty() && IDENTIFIERS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn drawn(table: Value, width: Option<u16>, colours: bool) -> String {
        let table: Table = serde_json::from_value(table).unwrap();
        render(&table, &Style { width, colours, now: 1000.0 }, None)
    }

    fn plugins() -> Value {
        json!({
            "view": "plugins",
            "columns": [{"name": "name"}, {"name": "state"}, {"name": "heap", "kind": "number", "unit": "bytes"}],
            "rows": [
                {"name": "tcp-ebpf", "state": "running", "heap": 14_050_918},
                {"name": "logs", "state": "failed: running out", "heap": null},
                {"name": "oom", "state": "disabled", "heap": 0},
            ],
        })
    }

    #[test]
    fn colours_change_no_column() {
        let plain = drawn(plugins(), None, false);
        let coloured = drawn(plugins(), None, true);
        assert!(!plain.contains('\u{1b}'));
        assert!(coloured.starts_with("\u{1b}[1mNAME\u{1b}[0m"));
        assert!(coloured.contains("\u{1b}[32mrunning\u{1b}[0m "));
        assert!(coloured.contains("\u{1b}[31mfailed: running out\u{1b}[0m "));
        assert!(coloured.contains("\u{1b}[2mdisabled\u{1b}[0m "));
        let stripped = ["1", "2", "31", "32", "0"]
            .iter()
            .fold(coloured, |text, code| text.replace(&format!("\u{1b}[{code}m"), ""));
        assert_eq!(stripped, plain);
    }

    #[test]
    fn a_state_that_is_cut_keeps_its_colour() {
        let coloured = drawn(plugins(), Some(28), true);
        assert!(coloured.contains("\u{1b}[31mfailed:…\u{1b}[0m"), "{coloured}");
    }

    #[test]
    fn no_rows_are_said_not_shown() {
        let empty = json!({"view": "connec\u{1b}tions", "columns": [{"name": "a"}], "rows": []});
        assert_eq!(drawn(empty, Some(80), true), "no rows in connec\\u{1b}tions\n");
        assert_eq!(drawn(json!({"view": "v", "columns": [], "rows": [{}]}), None, false), "no rows in v\n");
    }

    #[test]
    fn a_cut_table_says_who_cut_it() {
        let table = json!({"view": "v", "columns": [{"name": "a"}], "rows": [{"a": "x"}], "truncated": true});
        assert_eq!(drawn(table, None, false), format!("A\nx\n{TRUNCATED}\n"));
        let table = json!({"view": "v", "columns": [{"name": "a"}], "truncated": true});
        assert_eq!(drawn(table, None, false), format!("no rows in v\n{TRUNCATED}\n"));
    }

    #[test]
    fn what_names_something_is_not_grouped() {
        let table = json!({
            "columns": [
                {"name": "pid", "kind": "number"},
                {"name": "cgroup_id", "kind": "number"},
                {"name": "rapid", "kind": "number"},
            ],
            "rows": [{"pid": 12345.0, "cgroup_id": u64::MAX, "rapid": 12345}],
        });
        assert_eq!(
            drawn(table, None, false),
            "  PID             CGROUP ID   RAPID\n12345  18446744073709551615  12,345\n"
        );
    }

    #[test]
    fn cells_of_another_kind_than_their_column_are_shown_as_they_are() {
        let table = json!({
            "columns": [{"name": "n", "kind": "number"}, {"name": "t", "kind": "time"}, {"name": "x"}],
            "rows": [{"n": "many\n", "t": true, "x": {"a": ["\u{9b}"]}}],
        });
        assert_eq!(drawn(table, None, false), "     N  T     X\nmany\\n  true  {\"a\":[\"\\u{9b}\"]}\n");
    }
}
