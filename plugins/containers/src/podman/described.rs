//! What Podman's own API says of a container: the fields that are used, which are
//! Docker's but for a few. The meaning of each: Podman's API reference,
//! `ContainerInspectLibpod`. Not bollard's type for all of it, as fields that
//! are not used have other forms here, which change between versions.

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerState, EndpointSettings, HostConfig, MountPoint,
    NetworkSettings, PortMap,
};
use gantry_plugin_api::serde::Deserialize;
use gantry_plugin_api::serde::de::IgnoredAny;
use std::collections::HashMap;

/// A container.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
pub struct Described {
    name: String,
    image: String,
    /// The id of its pod, where it is in one.
    pub pod: String,
    /// Whether it does nothing but hold that pod's namespaces.
    pub is_infra: bool,
    state: Option<State>,
    config: Option<Config>,
    host_config: Option<Host>,
    mounts: Option<Vec<MountPoint>>,
    network_settings: Option<Network>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct State {
    pid: i64,
    /// In Podman's own time zone.
    started_at: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct Config {
    image: String,
    labels: Option<HashMap<String, String>>,
    env: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct Host {
    network_mode: String,
    tmpfs: Option<HashMap<String, String>>,
    log_config: Option<Log>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct Network {
    ports: Option<PortMap>,
    networks: Option<HashMap<String, IgnoredAny>>,
}

/// Where a container's log goes.
#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
pub struct Log {
    /// Its driver.
    pub r#type: String,
    /// Its file.
    pub path: String,
}

impl Described {
    /// Its log, of which Docker's form has another meaning.
    pub fn log(&self) -> Log {
        self.host_config.as_ref().and_then(|host| host.log_config.clone()).unwrap_or_default()
    }

    /// In Docker's form, without the log.
    pub fn into_docker_s(self) -> ContainerInspectResponse {
        let state = self.state.unwrap_or_default();
        let config = self.config.unwrap_or_default();
        let host = self.host_config.unwrap_or_default();
        let network = self.network_settings.unwrap_or_default();
        let networks = network.networks.unwrap_or_default().into_keys();
        // As Docker has it, and Podman for Docker's clients.
        let image = (!self.image.is_empty()).then(|| format!("sha256:{}", self.image));
        ContainerInspectResponse {
            name: Some(self.name),
            image,
            state: Some(ContainerState {
                pid: Some(state.pid),
                started_at: Some(state.started_at),
                ..ContainerState::default()
            }),
            config: Some(ContainerConfig {
                image: Some(config.image),
                labels: config.labels,
                env: config.env,
                ..ContainerConfig::default()
            }),
            host_config: Some(HostConfig {
                network_mode: Some(host.network_mode),
                tmpfs: host.tmpfs,
                ..HostConfig::default()
            }),
            mounts: self.mounts,
            network_settings: Some(NetworkSettings {
                ports: network.ports,
                networks: Some(networks.map(|name| (name, EndpointSettings::default())).collect()),
                ..NetworkSettings::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }
}
