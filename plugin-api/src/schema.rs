//! The JSON Schema of a configuration, with every object closed that says
//! nothing of other keys: an operator's typing error is an error, whatever the
//! author derived.
//!
//! An object that stands alone is closed by `additionalProperties`. One whose
//! keys come from several schemas at once (a flattened enum, a tagged variant
//! that refers to a struct) must not be closed part by part, or each part would
//! refuse the keys of the others: there the whole gets `unevaluatedProperties`.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Keywords whose schemas say something of the same value, not of one inside it.
const IN_PLACE: [&str; 3] = ["allOf", "anyOf", "oneOf"];

pub(crate) fn schema_of<C: JsonSchema>() -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<C>().to_value();
    let mut defs = match schema.get_mut("$defs").map(Value::take) {
        Some(Value::Object(defs)) => defs,
        _ => Map::new(),
    };
    let mut parts = BTreeSet::new();
    defs.values().chain([&schema]).for_each(|one| find_parts(one, false, &mut parts));
    // A part's own parts are parts too.
    let mut known = 0;
    while known != parts.len() {
        known = parts.len();
        for name in parts.clone() {
            defs.get(&name).into_iter().for_each(|one| find_parts(one, true, &mut parts));
        }
    }
    close(&mut schema, false, &parts);
    for (name, one) in &mut defs {
        close(one, parts.contains(name), &parts);
    }
    if !defs.is_empty() {
        schema["$defs"] = defs.into();
    }
    schema
}

/// Whether the schemas beside each other in here describe one object together.
fn merges(schema: &Map<String, Value>) -> bool {
    let own = schema.contains_key("properties");
    let others = IN_PLACE.iter().chain(&["$ref"]).filter(|word| schema.contains_key(**word)).count();
    schema.contains_key("allOf") || others > 1 || (own && others > 0)
}

fn target(schema: &Map<String, Value>) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

/// Collects the definitions that are only a part of some object.
fn find_parts(schema: &Value, part: bool, parts: &mut BTreeSet<String>) {
    let Some(schema) = schema.as_object() else { return };
    let part = part || merges(schema);
    if part && let Some(target) = target(schema) {
        parts.insert(target.to_owned());
    }
    for (word, inner) in schema {
        children(word, inner).into_iter().for_each(|(child, in_place)| {
            find_parts(child, part && in_place, parts);
        });
    }
}

/// The schemas below a keyword, and whether they describe the same value.
fn children<'a>(word: &str, inner: &'a Value) -> Vec<(&'a Value, bool)> {
    match (word, inner) {
        ("properties" | "patternProperties", Value::Object(of)) => {
            of.values().map(|one| (one, false)).collect()
        }
        ("items" | "additionalProperties", one) => vec![(one, false)],
        ("prefixItems", Value::Array(of)) => of.iter().map(|one| (one, false)).collect(),
        (_, Value::Array(of)) if IN_PLACE.contains(&word) => of.iter().map(|one| (one, true)).collect(),
        _ => Vec::new(),
    }
}

/// As [`children`].
fn children_mut<'a>(word: &str, inner: &'a mut Value) -> Vec<(&'a mut Value, bool)> {
    match (word, inner) {
        ("properties" | "patternProperties", Value::Object(of)) => {
            of.values_mut().map(|one| (one, false)).collect()
        }
        ("items" | "additionalProperties", one) => vec![(one, false)],
        ("prefixItems", Value::Array(of)) => of.iter_mut().map(|one| (one, false)).collect(),
        (_, Value::Array(of)) if IN_PLACE.contains(&word) => of.iter_mut().map(|one| (one, true)).collect(),
        _ => Vec::new(),
    }
}

fn close(schema: &mut Value, part: bool, parts: &BTreeSet<String>) {
    let Some(schema) = schema.as_object_mut() else { return };
    let merges = merges(schema);
    for (word, inner) in schema.iter_mut() {
        for (child, in_place) in children_mut(word, inner) {
            close(child, in_place && (part || merges), parts);
        }
    }
    if part || schema.contains_key("additionalProperties") || schema.contains_key("patternProperties") {
        return;
    }
    let refers_to_part = target(schema).is_some_and(|target| parts.contains(target));
    if (merges && !has_free_branch(schema)) || refers_to_part {
        schema.entry("unevaluatedProperties").or_insert(Value::Bool(false));
    } else if !merges && schema.contains_key("properties") && !schema.contains_key("unevaluatedProperties") {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
}

/// Whether a branch takes anything at all, keys of any name included.
fn has_free_branch(schema: &Map<String, Value>) -> bool {
    let takes_all = |branch: &Value| match branch {
        Value::Object(branch) => branch.keys().all(|word| matches!(word.as_str(), "title" | "description")),
        other => *other == Value::Bool(true),
    };
    IN_PLACE.iter().filter_map(|word| schema.get(*word)?.as_array()).flatten().any(takes_all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use serde::Deserialize;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(JsonSchema, Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Outer {
        inner: Inner,
        nested: Option<Inner>,
        list: Vec<Inner>,
        free: BTreeMap<String, u32>,
        anything: Option<serde_json::Value>,
        #[serde(flatten)]
        mode: Mode,
        tagged: Option<Tagged>,
        plain: Option<External>,
    }

    #[derive(JsonSchema, Deserialize, Default)]
    #[serde(default)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Inner {
        key: Option<Secret>,
    }

    #[derive(JsonSchema, Deserialize, Default)]
    #[serde(tag = "mode", rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its schema is used")]
    enum Mode {
        Fast {
            speed: u32,
        },
        #[default]
        Slow,
    }

    #[derive(JsonSchema, Deserialize)]
    #[serde(tag = "kind")]
    #[allow(dead_code, reason = "only its schema is used")]
    enum Tagged {
        Known(Inner),
        Other { y: u32 },
    }

    #[derive(JsonSchema, Deserialize)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its schema is used")]
    enum External {
        Known(Inner),
        Other { y: u32 },
        Nothing,
    }

    #[test]
    fn what_serde_reads_is_valid_and_a_typing_error_is_not() {
        let validator = jsonschema::validator_for(&schema_of::<Outer>()).unwrap();
        for good in [
            json!({ "mode": "slow" }),
            json!({ "mode": "fast", "speed": 3, "inner": {}, "nested": null, "list": [{}], "free": { "a": 1 } }),
            json!({ "mode": "slow", "anything": { "x": { "y": 1 } } }),
            json!({ "mode": "slow", "tagged": { "kind": "Known", "key": "k" } }),
            json!({ "mode": "slow", "tagged": { "kind": "Other", "y": 1 }, "nested": { "key": "k" } }),
            json!({ "mode": "slow", "plain": { "known": { "key": "k" } } }),
            json!({ "mode": "slow", "plain": "nothing" }),
        ] {
            assert!(validator.is_valid(&good), "{good}: {:?}", validator.validate(&good));
            assert!(serde_json::from_value::<Outer>(good.clone()).is_ok(), "{good}");
        }
        for bad in [
            json!({ "mode": "slow", "sped": 3 }),
            json!({ "mode": "slow", "speed": 3 }),
            json!({ "mode": "slow", "inner": { "kee": "k" } }),
            json!({ "mode": "slow", "nested": { "kee": "k" } }),
            json!({ "mode": "slow", "list": [{ "kee": "k" }] }),
            json!({ "mode": "slow", "tagged": { "kind": "Known", "kee": "k" } }),
            json!({ "mode": "slow", "tagged": { "kind": "Other", "y": 1, "z": 1 } }),
            json!({ "mode": "slow", "plain": { "known": { "kee": "k" } } }),
            json!({ "mode": "slow", "plain": { "other": { "y": 1, "z": 2 } } }),
        ] {
            assert!(!validator.is_valid(&bad), "{bad}");
        }
    }

    #[test]
    fn an_object_that_stands_alone_says_so_itself() {
        #[derive(JsonSchema)]
        #[allow(dead_code, reason = "only its schema is used")]
        struct Simple {
            inner: Inner,
            free: BTreeMap<String, u32>,
        }
        let schema = schema_of::<Simple>();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["$defs"]["Inner"]["additionalProperties"], false);
        assert_ne!(schema["properties"]["free"]["additionalProperties"], false);
        assert_eq!(schema["$defs"]["Inner"]["properties"]["key"][crate::config::SECRET_MARK], true);
    }
}
