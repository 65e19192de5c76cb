//! What a runtime says besides, in JSON of its own: which process, which
//! environment. No API promises it; containerd and CRI-O agree on these names.

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
    pub pid: i64,
    /// A container's sandbox.
    #[serde(rename = "sandboxID")]
    pub sandbox: String,
    /// As the kubelet asked for it (containerd).
    pub config: Config,
    /// As it was told to runc.
    #[serde(rename = "runtimeSpec")]
    pub spec: Spec,
}

/// Of `ContainerConfig`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Config {
    /// The image.
    pub image: Image,
}

/// Of `ImageSpec`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Image {
    /// As the pod asked for it.
    pub user_specified_image: String,
}

/// Of the OCI runtime specification's `config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Spec {
    /// The first process.
    pub process: Process,
}

/// The same.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Process {
    /// `NAME=VALUE`
    pub env: Vec<String>,
}

/// `None` where it is there and makes no sense.
pub fn read(info: &BTreeMap<String, String>) -> Option<Info> {
    match info.get(NAME) {
        Some(text) => serde_json::from_str(text).ok(),
        None => Some(Info::default()),
    }
}
