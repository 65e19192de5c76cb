//! The list of containers, as its query asks for it.

use super::answer::Answer;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Rows of the newest containers first.
pub(super) fn list(containers: &BTreeMap<String, Value>, target: &str) -> Answer {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let parameter = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|found| found.1)
    };
    let limit = parameter("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let filters: Value =
        parameter("filters").and_then(|text| serde_json::from_slice(&decoded(text)).ok()).unwrap_or_default();
    let filter = |name: &str| filters[name][0].as_str();
    let before = filter("before");
    if before.is_some_and(|before| !containers.contains_key(before)) {
        return Answer::error(404, "No such container");
    }
    let rows: Vec<Value> = containers
        .iter()
        .rev()
        .filter(|(id, _)| before.is_none_or(|before| id.as_str() < before))
        .filter(|(id, _)| filter("id").is_none_or(|wanted| *id == wanted))
        .take(limit)
        .map(|(_, container)| row(container))
        .collect();
    Answer::json(&json!(rows))
}

fn row(container: &Value) -> Value {
    json!({
        "Id": container["Id"],
        "Names": [container["Name"]],
        "Image": container["Config"]["Image"],
        "ImageID": container["Image"],
        "Labels": container["Config"]["Labels"],
        "State": "running",
        "Ports": [],
        "Mounts": container["Mounts"],
        "HostConfig": { "NetworkMode": container["HostConfig"]["NetworkMode"] },
        "NetworkSettings": { "Networks": container["NetworkSettings"]["Networks"] },
    })
}

/// Percent-decoded.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |rest: &mut std::str::Bytes<'_>| {
            let digits = [rest.next()?, rest.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
        };
        out.push(match byte {
            b'%' => hex(&mut rest).unwrap_or(b'?'),
            b'+' => b' ',
            other => other,
        });
    }
    out
}
