//! containerd's requests.

use super::api::{
    Container, Empty, Envelope, GetContainer, GetTask, GotContainer, GotTask, Listed, Namespaces, Process,
    Row, Subscribe,
};
use super::namespaces::OTHERS;
use crate::grpc::client::{Ask, Client as Grpc, failed};
use crate::grpc::listening::Opening;
use crate::grpc::rows::MOST;
use crate::provider::door::Door;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::{Ended, Failed};
use std::sync::Arc;
use std::time::Duration;

/// The request for the version.
pub const VERSION: &str = "version";
/// The request for events.
pub const EVENTS: &str = "events";
/// The requests for all namespaces, and for all containers of one.
pub const LIST: &str = "list";
/// The request for one container.
pub const INSPECT: &str = "inspect";
/// The request for its first process, which its shim answers.
pub const TASK: &str = "task";

/// An answer of some 100 bytes.
const SMALL: usize = 64 << 10;
/// Some hundred names, each with labels of its own.
const NAMESPACES_LIMIT: usize = 4 << 20;
/// A container with its specification, which holds the program's arguments and
/// environment: together at most 2 MiB where its stack has the usual 8 (execve(2)).
const CONTAINER_LIMIT: usize = 4 << 20;

/// How much longer than one request the list of a namespace may take, which
/// comes in one message a container.
const OF_LIST: u32 = 12;

/// A containerd that is connected.
#[derive(Debug, Clone)]
pub struct Client(Grpc);

/// The containers of a namespace.
#[derive(Debug, Default)]
pub struct Rows {
    /// The first of them.
    pub rows: Vec<Row>,
    /// There were more.
    pub over: bool,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody accepts the connection.
    pub async fn connect(door: &Door, deadline: Duration, link: Arc<Link>) -> Result<Self, Ended> {
        Grpc::connect(door, deadline, link, VERSION).await.map(Self)
    }

    /// Whether it answers.
    pub async fn version(&self) -> Result<(), Failed> {
        let ask = ask(VERSION, "version.v1.Version/Version", "", SMALL);
        self.0.ask(ask, Empty {}).await.map(|Empty {}| ())
    }

    /// The names of all namespaces.
    pub async fn namespaces(&self) -> Result<Vec<String>, Failed> {
        let ask = ask(LIST, "namespaces.v1.Namespaces/List", "", NAMESPACES_LIMIT);
        let answer: Namespaces = self.0.ask(ask, Empty {}).await?;
        Ok(answer.namespaces.into_iter().map(|namespace| namespace.name).collect())
    }

    /// The containers of a namespace, as they come: all in one message would be
    /// more than it may hold, with ten thousand.
    pub async fn list(&self, namespace: &str) -> Result<Rows, Failed> {
        let ask = ask(LIST, "containers.v1.Containers/ListStream", namespace, CONTAINER_LIMIT);
        let read = async {
            let mut stream = self.0.stream::<_, Listed>(ask, Empty {}).await?;
            let mut all = Rows::default();
            while let Some(listed) = stream.message().await.map_err(|status| failed(&status))? {
                if all.rows.len() >= MOST {
                    all.over = true;
                    break;
                }
                all.rows.extend(listed.container);
            }
            Ok(all)
        };
        let answer = match tokio::time::timeout(self.0.deadline() * OF_LIST, read).await {
            Ok(answer) => answer,
            Err(_) => Err(Failed { outcome: Outcome::Timeout, detail: String::new() }),
        };
        self.0.count(LIST, &answer);
        answer
    }

    /// One container; `None` where an answer is about another.
    pub async fn container(&self, namespace: &str, id: &str) -> Result<Option<Container>, Failed> {
        let ask = ask(INSPECT, "containers.v1.Containers/Get", namespace, CONTAINER_LIMIT);
        let answer: GotContainer = self.0.ask(ask, GetContainer { id: id.to_owned() }).await?;
        Ok(answer.container.filter(|container| container.id == id))
    }

    /// Its first process; `None` where none runs.
    pub async fn process(&self, namespace: &str, id: &str) -> Result<Option<Process>, Failed> {
        let ask = ask(TASK, "tasks.v1.Tasks/Get", namespace, SMALL);
        match self.0.ask::<_, GotTask>(ask, GetTask { container_id: id.to_owned() }).await {
            Ok(answer) => Ok(answer.process),
            Err(failed) if failed.outcome == Outcome::NotFound => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// The events of containers and tasks, in all namespaces but those of others.
    pub fn events(&self) -> Opening<Envelope> {
        // containerd, `docs/content-flow.md` and `pkg/filters`: a comma is an "and".
        let others: String = OTHERS.iter().map(|other| format!("namespace!={other},")).collect();
        let filters = vec![format!("{others}topic~=\"^/(containers|tasks)/\"")];
        Box::pin(self.0.stream(ask(EVENTS, "events.v1.Events/Subscribe", "", SMALL), Subscribe { filters }))
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

fn ask<'a>(request: &'static str, method: &str, namespace: &'a str, limit: usize) -> Ask<'a> {
    Ask { request, method: format!("/containerd.services.{method}"), namespace, limit }
}
