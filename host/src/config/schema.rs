//! A plugin's own table against the JSON Schema that the plugin brings.
//!
//! Messages name keys, types and limits, and never a value: it may be secret.

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
pub fn problems(
    file: &Path,
    plugin: &PluginConfig,
    violations: &[Violation],
    config_error: Option<&str>,
) -> Vec<Problem> {
    let problem = |pointer: &str, message: String| Problem {
        file: file.to_owned(),
        place: Some(plugin.table.place_of(pointer)),
        message,
    };
    let by_schema = violations.iter().map(|violation| problem(&violation.pointer, violation.message.clone()));
    let by_plugin =
        config_error.map(|error| problem("", format!("[plugins.{}.config]: {error}", plugin.name)));
    let mut problems: Vec<Problem> = by_schema.chain(by_plugin).collect();
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
                    let hint = super::keys::suggestion(name, known.iter().map(String::as_str));
                    Violation {
                        pointer: format!("{pointer}/{}", escape(name)),
                        message: format!("unknown key {name:?} in [{key}]{hint}"),
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
        ValidationErrorKind::Enum { options } => format!("{key} must be one of {options}"),
        ValidationErrorKind::Minimum { limit } => format!("{key} must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("{key} must be at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("{key} must be more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("{key} must be less than {limit}"),
        ValidationErrorKind::MinLength { limit } => format!("{key} must have at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("{key} must have at most {limit} characters"),
        ValidationErrorKind::MinItems { limit } => format!("{key} must have at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("{key} must have at most {limit} items"),
        ValidationErrorKind::Pattern { pattern } => format!("{key} must match {pattern}"),
        other => format!("{key} does not fit the plugin's schema ({})", other.keyword()),
    };
    vec![Violation { pointer: pointer.to_owned(), message }]
}

/// The keys that the object of an error may have, for a suggestion.
fn known_keys(schema: &Value, error: &ValidationError<'_>) -> Vec<String> {
    let path = error.schema_path().to_string();
    let object = path.rsplit_once('/').map_or("", |(object, _)| object);
    schema
        .pointer(object)
        .and_then(|object| object.get("properties"))
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
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
