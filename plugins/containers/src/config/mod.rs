//! The plugin's configuration.

mod section;
mod sockets;

pub use section::{Section, Where};
pub use sockets::Sockets;

use gantry_plugin_api::schemars::JsonSchema;
use gantry_plugin_api::serde::{Deserialize, Serialize};

/// `[plugins.containers.config]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "gantry_plugin_api::serde")]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Config {
    /// Whether metrics of containers are shown. Without them the plugin tells
    /// the host of containers, and shows only how that goes.
    pub metrics: bool,
    /// Docker.
    pub docker: Section<Docker>,
    /// Podman: root's; a user's listens at `/run/user/UID/podman/podman.sock`.
    pub podman: Section<Podman>,
    /// Whether users' Podmans are looked for at `/run/user/UID/podman/podman.sock`,
    /// and asked as they come and go: 16 at most. What users run is shown where the
    /// host's `user_slices` says so.
    pub podman_users: bool,
    /// Kubernetes' runtimes, containerd and CRI-O.
    pub cri: Section<Cri>,
    /// containerd's own API: what it runs for others than the kubelet and Docker.
    pub containerd: Section<Containerd>,
    /// systemd: the bus that it is on, or `/run/systemd/private`.
    pub systemd: Section<Systemd>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            metrics: true,
            docker: Section::default(),
            podman: Section::default(),
            podman_users: false,
            cri: Section::default(),
            containerd: Section::default(),
            systemd: Section::default(),
        }
    }
}

/// Where Docker listens by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Docker;
impl Where for Docker {
    const SOCKETS: &'static [&'static str] = &["/run/docker.sock"];
}

/// Where root's Podman listens by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Podman;
impl Where for Podman {
    const SOCKETS: &'static [&'static str] = &["/run/podman/podman.sock"];
}

/// Where containerd and CRI-O listen by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Cri;
impl Where for Cri {
    const SOCKETS: &'static [&'static str] = &["/run/containerd/containerd.sock", "/run/crio/crio.sock"];
}

/// Where containerd listens by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Containerd;
impl Where for Containerd {
    const SOCKETS: &'static [&'static str] = &["/run/containerd/containerd.sock"];
}

/// Where the system's message bus listens by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Systemd;
impl Where for Systemd {
    const SOCKETS: &'static [&'static str] = &["/run/dbus/system_bus_socket"];
}
