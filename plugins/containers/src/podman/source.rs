//! What a session asks of Podman.

use super::own;
use crate::docker::client::Client;
use crate::docker::source::Source as Docker;
use crate::provider::link::Link;
use crate::provider::source::{self, Change, Listed, Look};
use crate::provider::{Ended, Failed};
use std::future::Future;
use std::sync::Arc;

/// A Podman whose events are listened to.
pub struct Source {
    client: Client,
    docker: Docker,
}

impl Source {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where Podman does not answer, or refuses.
    pub async fn open(client: Client) -> Result<Self, Ended> {
        Ok(Self { docker: Docker::open(client.clone()).await?, client })
    }
}

impl source::Source for Source {
    type Part = <Docker as source::Source>::Part;
    const LOOK: &'static str = Docker::LOOK;

    fn link(&self) -> &Arc<Link> {
        self.docker.link()
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
        let (client, id, look) = (self.client.clone(), id.to_owned(), self.docker.look(id));
        async move {
            match look.await {
                Look::Known(mut container) => {
                    own::add(&client, &id, &mut container).await;
                    Look::Known(container)
                }
                look => look,
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
