//! One connection of HTTP/2 over a Unix socket, for all requests of a session.

use crate::provider::door::Door;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::AbortHandle;
use tonic::body::Body;

/// Of an answer. A runtime's own has some hundred bytes, and the text of an
/// error besides.
const MAX_HEADERS: u32 = 64 << 10;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there, or this user may not ask.
    #[error("connect: {0}")]
    Connect(#[from] io::Error),
    /// It broke at once.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// A connection, as often as it is needed. It ends with the last of them.
#[derive(Debug, Clone)]
pub struct Connection {
    sender: SendRequest<Body>,
    _driver: Arc<Driver>,
}

/// What reads and writes. Would wait for ever for one that does not read.
#[derive(Debug)]
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// To a socket.
    ///
    /// # Errors
    /// Where nobody accepts it.
    pub async fn open(door: &Door) -> Result<Self, ConnectError> {
        let stream = TokioIo::new(door.connect().await?);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(MAX_HEADERS)
            .handshake(stream)
            .await?;
        // Each request hears of its end.
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Self { sender, _driver: Arc::new(Driver(driver)) })
    }
}

impl tower_service::Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}
