//! What a session asks over CRI: the lists, a status each, and events.

use super::api::Event;
use super::client::{Client, EVENTS, STATUS, VERSION};
use super::describe;
use super::events;
use super::info::{self, Info};
use super::list::{Listing, Part};
use super::pods::{Pod, Pods};
use crate::grpc::listening::{Listening, Opening};
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::source::{self, Change, Listed, Look};
use crate::provider::{Ended, Failed, is_id};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A runtime that was asked for its version.
pub struct Source {
    client: Client,
    events: Listening<Event>,
    listing: Listing,
    pods: Pods,
}

impl Source {
    /// Listens to events where that may be done.
    pub fn new(client: Client, listen: bool) -> Self {
        let opening: Option<Opening<Event>> = if listen { Some(Box::pin(client.events())) } else { None };
        let events = Listening::new(EVENTS, opening);
        Self { client, events, listing: Listing::default(), pods: Pods::default() }
    }
}

impl source::Source for Source {
    type Part = Part;
    const LOOK: &'static str = STATUS;

    fn link(&self) -> &Arc<Link> {
        self.client.link()
    }

    fn deadline(&self) -> Duration {
        self.client.grpc().deadline()
    }

    fn begin_list(&mut self) {
        self.listing.begin();
    }

    fn part(&self) -> impl Future<Output = Result<Part, Failed>> + Send + 'static {
        self.listing.part(self.client.clone())
    }

    fn take_part(&mut self, part: Result<Part, Failed>) -> Result<Listed, Ended> {
        self.listing.take(part, self.client.link())
    }

    fn look(&self, id: &str) -> impl Future<Output = Look> + Send + 'static {
        let asking = Asking { client: self.client.clone(), pods: self.pods.clone(), id: id.to_owned() };
        let sandbox = self.listing.is_sandbox(id);
        async move { asking.look(sandbox).await }
    }

    fn lives(&self) -> impl Future<Output = Result<(), Ended>> + Send + 'static {
        let client = self.client.clone();
        async move { client.version().await.map(drop).map_err(|failed| failed.into_ended(VERSION)) }
    }

    async fn change(&mut self) -> Result<Change, Ended> {
        let link = Arc::clone(self.client.link());
        self.events.next(self.client.grpc(), |event| events::change(event, &link)).await
    }

    fn removed(&mut self, id: &str) {
        self.pods.forget(id);
        self.listing.forget(id);
    }
}

/// One look.
struct Asking {
    client: Client,
    pods: Pods,
    id: String,
}

impl Asking {
    /// The host does not say whether it wants a container or a sandbox.
    async fn look(self, sandbox: bool) -> Look {
        let first = if sandbox { self.sandbox().await } else { self.container().await };
        match first {
            Look::Gone if sandbox => self.container().await,
            Look::Gone => self.sandbox().await,
            look => look,
        }
    }

    async fn container(&self) -> Look {
        let mut answer = self.client.container(&self.id, true).await;
        if answer.as_ref().is_err_and(is_unreadable) {
            self.incomplete();
            answer = self.client.container(&self.id, false).await;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(failed) => return missing(&failed),
        };
        let Some(status) = answer.status.filter(|status| status.id == self.id) else { return Look::Unclear };
        let info = self.info(&answer.info);
        let pod = match self.sandbox_of(&info).await {
            Ok(Some(sandbox)) => self.pod(&sandbox).await,
            Ok(None) => Ok(None),
            Err(failed) => Err(failed),
        };
        if !matches!(pod, Ok(Some(_))) {
            self.incomplete();
        }
        let is_final = pod.is_ok();
        let pod = pod.ok().flatten().unwrap_or_default();
        let told = Box::new(describe::container(status, info, &pod, self.client.link()));
        // Its pod's uid and network may be had the next time.
        if is_final { Look::Known(told) } else { Look::Partly(told) }
    }

    async fn sandbox(&self) -> Look {
        let mut answer = self.client.sandbox(&self.id, true).await;
        if answer.as_ref().is_err_and(is_unreadable) {
            self.incomplete();
            answer = self.client.sandbox(&self.id, false).await;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(failed) => return missing(&failed),
        };
        let Some(status) = answer.status.filter(|status| status.id == self.id) else { return Look::Unclear };
        let info = self.info(&answer.info);
        let pod = self.pods.put(&self.id, Pod::of(&status));
        Look::Known(Box::new(describe::sandbox(status, &info, &pod, self.client.link())))
    }

    fn info(&self, info: &BTreeMap<String, String>) -> Info {
        info::read(info).unwrap_or_else(|| {
            self.incomplete();
            Info::default()
        })
    }

    /// The status does not say it: the rest does, or else the list.
    async fn sandbox_of(&self, info: &Info) -> Result<Option<String>, Failed> {
        if is_id(&info.sandbox) {
            return Ok(Some(info.sandbox.clone()));
        }
        let rows = self.client.row(&self.id).await?.rows;
        let row = rows.into_iter().find(|row| row.id == self.id);
        Ok(row.map(|row| row.sandbox).filter(|id| is_id(id)))
    }

    /// `None` where the runtime does not have it any more.
    async fn pod(&self, sandbox: &str) -> Result<Option<Arc<Pod>>, Failed> {
        if let Some(pod) = self.pods.get(sandbox) {
            return Ok(Some(pod));
        }
        let status = match self.client.sandbox(sandbox, false).await {
            Ok(answer) => answer.status,
            Err(failed) if failed.outcome == Outcome::NotFound => None,
            Err(failed) => return Err(failed),
        };
        let status = status.filter(|status| status.id == sandbox);
        Ok(status.map(|status| self.pods.put(sandbox, Pod::of(&status))))
    }

    fn incomplete(&self) {
        self.client.link().losses().add(Loss::Description, 1);
    }
}

fn is_unreadable(failed: &Failed) -> bool {
    matches!(failed.outcome, Outcome::TooLarge | Outcome::Malformed)
}

fn missing(failed: &Failed) -> Look {
    if failed.outcome == Outcome::NotFound { Look::Gone } else { Look::Unclear }
}
