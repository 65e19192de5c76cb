//! Serving over any stream, within bounds: warp's own server knows no time-out
//! for headers, and no limit of connections.

use super::guest::{Counted, Guest};
use super::places::{Place, Places};
use crate::metrics::own::Own;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use warp::filters::BoxedFilter;

/// A request's head. `Accept` and `collect[]` of real scrapers take 2 KiB.
const MAX_HEAD: usize = 32 * 1024;

/// Where connections come in, and what is served to each.
pub trait Door: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + AsFd + Send + 'static;
    /// For people: `http`.
    fn name(&self) -> &'static str;
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    /// What this peer may ask.
    fn routes(&self, stream: &Self::Stream) -> BoxedFilter<(super::Answer,)>;
    /// Where it is counted that connections were closed which their clients
    /// would have kept.
    fn own(&self) -> &Own;
}

/// Why a connection was closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It had waited longest, and somebody new came.
    Room,
    /// No whole request came in time.
    Late,
    /// Its answer was read too slowly.
    Slow,
}

impl Closed {
    pub const ALL: [Self; 3] = [Self::Room, Self::Late, Self::Slow];

    /// As a label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Late => "late",
            Self::Slow => "slow",
        }
    }
}

/// The bounds of a door.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once. For one more, the one goes that has waited longest
    /// for a request; where all are answered, the new one waits.
    pub connections: usize,
    /// For the whole of a request's head, also of the first one: whoever needs
    /// longer wants to hold the connection. It also ends one that is idle.
    pub head: Duration,
    /// Without progress.
    pub progress: Duration,
    /// After so long a connection ends behind the answer that is under way, and
    /// after twice as long at once: a client that reads a byte a minute would
    /// hold its answer in memory.
    pub life: Duration,
}

/// Serves until `ending` says so; then lets answers that are under way end.
pub async fn serve<D: Door>(door: Arc<D>, bounds: Bounds, mut ending: watch::Receiver<bool>) {
    door.own().opened(door.name(), Closed::ALL.iter().map(|why| why.as_str()));
    let places = Places::new(bounds.connections);
    let full = Arc::new(Full::default());
    loop {
        let accepted = tokio::select! {
            accepted = door.accept() => accepted,
            () = ended(&mut ending) => break,
        };
        match accepted {
            Ok(stream) => {
                let place = tokio::select! {
                    place = places.take() => Arc::new(place),
                    () = ended(&mut ending) => break,
                };
                let (door, full, ending) = (door.clone(), full.clone(), ending.clone());
                tokio::spawn(async move {
                    let closed = connection(stream, door.as_ref(), &place, bounds, ending).await;
                    if closed == Some(Closed::Room) {
                        full.say(door.name(), bounds.connections);
                    }
                    if let Some(why) = closed {
                        door.own().closed(door.name(), why.as_str());
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, usually: those in use come back.
                tracing::warn!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), places.empty()).await;
}

/// Connections that went for others, which the log is told of once in 10 s:
/// whoever opens thousands could fill it.
#[derive(Debug, Default)]
struct Full(Mutex<(Option<Instant>, u64)>);

const SAID_EVERY: Duration = Duration::from_secs(10);

impl Full {
    fn say(&self, door: &str, connections: usize) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.1 += 1;
        if said.0.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
            let closed = said.1;
            *said = (Some(Instant::now()), 0);
            tracing::warn!(
                "{door}: all {connections} connections are taken; {closed} that waited longest were closed for new ones"
            );
        }
    }
}

/// Serves one to its end, and says why it was closed if that was our doing.
async fn connection<D: Door>(
    stream: D::Stream,
    door: &D,
    place: &Arc<Place>,
    bounds: Bounds,
    mut ending: watch::Receiver<bool>,
) -> Option<Closed> {
    let routes = TowerToHyperService::new(warp::service(door.routes(&stream)));
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(bounds.progress));
    stream.set_write_timeout(Some(bounds.progress));
    let service = service_fn(|request| {
        place.begins();
        let answer = routes.call(request);
        async { answer.await.map(|answer| answer.map(|body| Counted::new(body, place.clone()))) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Guest::new(stream, place.clone())), service);
    let mut served = std::pin::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => Ok(result),
        () = ended(&mut ending) => {
            served.as_mut().graceful_shutdown();
            Ok(served.await)
        }
        () = tokio::time::sleep(bounds.life) => {
            served.as_mut().graceful_shutdown();
            tokio::time::timeout(bounds.life, served).await
        }
    };
    if place.went() {
        return Some(Closed::Room);
    }
    match result {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            tracing::debug!("connection: {error}");
            error.is_timeout().then_some(Closed::Late)
        }
        Err(_) => {
            tracing::debug!("connection: its client read too slowly; cut off");
            Some(Closed::Slow)
        }
    }
}

/// Waits until the agent ends. The guard that a channel gives is let go of
/// here: it cannot be held while waiting for something else.
async fn ended(ending: &mut watch::Receiver<bool>) {
    // A sender that is gone means the end as well.
    let _ = ending.wait_for(|ending| *ending).await;
}
