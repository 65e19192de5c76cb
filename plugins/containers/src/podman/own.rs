//! Podman's own API, of which one request says all of a container: what Docker's
//! says too, its pod, whether it does nothing but hold that pod's namespaces, and
//! where its log is.

use super::described::Described;
use crate::docker::client::Client;
use crate::docker::describe;
use crate::provider::bounds::Loss;
use crate::provider::outcome::Outcome;
use crate::provider::source::Look;
use crate::provider::{Failed, is_id};
use gantry_plugin_api::serde::Deserialize;
use gantry_plugin_api::serde::de::DeserializeOwned;
use gantry_plugin_api::serde_json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How its requests are counted.
pub const REQUEST: &str = "libpod";

/// Of one that does not say which it speaks: newer ones take it.
const OLDEST: &str = "4.0.0";

/// As Docker's description, with arguments and environment in it.
const LIMIT: u64 = 4 << 20;

/// The log driver whose file has a time, a stream and a tag before each line,
/// as the kubelet's have. Podman tells Docker's clients that it is `json-file`.
const K8S_FILE: &str = "k8s-file";

/// Pods whose names are remembered, of which a machine runs some ten. A pod
/// keeps its name; of those beyond, each container asks anew.
const MOST_PODS: usize = 4096;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct Pod {
    name: String,
}

/// Podman's own API. Clones share what they learned.
#[derive(Clone)]
pub struct Own {
    client: Client,
    /// As paths begin with it.
    version: String,
    /// By id.
    pods: Arc<Mutex<HashMap<String, String>>>,
}

impl Own {
    /// In the version that it says it speaks.
    pub fn new(client: Client, version: &str) -> Self {
        let numbers = version.split('.').filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        let version = if numbers.count() == 3 { version } else { OLDEST };
        Self { client, version: format!("/v{version}/libpod"), pods: Arc::default() }
    }

    /// One container; `None` where this API does not have it.
    ///
    /// # Errors
    /// Where nothing can be had now, which is counted.
    pub async fn look(&self, id: &str) -> Result<Option<Look>, Failed> {
        let Some(own) = self.ask::<Described>(&format!("containers/{id}/json")).await? else {
            return Ok(None);
        };
        let link = self.client.link();
        let losses = link.losses();
        let (pod, is_infra, log) = (own.pod.clone(), own.is_infra, own.log());
        let mut container = describe::inspected(id, own.into_docker_s(), link);
        if log.r#type == K8S_FILE {
            container.log_path = losses.text(log.path);
        }
        container.log_driver = losses.text(log.r#type);
        let mut is_whole = true;
        if is_id(&pod) {
            let name = self.pod(&pod).await;
            // Its name may be had the next time.
            is_whole = name.is_ok();
            // No `pod`: that is one of Kubernetes, in a namespace.
            let kind = if is_infra { "sandbox" } else { "podman_pod" };
            let name = name.ok().flatten().unwrap_or(pod);
            container.names.insert(kind.to_owned(), losses.text(name));
        }
        let container = Box::new(container);
        Ok(Some(if is_whole { Look::Known(container) } else { Look::Partly(container) }))
    }

    /// What a pod is called, where it has a name.
    async fn pod(&self, id: &str) -> Result<Option<String>, Failed> {
        if let Some(name) = self.pods().get(id) {
            return Ok(Some(name.clone()));
        }
        let pod = self.ask::<Pod>(&format!("pods/{id}/json")).await?;
        let Some(name) = pod.map(|pod| pod.name).filter(|name| !name.is_empty()) else { return Ok(None) };
        let name = self.client.link().losses().text(name);
        let mut pods = self.pods();
        if pods.len() < MOST_PODS {
            pods.insert(id.to_owned(), name.clone());
        }
        Ok(Some(name))
    }

    /// Each change is one call.
    fn pods(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` where it does not have that.
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
