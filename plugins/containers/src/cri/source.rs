//! What a session asks over CRI: the lists, a status each, and events.

use super::client::{Client, STATUS, VERSION};
use super::describe;
use super::events::Events;
use super::info::{self, Info};
use super::list::{Listing, Part};
use super::pods::{Pod, Pods};
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::source::{self, Change, Listed, Look};
use crate::provider::{Ended, Failed, is_id};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

/// A runtime that was asked for its version.
pub struct Source {
    client: Client,
    events: Events,
    listing: Listing,
    pods: Pods,
}

impl Source {
    /// Listens to events where that may be done.
    pub fn new(client: Client, listen: bool) -> Self {
        let events = Events::new(&client, listen);
        Self { client, events, listing: Listing::default(), pods: Pods::default() }
    }
}

impl source::Source for Source {
    type Part = Part;
    const LOOK: &'static str = STATUS;

    fn link(&self) -> &Arc<Link> {
        self.client.link()
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
        self.events.next(&self.client).await
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
            Some(sandbox) => self.pod(&sandbox).await,
            None => None,
        };
        if pod.is_none() {
            self.incomplete();
        }
        let pod = pod.unwrap_or_default();
        Look::Known(Box::new(describe::container(status, info, &pod, self.client.link())))
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
    async fn sandbox_of(&self, info: &Info) -> Option<String> {
        if is_id(&info.sandbox) {
            return Some(info.sandbox.clone());
        }
        let rows = self.client.row(&self.id).await.ok()?.rows;
        rows.into_iter().find(|row| row.id == self.id).map(|row| row.sandbox).filter(|id| is_id(id))
    }

    async fn pod(&self, sandbox: &str) -> Option<Arc<Pod>> {
        if let Some(pod) = self.pods.get(sandbox) {
            return Some(pod);
        }
        let status = self.client.sandbox(sandbox, false).await.ok()?.status?;
        (status.id == sandbox).then(|| self.pods.put(sandbox, Pod::of(&status)))
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
