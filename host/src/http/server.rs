//! The loop around warp's filters: warp's own server knows no time-out for
//! headers, and no limit of connections.

use super::routes::{self, Agent};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

/// Connections at once. A node has a handful of scrapers; a connection that
/// waits costs 20 KiB, so this many cost 5 MiB.
const MAX_CONNECTIONS: usize = 256;

/// For the whole of a request's head, also of the first one: whoever needs
/// longer wants to hold the connection, not to scrape. It also ends a
/// connection that is idle, after which a scraper opens another.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Without progress. A scraper that reads nothing for so long has given up.
const IO_TIMEOUT: Duration = Duration::from_secs(60);

/// After so long a connection ends behind the answer that is under way, and
/// after twice as long at once: a client that reads a byte a minute would hold
/// an exposition in memory.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// A request's head. `Accept` and `collect[]` of real scrapers take 2 KiB.
const MAX_HEAD: usize = 32 * 1024;

/// Sockets that are bound and not yet served.
#[derive(Debug)]
pub struct Listeners(Vec<(SocketAddr, TcpListener)>);

impl Listeners {
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(address, _)| *address).collect()
    }
}

/// Binds all addresses, or says which one cannot be.
pub async fn bind(addresses: &[SocketAddr]) -> Result<Listeners, String> {
    let mut bound = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await.map_err(|error| refused(*address, &error))?;
        let address = listener.local_addr().map_err(|error| refused(*address, &error))?;
        bound.push((address, listener));
    }
    Ok(Listeners(bound))
}

fn refused(address: SocketAddr, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there; stop it, or choose another listen address"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; choose another listen address"
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        _ => "choose another listen address",
    };
    format!("cannot listen at {address}: {error}; {remedy}")
}

/// Serves until `ending` says so; then lets answers that are under way end.
pub async fn serve(listeners: Listeners, agent: Arc<Agent>, ending: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut loops = Vec::new();
    for (_, listener) in listeners.0 {
        let (agent, ending, room) = (agent.clone(), ending.clone(), room.clone());
        loops.push(tokio::spawn(accept(listener, agent, ending, room)));
    }
    for one in loops {
        // A loop ends by itself; only the end of the runtime cuts it off.
        let _ = one.await;
    }
    // Every connection holds a place until it is closed.
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(Duration::from_secs(1), room.acquire_many(all)).await;
}

async fn accept(
    listener: TcpListener,
    agent: Arc<Agent>,
    mut ending: watch::Receiver<bool>,
    room: Arc<Semaphore>,
) {
    loop {
        // Who comes while all places are taken waits in the kernel's queue.
        let place = tokio::select! {
            place = room.clone().acquire_owned() => place,
            () = ended(&mut ending) => return,
        };
        let Ok(place) = place else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended(&mut ending) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (agent, ending) = (agent.clone(), ending.clone());
                tokio::spawn(async move {
                    connection(stream, agent, ending).await;
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
}

async fn connection(stream: TcpStream, agent: Arc<Agent>, mut ending: watch::Receiver<bool>) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_read_timeout(Some(IO_TIMEOUT));
    stream.set_write_timeout(Some(IO_TIMEOUT));
    let stream: Pin<Box<TimeoutStream<TcpStream>>> = Box::pin(stream);
    let service = TowerToHyperService::new(warp::service(routes::all(agent)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => Ok(result),
        () = ended(&mut ending) => {
            served.as_mut().graceful_shutdown();
            Ok(served.await)
        }
        () = tokio::time::sleep(CONNECTION_LIFE) => {
            served.as_mut().graceful_shutdown();
            tokio::time::timeout(CONNECTION_LIFE, served).await
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
