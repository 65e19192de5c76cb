//! What a runtime says besides, in JSON of its own: which process, which
//! environment. No API promises it; containerd and CRI-O agree on these names.

use crate::provider::described::or_nothing;
use gantry_plugin_api::serde::Deserialize;
use gantry_plugin_api::serde_json;
use std::collections::BTreeMap;

/// Both put it under this name.
const NAME: &str = "info";

/// What is used of it. What is not there is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Info {
    /// The first process; 0 where none runs.
    #[serde(deserialize_with = "or_nothing")]
    pub pid: i64,
    /// A container's sandbox.
    #[serde(rename = "sandboxID", deserialize_with = "or_nothing")]
    pub sandbox: String,
    /// As the kubelet asked for it (containerd).
    #[serde(deserialize_with = "or_nothing")]
    pub config: Config,
    /// As it was told to runc.
    #[serde(rename = "runtimeSpec", deserialize_with = "or_nothing")]
    pub spec: Spec,
}

/// Of `ContainerConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Config {
    /// The image.
    #[serde(deserialize_with = "or_nothing")]
    pub image: Image,
}

/// Of `ImageSpec`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Image {
    /// As the pod asked for it.
    #[serde(deserialize_with = "or_nothing")]
    pub user_specified_image: String,
}

/// Of the OCI runtime specification's `config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Spec {
    /// The first process.
    #[serde(deserialize_with = "or_nothing")]
    pub process: Process,
}

/// The same.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Process {
    /// `NAME=VALUE`
    #[serde(deserialize_with = "or_nothing")]
    pub env: Vec<String>,
}

/// `None` where it is there and makes no sense.
pub fn read(info: &BTreeMap<String, String>) -> Option<Info> {
    match info.get(NAME) {
        Some(text) => serde_json::from_str(text).ok(),
        None => Some(Info::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Info> {
        read(&BTreeMap::from([(NAME.to_owned(), text.to_owned())]))
    }

    #[test]
    fn what_is_null_costs_nothing_else() {
        let whole = r#"{"pid":7,"sandboxID":"s","config":{"image":{"user_specified_image":"i"}},
            "runtimeSpec":{"process":{"env":["A=b"]}}}"#;
        let info = of(whole).expect("it makes sense");
        assert_eq!((info.pid, &*info.sandbox, info.spec.process.env.len()), (7, "s", 1));
        for (null, pid) in [
            (r#"{"pid":7,"sandboxID":null,"config":null,"runtimeSpec":null}"#, 7),
            (r#"{"pid":7,"config":{"image":null},"runtimeSpec":{"process":null}}"#, 7),
            (
                r#"{"pid":7,"config":{"image":{"user_specified_image":null}},"runtimeSpec":{"process":{"env":null}}}"#,
                7,
            ),
            (r#"{"pid":null}"#, 0),
        ] {
            assert_eq!(of(null).map(|info| info.pid), Some(pid), "{null}");
        }
        assert!(of(r#"{"pid":"seven"}"#).is_none() && of("null").is_none() && of("{").is_none());
    }
}
