//! A plugin's own table against the JSON Schema that the plugin brings.
//!
//! Messages name keys, types and limits, and never a value: it may be secret.

use super::keys::{suggestion, there_are};
use super::plugin::PluginConfig;
use super::problem::Problem;
use super::table::{dotted, escape};
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// The most problems that are reported for one table.
const MAX_PROBLEMS: usize = 100;

/// Something that is wrong with a table: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Violation {
    /// JSON pointer of the key.
    pub pointer: String,
    pub message: String,
}

/// What is wrong with a plugin's table by the plugin's schema. May take as
/// long as the plugin's author wants: call it where that harms nobody.
pub fn violations(plugin: &str, table: &Value, schema: &Value) -> Vec<Violation> {
    let section = format!("plugins.{plugin}");
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        Err(error) => {
            let message = format!("{section}: the plugin's own schema is broken ({error}); tell its author");
            return vec![Violation { pointer: String::new(), message }];
        }
    };
    let mut violations: Vec<Violation> = Vec::new();
    for error in validator.iter_errors(table).take(MAX_PROBLEMS) {
        let pointer = error.instance_path().to_string();
        violations.extend(explain(&error, &pointer, &section, schema));
    }
    violations.sort();
    violations.dedup();
    violations
}

/// Every problem of a plugin's table, at its place in the file.
pub fn problems(file: &Path, plugin: &PluginConfig, violations: &[Violation]) -> Vec<Problem> {
    let problem = |pointer: &str, message: String| Problem {
        file: file.to_owned(),
        place: Some(plugin.table.place_of(pointer)),
        message,
    };
    let each = violations.iter().map(|violation| problem(&violation.pointer, violation.message.clone()));
    let mut problems: Vec<Problem> = each.collect();
    problems.sort();
    problems
}

/// The message of one error, at the key it is about.
fn explain(error: &ValidationError<'_>, pointer: &str, section: &str, schema: &Value) -> Vec<Violation> {
    let key = dotted(section, pointer);
    let message = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let known = known_keys(schema, error);
            return unexpected
                .iter()
                .map(|name| {
                    let known = there_are(name, known.iter().map(String::as_str));
                    Violation {
                        pointer: format!("{pointer}/{}", escape(name)),
                        message: format!("unknown key {name:?} in [{key}]; {known}"),
                    }
                })
                .collect();
        }
        ValidationErrorKind::Type { kind } => match kind {
            TypeKind::Single(expected) => format!("{key} must be {}", type_name(&expected.to_string())),
            TypeKind::Multiple(expected) => {
                let names: Vec<String> = expected.iter().map(|one| type_name(&one.to_string())).collect();
                format!("{key} must be {}", names.join(" or "))
            }
        },
        ValidationErrorKind::Required { property } => format!("{key} lacks the key {property}"),
        ValidationErrorKind::Enum { .. }
        | ValidationErrorKind::Constant { .. }
        | ValidationErrorKind::AnyOf { .. }
        | ValidationErrorKind::OneOfNotValid { .. } => {
            let node = parent(schema, error);
            let words = node.and_then(|node| constants(schema, node, 0));
            let Some(words) = words.filter(|words| !words.is_empty()) else {
                let types = node.and_then(|node| types(schema, node));
                let message = types.map(|types| format!("{key} must be {types}"));
                let message = message.unwrap_or_else(|| unfit(&key, error));
                return vec![Violation { pointer: pointer.to_owned(), message }];
            };
            let near = error
                .instance()
                .as_str()
                .map(|found| suggestion(found, words.iter().filter_map(|word| word.as_str())));
            format!("{key} must be {}{}", listed(&words), near.unwrap_or_default())
        }
        ValidationErrorKind::Minimum { limit } => format!("{key} must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("{key} must be at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("{key} must be more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("{key} must be less than {limit}"),
        ValidationErrorKind::MinLength { limit } => format!("{key} must have at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("{key} must have at most {limit} characters"),
        ValidationErrorKind::MinItems { limit } => format!("{key} must have at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("{key} must have at most {limit} items"),
        ValidationErrorKind::Pattern { pattern } => format!("{key} must match {pattern}"),
        _ => unfit(&key, error),
    };
    vec![Violation { pointer: pointer.to_owned(), message }]
}

fn unfit(key: &str, error: &ValidationError<'_>) -> String {
    format!("{key} does not fit the plugin's schema ({})", error.kind().keyword())
}

/// The keys that the object of an error may have.
fn known_keys(schema: &Value, error: &ValidationError<'_>) -> Vec<String> {
    parent(schema, error)
        .and_then(|object| object.get("properties"))
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}

/// The schema whose keyword an error is of.
fn parent<'a>(schema: &'a Value, error: &ValidationError<'_>) -> Option<&'a Value> {
    let path = error.schema_path().to_string();
    let (object, _) = path.rsplit_once('/')?;
    let mut node = schema;
    for part in object.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        node = match node.get(&part) {
            Some(Value::String(to)) if part == "$ref" => referred(schema, to)?,
            Some(inner) => inner,
            None => node.get(part.parse::<usize>().ok()?)?,
        };
    }
    Some(node)
}

/// `#/$defs/x`, which is the only form that the api's derive writes.
fn referred<'a>(schema: &'a Value, to: &str) -> Option<&'a Value> {
    schema.pointer(to.strip_prefix('#')?)
}

/// A schema may refer to itself.
const MOST_NESTED: usize = 8;

/// The values that a schema allows, where those are all constants.
fn constants<'a>(schema: &'a Value, node: &'a Value, depth: usize) -> Option<Vec<&'a Value>> {
    if depth > MOST_NESTED {
        return None;
    }
    if let Some(one) = node.get("const") {
        return Some(vec![one]);
    }
    if let Some(some) = node.get("enum").and_then(Value::as_array) {
        return Some(some.iter().collect());
    }
    if let Some(to) = node.get("$ref").and_then(Value::as_str) {
        return constants(schema, referred(schema, to)?, depth + 1);
    }
    if node.get("type").and_then(Value::as_str) == Some("null") {
        // TOML has none.
        return Some(Vec::new());
    }
    let several = node.get("oneOf").or_else(|| node.get("anyOf"))?.as_array()?;
    let each: Option<Vec<_>> = several.iter().map(|one| constants(schema, one, depth + 1)).collect();
    Some(each?.concat())
}

/// `a text or a list`, where each alternative of a schema is of one type.
fn types(schema: &Value, node: &Value) -> Option<String> {
    let several = node.get("anyOf").or_else(|| node.get("oneOf"))?.as_array()?;
    let of = |one: &Value| {
        let one = match one.get("$ref").and_then(Value::as_str) {
            Some(to) => referred(schema, to)?,
            None => one,
        };
        let name = one.get("type")?.as_str()?;
        // TOML has no null.
        Some((name != "null").then(|| type_name(name)))
    };
    let each: Option<Vec<Option<String>>> = several.iter().map(of).collect();
    let names: Vec<String> = each?.into_iter().flatten().collect();
    (!names.is_empty()).then(|| names.join(" or "))
}

/// `"a", "b" or 3`
fn listed(words: &[&Value]) -> String {
    let words: Vec<String> = words.iter().filter(|word| !word.is_null()).map(ToString::to_string).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn type_name(json: &str) -> String {
    match json.trim_matches('"') {
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "array" => "a list",
        "object" => "a table",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn messages(schema: &Value, table: &Value) -> Vec<String> {
        violations("x", table, schema).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn unknown_keys_are_told_with_those_that_there_are() {
        let inner = json!({"type": "object", "properties": {"depth": {}, "width": {}}, "additionalProperties": false});
        let schema = json!({
            "$defs": {"inner": inner}, "properties": {"size": {"$ref": "#/$defs/inner"}, "count": {}},
            "additionalProperties": false,
        });
        assert_eq!(
            messages(&schema, &json!({"coumt": 1, "size": {"height": 1}})),
            [
                "unknown key \"coumt\" in [plugins.x.config]; there are: count, size; did you mean \"count\"?",
                "unknown key \"height\" in [plugins.x.config.size]; there are: depth, width",
            ]
        );
        let many: serde_json::Map<String, Value> =
            (0..50).map(|at| (format!("k{at:02}"), json!({}))).collect();
        let schema = json!({"properties": many, "additionalProperties": false});
        let told = messages(&schema, &json!({"other": 1})).concat();
        assert!(told.ends_with("k18, k19 and 30 more"), "{told}");
    }

    #[test]
    fn constants_are_listed_in_whatever_form_they_are_written() {
        let words = json!({"oneOf": [{"const": "fast", "description": "d"}, {"enum": ["slow", "off"]}]});
        let expected = "plugins.x.config.mode must be \"fast\", \"slow\" or \"off\"";
        for mode in [
            json!({"enum": ["fast", "slow", "off"]}),
            words.clone(),
            json!({"anyOf": [{"$ref": "#/$defs/words"}, {"type": "null"}]}),
            json!({"$ref": "#/$defs/words"}),
        ] {
            let schema = json!({"$defs": {"words": words}, "properties": {"mode": mode}});
            assert_eq!(messages(&schema, &json!({"mode": 5})), [expected], "{schema}");
            // The value itself may be secret; what is near to it is the schema's.
            let told = messages(&schema, &json!({"mode": "fats"}));
            assert_eq!(told, [format!("{expected}; did you mean \"fast\"?")], "{schema}");
            assert_eq!(messages(&schema, &json!({"mode": "off"})), [""; 0]);
        }
        let schema = json!({"properties": {"mode": {"const": 3}}});
        assert_eq!(messages(&schema, &json!({"mode": 4})), ["plugins.x.config.mode must be 3"]);
    }

    #[test]
    fn alternatives_are_told_by_their_types() {
        let socket = json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]});
        let schema =
            json!({"$defs": {"socket": socket}, "properties": {"socket": {"$ref": "#/$defs/socket"}}});
        assert_eq!(
            messages(&schema, &json!({"socket": 5})),
            ["plugins.x.config.socket must be a text or a list"]
        );
        assert_eq!(messages(&schema, &json!({"socket": ["a"]})), [""; 0]);
    }

    #[test]
    fn what_is_no_list_of_constants_is_said_as_it_is() {
        let own = json!({"oneOf": [{"$ref": "#/$defs/own"}, {"type": "object"}]});
        for mode in [own.clone(), json!({"anyOf": [{"const": 1}, {"type": "array"}]})] {
            let schema = json!({"$defs": {"own": own}, "properties": {"mode": mode}});
            let told = messages(&schema, &json!({"mode": 7}));
            assert!(told.len() <= 1 && told.iter().all(|one| one.contains("does not fit")), "{told:?}");
        }
    }
}
