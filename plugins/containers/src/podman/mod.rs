//! Podman, as a provider of metadata: it speaks Docker's API, and one of its
//! own at the same socket, which says of a container also what Docker's has no
//! place for.
//!
//! # Layout
//! * [`source`]: what a session asks of which of them.
//! * [`own`]: Podman's own; [`described`]: what that says of a container.
//! * [`users`]: those that users run.

pub mod described;
pub mod own;
pub mod source;
pub mod users;

use crate::docker::client::{self, Client};
use crate::provider::door::Door;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::{Again, Ended, Provider, session};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// As the manifest and [`gantry_plugin_api::Container::runtime`] name it.
pub const RUNTIME: &str = "podman";

/// The kinds of its requests.
pub const REQUESTS: [&str; 5] =
    [client::VERSION, client::EVENTS, client::LIST, client::INSPECT, own::REQUEST];

/// One Podman: root's, or a user's.
#[derive(Debug)]
pub struct Podman {
    /// Where it listens.
    pub door: Door,
    /// How long one request may take.
    pub deadline: Duration,
}

impl Provider for Podman {
    fn runtime(&self) -> &'static str {
        RUNTIME
    }

    fn door(&self) -> &Door {
        &self.door
    }

    async fn session(&mut self, link: &Arc<Link>) -> Result<Infallible, Ended> {
        let client = Client::connect(self.door.clone(), self.deadline, Arc::clone(link)).await?;
        let Some(version) = client.podman() else {
            return Err(Ended {
                request: client::VERSION,
                outcome: Outcome::Unsupported,
                detail: "no Podman answers there: take the socket out of podman.socket".to_owned(),
                again: Again::Rarely,
            });
        };
        let own = own::Own::new(client.clone(), version);
        session::run(source::Source::open(client, own).await?).await
    }
}
