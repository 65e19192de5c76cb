//! Docker's requests, each under the deadline, bounded and counted.

use super::transport::{self, TooLarge};
use crate::provider::door::Door;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::{Again, Ended, Failed};
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary, SystemVersion};
use bollard::query_parameters::ListContainersOptionsBuilder;
use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion, Docker};
use gantry_plugin_api::serde_json;
use hyper::Request;
use hyper::body::Body;
use std::collections::HashMap;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The request for the version.
pub const VERSION: &str = "version";
/// The request for all containers, page by page.
pub const LIST: &str = "list";
/// The request for one container.
pub const INSPECT: &str = "inspect";
/// The request for events.
pub const EVENTS: &str = "events";

/// What a Podman calls itself among the components of its version.
const PODMAN: &str = "Podman Engine";

/// Asked in no version, as none is agreed on.
const VERSION_PATH: &str = "/version";
/// Its answer has some 1 KiB.
const VERSION_LIMIT: u64 = 256 << 10;
/// A description has some 8 KiB. Arguments and environment of a program are
/// together at most 2 MiB where its stack has the usual 8 (execve(2)).
const INSPECT_LIMIT: u64 = 4 << 20;
/// A page of [`super::list`] has some 1 MiB.
const LIST_LIMIT: u64 = 16 << 20;

/// A Docker whose version is known.
#[derive(Clone)]
pub struct Client {
    docker: Docker,
    door: Door,
    deadline: Duration,
    link: Arc<Link>,
    podman: Option<String>,
}

/// What answers at a socket.
struct Who {
    /// Of Docker's API.
    newest: Version,
    /// Where it says it.
    oldest: Option<Version>,
    /// Of a Podman: the version of its own API.
    podman: Option<String>,
}

/// Major and minor.
type Version = (usize, usize);

impl Client {
    /// Connects, and agrees on a version.
    ///
    /// # Errors
    /// Where there is no answer, or one that makes no sense, and where it no
    /// longer speaks what is spoken here.
    pub async fn connect(door: Door, deadline: Duration, link: Arc<Link>) -> Result<Self, Ended> {
        let ended = |error: Error| failed(&error).into_ended(VERSION);
        let docker = speaking(&door, deadline, API_DEFAULT_VERSION).map_err(ended)?;
        let client = Self { docker, door, deadline, link, podman: None };
        // Not bollard's own negotiation, of which only the number comes back.
        let answer = client.ask(VERSION, client.who()).await;
        let who = answer.map_err(|failed| failed.into_ended(VERSION))?;
        let spoken = number(API_DEFAULT_VERSION).min(who.newest);
        if who.oldest.is_some_and(|oldest| oldest > spoken) {
            return Err(too_new(&who));
        }
        let (major_version, minor_version) = spoken;
        let version = ClientVersion { major_version, minor_version };
        let docker = speaking(&client.door, deadline, &version).map_err(ended)?;
        Ok(Self { docker, podman: who.podman, ..client })
    }

    /// What answers.
    async fn who(&self) -> Result<Who, Error> {
        let bytes = self.read(VERSION_PATH, VERSION_LIMIT).await?;
        let found: SystemVersion = serde_json::from_slice(&bytes)?;
        let newest = found.api_version.as_deref().and_then(parsed).ok_or(Error::APIVersionParseError {})?;
        let components = found.components.unwrap_or_default();
        let podman = components.into_iter().find(|component| component.name == PODMAN);
        let podman =
            podman.map(|podman| podman.details.unwrap_or_default().remove("APIVersion").unwrap_or_default());
        Ok(Who { newest, oldest: found.min_api_version.as_deref().and_then(parsed), podman })
    }

    /// Whether Docker answers at all.
    pub async fn lives(&self) -> Result<(), Failed> {
        self.ask(VERSION, self.docker.version()).await.map(drop)
    }

    /// Where it is a Podman that speaks Docker's API: the version of its own.
    pub fn podman(&self) -> Option<&str> {
        self.podman.as_deref()
    }

    /// One container.
    pub async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, Failed> {
        self.ask(INSPECT, self.docker.inspect_container(id, None)).await
    }

    /// So many containers that are older than another, the newest first, or
    /// the one that has an id.
    pub async fn list(&self, most: i32, only: Only<'_>) -> Result<Vec<ContainerSummary>, Failed> {
        let filter = match only {
            Only::All => None,
            Only::Before(id) => Some(("before", id)),
            Only::Id(id) => Some(("id", id)),
        };
        let mut options = ListContainersOptionsBuilder::new().all(true).limit(most);
        if let Some((name, id)) = filter {
            options = options.filters(&HashMap::from([(name, vec![id])]));
        }
        self.ask(LIST, self.docker.list_containers(Some(options.build()))).await
    }

    /// What another API at the same socket answers: at most `limit` bytes.
    pub async fn get(&self, request: &str, path: &str, limit: u64) -> Result<Vec<u8>, Failed> {
        self.ask(request, self.read(path, limit)).await
    }

    async fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let request = Request::get(path).body(String::new())?;
        let answer = transport::send(&self.door, request, limit).await?;
        let status_code = answer.status().as_u16();
        if !answer.status().is_success() {
            return Err(Error::DockerResponseServerError { status_code, message: String::new() });
        }
        let (mut body, mut bytes) = (answer.into_body(), Vec::new());
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            bytes.extend(frame?.into_data().unwrap_or_default());
        }
        Ok(bytes)
    }

    /// What all requests go through.
    async fn ask<T>(
        &self,
        request: &str,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failed> {
        let answer = match tokio::time::timeout(self.deadline, answer).await {
            Ok(answer) => answer.map_err(|error| failed(&error)),
            Err(_) => Err(Failed { outcome: Outcome::Timeout, detail: String::new() }),
        };
        self.link.count(request, answer.as_ref().map_or_else(|failed| failed.outcome, |_| Outcome::Ok));
        answer
    }

    /// The version that was agreed on, as paths begin with it.
    pub fn version(&self) -> String {
        prefix(&self.docker.client_version())
    }

    /// The way to it.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// How long one request may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// What it shares.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

fn number(version: &ClientVersion) -> Version {
    (version.major_version, version.minor_version)
}

fn parsed(version: &str) -> Option<Version> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The end of a session with one that speaks newer versions alone.
fn too_new(who: &Who) -> Ended {
    let ((major, minor), own) = (who.oldest.unwrap_or(who.newest), number(API_DEFAULT_VERSION));
    let detail = format!(
        "it speaks its API from version {major}.{minor} on, and {}.{} is the newest that is known here: update \
         this plugin, or let it speak older ones, as DOCKER_MIN_API_VERSION in dockerd's environment does",
        own.0, own.1
    );
    Ended { request: VERSION, outcome: Outcome::Unsupported, detail, again: Again::Rarely }
}

/// A client that asks in this version.
fn speaking(door: &Door, deadline: Duration, version: &ClientVersion) -> Result<Docker, Error> {
    let (at, prefix) = (door.clone(), prefix(version));
    let send = move |request: BollardRequest| {
        let (door, request) = (at.clone(), versioned(request, &prefix));
        let limit = limit_of(request.uri().path());
        async move { transport::send(&door, request, limit).await.map_err(Error::from) }
    };
    // Its own timeout is for the head of an answer alone; ours is shorter.
    let patience = deadline.as_secs() + 1;
    Docker::connect_with_custom_transport(send, Some("http://docker"), patience, version)
}

/// As paths begin with it.
fn prefix(version: &ClientVersion) -> String {
    format!("/v{}.{}", version.major_version, version.minor_version)
}

/// A request whose path begins with the version. bollard's own drops it where
/// it joins the two, and Docker answers such in the newest version that it has.
fn versioned<B>(mut request: Request<B>, prefix: &str) -> Request<B> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // Should another bollard keep it, it would be there twice.
    if !path.starts_with(&format!("{prefix}/")) {
        let with = format!("{prefix}{path}").parse();
        // A path of an address that was valid is one behind another.
        *request.uri_mut() = with.unwrap_or_else(|_| request.uri().clone());
    }
    request
}

/// Which containers a list is about.
#[derive(Debug, Clone, Copy)]
pub enum Only<'a> {
    /// The newest.
    All,
    /// Those before this one.
    Before(&'a str),
    /// This one.
    Id(&'a str),
}

fn failed(error: &Error) -> Failed {
    Failed { outcome: outcome(error), detail: system_words(error) }
}

fn limit_of(path: &str) -> u64 {
    match path {
        _ if path.ends_with("/version") => VERSION_LIMIT,
        _ if path.ends_with("/containers/json") => LIST_LIMIT,
        _ => INSPECT_LIMIT,
    }
}

fn outcome(error: &Error) -> Outcome {
    match error {
        Error::DockerResponseServerError { status_code: 404, .. } => Outcome::NotFound,
        Error::DockerResponseServerError { .. } => Outcome::Refused,
        Error::RequestTimeoutError => Outcome::Timeout,
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::StrParseError { .. } => {
            Outcome::Malformed
        }
        Error::APIVersionParseError { .. } | Error::URLParseError { .. } => Outcome::Malformed,
        Error::HyperResponseError { err } => http_outcome(err),
        _ => Outcome::Failed,
    }
}

/// What an error of the connection means.
pub fn http_outcome(error: &hyper::Error) -> Outcome {
    let mut source = error.source();
    while let Some(inner) = source {
        let io = inner.downcast_ref::<std::io::Error>();
        if io.and_then(std::io::Error::get_ref).is_some_and(|inner| inner.is::<TooLarge>()) {
            return Outcome::TooLarge;
        }
        source = inner.source();
    }
    if error.is_parse() { Outcome::Malformed } else { Outcome::Failed }
}

/// What the system says of a connection. Of an answer nothing: what stands in
/// it may be a container's, and secret.
fn system_words(error: &Error) -> String {
    match error {
        Error::IOError { err } => err.to_string(),
        Error::HyperResponseError { err } => err.to_string(),
        Error::DockerResponseServerError { status_code, .. } => format!("status {status_code}"),
        _ => String::new(),
    }
}
