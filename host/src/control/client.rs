//! A command's end of the control socket.

use super::{CONFIG, HEADER, PROTOCOL};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde::de::DeserializeOwned;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use warp::http::{Method, Request, StatusCode};

/// An agent that is there takes a connection at once, unless its queue is full
/// or each of its connections is just answered.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The kernel says nothing when a full queue has room again.
const KNOCK_AGAIN: Duration = Duration::from_millis(20);

/// A reload takes 40 s at most: see docs/decisions/0017.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A view has at most 8 MiB of text, escaped and with the names of its columns
/// in each row.
const MAX_ANSWER: usize = 256 << 20;

/// Why there is no good answer.
#[derive(Debug)]
pub enum Asked {
    /// Nobody is there, or it is no agent.
    NotThere(String),
    /// The agent says no: a line a reason.
    No(Vec<String>),
}

/// Speaks to the agent at a socket.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    /// The configuration that the agent is to have, where somebody named one.
    config: Option<PathBuf>,
}

impl Client {
    pub fn new(socket: &Path, config: Option<&Path>) -> Self {
        // The agent has another working directory.
        let config = config.map(|file| std::path::absolute(file).unwrap_or_else(|_| file.to_owned()));
        Self { socket: socket.to_owned(), config }
    }

    /// A request without the protocol's prefix: `plugins`.
    pub async fn ask<T: DeserializeOwned>(&self, method: Method, what: &str) -> Result<T, Asked> {
        if let Some(why) = super::too_long(&self.socket) {
            return Err(Asked::NotThere(why));
        }
        let connected = tokio::time::timeout(CONNECT_WITHIN, self.connect()).await;
        let busy = |_| {
            Asked::No(vec![format!(
                "the agent at {} takes no more connections; ask again in a while",
                self.socket.display()
            )])
        };
        let stream = connected.map_err(busy)?.map_err(|error| self.nobody(&error))?;
        let asked = tokio::time::timeout(ANSWER_WITHIN, self.exchange(stream, method, what)).await;
        let (status, body) = asked.unwrap_or_else(|_| {
            Err(Asked::No(vec![format!(
                "the agent did not answer within {} s; a change that it began is carried out: see `gantry plugins`",
                ANSWER_WITHIN.as_secs()
            )]))
        })?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| self.odd(&error.to_string()));
        }
        #[derive(serde::Deserialize)]
        struct Refusal {
            error: Vec<String>,
        }
        let refusal: Refusal = serde_json::from_slice(&body).map_err(|error| self.odd(&error.to_string()))?;
        Err(Asked::No(refusal.error))
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        loop {
            match UnixStream::connect(&self.socket).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(KNOCK_AGAIN).await;
                }
                connected => return connected,
            }
        }
    }

    async fn exchange(
        &self,
        stream: UnixStream,
        method: Method,
        what: &str,
    ) -> Result<(StatusCode, Bytes), Asked> {
        let odd = |error: &dyn std::error::Error| self.odd(&error.to_string());
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| odd(&error))?;
        // It ends with the answer.
        tokio::spawn(connection);
        let mut request =
            Request::builder().method(method).uri(format!("/{PROTOCOL}/{what}")).header("host", "gantry");
        if let Some(file) = &self.config {
            let file = percent_encode(file.as_os_str().as_bytes(), NON_ALPHANUMERIC).to_string();
            request = request.header(CONFIG, file);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| Asked::No(vec![format!("{what:?} cannot be asked for: {error}")]))?;
        let response = sender.send_request(request).await.map_err(|error| {
            match error.is_closed() || error.is_incomplete_message() || error.is_canceled() {
                true => self.ended(),
                false => odd(&error),
            }
        })?;
        if !response.headers().contains_key(HEADER) {
            return Err(self.odd("it is no gantry agent"));
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| self.odd(&error.to_string()))?;
        Ok((status, body.to_bytes()))
    }

    fn nobody(&self, error: &io::Error) -> Asked {
        let socket = self.socket.display();
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Asked::No(vec![format!("{socket}: {error}; ask as root, or as the user of the agent")]);
        }
        Asked::NotThere(format!(
            "no agent answers at {socket}: {error}; start it with `gantry run`, or name its socket with --socket or \
             its state directory with --state-dir"
        ))
    }

    fn ended(&self) -> Asked {
        Asked::NotThere(format!(
            "the agent at {} ended, or closed the connection, before it answered; what became of this see, when it \
             runs, in `gantry plugins`",
            self.socket.display()
        ))
    }

    fn odd(&self, why: &str) -> Asked {
        Asked::NotThere(format!("the answer at {} makes no sense: {why}", self.socket.display()))
    }
}
