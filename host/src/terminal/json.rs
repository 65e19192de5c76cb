//! A table for programs: an array of objects, one a line, which `jq` reads and
//! people can too. Values are as the agent delivered them.

use super::data::Table;
use crate::logging::steers;
use serde_json::Value;

/// The rows as JSON. Keys come in the order of the columns, so that a script
/// which prints the values finds them where the table shows them; a map of
/// `serde_json` would sort them.
pub fn json(table: &Table) -> String {
    if table.rows.is_empty() {
        return "[]\n".to_owned();
    }
    // Once, not once a row.
    let keys: Vec<String> =
        table.columns.iter().map(|column| value(&Value::from(column.name.as_str()))).collect();
    let mut text = String::from("[\n");
    for (at, row) in table.rows.iter().enumerate() {
        text.push('{');
        for (column, (place, key)) in table.columns.iter().zip(keys.iter().enumerate()) {
            let comma = if place > 0 { "," } else { "" };
            text.push_str(&format!("{comma}{key}:{}", value(Table::cell(row, column))));
        }
        text.push_str(if at + 1 < table.rows.len() { "},\n" } else { "}\n" });
    }
    text.push_str("]\n");
    text
}

/// A value as JSON. The format itself escapes the first 32 characters alone;
/// this may end on a terminal, so all that could steer one is escaped. Whoever
/// reads it gets the same text.
fn value(cell: &Value) -> String {
    let mut text = String::new();
    for character in cell.to_string().chars() {
        if steers(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table(rows: &Value) -> Table {
        serde_json::from_value(json!({
            "view": "v",
            "columns": [{"name": "z", "kind": "text"}, {"name": "a\"", "kind": "number"}, {"name": "m", "kind": "time"}],
            "rows": rows,
        }))
        .unwrap()
    }

    #[test]
    fn one_object_a_line_in_the_order_of_the_columns() {
        let text = json(&table(&json!([
            {"a\"": 0.0002, "z": "x", "m": 1_700_000_000.25, "hidden": 1},
            {"z": null, "a\"": 18_446_744_073_709_551_615_u64},
        ])));
        let expected = "[\n{\"z\":\"x\",\"a\\\"\":0.0002,\"m\":1700000000.25},\n\
                        {\"z\":null,\"a\\\"\":18446744073709551615,\"m\":null}\n]\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn it_is_json_whatever_a_container_wrote() {
        let hostile = "\u{1b}[2J\"}]\n\u{202e}é\\\u{9b}2J\u{7f}\u{e0041}";
        let text = json(&table(&json!([{"z": hostile}])));
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back[0]["z"], hostile);
        assert_eq!(text.lines().count(), 3);
        assert!(!text.lines().any(|line| line.contains(steers)));
        assert!(text.contains("\\u009b2J\\u007f\\udb40\\udc41"), "{text}");
    }

    #[test]
    fn no_rows_are_an_empty_array() {
        assert_eq!(json(&table(&json!([]))), "[]\n");
    }
}
