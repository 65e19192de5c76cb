//! What a session asks of Podman: of each container its own API, and Docker's where
//! that does not answer; events and the list over Docker's, which Podman has too.

use super::own::{self, Own};
use crate::docker::client::Client;
use crate::docker::source::Source as Docker;
use crate::provider::link::Link;
use crate::provider::source::{self, Change, Listed, Look};
use crate::provider::{Ended, Failed};
use gantry_plugin_api::Container;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A Podman whose events are listened to.
pub struct Source {
    own: Own,
    docker: Docker,
}

impl Source {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where Podman does not answer, or refuses.
    pub async fn open(client: Client, own: Own) -> Result<Self, Ended> {
        Ok(Self { docker: Docker::open(client).await?, own })
    }
}

impl source::Source for Source {
    type Part = <Docker as source::Source>::Part;
    const LOOK: &'static str = own::REQUEST;

    fn link(&self) -> &Arc<Link> {
        self.docker.link()
    }

    fn deadline(&self) -> Duration {
        self.docker.deadline()
    }

    fn begin_list(&mut self) {
        self.docker.begin_list();
    }

    fn part(&self) -> impl Future<Output = Result<Self::Part, Failed>> + Send + 'static {
        self.docker.part()
    }

    fn take_part(&mut self, part: Result<Self::Part, Failed>) -> Result<Listed, Ended> {
        self.docker.take_part(part)
    }

    fn look(&self, id: &str) -> impl Future<Output = Look> + Send + 'static {
        let (own, id, docker_s) = (self.own.clone(), id.to_owned(), self.docker.look(id));
        async move {
            match own.look(&id).await {
                Ok(Some(look)) => look,
                // What stands before the socket may let Docker's requests through alone.
                Ok(None) => match docker_s.await {
                    Look::Known(container) => Look::Known(without_log(container)),
                    look => look,
                },
                // Its log driver and its pod may be had the next time.
                Err(_) => match docker_s.await {
                    Look::Known(container) => Look::Partly(without_log(container)),
                    look => look,
                },
            }
        }
    }

    fn lives(&self) -> impl Future<Output = Result<(), Ended>> + Send + 'static {
        self.docker.lives()
    }

    async fn change(&mut self) -> Result<Change, Ended> {
        self.docker.change().await
    }
}

/// What Docker's API says of the log is of another driver.
fn without_log(mut container: Box<Container>) -> Box<Container> {
    container.log_driver.clear();
    container.log_path.clear();
    container
}
