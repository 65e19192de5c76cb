//! All that there is: first the namespaces, then the containers of each. What
//! did not change since the last list is not looked at again: how its process
//! is, events tell.

use super::api::Timestamp;
use super::client::{Client, LIST, Rows};
use super::namespaces::{self, Asked};
use crate::grpc::rows::MOST;
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::source::{Listed, Step};
use crate::provider::{Ended, Failed};
use std::collections::HashMap;
use std::future::Future;

/// One of the lists.
#[derive(Debug)]
pub enum Part {
    /// Of the namespaces.
    Namespaces(Vec<String>),
    /// Of a namespace's containers.
    Containers(String, Rows),
}

/// How far the lists are read, and what the last ones said.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those whose containers are listed next, the last one first; `None`
    /// before the namespaces are listed.
    left: Option<Vec<String>>,
    /// Something of it could not be read.
    over: bool,
    /// Why a namespace could not be listed.
    failed: Option<String>,
    marks: HashMap<Box<str>, Option<Timestamp>>,
    /// What this list said so far.
    next: HashMap<Box<str>, Option<Timestamp>>,
}

impl Listing {
    /// From the beginning.
    pub fn begin(&mut self) {
        (self.left, self.over, self.failed) = (None, false, None);
        self.next.clear();
    }

    /// The next list has it looked at again.
    pub fn forget(&mut self, id: &str) {
        self.marks.remove(id);
    }

    /// Asks for the next list.
    pub fn part(&self, client: Client) -> impl Future<Output = Result<Part, Failed>> + Send + use<> {
        let namespace = self.left.as_ref().map(|left| left.last().cloned().unwrap_or_default());
        async move {
            match namespace {
                None => client.namespaces().await.map(Part::Namespaces),
                Some(none) if none.is_empty() => Ok(Part::Containers(none, Rows::default())),
                Some(namespace) => {
                    let rows = client.list(&namespace).await?;
                    Ok(Part::Containers(namespace, rows))
                }
            }
        }
    }

    /// Takes it, and says what comes next.
    ///
    /// # Errors
    /// Where the connection ends.
    pub fn take(&mut self, part: Result<Part, Failed>, asked: &Asked, link: &Link) -> Result<Listed, Ended> {
        let mut listed = Listed { step: Step::More, changed: Vec::new(), same: Vec::new() };
        match part {
            Ok(Part::Namespaces(mut all)) => {
                all.retain(|name| namespaces::is_name(name) && !namespaces::OTHERS.contains(&name.as_str()));
                if all.len() > namespaces::MOST {
                    all.truncate(namespaces::MOST);
                    self.over = true;
                }
                asked.set(&all);
                self.left = Some(all);
            }
            Ok(Part::Containers(namespace, Rows { rows, over })) => {
                self.over |= over;
                for row in rows {
                    self.row(&namespace, row.id, row.updated_at, &mut listed, link);
                }
                self.left.as_mut().map(Vec::pop);
            }
            // The connection is no more.
            Err(failed) if failed.outcome == Outcome::Failed => return Err(failed.into_ended(LIST)),
            Err(failed) => {
                link.losses().add(Loss::Container, 1);
                self.failed = Some(failed.into_ended(LIST).to_string());
                // Without the namespaces nothing more can be listed.
                self.left.get_or_insert_default().pop();
            }
        }
        if self.left.as_ref().is_some_and(Vec::is_empty) {
            self.end(&mut listed, link);
        }
        Ok(listed)
    }

    fn row(
        &mut self,
        namespace: &str,
        id: String,
        mark: Option<Timestamp>,
        listed: &mut Listed,
        link: &Link,
    ) {
        if !namespaces::is_name(&id) {
            link.losses().add(Loss::Container, 1);
        } else if self.next.len() >= MOST {
            self.over = true;
        } else if namespaces::is_told(namespace, &id) && self.next.insert(id.as_str().into(), mark).is_none()
        {
            // One without a time may be another one each time.
            let same = mark.is_some() && self.marks.get(id.as_str()) == Some(&mark);
            if same { listed.same.push(id) } else { listed.changed.push(id) }
        }
    }

    fn end(&mut self, listed: &mut Listed, link: &Link) {
        link.losses().add(Loss::Container, usize::from(self.over));
        let next = std::mem::take(&mut self.next);
        listed.step = match self.failed.take() {
            Some(why) => {
                self.marks.extend(next);
                Step::Incomplete(why)
            }
            None => {
                self.marks = next;
                // Of what is not listed nobody knows whether it is gone.
                if self.over { Step::Enough } else { Step::Complete }
            }
        };
    }
}
