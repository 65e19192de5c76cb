//! containerd over its own API: what it runs for others than the kubelet and
//! Docker, as nerdctl, `ctr`, Nomad or BuildKit have it.
//!
//! # Layout
//! * [`source`]: what a session asks, and what its answers mean for it.
//! * [`client`]: the requests; [`api`]: their messages.
//! * [`list`]: what there is; [`events`]: what changes; [`namespaces`]: which
//!   of them are asked about, and in which one a container is.
//! * [`describe`]: what of the descriptions is told; [`spec`]: what of them is
//!   OCI's; [`nerdctl`]: what its labels add.

pub mod api;
pub mod client;
pub mod describe;
pub mod events;
pub mod list;
pub mod namespaces;
pub mod nerdctl;
pub mod source;
pub mod spec;

use crate::provider::door::Door;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::{Again, Ended, Provider, session};
use client::Client;
use namespaces::Asked;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// As the manifest and [`gantry_plugin_api::Container::runtime`] name it.
pub const RUNTIME: &str = "containerd";

/// The kinds of its requests.
pub const REQUESTS: [&str; 5] =
    [client::VERSION, client::EVENTS, client::LIST, client::INSPECT, client::TASK];

/// As the host calls what may be its own without its path saying so: below
/// `kubepods` lies what the CRI tells of.
pub const UNSAID: [&str; 1] = ["oci"];

/// One containerd.
#[derive(Debug)]
pub struct Containerd {
    door: Door,
    deadline: Duration,
    /// The namespaces that were there last: what the host wants is looked for in
    /// them, before they are listed anew.
    asked: Asked,
}

impl Containerd {
    /// The one at a socket. A request may take so long.
    pub fn new(door: Door, deadline: Duration) -> Self {
        Self { door, deadline, asked: Asked::default() }
    }
}

impl Provider for Containerd {
    fn runtime(&self) -> &'static str {
        RUNTIME
    }

    fn door(&self) -> &Door {
        &self.door
    }

    async fn session(&mut self, link: &Arc<Link>) -> Result<Infallible, Ended> {
        let client = Client::connect(&self.door, self.deadline, Arc::clone(link)).await?;
        match client.version().await {
            Ok(()) => session::run(source::Source::new(client, self.asked.clone())).await,
            Err(failed) if failed.outcome == Outcome::Unsupported => Err(Ended {
                request: client::VERSION,
                outcome: Outcome::Unsupported,
                detail: "no containerd answers there: take the socket out of containerd.socket".to_owned(),
                again: Again::Rarely,
            }),
            Err(failed) => Err(failed.into_ended(client::VERSION)),
        }
    }
}
