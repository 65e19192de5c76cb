//! Docker, as a provider of metadata.
//!
//! # Layout
//! * [`source`]: what a session asks, and what its answers mean for it.
//! * [`client`]: the requests, over [`transport`]; [`events`]: what changes;
//!   [`list`]: what there is.
//! * [`describe`]: what of Docker's descriptions is told.

pub mod client;
pub mod describe;
pub mod events;
pub mod list;
pub mod source;
pub mod transport;

use crate::provider::door::Door;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::{Again, Ended, Provider, session};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// As the manifest and [`gantry_plugin_api::Container::runtime`] name it.
pub const RUNTIME: &str = "docker";

/// The kinds of its requests.
pub const REQUESTS: [&str; 4] = [client::VERSION, client::EVENTS, client::LIST, client::INSPECT];

/// One Docker.
#[derive(Debug)]
pub struct Docker {
    /// Where it listens.
    pub door: Door,
    /// How long one request may take.
    pub deadline: Duration,
}

impl Provider for Docker {
    fn runtime(&self) -> &'static str {
        RUNTIME
    }

    fn door(&self) -> &Door {
        &self.door
    }

    async fn session(&mut self, link: &Arc<Link>) -> Result<Infallible, Ended> {
        let client = client::Client::connect(self.door.clone(), self.deadline, Arc::clone(link)).await?;
        if client.podman().is_some() {
            // Two that tell of the same containers would say different things of them.
            let why = "a Podman answers there, as podman-docker has it: it is asked at podman.socket, which must \
                       name this one where that is none of its own";
            return Err(Ended {
                request: client::VERSION,
                outcome: Outcome::Unsupported,
                detail: why.to_owned(),
                again: Again::Unused,
            });
        }
        session::run(source::Source::open(client).await?).await
    }
}
