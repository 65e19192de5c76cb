//! All that there is: first the pods' sandboxes, then the containers. What did
//! not change since the last list is not looked at again.

use super::api::{ContainerList, READY, RUNNING, SandboxList};
use super::client::{Client, LIST};
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::source::{Listed, Step};
use crate::provider::{Ended, Failed, is_id};
use gantry_plugin_api::tracing;
use std::collections::HashMap;
use std::future::Future;

/// One of the two lists.
#[derive(Debug)]
pub enum Part {
    /// The pods'.
    Sandboxes(SandboxList),
    /// The containers'.
    Containers(ContainerList),
}

/// What was seen of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    sandbox: bool,
    state: i32,
}

/// How far the lists are read, and what the last ones said.
#[derive(Debug, Default)]
pub struct Listing {
    /// The sandboxes are listed.
    sandboxes_done: bool,
    /// Only what runs is listed: all of it was too long once.
    running: bool,
    /// Rows that could not be read, in this list.
    over: usize,
    marks: HashMap<Box<str>, Mark>,
    /// What this list said so far.
    next: HashMap<Box<str>, Mark>,
}

impl Listing {
    /// From the beginning.
    pub fn begin(&mut self) {
        self.sandboxes_done = false;
        self.over = 0;
        self.next.clear();
    }

    /// Whether it is a sandbox, as the last lists said.
    pub fn is_sandbox(&self, id: &str) -> bool {
        self.marks.get(id).or_else(|| self.next.get(id)).is_some_and(|mark| mark.sandbox)
    }

    /// The next list has it looked at again.
    pub fn forget(&mut self, id: &str) {
        self.marks.remove(id);
    }

    /// Asks for the next list.
    pub fn part(&self, client: Client) -> impl Future<Output = Result<Part, Failed>> + Send + use<> {
        let (sandboxes_done, running) = (self.sandboxes_done, self.running);
        async move {
            if sandboxes_done {
                client.containers(running.then_some(RUNNING)).await.map(Part::Containers)
            } else {
                client.sandboxes(running.then_some(READY)).await.map(Part::Sandboxes)
            }
        }
    }

    /// Takes it, and says what comes next.
    ///
    /// # Errors
    /// Where the connection ends.
    pub fn take(&mut self, part: Result<Part, Failed>, link: &Link) -> Result<Listed, Ended> {
        let mut listed = Listed { step: Step::More, changed: Vec::new(), same: Vec::new() };
        match part {
            Ok(Part::Sandboxes(list)) => {
                self.over += list.over;
                let rows =
                    list.rows.into_iter().map(|row| (row.id, Mark { sandbox: true, state: row.state }));
                rows.for_each(|(id, mark)| self.row(id, mark, &mut listed, link));
                self.sandboxes_done = true;
            }
            Ok(Part::Containers(list)) => {
                self.over += list.over;
                let rows =
                    list.rows.into_iter().map(|row| (row.id, Mark { sandbox: false, state: row.state }));
                rows.for_each(|(id, mark)| self.row(id, mark, &mut listed, link));
                self.end(&mut listed, link);
            }
            Err(Failed { outcome: Outcome::TooLarge, .. }) if !self.running => {
                tracing::warn!(
                    "{}: the list of all pods and containers is too long; only those that run are listed",
                    link.runtime()
                );
                self.running = true;
            }
            Err(Failed { outcome: Outcome::TooLarge, .. }) => {
                self.over += 1;
                if self.sandboxes_done {
                    self.end(&mut listed, link);
                }
                self.sandboxes_done = true;
            }
            // The connection is no more.
            Err(failed) if failed.outcome == Outcome::Failed => return Err(failed.into_ended(LIST)),
            Err(failed) => {
                link.losses().add(Loss::Container, 1);
                listed.step = Step::Incomplete(failed.into_ended(LIST).to_string());
            }
        }
        Ok(listed)
    }

    fn row(&mut self, id: String, mark: Mark, listed: &mut Listed, link: &Link) {
        if !is_id(&id) {
            link.losses().add(Loss::Container, 1);
        } else if self.next.insert(id.as_str().into(), mark).is_none() {
            let same = self.marks.get(id.as_str()) == Some(&mark);
            if same { listed.same.push(id) } else { listed.changed.push(id) }
        }
    }

    fn end(&mut self, listed: &mut Listed, link: &Link) {
        let whole = self.over == 0 && !self.running;
        link.losses().add(Loss::Container, self.over);
        self.marks = std::mem::take(&mut self.next);
        // Of what is not listed nobody knows whether it is gone.
        listed.step = if whole { Step::Complete } else { Step::Enough };
    }
}
