//! systemd, as a provider of metadata: what it knows of its units.
//!
//! # Layout
//! * [`session`]: from the first request to the end of a connection; [`queue`]:
//!   which units are looked at.
//! * [`client`]: the requests, over [`transport`]; [`signals`]: what changes.
//! * [`describe`]: what of a unit is told. [`names`]: units and their cgroups.

pub mod client;
pub mod describe;
pub mod names;
pub mod queue;
pub mod session;
pub mod signals;
pub mod transport;

use crate::provider::door::Door;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::{Ended, Provider};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// As the manifest and [`gantry_plugin_api::Container::runtime`] name it.
pub const RUNTIME: &str = "systemd";

/// The kinds of its requests, by the names that Docker's have.
pub const REQUESTS: [&str; 4] = [client::VERSION, client::EVENTS, client::LIST, client::INSPECT];

/// What is missing without it; units have their names from their cgroups.
pub const LACK: &str = "units that run once or on a timer are shown among the others until it answers";

/// One systemd.
#[derive(Debug)]
pub struct Systemd {
    door: Door,
    deadline: Duration,
    /// The last list was longer than is read, which ended its session.
    list_too_large: bool,
}

impl Systemd {
    /// The one at a socket: of a message bus, or of
    /// systemd itself. A request may take so long.
    pub fn new(door: Door, deadline: Duration) -> Self {
        Self { door, deadline, list_too_large: false }
    }
}

impl Provider for Systemd {
    fn runtime(&self) -> &'static str {
        RUNTIME
    }

    fn door(&self) -> &Door {
        &self.door
    }

    async fn session(&mut self, link: &Arc<Link>) -> Result<Infallible, Ended> {
        let (client, signals) = client::Client::connect(&self.door, self.deadline, Arc::clone(link)).await?;
        let Err(ended) = session::run(client, signals, !self.list_too_large).await;
        // Without a list the host's wishes tell which units there are.
        self.list_too_large |= ended.request == client::LIST && ended.outcome == Outcome::TooLarge;
        Err(ended)
    }
}
