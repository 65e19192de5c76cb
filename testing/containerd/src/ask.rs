//! One request of gRPC over a Unix socket: HTTP/2, and a message behind its length.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::error::Error;
use std::path::Path;
use tokio::net::UnixStream;

/// Before each message: whether it is compressed, and its length in four bytes.
const HEAD: usize = 5;

/// The answer, or why there is none.
pub async fn unary<A: Message + Default>(
    socket: &Path,
    path: &str,
    question: &impl Message,
) -> Result<A, Box<dyn Error>> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new()).handshake(stream).await?;
    // It ends with the sender.
    tokio::spawn(connection);
    let message = question.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len())?.to_be_bytes());
    frame.extend(message);
    let request = Request::post(format!("http://localhost{path}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(frame)))?;
    let answer = sender.send_request(request).await?;
    let head = answer.headers().clone();
    let body = answer.into_body().collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    // An error without an answer has its status in the head.
    let text = |name: &str| {
        let of = |headers: &HeaderMap| Some(headers.get(name)?.to_str().unwrap_or_default().to_owned());
        of(&trailers).or_else(|| of(&head)).unwrap_or_default()
    };
    if text("grpc-status") != "0" {
        return Err(format!("status {}: {}", text("grpc-status"), text("grpc-message")).into());
    }
    let bytes = body.to_bytes();
    Ok(A::decode(bytes.get(HEAD..).unwrap_or_default())?)
}
