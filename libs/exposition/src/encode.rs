//! Writes the series of all tables in one text.

use crate::declared::Declared;
use crate::format::Format;
use crate::series::{Flag, Text, Value};
use crate::table::Table;
use crate::{escape, names};
use ahash::RandomState;
use gantry_plugin_api::description::Kind;
use std::collections::HashSet;

/// What [`encode`] wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Lines that are samples.
    pub samples: usize,
    /// By place of the table, how many of its samples were left out because an
    /// earlier table has their series (a histogram is one). None with 0.
    pub duplicates: Vec<(usize, u64)>,
}

/// A family of one table.
struct Part<'a> {
    family: &'a Declared,
    table: usize,
    place: usize,
}

/// Appends the text of all shown series to `out`, families sorted by name.
/// Those of the same name stand under one header; where two tables have a
/// series of the same labels, the first table's is written.
///
/// The tables' families come from one [`crate::Registry`]: it keeps names of
/// different families apart. A later table's family of another shape, as one
/// that has been released meanwhile can have, counts as duplicates.
pub fn encode(tables: &[&Table], format: Format, out: &mut Vec<u8>) -> Encoded {
    // The host's labels, a number and a line's end take some 150 bytes a line.
    out.reserve(tables.iter().map(|table| table.store.lines_bytes() + 150 * table.series()).sum());
    let mut encoded = Encoded::default();
    let mut duplicates = vec![0; tables.len()];
    for group in parts(tables).chunk_by(|one, two| one.family.info.name == two.family.info.name) {
        let Some(first) = group.first() else { continue };
        header(out, first.family, format);
        let mut seen: HashSet<Text<'_>, RandomState> = HashSet::default();
        for part in group {
            let fits = part.family.same_shape(&first.family.info);
            for (place, text) in tables[part.table].shown(part.place) {
                // A table has no series twice by itself.
                if group.len() > 1 && (!fits || !seen.insert(text)) {
                    duplicates[part.table] += 1;
                    continue;
                }
                let store = &tables[part.table].store;
                let series = store.get(place);
                let about = (store.created(place), series.is(Flag::Newborn));
                let number = Value::Number(series.number().unwrap_or_default());
                let value = store.heavy(series).unwrap_or(&number);
                encoded.samples += value.write(out, part.family, text, about, format);
            }
        }
    }
    tables.iter().for_each(|table| table.note_written());
    if format == Format::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
    encoded.duplicates = duplicates.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
    encoded
}

/// All families that have something to show, by name and then by table.
fn parts<'a>(tables: &[&'a Table]) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    for (table, shown) in tables.iter().enumerate() {
        let families = shown.families.iter().enumerate().filter(|(place, _)| !shown.is_empty(*place));
        parts.extend(families.map(|(place, family)| Part { family, table, place }));
    }
    parts.sort_by(|one, two| one.family.info.name.cmp(&two.family.info.name));
    parts
}

fn header(out: &mut Vec<u8>, family: &Declared, format: Format) {
    match format {
        Format::Text => {
            let kind = match family.info.kind {
                Kind::Unknown => "untyped",
                kind => kind.as_str(),
            };
            help(out, &family.info.name, family, false);
            comment(out, "TYPE", &family.info.name, kind);
        }
        Format::OpenMetrics => {
            let kind = match family.info.kind {
                Kind::Counter if !names::is_openmetrics_counter(&family.info) => Kind::Unknown,
                kind => kind,
            };
            let name = names::openmetrics_name(&family.info);
            comment(out, "TYPE", name, kind.as_str());
            if let Some(unit) = family.unit() {
                comment(out, "UNIT", name, unit);
            }
            help(out, name, family, true);
        }
    }
}

fn help(out: &mut Vec<u8>, name: &str, family: &Declared, quotes: bool) {
    if family.help.is_empty() {
        return;
    }
    comment(out, "HELP", name, "");
    out.pop();
    escape::help(out, &family.help, quotes);
    out.push(b'\n');
}

fn comment(out: &mut Vec<u8>, what: &str, name: &str, text: &str) {
    for piece in ["# ", what, " ", name, " ", text, "\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
}
