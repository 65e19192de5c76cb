//! How every table is shown: plugins, containers and what plugins offer come
//! in one form and leave as text for people or as JSON for programs. Nothing
//! here asks the agent, and nothing but [`watch`](mod@watch) writes.
//!
//! * [`args`]: the options; [`data`]: the table as it comes.
//! * [`select`]: which rows, in which order; [`typed`]: numbers that were typed.
//! * [`json`]: for programs; [`render`]: for people, with
//!   [`units`]: numbers and times, [`layout`]: widths of columns,
//!   [`text`]: widths of texts, [`style`]: what the terminal allows.
//! * [`watch`](mod@watch): again and again.

mod args;
mod data;
#[cfg(test)]
mod golden;
mod json;
mod layout;
mod render;
mod select;
mod style;
mod text;
mod typed;
mod units;
mod watch;

pub use args::TableArgs;
pub use data::Table;
pub use render::TRUNCATED;
pub use style::Style;
pub use watch::{Ended, watch};

/// The rows of a table that were asked for, in the form that was asked for,
/// each line ended. An error is wrong usage: a column that is not there, or a
/// value that it cannot hold.
///
/// JSON has no place to say that the agent cut the rows: where
/// [`Table::truncated`] is set and JSON asked for, say [`TRUNCATED`] on
/// standard error.
pub fn show(mut table: Table, args: &TableArgs, style: &Style) -> Result<String, String> {
    let before = table.rows.len();
    args.selection().apply(&mut table)?;
    if args.json {
        return Ok(json::json(&table));
    }
    // There is nothing, or there is and not that: the difference matters to
    // whoever mistyped a name.
    let nothing = (table.rows.is_empty() && before > 0).then(|| match before {
        1 => "the only row is not as --where says".to_owned(),
        _ => format!("none of {before} rows is as --where says"),
    });
    Ok(render::render(&table, style, nothing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const STYLE: Style = Style { width: None, colours: false, now: 0.0 };

    fn table() -> Table {
        serde_json::from_value(json!({
            "view": "plugins",
            "columns": [{"name": "name"}, {"name": "series", "kind": "number"}],
            "rows": [{"name": "logs", "series": 5}, {"name": "node", "series": 1200}],
        }))
        .unwrap()
    }

    #[test]
    fn the_options_decide() {
        let sorted = TableArgs { sort: Some("series".to_owned()), ..TableArgs::default() };
        assert_eq!(show(table(), &sorted, &STYLE).unwrap(), "NAME  SERIES\nnode   1,200\nlogs       5\n");
        let json = TableArgs { json: true, top: Some(1), ..sorted };
        assert_eq!(show(table(), &json, &STYLE).unwrap(), "[\n{\"name\":\"node\",\"series\":1200}\n]\n");
    }

    #[test]
    fn nothing_chosen_is_not_nothing_there() {
        let mut args =
            TableArgs { filters: vec![("name".to_owned(), "log".to_owned())], ..TableArgs::default() };
        let text = show(table(), &args, &STYLE).unwrap();
        assert_eq!(text, "none of 2 rows is as --where says\n");
        args.json = true;
        assert_eq!(show(table(), &args, &STYLE).unwrap(), "[]\n");
    }

    #[test]
    fn a_wrong_column_is_an_error_also_of_an_empty_table() {
        let args = TableArgs { sort: Some("serie".to_owned()), ..TableArgs::default() };
        let empty = Table { rows: Vec::new(), ..table() };
        assert!(show(empty, &args, &STYLE).unwrap_err().contains("did you mean \"series\"?"));
    }
}
