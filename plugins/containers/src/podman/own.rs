//! What Podman's own API says of a container: its pod, whether it does nothing
//! but hold that pod's namespaces, and where its log is. The meaning of each
//! field: Podman's API reference, `ContainerInspectLibpod` and `PodInspectLibpod`.

use crate::docker::client::Client;
use crate::provider::bounds::Loss;
use crate::provider::outcome::Outcome;
use crate::provider::{Failed, is_id};
use gantry_plugin_api::Container;
use gantry_plugin_api::serde::Deserialize;
use gantry_plugin_api::serde::de::DeserializeOwned;
use gantry_plugin_api::serde_json;

/// How its requests are counted.
pub const REQUEST: &str = "libpod";

/// Of one that does not say which it speaks: newer ones take it.
const OLDEST: &str = "4.0.0";

/// As Docker's description, with arguments and environment in it.
const LIMIT: u64 = 4 << 20;

/// The log driver whose file has a time, a stream and a tag before each line,
/// as the kubelet's have. Podman tells Docker's clients that it is `json-file`.
const K8S_FILE: &str = "k8s-file";

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct Described {
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

/// Podman's own API, of which a container is asked after Docker's.
#[derive(Clone)]
pub struct Own {
    client: Client,
    /// As paths begin with it.
    version: String,
}

impl Own {
    /// In the version that it says it speaks.
    pub fn new(client: Client, version: &str) -> Self {
        let numbers = version.split('.').filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        let version = if numbers.count() == 3 { version } else { OLDEST };
        Self { client, version: format!("/v{version}/libpod") }
    }

    /// Adds it to what is known. What the container does not have is left out.
    ///
    /// # Errors
    /// Where not all of it can be had now, which is counted.
    pub async fn add(&self, id: &str, container: &mut Container) -> Result<(), Failed> {
        let losses = self.client.link().losses();
        // What Docker's API says of the log is of another driver.
        container.log_driver.clear();
        container.log_path.clear();
        let Some(own) = self.ask::<Described>(&format!("containers/{id}/json")).await? else { return Ok(()) };
        let LogConfig { r#type, path } = own.host_config.log_config;
        if r#type == K8S_FILE {
            container.log_path = losses.text(path);
        }
        container.log_driver = losses.text(r#type);
        if !is_id(&own.pod) {
            return Ok(());
        }
        let pod = self.ask::<Pod>(&format!("pods/{}/json", own.pod)).await;
        let name = pod.as_ref().ok().and_then(Option::as_ref).map(|pod| pod.name.clone()).unwrap_or_default();
        // No `pod`: that is one of Kubernetes, in a namespace.
        let kind = if own.is_infra { "sandbox" } else { "podman_pod" };
        let name = losses.text(if name.is_empty() { own.pod } else { name });
        container.names.insert(kind.to_owned(), name);
        pod.map(drop)
    }

    /// `None` where it is removed meanwhile, which an event tells.
    async fn ask<T: DeserializeOwned>(&self, what: &str) -> Result<Option<T>, Failed> {
        let answer = self.client.get(REQUEST, &format!("{}/{what}", self.version), LIMIT).await;
        let found = match answer {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|_| Failed { outcome: Outcome::Malformed, detail: String::new() }),
            Err(failed) if failed.outcome == Outcome::NotFound => return Ok(None),
            Err(failed) => Err(failed),
        };
        if found.is_err() {
            self.client.link().losses().add(Loss::Description, 1);
        }
        found.map(Some)
    }
}
