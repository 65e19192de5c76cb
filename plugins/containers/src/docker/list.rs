//! All containers that Docker has, page by page: of ten thousand a single
//! answer would take tens of megabytes.

use super::client::{Client, LIST, Only};
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::source::Step;
use crate::provider::{Ended, Failed, is_id};
use std::future::Future;

/// Some 1 MiB. Smaller ones cost Docker more, as it sorts all for each.
const PAGE: i32 = 500;
/// More are not listed; the host asks for those that run.
const MOST: usize = 100_000;
/// How often it is begun anew as the container between two pages was removed.
const TRIES: u32 = 8;

/// How far the list is read.
#[derive(Debug)]
pub struct Listing {
    size: i32,
    before: Option<String>,
    listed: usize,
    tries: u32,
}

impl Default for Listing {
    fn default() -> Self {
        Self { size: PAGE, before: None, listed: 0, tries: TRIES }
    }
}

impl Listing {
    /// Asks for the next page: its ids, in Docker's order.
    pub fn page(&self, client: Client) -> impl Future<Output = Result<Vec<String>, Failed>> + use<> {
        let (size, before) = (self.size, self.before.clone());
        async move {
            let only = before.as_deref().map_or(Only::All, Only::Before);
            let page = client.list(size, only).await?;
            Ok(page.into_iter().filter_map(|summary| summary.id).filter(|id| is_id(id)).collect())
        }
    }

    /// Takes a page, and says what comes next.
    ///
    /// # Errors
    /// Where the connection ends.
    pub fn take(
        &mut self,
        page: Result<Vec<String>, Failed>,
        link: &Link,
    ) -> Result<(Step, Vec<String>), Ended> {
        let failed = match page {
            Ok(ids) => {
                self.listed += ids.len();
                // A page that is not full is the last one.
                let full = i32::try_from(ids.len()).is_ok_and(|count| count >= self.size);
                // A Docker that does not know the filter gives the same page again.
                let stands = ids.last().is_some() && ids.last() == self.before.as_ref();
                self.before = ids.last().cloned();
                let step = match full && !stands {
                    false => Step::Complete,
                    true if self.listed >= MOST => {
                        self.incomplete("there are more than are listed".to_owned(), link)
                    }
                    true => Step::More,
                };
                return Ok((step, ids));
            }
            Err(failed) => failed,
        };
        let step = match failed.outcome {
            Outcome::NotFound if self.before.is_some() && self.tries > 0 => {
                self.tries -= 1;
                self.before = None;
                Step::More
            }
            Outcome::TooLarge | Outcome::Malformed | Outcome::Timeout if self.size > 1 => {
                self.size = (self.size / 4).max(1);
                Step::More
            }
            // One container alone is too much: those behind it cannot be reached.
            Outcome::TooLarge | Outcome::Malformed => {
                self.incomplete("a container's row cannot be read".to_owned(), link)
            }
            Outcome::NotFound if self.before.is_some() => {
                self.incomplete("containers are removed faster than they are listed".to_owned(), link)
            }
            // The connection is no more.
            Outcome::Failed => return Err(failed.into_ended(LIST)),
            // One broken container is enough for a Podman to refuse all.
            _ => self.incomplete(failed.into_ended(LIST).to_string(), link),
        };
        Ok((step, Vec::new()))
    }

    fn incomplete(&self, why: String, link: &Link) -> Step {
        link.losses().add(Loss::Container, 1);
        Step::Incomplete(match self.listed {
            0 => why,
            listed => format!("{listed} containers were listed, then {why}"),
        })
    }
}
