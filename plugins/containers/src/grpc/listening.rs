//! What changes: from a stream where the runtime has one that may be listened
//! to, and otherwise by listing again and again.

use super::client::{Client, failed};
use crate::provider::bounds::Loss;
use crate::provider::outcome::Outcome;
use crate::provider::source::Change;
use crate::provider::{Ended, Failed};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tonic::Streaming;

/// Between two lists where nobody tells of changes. A fifth of what the kubelet
/// asks, which lists each second. What begins to run is asked for by the host at
/// once; this is for what stops and goes.
const POLL: Duration = Duration::from_secs(5);

/// Between two lists beside a stream: runtimes drop events that come faster
/// than they are sent, and nobody says since when a stream is heard.
const BESIDE: Duration = Duration::from_secs(60);

/// A stream that is asked for.
pub type Opening<E> = Pin<Box<dyn Future<Output = Result<Streaming<E>, Failed>> + Send>>;

/// See the module.
pub struct Listening<E> {
    /// How it is counted.
    request: &'static str,
    stream: Stream<E>,
    list_at: Instant,
}

enum Stream<E> {
    /// The runtime has sent none so far.
    Opening(Opening<E>),
    Open(Box<Streaming<E>>),
    None,
}

impl<E: Default + Send + 'static> Listening<E> {
    /// To this, where that is allowed.
    pub fn new(request: &'static str, opening: Option<Opening<E>>) -> Self {
        let stream = opening.map_or(Stream::None, Stream::Opening);
        let mut listening = Self { request, stream, list_at: Instant::now() };
        listening.plan();
        listening
    }

    fn plan(&mut self) {
        let wait = if matches!(self.stream, Stream::None) { POLL } else { BESIDE };
        self.list_at = Instant::now() + wait;
    }

    /// The next change, as an event says; of some nothing follows. May be
    /// dropped while it waits; nothing is lost then.
    ///
    /// # Errors
    /// Where the connection ends.
    pub async fn next(
        &mut self,
        client: &Client,
        mut change: impl FnMut(E) -> Option<Change>,
    ) -> Result<Change, Ended> {
        loop {
            tokio::select! {
                event = self.stream.next(client, self.request) => match event? {
                    Some(event) => {
                        if let Some(change) = change(event) {
                            return Ok(change);
                        }
                    }
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

impl<E> Stream<E> {
    /// The next event; `None` where the runtime sends none, or none that can be read.
    async fn next(&mut self, client: &Client, request: &'static str) -> Result<Option<E>, Ended> {
        if let Self::Opening(opening) = self {
            let opened = opening.await;
            client.count(request, &opened);
            match opened {
                Ok(stream) => *self = Self::Open(Box::new(stream)),
                Err(failed) => return unreadable(failed, request),
            }
        }
        match self {
            Self::Open(stream) => match stream.message().await {
                // CRI-O ends it at once where `enable_pod_events` is not set.
                Ok(event) => Ok(event),
                Err(status) => {
                    let failed = failed(&status);
                    client.link().count(request, failed.outcome);
                    if matches!(failed.outcome, Outcome::TooLarge | Outcome::Malformed) {
                        client.link().losses().add(Loss::Event, 1);
                    }
                    unreadable(failed, request)
                }
            },
            Self::Opening(_) | Self::None => std::future::pending().await,
        }
    }
}

/// Where all else works, lists do.
fn unreadable<E>(failed: Failed, request: &'static str) -> Result<Option<E>, Ended> {
    match failed.outcome {
        Outcome::Failed => Err(failed.into_ended(request)),
        _ => Ok(None),
    }
}
