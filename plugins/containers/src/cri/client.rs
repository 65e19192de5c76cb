//! CRI's requests, each under the deadline, bounded and counted.

use super::api::{
    ContainerList, ContainerStatusResponse, Empty, Event, Filter, ListRequest, SandboxList,
    SandboxStatusResponse, StateValue, StatusRequest, VersionResponse,
};
use super::connection::Connection;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::{Ended, Failed};
use hyper::Uri;
use hyper::http::uri::PathAndQuery;
use prost::Message;
use std::error::Error as _;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// The request for the runtime's name and version.
pub const VERSION: &str = "version";
/// The request for events.
pub const EVENTS: &str = "events";
/// The requests for all sandboxes and all containers.
pub const LIST: &str = "list";
/// The requests for one of them.
pub const STATUS: &str = "status";

/// Its answer has some 50 bytes.
const VERSION_LIMIT: usize = 64 << 10;
/// With the program's arguments and environment, which are together at most
/// 2 MiB where its stack has the usual 8 (execve(2)); containerd says them twice.
const STATUS_LIMIT: usize = 6 << 20;
/// What the kubelet reads at most, too: a node whose list is longer has other
/// troubles. Ten thousand containers have some 10 MiB.
const LIST_LIMIT: usize = 16 << 20;
/// An event holds the statuses of the whole pod, and is passed over but for its id.
const EVENT_LIMIT: usize = 16 << 20;

const V1: &str = "/runtime.v1.RuntimeService";
/// Before Kubernetes 1.20.
const V1_ALPHA2: &str = "/runtime.v1alpha2.RuntimeService";

/// A runtime that is connected.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Connection,
    deadline: Duration,
    link: Arc<Link>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody accepts the connection.
    pub async fn connect(socket: &Path, deadline: Duration, link: Arc<Link>) -> Result<Self, Ended> {
        let failed = |outcome, detail: String| {
            link.count(VERSION, outcome);
            Failed { outcome, detail }.into_ended(VERSION)
        };
        let connection = match tokio::time::timeout(deadline, Connection::open(socket)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                return Err(failed(Outcome::Failed, error.to_string()));
            }
            Err(_) => return Err(failed(Outcome::Timeout, String::new())),
        };
        Ok(Self { connection, deadline, link })
    }

    /// Who answers.
    pub async fn version(&self) -> Result<VersionResponse, Failed> {
        self.ask(VERSION, format!("{V1}/Version"), Empty {}, VERSION_LIMIT).await
    }

    /// Whether the API of before is there.
    pub async fn has_alpha(&self) -> bool {
        let answer: Result<VersionResponse, _> =
            self.ask(VERSION, format!("{V1_ALPHA2}/Version"), Empty {}, VERSION_LIMIT).await;
        answer.is_ok()
    }

    /// All sandboxes, or those in a state.
    pub async fn sandboxes(&self, state: Option<i32>) -> Result<SandboxList, Failed> {
        self.ask(LIST, format!("{V1}/ListPodSandbox"), in_state(state), LIST_LIMIT).await
    }

    /// All containers, or those in a state.
    pub async fn containers(&self, state: Option<i32>) -> Result<ContainerList, Failed> {
        self.ask(LIST, format!("{V1}/ListContainers"), in_state(state), LIST_LIMIT).await
    }

    /// The row of one container.
    pub async fn row(&self, id: &str) -> Result<ContainerList, Failed> {
        let filter = Some(Filter { id: id.to_owned(), state: None });
        self.ask(LIST, format!("{V1}/ListContainers"), ListRequest { filter }, STATUS_LIMIT).await
    }

    /// One container.
    pub async fn container(&self, id: &str, verbose: bool) -> Result<ContainerStatusResponse, Failed> {
        let request = StatusRequest { id: id.to_owned(), verbose };
        self.ask(STATUS, format!("{V1}/ContainerStatus"), request, STATUS_LIMIT).await
    }

    /// One sandbox.
    pub async fn sandbox(&self, id: &str, verbose: bool) -> Result<SandboxStatusResponse, Failed> {
        let request = StatusRequest { id: id.to_owned(), verbose };
        self.ask(STATUS, format!("{V1}/PodSandboxStatus"), request, STATUS_LIMIT).await
    }

    /// The stream of events, when its first one comes: servers say nothing before.
    pub fn events(&self) -> impl Future<Output = Result<Streaming<Event>, Failed>> + Send + use<> {
        let mut grpc = self.grpc(EVENT_LIMIT);
        async move {
            let answer = async {
                grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
                let (path, codec) = (path(format!("{V1}/GetContainerEvents"))?, ProstCodec::default());
                grpc.server_streaming(Request::new(Empty {}), path, codec).await
            };
            answer.await.map(tonic::Response::into_inner).map_err(|status| failed(&status))
        }
    }

    /// What all requests but that for events go through.
    async fn ask<Q, A>(&self, request: &str, at: String, question: Q, limit: usize) -> Result<A, Failed>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc(limit);
        let answer = async {
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let mut question = Request::new(question);
            // The runtime then gives up, too.
            question.set_timeout(self.deadline);
            grpc.unary(question, path(at)?, ProstCodec::<Q, A>::default()).await
        };
        let answer = match tokio::time::timeout(self.deadline, answer).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(|status| failed(&status)),
            Err(_) => Err(Failed { outcome: Outcome::Timeout, detail: String::new() }),
        };
        self.link.count(request, answer.as_ref().map_or_else(|failed| failed.outcome, |_| Outcome::Ok));
        answer
    }

    fn grpc(&self, limit: usize) -> Grpc<Connection> {
        let origin = Uri::from_static("http://localhost");
        Grpc::with_origin(self.connection.clone(), origin).max_decoding_message_size(limit)
    }

    /// What it shares.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

fn path(text: String) -> Result<PathAndQuery, Status> {
    PathAndQuery::try_from(text).map_err(|error| Status::internal(error.to_string()))
}

fn in_state(state: Option<i32>) -> ListRequest {
    let filter = |state| Filter { id: String::new(), state: Some(StateValue { state }) };
    ListRequest { filter: state.map(filter) }
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
