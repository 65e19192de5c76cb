//! What a Podman's own API says of a container: what it says to Docker's clients,
//! in its own form, and more.

use serde_json::{Value, json};

/// Of a container, or of a pod, of which Docker's API knows nothing.
pub fn says(to_docker_s: Option<&Value>, besides: &Value) -> Value {
    let Some(known) = to_docker_s else { return besides.clone() };
    let mut own = known.clone();
    for (field, before) in [("Name", "/"), ("Image", "sha256:")] {
        if let Some(text) = own[field].as_str() {
            own[field] = json!(text.strip_prefix(before).unwrap_or(text));
        }
    }
    // Where its form is another one, as Podman 4 has it: a number and a text, for a text and a list.
    own["Config"]["StopSignal"] = json!(15);
    own["Config"]["Entrypoint"] = json!("");
    merge(&mut own, besides);
    own
}

fn merge(into: &mut Value, besides: &Value) {
    match (into, besides) {
        (Value::Object(into), Value::Object(besides)) => {
            for (field, value) in besides {
                merge(into.entry(field.as_str()).or_insert(Value::Null), value);
            }
        }
        (into, besides) => *into = besides.clone(),
    }
}
