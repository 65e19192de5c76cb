//! CRI's requests.

use super::api::{
    ContainerList, ContainerStatusResponse, Empty, Event, Filter, ListRequest, SandboxList,
    SandboxStatusResponse, StateValue, StatusRequest, VersionResponse,
};
use crate::grpc::client::{Ask, Client as Grpc};
use crate::provider::door::Door;
use crate::provider::link::Link;
use crate::provider::{Ended, Failed};
use prost::Message;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tonic::Streaming;

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
pub struct Client(Grpc);

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody accepts the connection.
    pub async fn connect(door: &Door, deadline: Duration, link: Arc<Link>) -> Result<Self, Ended> {
        Grpc::connect(door, deadline, link, VERSION).await.map(Self)
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

    /// The stream of events, when its first one comes.
    pub fn events(&self) -> impl Future<Output = Result<Streaming<Event>, Failed>> + Send + use<> {
        let method = format!("{V1}/GetContainerEvents");
        self.0.stream(Ask { request: EVENTS, method, namespace: "", limit: EVENT_LIMIT }, Empty {})
    }

    async fn ask<Q, A>(
        &self,
        request: &'static str,
        method: String,
        question: Q,
        limit: usize,
    ) -> Result<A, Failed>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.0.ask(Ask { request, method, namespace: "", limit }, question).await
    }

    /// By which it asks.
    pub fn grpc(&self) -> &Grpc {
        &self.0
    }

    /// What it shares.
    pub fn link(&self) -> &Arc<Link> {
        self.0.link()
    }
}

fn in_state(state: Option<i32>) -> ListRequest {
    let filter = |state| Filter { id: String::new(), state: Some(StateValue { state }) };
    ListRequest { filter: state.map(filter) }
}
