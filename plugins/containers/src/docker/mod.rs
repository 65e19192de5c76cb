//! Docker, as a provider of metadata.
//!
//! # Layout
//! * [`session`]: from the first request to the end of a connection.
//! * [`client`]: the requests, over [`transport`]; [`events`]: what changes;
//!   [`list`]: what there is.
//! * [`describe`]: what of Docker's descriptions is told.

pub mod client;
pub mod describe;
pub mod events;
pub mod list;
pub mod session;
pub mod transport;

use crate::provider::link::Link;
use crate::provider::{Ended, Provider};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// As the manifest and [`gantry_plugin_api::Container::runtime`] name it.
pub const RUNTIME: &str = "docker";

/// The kinds of its requests.
pub const REQUESTS: [&str; 4] = [client::VERSION, client::EVENTS, client::LIST, client::INSPECT];

/// One Docker.
#[derive(Debug)]
pub struct Docker {
    /// Where it listens, in the agent's own view.
    pub socket: PathBuf,
    /// How long one request may take.
    pub deadline: Duration,
}

impl Provider for Docker {
    fn runtime(&self) -> &'static str {
        RUNTIME
    }

    fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    async fn session(&mut self, link: &Arc<Link>) -> Result<Infallible, Ended> {
        let client = client::Client::connect(self.socket.clone(), self.deadline, Arc::clone(link)).await?;
        session::run(client).await
    }
}

/// Whether this is an id of a container: 64 hexadecimal digits. Another text
/// would become part of a path.
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
