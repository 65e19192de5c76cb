//! What changes: from a stream where the runtime has one that may be listened
//! to, and otherwise by listing again and again.

use super::api::{DELETED, Event};
use super::client::{Client, EVENTS, failed};
use crate::provider::bounds::Loss;
use crate::provider::outcome::Outcome;
use crate::provider::source::Change;
use crate::provider::{Ended, Failed, is_id};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tonic::Streaming;

/// Between two lists where nobody tells of changes. A fifth of what the kubelet
/// asks, which lists each second. What begins to run is asked for by the host at
/// once; this is for what stops and goes.
const POLL: Duration = Duration::from_secs(5);

/// Between two lists beside a stream: both runtimes drop events that come
/// faster than they are sent.
const BESIDE: Duration = Duration::from_secs(60);

type Opening = Pin<Box<dyn Future<Output = Result<Streaming<Event>, Failed>> + Send>>;

/// See the module.
pub struct Events {
    stream: Stream,
    list_at: Instant,
}

enum Stream {
    /// The runtime has sent none so far.
    Opening(Opening),
    Open(Box<Streaming<Event>>),
    None,
}

impl Events {
    /// Listens, where that is allowed.
    pub fn new(client: &Client, listen: bool) -> Self {
        let stream = if listen { Stream::Opening(Box::pin(client.events())) } else { Stream::None };
        let mut events = Self { stream, list_at: Instant::now() };
        events.plan();
        events
    }

    fn plan(&mut self) {
        let wait = if matches!(self.stream, Stream::None) { POLL } else { BESIDE };
        self.list_at = Instant::now() + wait;
    }

    /// The next change. May be dropped while it waits; nothing is lost then.
    ///
    /// # Errors
    /// Where the connection ends.
    pub async fn next(&mut self, client: &Client) -> Result<Change, Ended> {
        loop {
            tokio::select! {
                event = self.stream.next(client) => match event? {
                    Some(event) if !is_id(&event.id) => client.link().losses().add(Loss::Event, 1),
                    Some(event) if event.kind == DELETED => return Ok(Change::Removed(event.id)),
                    Some(event) => return Ok(Change::Look(event.id)),
                    // What it would have told since its beginning is in a list.
                    None => {
                        self.stream = Stream::None;
                        self.plan();
                        return Ok(Change::List);
                    }
                },
                () = sleep_until(self.list_at) => {
                    self.plan();
                    return Ok(Change::List);
                }
            }
        }
    }
}

impl Stream {
    /// The next event; `None` where the runtime sends none, or none that can be read.
    async fn next(&mut self, client: &Client) -> Result<Option<Event>, Ended> {
        if let Self::Opening(opening) = self {
            let opened = opening.await;
            client
                .link()
                .count(EVENTS, opened.as_ref().map_or_else(|failed| failed.outcome, |_| Outcome::Ok));
            match opened {
                Ok(stream) => *self = Self::Open(Box::new(stream)),
                Err(failed) => return unreadable(failed),
            }
        }
        match self {
            Self::Open(stream) => match stream.message().await {
                // CRI-O ends it at once where `enable_pod_events` is not set.
                Ok(event) => Ok(event),
                Err(status) => {
                    let failed = failed(&status);
                    client.link().count(EVENTS, failed.outcome);
                    if matches!(failed.outcome, Outcome::TooLarge | Outcome::Malformed) {
                        client.link().losses().add(Loss::Event, 1);
                    }
                    unreadable(failed)
                }
            },
            Self::Opening(_) | Self::None => std::future::pending().await,
        }
    }
}

/// Where all else works, lists do.
fn unreadable(failed: Failed) -> Result<Option<Event>, Ended> {
    match failed.outcome {
        Outcome::Failed => Err(failed.into_ended(EVENTS)),
        _ => Ok(None),
    }
}
