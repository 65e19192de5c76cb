//! What a session asks of Podman.

use super::own::Own;
use crate::docker::client::Client;
use crate::docker::source::Source as Docker;
use crate::provider::link::Link;
use crate::provider::source::{self, Change, Listed, Look};
use crate::provider::{Ended, Failed};
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
    const LOOK: &'static str = Docker::LOOK;

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
        let (own, id, look) = (self.own.clone(), id.to_owned(), self.docker.look(id));
        async move {
            match look.await {
                // Its log driver and its pod may be had the next time.
                Look::Known(mut container) => match own.add(&id, &mut container).await {
                    Ok(()) => Look::Known(container),
                    Err(_) => Look::Partly(container),
                },
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
