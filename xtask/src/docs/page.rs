//! The text of `docs/metrics.md`.

use crate::shell::{Error, Result};
use serde_json::Value;
use std::fmt::Write;

const HEAD: &str = "# Metrics

Written by `cargo xtask docs` from what the agent and its plugins declare; a test compares it. Do not edit.

**Labels that the host adds.** Every series carries `machine_id` and `system_uuid`. A series of scope *container*
carries `container_id` and `app_id` too, and `az` and `region` once a plugin has learned them. They stand in no table
below. All labels of a table are always written, with `\"\"` where the value is unknown.

**Counters.** A plain counter is read from the kernel and may begin anywhere. One marked *from 0* is counted by the
agent itself and shown as 0 first, so that `increase()` sees its first event.
";

/// The page: the host's own families first, then each plugin's in the order given.
pub fn render(host: &Value, plugins: &[Value]) -> Result<String> {
    let mut page = HEAD.to_owned();
    section(&mut page, "The agent itself", host)?;
    for plugin in plugins {
        let title = format!("Plugin `{}`", text(&plugin["manifest"], "name")?);
        section(&mut page, &title, plugin)?;
    }
    Ok(page)
}

fn section(page: &mut String, title: &str, description: &Value) -> Result<()> {
    let families = description["families"]
        .as_array()
        .ok_or_else(|| Error::failed(format!("{title}: the description has no list `families`")))?;
    let about = description["manifest"]["description"].as_str().unwrap_or_default();
    write(page, format_args!("\n## {title}\n"));
    if !about.is_empty() {
        write(page, format_args!("\n{}.\n", about.trim_end_matches('.')));
    }
    if families.is_empty() {
        write(page, format_args!("\nNo metrics.\n"));
        return Ok(());
    }
    write(
        page,
        format_args!("\n| name | type | unit | labels | scope | what it says |\n|---|---|---|---|---|---|\n"),
    );
    for family in families {
        row(page, family).map_err(|error| Error::failed(format!("{title}: {error} in {family}")))?;
    }
    Ok(())
}

fn row(page: &mut String, family: &Value) -> Result<()> {
    let labels = family["labels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let labels: Vec<_> = labels.iter().filter_map(Value::as_str).map(|label| format!("`{label}`")).collect();
    let from_zero = family["counted_here"].as_bool().unwrap_or(false);
    let cells = [
        format!("`{}`", text(family, "name")?),
        format!("{}{}", text(family, "kind")?, if from_zero { ", from 0" } else { "" }),
        family["unit"].as_str().unwrap_or_default().to_owned(),
        labels.join(" "),
        if family["per_container"].as_bool().unwrap_or(false) { "container" } else { "node" }.to_owned(),
        text(family, "help")?.replace('|', "\\|").replace('\n', " "),
    ];
    for cell in cells {
        write(page, format_args!("|{}{cell} ", if cell.is_empty() { "" } else { " " }));
    }
    page.push_str("|\n");
    Ok(())
}

fn text<'a>(of: &'a Value, name: &str) -> Result<&'a str> {
    of[name].as_str().ok_or_else(|| Error::failed(format!("no text `{name}`")))
}

fn write(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_of_a_family_has_its_column() {
        let plugin = json!({
            "manifest": {"name": "demo", "description": "Shows things."},
            "families": [{
                "name": "container_demo_total", "help": "First|second\nline", "kind": "counter", "unit": "",
                "labels": ["a", "b"], "per_container": true, "counted_here": true,
            }],
        });
        let page = render(&json!({"families": []}), &[plugin]).unwrap();
        assert!(page.contains("## Plugin `demo`\n\nShows things.\n"), "{page}");
        assert!(page.contains(
            "| `container_demo_total` | counter, from 0 | | `a` `b` | container | First\\|second line |\n"
        ));
        assert!(page.contains("## The agent itself\n\nNo metrics.\n"));
    }

    #[test]
    fn what_lacks_is_named() {
        let error = render(&json!({}), &[]).unwrap_err().to_string();
        assert!(error.contains("families"), "{error}");
        let error =
            render(&json!({"families": [{"name": "x", "kind": "gauge"}]}), &[]).unwrap_err().to_string();
        assert!(error.contains("`help`"), "{error}");
    }
}
