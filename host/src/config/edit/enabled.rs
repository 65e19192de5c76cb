//! One key of one section, changed in the text of `plugins.toml`.
//!
//! The text is never written anew out of a tree: that would lose line endings
//! and the order of dotted keys. The tree says where, and bytes are put there.
//! What comes out is read again and compared with what went in, so that an
//! edit does what it says or nothing.

use std::ops::Range;
use toml::de::DeTable;
use toml_edit::{Document, InlineTable, Item, Table, TableLike};

/// The text with `enabled` of `[plugins.NAME]` set, all else byte for byte as
/// it was. It is the same text where nothing needs to change: a section
/// without the key is disabled.
///
/// # Errors
/// The text is no good configuration, there is no section to disable, or the
/// value stands where it cannot be reached without touching another.
pub fn set_enabled(text: &str, plugin: &str, enabled: bool) -> Result<String, String> {
    set(text, plugin, "enabled", Some(&toml::Value::Boolean(enabled)))
}

/// The text with a key of `[plugins.NAME]` that holds a text set, or taken out.
///
/// # Errors
/// As [`set_enabled`]; and there is no section.
pub fn set_text(text: &str, plugin: &str, key: &str, value: Option<&str>) -> Result<String, String> {
    set(text, plugin, key, value.map(|value| toml::Value::String(value.to_owned())).as_ref())
}

fn set(text: &str, plugin: &str, key: &str, value: Option<&toml::Value>) -> Result<String, String> {
    // What goes into a header below needs no quotes.
    let bare = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if plugin.is_empty() || !plugin.bytes().all(bare) {
        return Err(format!("{plugin:?} is no plugin's name: lower-case letters, digits and -"));
    }
    let before = Meaning::of(text)?;
    let document = Document::parse(text).map_err(|error| malformed(error.message()))?;
    let Some(edit) = edit(text, &document, plugin, key, value)? else { return Ok(text.to_owned()) };
    let mut edited = text.to_owned();
    edited.replace_range(edit.range, &edit.text);
    let same = Meaning::of(&edited).is_ok_and(|after| after == before.with(plugin, key, value));
    // Not a value of the file: it may hold secrets.
    same.then_some(edited).ok_or_else(|| {
        let by_hand = match value {
            Some(value) => format!("set plugins.{plugin}.{key} = {value}"),
            None => format!("take out plugins.{plugin}.{key}"),
        };
        format!("plugins.{plugin} is written in a form that cannot be edited; {by_hand} by hand")
    })
}

/// These bytes of the text become that.
struct Edit {
    range: Range<usize>,
    text: String,
}

impl Edit {
    fn insert(at: usize, text: String) -> Self {
        Self { range: at..at, text }
    }
}

fn edit(
    text: &str,
    document: &Document<&str>,
    plugin: &str,
    name: &str,
    new: Option<&toml::Value>,
) -> Result<Option<Edit>, String> {
    let Some(plugins) = document.get("plugins") else { return absent(text, None, plugin, new) };
    let plugins = plugins.as_table_like().ok_or("plugins must be a table")?;
    let Some((key, section)) = plugins.get_key_value(plugin) else {
        let inline = document.get("plugins").and_then(Item::as_inline_table);
        return absent(text, inline, plugin, new);
    };
    let not_a_table = || format!("plugins.{plugin} must be a table: write [plugins.{plugin}]");
    let keys: &dyn TableLike = section.as_table_like().ok_or_else(not_a_table)?;
    if let Some((own, value)) = keys.get_key_value(name) {
        let is = match value.as_bool() {
            Some(is) => toml::Value::Boolean(is),
            None => toml::Value::String(value.as_str().unwrap_or_default().to_owned()),
        };
        if let Some(new) = new {
            if name == "enabled" && !is.is_bool() {
                return Err(format!("plugins.{plugin}.enabled must be true or false"));
            }
            let range = value.span().filter(|_| is != *new);
            return Ok(range.map(|range| Edit { range, text: new.to_string() }));
        }
        let (from, to) = (own.span().unwrap_or_default().start, value.span().unwrap_or_default().end);
        return Ok(Some(without(text, from, to)));
    }
    let Some(new) = new.filter(|new| new.as_bool() != Some(false)) else { return Ok(None) };
    let entry = format!("{name} = {new}");
    // The places of keys and tables come from the parser, which gives them to all.
    let key = key.span().unwrap_or_default();
    Ok(Some(match section {
        Item::Table(table) if table.is_dotted() => before_dotted(text, &key, &entry),
        Item::Table(table) => in_section(text, table, &key, plugin, &entry),
        _ => in_inline(text, section.as_inline_table(), &key, &entry),
    }))
}

/// Takes out the line of a key and its value. One that stands in a line with
/// others is left to whoever compares what came out.
fn without(text: &str, from: usize, to: usize) -> Edit {
    let start = line_start(text, from);
    let end = text[to..].find('\n').map_or(text.len(), |end| to + end + 1);
    Edit { range: start..end, text: String::new() }
}

/// Before `plugins.x.config.a = 1`: what leads up to the name is written once more.
fn before_dotted(text: &str, key: &Range<usize>, entry: &str) -> Edit {
    let start = line_start(text, key.start);
    let path = &text[start..key.end];
    Edit::insert(start, format!("{path}.{entry}{}", line_break(text, key.end)))
}

/// Behind `[plugins.x]`; or, where there is only `[plugins.x.config]`, a
/// section before it.
fn in_section(text: &str, table: &Table, key: &Range<usize>, plugin: &str, entry: &str) -> Edit {
    if let Some(header) = table.span().filter(|_| !table.is_implicit()) {
        let indent = indent(text, header.start);
        let line = format!("{indent}{entry}");
        let newline = line_break(text, header.end);
        return match text[header.end..].find('\n') {
            Some(end) => Edit::insert(header.end + end + 1, format!("{line}{newline}")),
            None => Edit::insert(text.len(), format!("{newline}{line}")),
        };
    }
    let indent = indent(text, key.start);
    let newline = line_break(text, key.end);
    let section = format!("{indent}[plugins.{plugin}]{newline}{indent}{entry}{newline}");
    Edit::insert(above_comments(text, line_start(text, key.start)), section)
}

/// In `x = { path = "…" }`, or before `x.path = "…"` within `plugins = { … }`.
fn in_inline(text: &str, table: Option<&InlineTable>, key: &Range<usize>, entry: &str) -> Edit {
    let braces = table.and_then(|table| if table.is_dotted() { None } else { table.span() });
    let Some(braces) = braces else {
        return Edit::insert(key.start, format!("{}.{entry}, ", &text[key.clone()]));
    };
    let open = braces.start + 1;
    let comma = if table.is_some_and(InlineTable::is_empty) { "" } else { "," };
    let space = if text[open..].starts_with([' ', '\t', '\r', '\n']) { "" } else { " " };
    Edit::insert(open, format!(" {entry}{comma}{space}"))
}

/// A section of its own, behind all others: their order is one of precedence.
fn absent(
    text: &str,
    inline: Option<&InlineTable>,
    plugin: &str,
    new: Option<&toml::Value>,
) -> Result<Option<Edit>, String> {
    match new.map(toml::Value::as_bool) {
        Some(Some(true)) => {}
        Some(Some(false)) => {
            return Err(format!("there is no section [plugins.{plugin}]; nothing to disable"));
        }
        _ => {
            return Err(format!("there is no section [plugins.{plugin}]; `gantry enable {plugin}` adds one"));
        }
    }
    if let Some((table, braces)) = inline.and_then(|table| Some((table, table.span()?))) {
        let close = braces.end - 1;
        let trimmed = text[..close].trim_end().len();
        // A comment ends with its line; behind one nothing may be put.
        let at = if text[trimmed..close].contains('\n') { close } else { trimmed };
        let comma = if table.is_empty() || table.trailing_comma() { "" } else { "," };
        let space = if at == close { " " } else { "" };
        return Ok(Some(Edit::insert(at, format!("{comma} {plugin} = {{ enabled = true }}{space}"))));
    }
    let newline = line_break(text, 0);
    let section = format!("[plugins.{plugin}]{newline}enabled = true");
    let bare = text.trim_start_matches('\u{feff}');
    let blank = bare.is_empty() || bare.ends_with("\n\n") || bare.ends_with("\r\n\r\n");
    Ok(Some(Edit::insert(
        text.len(),
        match (blank, text.ends_with('\n')) {
            (true, _) => format!("{section}{newline}"),
            (false, true) => format!("{newline}{section}{newline}"),
            (false, false) => format!("{newline}{newline}{section}"),
        },
    )))
}

/// Where the line of a byte begins; behind a byte order mark.
fn line_start(text: &str, at: usize) -> usize {
    match text[..at].rfind('\n') {
        Some(end) => end + 1,
        None => text.len() - text.trim_start_matches('\u{feff}').len(),
    }
}

fn indent(text: &str, at: usize) -> &str {
    let line = &text[line_start(text, at)..];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// How the line of a byte ends; where it is the last one, how the first does.
fn line_break(text: &str, at: usize) -> &'static str {
    let end = text[at..].find('\n').map(|end| at + end).or_else(|| text.find('\n'));
    if end.is_some_and(|end| text[..end].ends_with('\r')) { "\r\n" } else { "\n" }
}

/// The beginning of the comment that stands right above a line, if a blank
/// line sets it off from what comes before; else the line itself.
fn above_comments(text: &str, line: usize) -> usize {
    let first = text.len() - text.trim_start_matches('\u{feff}').len();
    let mut at = line;
    while at > first {
        let start = line_start(text, at - 1);
        let above = text[start..at].trim();
        if above.is_empty() {
            return at;
        }
        if !above.starts_with('#') {
            return line;
        }
        at = start;
    }
    at
}

/// What a text says: its values, and its plugins in order of precedence.
#[derive(PartialEq)]
struct Meaning {
    values: toml::Table,
    order: Vec<String>,
}

impl Meaning {
    fn of(text: &str) -> Result<Self, String> {
        let values = toml::from_str(text).map_err(|error| malformed(error.message()))?;
        let tree = DeTable::parse(text).map_err(|error| malformed(error.message()))?;
        let plugins = tree.get_ref().get("plugins").and_then(|plugins| plugins.get_ref().as_table());
        let mut names: Vec<_> = plugins.into_iter().flat_map(|plugins| plugins.keys()).collect();
        names.sort_by_key(|name| name.span().start);
        Ok(Self { values, order: names.into_iter().map(|name| name.get_ref().to_string()).collect() })
    }

    /// The same with one value set, or taken out.
    fn with(mut self, plugin: &str, key: &str, value: Option<&toml::Value>) -> Self {
        let empty = || toml::Value::Table(toml::Table::new());
        let plugins = self.values.entry("plugins").or_insert_with(empty);
        let section = plugins.as_table_mut().map(|plugins| plugins.entry(plugin).or_insert_with(empty));
        if let Some(section) = section.and_then(toml::Value::as_table_mut) {
            match value {
                Some(value) => drop(section.insert(key.to_owned(), value.clone())),
                None => drop(section.remove(key)),
            }
        }
        if !self.order.iter().any(|name| name == plugin) {
            self.order.push(plugin.to_owned());
        }
        self
    }
}

/// The message alone: the error's own Display quotes the line.
fn malformed(message: &str) -> String {
    format!("malformed TOML: {}; `gantry check` says where", message.lines().next().unwrap_or_default())
}

#[cfg(test)]
#[path = "enabled_tests.rs"]
mod tests;
