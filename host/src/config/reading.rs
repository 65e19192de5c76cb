//! What a plugin says of its table when it reads it. It says one thing at a time:
//! it is asked again without the key that it named, until it is content or names none.
//!
//! What it says of several keys together is said once at most, and not where a
//! key was taken out before: that may be what it is about.

use super::schema::Violation;
use super::table::escape;
use serde_json::Value;

/// The most that is said of one table.
const MOST: usize = 100;

/// Everything that a plugin does not like about its table, besides what is `known`
/// by its schema. `read` is the plugin's reading of JSON: `None` where it can.
pub fn objections(
    plugin: &str,
    table: &Value,
    known: &[Violation],
    read: impl Fn(&str) -> Option<String>,
) -> Vec<Violation> {
    let mut table = table.clone();
    let mut said = Vec::new();
    // Of those the plugin would say the same in other words.
    if !known.iter().all(|violation| take_out(&mut table, &violation.pointer)) {
        return said;
    }
    while said.len() < MOST
        && let Some(error) = read(&table.to_string())
    {
        let pointer = error.split_once(": ").and_then(|(path, _)| pointer_to(&table, path));
        let whole = known.is_empty() && said.is_empty();
        let message = format!("[plugins.{plugin}.config]: {error}");
        match pointer {
            Some(pointer) if take_out(&mut table, &pointer) => said.push(Violation { pointer, message }),
            _ => {
                if whole {
                    said.push(Violation { pointer: String::new(), message });
                }
                break;
            }
        }
    }
    said
}

/// Takes a key out, or the list that it is in: others would have another number.
/// `false` where it is not there.
fn take_out(table: &mut Value, pointer: &str) -> bool {
    let mut node = table;
    let mut parts =
        pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).peekable();
    while let Some(part) = parts.next() {
        let Some(object) = node.as_object_mut() else { return false };
        let ends = parts.peek().is_none() || object.get(&part).is_some_and(Value::is_array);
        if ends {
            return object.remove(&part).is_some();
        }
        match object.get_mut(&part) {
            Some(inner) => node = inner,
            // With what is around it, it is out already.
            None => return true,
        }
    }
    false
}

/// The JSON pointer of `filesystems.timeout` or `sockets[1].path`, as far as that is
/// there. Keys may hold dots.
fn pointer_to(table: &Value, path: &str) -> Option<String> {
    let (mut node, mut rest, mut pointer) = (table, path, String::new());
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (index, after) = inner.split_once(']')?;
            node = node.get(index.parse::<usize>().ok()?)?;
            pointer = format!("{pointer}/{index}");
            rest = after.strip_prefix('.').unwrap_or(after);
            continue;
        }
        let ends_in = |key: &str| {
            rest.strip_prefix(key).filter(|after| after.is_empty() || after.starts_with(['.', '[']))
        };
        let keys = node.as_object()?.iter();
        let (key, inner) = keys.filter(|(key, _)| ends_in(key).is_some()).max_by_key(|(key, _)| key.len())?;
        let after = ends_in(key)?;
        pointer = format!("{pointer}/{}", escape(key));
        rest = after.strip_prefix('.').unwrap_or(after);
        node = inner;
    }
    (!pointer.is_empty()).then_some(pointer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Reads as serde does: the first key that is wrong ends it.
    fn read(wrong: &[&str], json: &str) -> Option<String> {
        let table: Value = serde_json::from_str(json).expect("JSON");
        let is_there = |path: &&&str| pointer_to(&table, path).is_some();
        wrong.iter().find(is_there).map(|path| format!("{path}: is wrong"))
    }

    fn said(table: &Value, known: &[&str], wrong: &[&str]) -> Vec<(String, String)> {
        let known: Vec<Violation> =
            known.iter().map(|at| Violation { pointer: (*at).to_owned(), message: String::new() }).collect();
        let said = objections("x", table, &known, |json| read(wrong, json));
        said.into_iter().map(|violation| (violation.pointer, violation.message)).collect()
    }

    #[test]
    fn all_that_is_wrong_is_said_and_not_the_first_alone() {
        let table = json!({"a": {"b": 1, "c.d": 2}, "e": [1, {"f": 3}], "g": 4, "h/i": 5});
        let wrong = ["a.b", "a.c.d", "e[1].f", "h/i"];
        let at =
            |pointer: &str, path: &str| (pointer.to_owned(), format!("[plugins.x.config]: {path}: is wrong"));
        let all = [at("/a/b", "a.b"), at("/a/c.d", "a.c.d"), at("/e/1/f", "e[1].f"), at("/h~1i", "h/i")];
        assert_eq!(said(&table, &[], &wrong), all);
        assert_eq!(said(&table, &["/a/b", "/e/0"], &wrong), [all[1].clone(), all[3].clone()]);
        // Of a table that lacks a key nothing can be taken out.
        assert_eq!(said(&table, &[""], &wrong), []);
        assert_eq!(said(&table, &[], &[]), []);
    }

    #[test]
    fn what_names_no_key_is_said_once_and_only_of_the_whole_table() {
        let table = json!({"a": 1, "b": 2});
        let of_both = |json: &str| Some("a and b do not fit".to_owned()).filter(|_| !json.is_empty());
        let said = objections("x", &table, &[], of_both);
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].pointer, "");
        let first =
            |json: &str| Some(if json.contains("\"a\"") { "a: is wrong" } else { "a is missing" }.to_owned());
        let said = objections("x", &table, &[], first);
        assert_eq!(said.iter().map(|one| &*one.pointer).collect::<Vec<_>>(), ["/a"]);
    }
}
