//! What a session asks of Docker: pages of the list, a description each, and events.

use super::client::{Client, INSPECT, Only, VERSION};
use super::describe;
use super::events::{self, Events};
use super::list::Listing;
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::source::{self, Change, Listed, Look};
use crate::provider::{Ended, Failed};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A Docker whose events are listened to.
pub struct Source {
    client: Client,
    events: Events,
    listing: Listing,
}

impl Source {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where Docker does not answer, or refuses.
    pub async fn open(client: Client) -> Result<Self, Ended> {
        let events = events::open(&client).await?;
        Ok(Self { client, events, listing: Listing::default() })
    }
}

impl source::Source for Source {
    type Part = Vec<String>;
    const LOOK: &'static str = INSPECT;

    fn link(&self) -> &Arc<Link> {
        self.client.link()
    }

    fn deadline(&self) -> Duration {
        self.client.deadline()
    }

    fn begin_list(&mut self) {
        self.listing = Listing::default();
    }

    fn part(&self) -> impl Future<Output = Result<Vec<String>, Failed>> + Send + 'static {
        self.listing.page(self.client.clone())
    }

    fn take_part(&mut self, part: Result<Vec<String>, Failed>) -> Result<Listed, Ended> {
        let (step, ids) = self.listing.take(part, self.client.link())?;
        // One that was looked at since is known already; the second look is cheap.
        Ok(Listed { step, changed: ids, same: Vec::new() })
    }

    fn look(&self, id: &str) -> impl Future<Output = Look> + Send + 'static {
        let (client, id) = (self.client.clone(), id.to_owned());
        async move { look(&client, &id).await }
    }

    fn lives(&self) -> impl Future<Output = Result<(), Ended>> + Send + 'static {
        let client = self.client.clone();
        async move { client.lives().await.map_err(|failed| failed.into_ended(VERSION)) }
    }

    async fn change(&mut self) -> Result<Change, Ended> {
        self.events.next(&self.client).await
    }
}

async fn look(client: &Client, id: &str) -> Look {
    let failed = match client.inspect(id).await {
        Ok(found) => {
            let found = describe::inspected(id, found, client.link());
            return Look::Known(Box::new(found));
        }
        Err(failed) => failed,
    };
    match failed.outcome {
        Outcome::NotFound => Look::Gone,
        // The list says less, but something.
        Outcome::TooLarge | Outcome::Malformed => match client.list(1, Only::Id(id)).await {
            Ok(rows) => match rows.into_iter().find(|row| row.id.as_deref() == Some(id)) {
                Some(row) => {
                    client.link().losses().add(Loss::Description, 1);
                    Look::Known(Box::new(describe::listed(id, row, client.link())))
                }
                None => Look::Gone,
            },
            Err(_) => Look::Unclear,
        },
        _ => Look::Unclear,
    }
}
