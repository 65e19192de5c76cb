//! What Podman's own API says of a container: its pod, whether it does nothing
//! but hold that pod's namespaces, and where its log is. The meaning of each
//! field: Podman's API reference, `ContainerInspectLibpod` and `PodInspectLibpod`.

use crate::docker::client::Client;
use crate::provider::bounds::Loss;
use crate::provider::is_id;
use crate::provider::outcome::Outcome;
use gantry_plugin_api::Container;
use gantry_plugin_api::serde::Deserialize;
use gantry_plugin_api::serde::de::DeserializeOwned;
use gantry_plugin_api::serde_json;

/// How its requests are counted.
pub const REQUEST: &str = "libpod";

/// The oldest version that is still spoken; a newer Podman takes it.
const VERSION: &str = "/v4.0.0/libpod";

/// As Docker's description, with arguments and environment in it.
const LIMIT: u64 = 4 << 20;

/// The log driver whose file has a time, a stream and a tag before each line,
/// as the kubelet's have. Podman tells Docker's clients that it is `json-file`.
const K8S_FILE: &str = "k8s-file";

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct Own {
    pod: String,
    is_infra: bool,
    host_config: HostConfig,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct HostConfig {
    log_config: LogConfig,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct LogConfig {
    r#type: String,
    path: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct Pod {
    name: String,
}

/// Adds it to what is known. What cannot be had is left out, and counted.
pub async fn add(client: &Client, id: &str, container: &mut Container) {
    let losses = client.link().losses();
    // What Docker's API says of the log is of another driver.
    container.log_driver.clear();
    container.log_path.clear();
    let Some(own) = ask::<Own>(client, &format!("containers/{id}/json")).await else { return };
    let LogConfig { r#type, path } = own.host_config.log_config;
    if r#type == K8S_FILE {
        container.log_path = losses.text(path);
    }
    container.log_driver = losses.text(r#type);
    if !is_id(&own.pod) {
        return;
    }
    let pod = ask::<Pod>(client, &format!("pods/{}/json", own.pod)).await.unwrap_or_default().name;
    // No `pod`: that is one of Kubernetes, in a namespace.
    let kind = if own.is_infra { "sandbox" } else { "podman_pod" };
    container.names.insert(kind.to_owned(), losses.text(if pod.is_empty() { own.pod } else { pod }));
}

async fn ask<T: DeserializeOwned>(client: &Client, what: &str) -> Option<T> {
    let answer = client.get(REQUEST, &format!("{VERSION}/{what}"), LIMIT).await;
    let found = match answer {
        Ok(bytes) => serde_json::from_slice(&bytes).ok(),
        // It is removed meanwhile, which an event tells.
        Err(failed) if failed.outcome == Outcome::NotFound => return None,
        Err(_) => None,
    };
    if found.is_none() {
        client.link().losses().add(Loss::Description, 1);
    }
    found
}
