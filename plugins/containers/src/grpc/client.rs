//! Requests, each under the deadline, bounded and counted.

use super::connection::Connection;
use crate::provider::door::Door;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::{Ended, Failed};
use hyper::Uri;
use hyper::http::uri::PathAndQuery;
use prost::Message;
use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// containerd's: in which of its namespaces something is asked for
/// (containerd, `pkg/namespaces/grpc.go`).
const NAMESPACE: &str = "containerd-namespace";

/// A runtime that is connected.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Connection,
    deadline: Duration,
    link: Arc<Link>,
}

/// What is asked, and how it is counted.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// The label `request`.
    pub request: &'static str,
    /// `/PACKAGE.SERVICE/METHOD`
    pub method: String,
    /// containerd's namespace; empty where it is about none.
    pub namespace: &'a str,
    /// Bytes that are read of a message at most.
    pub limit: usize,
}

impl Client {
    /// Connects. That nobody accepts it is counted as this request's failure.
    ///
    /// # Errors
    /// Where nobody accepts the connection.
    pub async fn connect(
        door: &Door,
        deadline: Duration,
        link: Arc<Link>,
        request: &'static str,
    ) -> Result<Self, Ended> {
        let failed = |outcome, detail: String| {
            link.count(request, outcome);
            Failed { outcome, detail }.into_ended(request)
        };
        let connection = match tokio::time::timeout(deadline, Connection::open(door)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(failed(Outcome::Failed, error.to_string())),
            Err(_) => return Err(failed(Outcome::Timeout, String::new())),
        };
        Ok(Self { connection, deadline, link })
    }

    /// One answer to one question.
    ///
    /// # Errors
    /// Where there is none, or one that makes no sense.
    pub async fn ask<Q, A>(&self, ask: Ask<'_>, question: Q) -> Result<A, Failed>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc(ask.limit);
        let answer = async {
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let mut question = within(ask.namespace, question)?;
            // The runtime then gives up, too.
            question.set_timeout(self.deadline);
            grpc.unary(question, path(ask.method)?, ProstCodec::<Q, A>::default()).await
        };
        let answer = match tokio::time::timeout(self.deadline, answer).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(|status| failed(&status)),
            Err(_) => Err(Failed { outcome: Outcome::Timeout, detail: String::new() }),
        };
        self.count(ask.request, &answer);
        answer
    }

    /// A stream of answers, when its first one comes: servers say nothing
    /// before. Neither counted nor under the deadline.
    pub fn stream<Q, A>(
        &self,
        ask: Ask<'_>,
        question: Q,
    ) -> impl Future<Output = Result<Streaming<A>, Failed>> + Send + use<Q, A>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc(ask.limit);
        let (question, path) = (within(ask.namespace, question), path(ask.method));
        async move {
            let answer = async {
                grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
                grpc.server_streaming(question?, path?, ProstCodec::<Q, A>::default()).await
            };
            answer.await.map(tonic::Response::into_inner).map_err(|status| failed(&status))
        }
    }

    /// Counts what became of a request.
    pub fn count<T>(&self, request: &str, answer: &Result<T, Failed>) {
        self.link.count(request, answer.as_ref().map_or_else(|failed| failed.outcome, |_| Outcome::Ok));
    }

    fn grpc(&self, limit: usize) -> Grpc<Connection> {
        let origin = Uri::from_static("http://localhost");
        Grpc::with_origin(self.connection.clone(), origin).max_decoding_message_size(limit)
    }

    /// What it shares.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// How long one request may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }
}

fn within<Q>(namespace: &str, question: Q) -> Result<Request<Q>, Status> {
    let mut question = Request::new(question);
    if !namespace.is_empty() {
        let value =
            MetadataValue::try_from(namespace).map_err(|error| Status::internal(error.to_string()))?;
        question.metadata_mut().insert(NAMESPACE, value);
    }
    Ok(question)
}

fn path(text: String) -> Result<PathAndQuery, Status> {
    PathAndQuery::try_from(text).map_err(|error| Status::internal(error.to_string()))
}

/// What a status means. Its text is the runtime's, and may be a container's: of
/// it nothing is told.
pub fn failed(status: &Status) -> Failed {
    let connection = status.source().map(ToString::to_string);
    let outcome = match status.code() {
        Code::NotFound => Outcome::NotFound,
        Code::Unimplemented => Outcome::Unsupported,
        Code::DeadlineExceeded => Outcome::Timeout,
        // What tonic says of a message that is longer than its bound, and what
        // the runtime says of one that is longer than its own.
        Code::OutOfRange | Code::ResourceExhausted => Outcome::TooLarge,
        _ if connection.is_some() => Outcome::Failed,
        Code::Cancelled => Outcome::Failed,
        // As tonic and prost put it, for bytes that are no message.
        Code::Internal if is_malformed(status.message()) => Outcome::Malformed,
        _ => Outcome::Refused,
    };
    let code = format!("{:?}", status.code());
    let detail = match outcome {
        Outcome::Failed => connection.unwrap_or(code),
        Outcome::Refused => code,
        _ => String::new(),
    };
    Failed { outcome, detail }
}

fn is_malformed(message: &str) -> bool {
    ["failed to decode", "protocol error", "Missing response message", "Unexpected EOF"]
        .iter()
        .any(|start| message.starts_with(start))
}
