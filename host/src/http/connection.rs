//! Serving over any stream, within bounds: warp's own server knows no time-out
//! for headers, and no limit of connections.

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use warp::filters::BoxedFilter;

/// A request's head. `Accept` and `collect[]` of real scrapers take 2 KiB.
const MAX_HEAD: usize = 32 * 1024;

/// Where connections come in, and what is served to each.
pub trait Door: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + 'static;
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    /// What this peer may ask.
    fn routes(&self, stream: &Self::Stream) -> BoxedFilter<(super::Answer,)>;
}

/// The bounds of a door.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once.
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
    let room = Arc::new(Semaphore::new(bounds.connections));
    loop {
        // Who comes while all places are taken waits in the kernel's queue.
        let place = tokio::select! {
            place = room.clone().acquire_owned() => place,
            () = ended(&mut ending) => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = door.accept() => accepted,
            () = ended(&mut ending) => break,
        };
        match accepted {
            Ok(stream) => {
                let (routes, ending) = (door.routes(&stream), ending.clone());
                tokio::spawn(async move {
                    connection(stream, routes, bounds, ending).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, usually: those in use come back.
                tracing::warn!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Every connection holds a place until it is closed.
    let all = u32::try_from(bounds.connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(Duration::from_secs(1), room.acquire_many(all)).await;
}

async fn connection<S: AsyncRead + AsyncWrite + Send + 'static>(
    stream: S,
    routes: BoxedFilter<(super::Answer,)>,
    bounds: Bounds,
    mut ending: watch::Receiver<bool>,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(bounds.progress));
    stream.set_write_timeout(Some(bounds.progress));
    let stream: Pin<Box<TimeoutStream<S>>> = Box::pin(stream);
    let service = TowerToHyperService::new(warp::service(routes));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
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
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("connection: {error}"),
        Err(_) => tracing::debug!("connection: its client read too slowly; cut off"),
    }
}

/// Waits until the agent ends. The guard that a channel gives is let go of
/// here: it cannot be held while waiting for something else.
async fn ended(ending: &mut watch::Receiver<bool>) {
    // A sender that is gone means the end as well.
    let _ = ending.wait_for(|ending| *ending).await;
}
