//! What a session asks of containerd: the lists, a container and its process
//! each, and events.

use super::api::Envelope;
use super::client::{Client, EVENTS, INSPECT, VERSION};
use super::describe;
use super::events;
use super::list::{Listing, Part};
use super::namespaces::{self, Asked};
use super::spec::Spec;
use crate::grpc::listening::Listening;
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::source::{self, Change, Listed, Look};
use crate::provider::{Ended, Failed};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A containerd that was asked for its version.
pub struct Source {
    client: Client,
    events: Listening<Envelope>,
    listing: Listing,
    asked: Asked,
}

impl Source {
    /// Listens to events. These namespaces were known before.
    pub fn new(client: Client, asked: Asked) -> Self {
        let events = Listening::new(EVENTS, Some(client.events()));
        Self { client, events, listing: Listing::default(), asked }
    }
}

impl source::Source for Source {
    type Part = Part;
    const LOOK: &'static str = INSPECT;

    fn link(&self) -> &Arc<Link> {
        self.client.link()
    }

    fn deadline(&self) -> Duration {
        self.client.grpc().deadline()
    }

    fn is_id(text: &str) -> bool {
        namespaces::is_name(text)
    }

    fn begin_list(&mut self) {
        self.listing.begin();
    }

    fn part(&self) -> impl Future<Output = Result<Part, Failed>> + Send + 'static {
        self.listing.part(self.client.clone())
    }

    fn take_part(&mut self, part: Result<Part, Failed>) -> Result<Listed, Ended> {
        self.listing.take(part, &self.asked, self.client.link())
    }

    fn look(&self, id: &str) -> impl Future<Output = Look> + Send + 'static {
        let (client, asked, id) = (self.client.clone(), self.asked.clone(), id.to_owned());
        async move { look(&client, &asked, &id).await }
    }

    fn lives(&self) -> impl Future<Output = Result<(), Ended>> + Send + 'static {
        let client = self.client.clone();
        async move { client.version().await.map_err(|failed| failed.into_ended(VERSION)) }
    }

    async fn change(&mut self) -> Result<Change, Ended> {
        let (link, asked) = (Arc::clone(self.client.link()), self.asked.clone());
        self.events.next(self.client.grpc(), |event| events::change(event, &asked, &link)).await
    }

    fn removed(&mut self, id: &str) {
        self.listing.forget(id);
    }
}

/// In each namespace in which it may be. Nobody says in which one it is: the
/// host does not know, and an id is of one alone.
async fn look(client: &Client, asked: &Asked, id: &str) -> Look {
    let mut unclear = false;
    for namespace in asked.of(id) {
        match client.container(&namespace, id).await {
            Ok(Some(container)) => return found(client, &namespace, container).await,
            Ok(None) => unclear = true,
            Err(failed) => unclear |= failed.outcome != Outcome::NotFound,
        }
    }
    if unclear { Look::Unclear } else { Look::Gone }
}

async fn found(client: &Client, namespace: &str, container: super::api::Container) -> Look {
    let link = client.link();
    let spec = Spec::read(container.spec.as_ref()).unwrap_or_else(|| {
        link.losses().add(Loss::Description, 1);
        Spec::default()
    });
    // Its shim answers, and one that hangs takes nothing from the rest.
    let process = client.process(namespace, &container.id).await;
    let is_whole = process.is_ok();
    if !is_whole {
        link.losses().add(Loss::Description, 1);
    }
    let told = describe::container(namespace, container, spec, process.ok().flatten(), link);
    if is_whole { Look::Known(Box::new(told)) } else { Look::Partly(Box::new(told)) }
}
