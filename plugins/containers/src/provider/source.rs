//! What a session asks of a runtime, and what the answers may be.

use super::link::Link;
use super::{Ended, Failed, is_id};
use gantry_plugin_api::Container;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A runtime that is connected, and whose changes are heard from here on.
pub trait Source: 'static {
    /// What a part of the list holds.
    type Part: Send + 'static;
    /// The request by which a container is looked at.
    const LOOK: &'static str;

    /// What it was given.
    fn link(&self) -> &Arc<Link>;

    /// How long one request may take.
    fn deadline(&self) -> Duration;

    /// Whether this may be an id of one of its containers; another text would
    /// become part of a request.
    fn is_id(text: &str) -> bool {
        is_id(text)
    }

    /// The list is read from its beginning.
    fn begin_list(&mut self);

    /// The next part of the list.
    fn part(&self) -> impl Future<Output = Result<Self::Part, Failed>> + Send + 'static;

    /// What that part says.
    ///
    /// # Errors
    /// Where the runtime does not answer as it should.
    fn take_part(&mut self, part: Result<Self::Part, Failed>) -> Result<Listed, Ended>;

    /// One container.
    fn look(&self, id: &str) -> impl Future<Output = Look> + Send + 'static;

    /// Whether the runtime answers at all.
    fn lives(&self) -> impl Future<Output = Result<(), Ended>> + Send + 'static;

    /// The next change. May be dropped while it waits; nothing is lost then.
    fn change(&mut self) -> impl Future<Output = Result<Change, Ended>>;

    /// A container is no more.
    fn removed(&mut self, _id: &str) {}
}

/// What a part of a list says.
#[derive(Debug)]
pub struct Listed {
    /// What comes next.
    pub step: Step,
    /// Those to look at.
    pub changed: Vec<String>,
    /// Those that are as they were.
    pub same: Vec<String>,
}

/// What comes after a part of a list.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Another part.
    More,
    /// All are known.
    Complete,
    /// The rest cannot be listed now: why.
    Incomplete(String),
    /// The rest cannot be listed, and a second try would be no better.
    Enough,
}

/// What changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// To look at a container.
    Look(String),
    /// Nothing more: it is no more.
    Removed(String),
    /// To list all.
    List,
}

/// What a look at a container shows.
#[derive(Debug)]
pub enum Look {
    /// This.
    Known(Box<Container>),
    /// This, and more that could not be had now.
    Partly(Box<Container>),
    /// The runtime does not have it.
    Gone,
    /// The runtime does not say.
    Unclear,
}
