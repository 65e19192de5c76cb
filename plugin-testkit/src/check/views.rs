//! Checks of the declared views.

use super::Check::View;
use super::{Problem, names};
use gantry_plugin_api::description::ViewInfo;
use std::collections::HashSet;

/// The kinds of columns that the boundary has.
const KINDS: [&str; 4] = ["text", "number", "time", "container"];

/// All that is wrong with the declared views.
pub(crate) fn views(views: &[ViewInfo]) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for view in views {
        if !seen.insert(&view.name) {
            found.push(Problem::new(View, words(&view.name, None), "is declared twice; declare it once"));
        }
        declaration(view, &mut found);
    }
    found
}

fn declaration(view: &ViewInfo, found: &mut Vec<Problem>) {
    let mut wrong = |column: Option<&str>, message: String| {
        found.push(Problem::new(View, words(&view.name, column), message));
    };
    if !names::is_snake_case(&view.name.replace('-', "_")) {
        wrong(None, "is no name for a command line; use a-z, 0-9, _ and -".to_owned());
    }
    if view.help.trim().is_empty() {
        wrong(None, "has no help; say in one line what its rows are".to_owned());
    }
    if view.columns.is_empty() {
        wrong(None, "has no columns; declare some".to_owned());
    }
    let mut seen = HashSet::new();
    for column in &view.columns {
        let name = column.name.as_str();
        if !names::is_snake_case(name) {
            wrong(Some(name), "is not in snake_case; it is a key of the JSON".to_owned());
        }
        if !seen.insert(name) {
            wrong(Some(name), "is there twice; the JSON has each key once".to_owned());
        }
        if !KINDS.contains(&column.kind.as_str()) {
            wrong(Some(name), format!("is of no known kind {:?}; use one of {KINDS:?}", column.kind));
        }
        if !column.unit.is_empty() && !names::BASE.contains(&column.unit.as_str()) {
            let unit = &column.unit;
            wrong(Some(name), format!("has the unit {unit:?}; give it in a base unit: {:?}", names::BASE));
        }
    }
}

/// A view or a column of it, as problems name it.
pub(crate) fn words(view: &str, column: Option<&str>) -> String {
    match column {
        Some(column) => format!("view {view}, column {column}"),
        None => format!("view {view}"),
    }
}
