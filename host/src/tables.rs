//! What the agent knows, as the tables that both of its doors give out:
//! `{"view": NAME, "columns": [{"name", "kind", "unit"}, …], "rows": [{…}, …]}`.

use crate::capabilities::dropped_wish;
use crate::config::Isolation;
use crate::identity::{Identity, Record};
use crate::records::{Entry, File};
use crate::supervisor::{Fleet, Rows, Status, Unit};
use gantry_plugin_api::description::{ColumnInfo, ViewInfo};
use serde_json::{Value, json};
use std::time::SystemTime;

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// `gantry plugins`: each column with its kind and unit.
const PLUGINS: &[(&str, &str, &str)] = &[
    ("name", "text", ""),
    ("version", "text", ""),
    ("api", "text", ""),
    ("state", "text", ""),
    ("since", "time", ""),
    ("series", "number", ""),
    ("heap", "number", "bytes"),
    ("isolation", "text", ""),
    ("note", "text", ""),
    ("last_error", "text", ""),
];

const CONTAINERS: &[(&str, &str, &str)] = &[
    ("id", "container", ""),
    ("runtime", "text", ""),
    ("name", "text", ""),
    ("image", "text", ""),
    ("processes", "number", ""),
    ("cgroup", "text", ""),
    ("shown", "text", ""),
];

/// `gantry history`.
const HISTORY: &[(&str, &str, &str)] = &[
    ("at", "time", ""),
    ("what", "text", ""),
    ("from", "text", ""),
    ("to", "text", ""),
    ("reason", "text", ""),
];

/// The views of a plugin.
const VIEWS: &[(&str, &str, &str)] = &[("view", "text", ""), ("help", "text", ""), ("columns", "text", "")];

fn table(view: &str, columns: &[(&str, &str, &str)], rows: Vec<Value>) -> Value {
    let column = |(name, kind, unit): &(&str, &str, &str)| json!({"name": name, "kind": kind, "unit": unit});
    let columns: Vec<Value> = columns.iter().map(column).collect();
    // The rows are moved: the macro would copy each of them.
    let mut table = json!({"view": view, "columns": columns});
    table["rows"] = Value::Array(rows);
    table
}

/// The plugins, as people see them.
pub fn plugins(fleet: &Fleet) -> Value {
    let row = |unit: &Unit| {
        let mut all = plugin(unit);
        if let Some(all) = all.as_object_mut() {
            all.retain(|key, _| PLUGINS.iter().any(|(name, ..)| name == key));
        }
        all
    };
    table("plugins", PLUGINS, fleet.units().iter().map(|unit| row(unit)).collect())
}

/// The plugins with all that is known of each, as scripts see them.
pub fn all_of_plugins(fleet: &Fleet) -> Value {
    fleet.units().iter().map(|unit| plugin(unit)).collect()
}

fn plugin(unit: &Unit) -> Value {
    let status = unit.status();
    json!({
        "name": unit.name(),
        "version": status.manifest().map(|manifest| &manifest.version),
        "api": status.manifest().map(|manifest| &manifest.api),
        "state": status.state.as_str(),
        "since": seconds(status.since),
        "series": status.series,
        "heap": status.heap_bytes,
        "isolation": isolation(unit, &status),
        "note": note(unit),
        "last_error": status.last_error,
        "digest": status.digest(),
        "source": status.loaded.as_ref().map(|loaded| &loaded.verified.source),
        "reasons": status.reasons,
        "failures": status.failures,
        "retry_at": status.retry_at.map(seconds),
        "hung_threads": status.left_behind,
        "differs_from_configuration": unit.differs(),
    })
}

/// Where it runs, or would run by its section, or ran last; what the file decides
/// is not known before it is read.
fn isolation(unit: &Unit, status: &Status) -> Option<&'static str> {
    status.isolation().or(unit.config().isolation).or(status.ran_in).map(Isolation::as_str)
}

/// What else a person should see at a glance.
fn note(unit: &Unit) -> Option<String> {
    let mut notes = Vec::new();
    if unit.differs() {
        notes.push("differs from configuration".to_owned());
    }
    let status = unit.status();
    if let Some(wait) = status.retry_at.and_then(|at| at.duration_since(SystemTime::now()).ok()) {
        notes.push(format!("tried again in {}s", wait.as_secs() + 1));
    }
    if status.stands_in {
        notes.push("file was rolled back from".to_owned());
    }
    notes.extend(status.file_note.map(str::to_owned));
    notes.extend(unit.kept_apart());
    if status.state.collects() {
        notes.extend(status.loaded.as_ref().and_then(|loaded| dropped_wish(&loaded.verified)));
    }
    if status.isolation() == Some(Isolation::Process)
        && let Some(lacks) = unit.confinement_lacks()
    {
        notes.push(format!("confined without {lacks}"));
    }
    match status.refused {
        0 => {}
        1 => notes.push("1 family refused: see the log".to_owned()),
        refused => notes.push(format!("{refused} families refused: see the log")),
    }
    if status.left_behind > 0 {
        notes.push(format!("threads that hang: {}", status.left_behind));
    }
    (!notes.is_empty()).then(|| notes.join(", "))
}

/// `gantry containers`: those that are there, by id.
pub fn containers(identity: &Identity) -> Value {
    let row = |record: &Record, shown: String| {
        let public = record.container();
        let cgroup = public.cgroups.iter().min_by_key(|cgroup| cgroup.hierarchy);
        json!({
            "id": public.id,
            "runtime": public.runtime,
            "name": public.names.get("name"),
            "image": public.image,
            "processes": record.processes.len(),
            "cgroup": cgroup.map(|cgroup| &cgroup.path),
            "shown": shown,
        })
    };
    let mut rows = identity.list(row);
    rows.sort_by(|one, two| one["id"].as_str().cmp(&two["id"].as_str()));
    table("containers", CONTAINERS, rows)
}

/// What happened to a plugin, the newest first.
pub fn history(entries: &[Entry]) -> Value {
    let file = |file: &Option<File>| {
        let short = |file: &File| file.digest[..file.digest.floor_char_boundary(DIGEST_SHOWN)].to_owned();
        file.as_ref().map(|file| format!("{} {}", file.version, short(file)))
    };
    let row = |entry: &Entry| {
        json!({
            "at": entry.at,
            "what": entry.what.as_str(),
            "from": file(&entry.from),
            "to": file(&entry.to),
            "reason": entry.reason,
        })
    };
    table("history", HISTORY, entries.iter().map(row).collect())
}

/// Digits of a digest that tell files apart for people.
const DIGEST_SHOWN: usize = 12;

/// Which views a plugin has.
pub fn views(unit: &Unit) -> Value {
    let row = |view: &ViewInfo| {
        let columns: Vec<&str> = view.columns.iter().map(|column| column.name.as_str()).collect();
        json!({"view": view.name, "help": view.help, "columns": columns.join(", ")})
    };
    table("views", VIEWS, unit.status().views().iter().map(row).collect())
}

/// A view with its rows.
pub fn of_view(rows: Rows) -> Value {
    let column = |column: &ColumnInfo| json!({"name": column.name, "kind": column.kind, "unit": column.unit});
    let columns: Vec<Value> = rows.info.columns.iter().map(column).collect();
    // The macro would copy what is put into it.
    let mut table = json!({"view": rows.info.name, "columns": columns, "truncated": rows.truncated});
    table["rows"] = rows.rows.into_iter().map(Value::Object).collect();
    table
}
