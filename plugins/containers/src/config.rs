//! The plugin's configuration.

use gantry_plugin_api::HumanDuration;
use gantry_plugin_api::schemars::JsonSchema;
use gantry_plugin_api::serde::de::Error as _;
use gantry_plugin_api::serde::{Deserialize, Deserializer, Serialize};
use std::ops::RangeInclusive;
use std::path::{Component, Path};
use std::time::Duration;

/// Shorter, a Docker under load would be called hung; longer, a container would
/// be shown without its name before one that hangs is given up.
const DEADLINES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// Of a socket's path (unix(7), `sun_path`).
const MAX_PATH: usize = 107;

/// Each socket costs a thread.
const MAX_SOCKETS: usize = 16;

/// `[plugins.containers.config]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "gantry_plugin_api::serde")]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Config {
    /// Whether metrics of containers are shown. Without them the plugin tells
    /// the host of containers, and shows only how that goes.
    pub metrics: bool,
    /// Docker.
    pub docker: Docker,
    /// systemd.
    pub systemd: Systemd,
}

/// `[plugins.containers.config.docker]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "gantry_plugin_api::serde")]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Docker {
    /// Whether Docker is asked.
    pub enabled: bool,
    /// Its socket, or a list of them, beneath the node's root directory. One
    /// that is not there is waited for.
    #[serde(deserialize_with = "checked::sockets")]
    pub socket: Sockets,
    /// How long one request may take: 100ms to 60s.
    #[serde(deserialize_with = "checked::deadline")]
    pub deadline: HumanDuration,
}

/// `[plugins.containers.config.systemd]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "gantry_plugin_api::serde")]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Systemd {
    /// Whether systemd is asked.
    pub enabled: bool,
    /// The socket of the bus that it is on, or its own, or a list of them,
    /// beneath the node's root directory. One that is not there is waited for.
    #[serde(deserialize_with = "checked::sockets")]
    pub socket: Sockets,
    /// How long one request may take: 100ms to 60s.
    #[serde(deserialize_with = "checked::deadline")]
    pub deadline: HumanDuration,
}

/// One socket or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, crate = "gantry_plugin_api::serde")]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub enum Sockets {
    /// One.
    One(String),
    /// Several, each asked for itself.
    Several(Vec<String>),
}

impl Sockets {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(socket) => std::slice::from_ref(socket),
            Self::Several(sockets) => sockets,
        }
    }

    fn check(&self) -> Result<(), String> {
        let all = self.all();
        if all.len() > MAX_SOCKETS {
            return Err(format!("there are {} sockets; at most {MAX_SOCKETS} can be asked", all.len()));
        }
        for (at, socket) in all.iter().enumerate() {
            let path = Path::new(socket);
            let up = path.components().any(|part| part == Component::ParentDir);
            if !path.is_absolute() || up || socket.contains('\0') {
                return Err(
                    "a socket is an absolute path without parent directories, as /run/docker.sock".to_owned()
                );
            }
            if socket.len() > MAX_PATH {
                return Err(format!("a socket's path has at most {MAX_PATH} bytes"));
            }
            if all[..at].contains(socket) {
                return Err("a socket stands there twice".to_owned());
            }
        }
        Ok(())
    }
}

impl Config {
    /// The runtimes that are asked, each with a socket of its.
    pub fn sockets(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let docker = self.docker.socket.all().iter().filter(|_| self.docker.enabled);
        let systemd = self.systemd.socket.all().iter().filter(|_| self.systemd.enabled);
        let docker = docker.map(|socket| (crate::docker::RUNTIME, socket));
        docker.chain(systemd.map(|socket| (crate::systemd::RUNTIME, socket)))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { metrics: true, docker: Docker::default(), systemd: Systemd::default() }
    }
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            enabled: true,
            socket: Sockets::One("/run/docker.sock".to_owned()),
            deadline: HumanDuration(Duration::from_secs(5)),
        }
    }
}

impl Default for Systemd {
    fn default() -> Self {
        Self {
            enabled: true,
            socket: Sockets::One("/run/dbus/system_bus_socket".to_owned()),
            deadline: HumanDuration(Duration::from_secs(5)),
        }
    }
}

/// Each key is checked where it is read, so that the host refuses a wrong one
/// with the whole file, before anything changes.
mod checked {
    use super::*;

    pub(super) fn sockets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sockets, D::Error> {
        let sockets = Sockets::deserialize(deserializer)?;
        sockets.check().map_err(D::Error::custom)?;
        Ok(sockets)
    }

    pub(super) fn deadline<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HumanDuration, D::Error> {
        let deadline = HumanDuration::deserialize(deserializer)?;
        if DEADLINES.contains(&deadline.0) {
            return Ok(deadline);
        }
        Err(D::Error::custom("must be between 100ms and 60s"))
    }
}
