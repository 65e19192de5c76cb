//! Requests to Docker's socket, each over a connection of its own whose bytes
//! are counted: bollard reads whole answers into memory, however long.

use crate::provider::door::Door;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response, Uri};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// What is read at once. Docker writes 4 KiB at a time.
const CHUNK: usize = 8 << 10;

/// The answer is longer than is read.
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {0} bytes")]
pub struct TooLarge(u64);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The socket could not be connected to.
    #[error("connect: {0}")]
    Connect(#[source] io::Error),
    /// What came back is no HTTP, or the connection broke.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

impl From<SendError> for bollard::errors::Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Connect(err) => Self::IOError { err },
            SendError::Http(err) => Self::HyperResponseError { err },
        }
    }
}

/// Sends a request, and waits for the head of its answer, of which at most
/// `limit` bytes are read with its body. The connection ends with the body.
///
/// # Errors
/// Where there is no connection or no HTTP. A body that is too long fails where
/// it is read, with a [`TooLarge`] among its sources.
pub async fn send<B>(
    door: &Door,
    mut request: Request<B>,
    limit: u64,
) -> Result<Response<Incoming>, SendError>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = door.connect().await.map_err(SendError::Connect)?;
    let (mut sender, connection) = http1::handshake(Counted { stream, limit, read: 0 }).await?;
    // Ends when both the request's and the answer's side are dropped.
    drop(tokio::spawn(connection));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // A path of an address that was valid is one.
    *request.uri_mut() = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
    request.headers_mut().insert(HOST, hyper::header::HeaderValue::from_static("docker"));
    Ok(sender.send_request(request).await?)
}

/// A connection of which so much is read.
struct Counted {
    stream: UnixStream,
    limit: u64,
    read: u64,
}

impl Read for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; CHUNK];
        let room = cursor.remaining().min(CHUNK);
        let mut buffer = ReadBuf::new(&mut chunk[..room]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        self.read += buffer.filled().len() as u64;
        if self.read > self.limit {
            return Poll::Ready(Err(io::Error::other(TooLarge(self.limit))));
        }
        cursor.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
