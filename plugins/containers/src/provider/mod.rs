//! What is common to all runtimes: for each socket a task that connects,
//! reconnects, and tells the host what it learns, all on one thread.
//!
//! # Layout
//! * [`Provider`]: what a runtime's own part does. [`link`]: what it is given.
//! * [`worker`]: the thread. [`door`]: the way to a socket. [`backoff`]: how long it waits between sessions.
//! * [`session`]: the course of a connection's life, where a runtime is a
//!   [`source`]: it can list, describe and tell of changes. [`described`]: what descriptions have in common.
//! * [`wanted`]: what the host asked for. [`told`]: what it was told; [`first`]: that this was all. [`retry`]: what failed.
//! * [`outcome`]: what became of a request, counted. [`bounds`]: what is kept of
//!   a container's texts. [`started`]: times and start times.

pub mod backoff;
pub mod bounds;
pub mod described;
pub mod door;
pub mod first;
pub mod link;
pub mod outcome;
pub mod retry;
pub mod session;
pub mod source;
pub mod started;
pub mod told;
pub mod wanted;
pub mod worker;

use door::Door;
use link::Link;
use outcome::Outcome;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

/// Why a session ended. Its text is for people and holds nothing that a
/// container said.
#[derive(Debug, thiserror::Error)]
#[error("{request}: {outcome}{}", brackets(.detail))]
pub struct Ended {
    /// What was asked: `list`, `events`, …
    pub request: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// The system's own words, where it has any.
    pub detail: String,
    /// When it is worth another try.
    pub again: Again,
}

/// When a session that ended is worth another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// What was in the way may be gone at any time.
    Soon,
    /// Somebody must configure or update the runtime first.
    Rarely,
    /// It does not do what is asked of it, and that is no mistake of anybody's.
    Unused,
}

/// A request that failed.
#[derive(Debug)]
pub struct Failed {
    /// What became of it.
    pub outcome: Outcome,
    /// The system's words.
    pub detail: String,
}

impl Failed {
    /// The end of a session.
    pub fn into_ended(self, request: &'static str) -> Ended {
        Ended { request, outcome: self.outcome, detail: self.detail, again: Again::Soon }
    }
}

/// Whether this is a container's id as most runtimes make them: 64 hexadecimal
/// digits. Another text would become part of a request.
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

/// One runtime's own part.
pub trait Provider: Send + 'static {
    /// The runtime, as the manifest's `provides_identity` names it.
    fn runtime(&self) -> &'static str;

    /// The way to its socket. While that is not there no session begins.
    fn door(&self) -> &Door;

    /// Connects, tells of all containers, then of each change, until the
    /// connection ends. It may be dropped at each of its awaits, and must not
    /// block its thread, on which the others run: paths are looked up by [`door`].
    fn session(&mut self, link: &Arc<Link>) -> impl Future<Output = Result<Infallible, Ended>>;
}
