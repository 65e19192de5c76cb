//! Paths of sockets, checked.

use gantry_plugin_api::schemars::JsonSchema;
use gantry_plugin_api::serde::de::Error as _;
use gantry_plugin_api::serde::{Deserialize, Deserializer, Serialize};
use std::path::{Component, Path};

/// Of a socket's path (unix(7), `sun_path`).
const MAX_PATH: usize = 107;

/// Each socket costs a session, and a thread where the way to it hangs.
const MAX_SOCKETS: usize = 16;

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
    /// These; a single one stands for itself.
    pub fn of(paths: &[&str]) -> Self {
        match paths {
            [one] => Self::One((*one).to_owned()),
            several => Self::Several(several.iter().map(|&path| path.to_owned()).collect()),
        }
    }

    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(socket) => std::slice::from_ref(socket),
            Self::Several(sockets) => sockets,
        }
    }

    fn check(&self) -> Result<(), String> {
        let all = self.all();
        if all.is_empty() {
            return Err("there is no socket; name one, or write enabled = false to ask nobody".to_owned());
        }
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

/// Reads them.
pub fn checked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sockets, D::Error> {
    let sockets = Sockets::deserialize(deserializer)?;
    sockets.check().map_err(D::Error::custom)?;
    Ok(sockets)
}
