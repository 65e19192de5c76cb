//! The control socket: HTTP over a Unix socket, for whoever runs the agent.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/plugins`, `/v1/containers` | a table |
//! | `GET /v1/plugins/NAME/views`, `/v1/plugins/NAME/views/VIEW` | a table |
//! | `POST /v1/reload` | a report |
//! | `GET /v1/plugins/NAME/history` | a table |
//! | `POST /v1/plugins/NAME/{enable,disable,rollback}` (`?until_restart`) | a report |
//! | `POST /v1/plugins/NAME/upgrade?file=PATH` (`&until_restart`) | a report |
//! | `POST /v1/plugins/NAME/restart` | a report |
//! | `POST /v1/log-level?level=LEVEL` (`&plugin=NAME`) | a report |
//!
//! A table is as `tables` says, a report is `{"lines": [{"text", "bad"}, …]}`;
//! what is refused answers with `{"error": [TEXT, …]}` and another status than
//! 200. The number in the path is that of the protocol; another is refused by
//! name, so that a `gantry` of another version says what is wrong. So is a request
//! that names another configuration than the agent's, in its header `gantry-config`.

mod client;
mod routes;
mod server;

use std::path::Path;

pub use client::{Asked, Client};
pub use server::{bind, serve};

/// The protocol that this version speaks, on both sides.
pub const PROTOCOL: &str = "v1";

/// Bytes of a Unix socket's path (unix(7): `sun_path` has 108, of which one ends it).
const MOST_PATH: usize = 107;

/// What is wrong with a socket's path that the kernel could not take.
fn too_long(path: &Path) -> Option<String> {
    let length = path.as_os_str().len();
    (length > MOST_PATH).then(|| {
        format!(
            "the control socket's path has {length} bytes and may have {MOST_PATH}; name a shorter one with --socket: {}",
            path.display()
        )
    })
}

/// Every answer carries this header, by which a client knows that an agent answers.
pub const HEADER: &str = "gantry-version";

/// In a request: the configuration that the agent is to have, percent-encoded.
/// One that has another does nothing.
const CONFIG: &str = "gantry-config";
