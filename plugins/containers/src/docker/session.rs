//! One connection's life: events first, then the list, then each container that
//! is new or changed, a few at a time.

use super::client::{Client, Failed, INSPECT, Only, VERSION};
use super::describe;
use super::events::{self, Change};
use super::list::{Listing, Step};
use crate::provider::Ended;
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use gantry_plugin_api::Container;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// Containers that are looked at side by side: more do not make Docker faster,
/// and one whose lock somebody holds must not hold the others.
const AT_ONCE: usize = 8;

/// Looks without an answer, one after the other, after which Docker itself is
/// asked whether it lives: it may hang, or so many containers.
const PATIENCE: usize = AT_ONCE;

/// What failed is tried again so much later, then twice as much, up to a minute:
/// what was in the way may be gone by then.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// Containers that are tried again. Others wait for their next event.
const MOST_AGAIN: usize = 10_000;
/// Containers that wait to be looked at: more than are listed.
const MOST_QUEUED: usize = 120_000;

struct Session {
    client: Client,
    link: Arc<Link>,
    listing: Listing,
    /// The list could not be read to its end.
    list_failed: bool,
    /// Containers of which Docker did not say what they are.
    failed: BTreeSet<String>,
    /// When what failed is tried again.
    again_at: Option<Instant>,
    again_wait: Duration,
    /// Of those that the host knows from earlier sessions, and that were not
    /// seen again so far.
    unseen: HashSet<Box<str>>,
    queue: VecDeque<String>,
    queued: HashSet<String>,
    running: HashMap<String, After>,
    tasks: JoinSet<Done>,
    unanswered: usize,
}

/// What follows a look that is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    /// Something happened meanwhile: another look.
    Again,
    /// It is no more: the answer is of yesterday.
    Forget,
}

enum Done {
    Page(Result<Vec<String>, Failed>),
    Look(String, Look),
    Lives(Result<(), Failed>),
}

enum Look {
    Known(Box<Container>),
    /// Docker does not have it.
    Gone,
    /// Docker does not say.
    Unclear,
}

/// Leads a session to its end.
///
/// # Errors
/// Always: why it ended.
pub async fn run(client: Client) -> Result<Infallible, Ended> {
    let link = Arc::clone(client.link());
    let mut events = events::open(&client).await?;
    link.up();
    let mut session = Session {
        unseen: link.told(),
        link: Arc::clone(&link),
        client: client.clone(),
        listing: Listing::default(),
        list_failed: false,
        failed: BTreeSet::new(),
        again_at: None,
        again_wait: AGAIN,
        queue: VecDeque::new(),
        queued: HashSet::new(),
        running: HashMap::new(),
        tasks: JoinSet::new(),
        unanswered: 0,
    };
    link.wanted.take().into_iter().for_each(|id| session.want(id));
    session.ask_page();
    loop {
        session.fill();
        tokio::select! {
            change = events.next(&client) => session.change(change?),
            () = link.wanted.added() => link.wanted.take().into_iter().for_each(|id| session.want(id)),
            Some(done) = session.tasks.join_next() => session.done(done)?,
            () = until(session.again_at) => session.try_again(),
        }
    }
}

impl Session {
    fn ask_page(&mut self) {
        let page = self.listing.page(self.client.clone());
        self.tasks.spawn(async move { Done::Page(page.await) });
    }

    /// Something failed.
    fn plan_again(&mut self) {
        if self.again_at.is_none() {
            self.again_at = Some(Instant::now() + self.again_wait);
            self.again_wait = (self.again_wait * 2).min(AGAIN_AT_MOST);
        }
    }

    fn try_again(&mut self) {
        self.again_at = None;
        for id in std::mem::take(&mut self.failed) {
            self.look_at(id, false);
        }
        if std::mem::take(&mut self.list_failed) {
            self.listing = Listing::default();
            self.ask_page();
        }
    }

    /// Looks at as many as may be looked at side by side.
    fn fill(&mut self) {
        while self.running.len() < AT_ONCE
            && let Some(id) = self.queue.pop_front()
        {
            // It was removed since, or was looked at before those of the list.
            if !self.queued.remove(&id) {
                continue;
            }
            let (client, looked_at) = (self.client.clone(), id.clone());
            self.running.insert(id, After::Nothing);
            self.tasks.spawn(async move {
                let look = look(&client, &looked_at).await;
                Done::Look(looked_at, look)
            });
        }
        // With more to come they are told together.
        if self.queue.is_empty() {
            self.link.flush();
        }
    }

    fn look_at(&mut self, id: String, first: bool) {
        if let Some(after) = self.running.get_mut(&id) {
            *after = After::Again;
        } else if self.queue.len() >= MOST_QUEUED {
            self.link.losses().add(Loss::Container, 1);
        } else if self.queued.insert(id.clone()) {
            if first { self.queue.push_front(id) } else { self.queue.push_back(id) }
        }
    }

    /// The host waits for it: it goes before those of the list.
    fn want(&mut self, id: String) {
        // Of another runtime that calls itself the same, or nonsense.
        if !super::is_id(&id) {
            return;
        }
        // Where it stands further back too, it is passed over there.
        self.queued.remove(&id);
        self.look_at(id, true);
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Look(id) => self.look_at(id, false),
            Change::Removed(id) => self.remove(&id),
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some(after) = self.running.get_mut(id) {
            *after = After::Forget;
        }
        self.queued.remove(id);
        self.unseen.remove(id);
        self.failed.remove(id);
        self.link.tell_removed(id);
    }

    fn done(&mut self, done: Result<Done, JoinError>) -> Result<(), Ended> {
        match done {
            Ok(Done::Page(page)) => self.page(page),
            Ok(Done::Look(id, look)) => {
                self.looked(id, look);
                Ok(())
            }
            Ok(Done::Lives(answer)) => {
                self.unanswered = 0;
                answer.map_err(|failed| failed.into_ended(VERSION))
            }
            Err(error) => {
                let detail = if error.is_panic() { "a panic" } else { "it was cancelled" };
                Err(Ended { request: INSPECT, outcome: Outcome::Failed, detail: detail.to_owned() })
            }
        }
    }

    fn page(&mut self, page: Result<Vec<String>, Failed>) -> Result<(), Ended> {
        let (step, ids) = self.listing.take(page, &self.link)?;
        for id in ids {
            self.unseen.remove(id.as_str());
            // One that was looked at since is known already; the second look is cheap.
            self.look_at(id, false);
        }
        match step {
            Step::More => self.ask_page(),
            Step::Complete => {
                for id in std::mem::take(&mut self.unseen) {
                    self.link.tell_removed(&id);
                }
            }
            Step::Incomplete => {
                self.list_failed = true;
                self.plan_again();
            }
        }
        Ok(())
    }

    fn looked(&mut self, id: String, look: Look) {
        let after = self.running.remove(&id).unwrap_or(After::Nothing);
        self.unanswered = if matches!(look, Look::Unclear) { self.unanswered + 1 } else { 0 };
        if self.unanswered == PATIENCE {
            let client = self.client.clone();
            self.tasks.spawn(async move { Done::Lives(client.lives().await) });
        }
        match look {
            _ if after == After::Forget => {}
            Look::Known(container) => {
                self.unseen.remove(id.as_str());
                self.link.tell(*container);
                self.failed.remove(&id);
                if self.failed.is_empty() && !self.list_failed {
                    self.again_wait = AGAIN;
                }
            }
            Look::Gone => self.remove(&id),
            Look::Unclear => {
                self.link.losses().add(Loss::Container, 1);
                if self.failed.len() < MOST_AGAIN {
                    self.failed.insert(id.clone());
                }
                self.plan_again();
            }
        }
        if after == After::Again {
            self.look_at(id, false);
        }
    }
}

/// Until then; without it for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

async fn look(client: &Client, id: &str) -> Look {
    let failed = match client.inspect(id).await {
        Ok(found) => {
            let found = describe::inspected(id, found, client.link());
            return Look::Known(Box::new(found));
        }
        Err(failed) => failed,
    };
    match failed.outcome {
        Outcome::NotFound => Look::Gone,
        // The list says less, but something.
        Outcome::TooLarge | Outcome::Malformed => match client.list(1, Only::Id(id)).await {
            Ok(rows) => match rows.into_iter().find(|row| row.id.as_deref() == Some(id)) {
                Some(row) => {
                    client.link().losses().add(Loss::Description, 1);
                    Look::Known(Box::new(describe::listed(id, row, client.link())))
                }
                None => Look::Gone,
            },
            Err(_) => Look::Unclear,
        },
        _ => Look::Unclear,
    }
}
