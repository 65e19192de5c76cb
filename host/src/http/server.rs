//! The TCP listeners.

use super::Answer;
use super::connection::{self, Bounds, Door};
use super::routes;
use crate::agent::Agent;
use crate::config::ViewsOverHttp;
use crate::metrics::own::Own;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use warp::filters::BoxedFilter;

/// A node has a handful of scrapers; a connection that waits costs 20 KiB, so
/// this many cost 5 MiB.
const BOUNDS: Bounds = Bounds {
    connections: 256,
    head: Duration::from_secs(10),
    // A scraper that reads nothing for so long has given up.
    progress: Duration::from_secs(60),
    life: Duration::from_secs(60),
};

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

struct Tcp {
    listener: TcpListener,
    agent: Arc<Agent>,
    views: bool,
}

impl Door for Tcp {
    type Stream = TcpStream;

    fn name(&self) -> &'static str {
        "http"
    }

    fn own(&self) -> &Own {
        &self.agent.fleet.parts().own
    }

    async fn accept(&self) -> io::Result<TcpStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    fn routes(&self, _stream: &TcpStream) -> BoxedFilter<(Answer,)> {
        routes::all(self.agent.clone(), self.views)
    }
}

/// Serves until `ending` says so; then lets answers that are under way end.
pub async fn serve(listeners: Listeners, agent: Arc<Agent>, ending: watch::Receiver<bool>) {
    let views = agent.config().host.views;
    let loops: Vec<_> = listeners
        .0
        .into_iter()
        .map(|(address, listener)| {
            let views = match views {
                ViewsOverHttp::Always => true,
                ViewsOverHttp::Never => false,
                ViewsOverHttp::Local => address.ip().to_canonical().is_loopback(),
            };
            let door = Tcp { listener, agent: agent.clone(), views };
            tokio::spawn(connection::serve(Arc::new(door), BOUNDS, ending.clone()))
        })
        .collect();
    for one in loops {
        // A loop ends by itself; only the end of the runtime cuts it off.
        let _ = one.await;
    }
}
