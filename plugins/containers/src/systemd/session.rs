//! One connection's life: signals first, then the list, then each unit that the
//! host wants, that it was told of, or that is listed, a few at a time.

use super::client::{Client, EVENTS, INSPECT, LIST, VERSION};
use super::queue::{After, Queue};
use super::signals::{Change, Signals};
use super::{describe, names};
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::retry::Retries;
use crate::provider::{Ended, Failed};
use gantry_plugin_api::Container;
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// So many deadlines without a sign of life, a minute as it is by default, after
/// which systemd is asked for one.
const QUIET: u32 = 12;
/// After systemd read its settings anew all that is known is asked for, some five
/// requests a unit. An update of packages makes it do so many times on end.
const SETTLED: Duration = Duration::from_secs(5);
/// Units that are looked at again when something happens to them.
const MOST_KNOWN: usize = 100_000;

struct Session {
    client: Client,
    link: Arc<Link>,
    with_list: bool,
    /// A list is under way.
    listing: bool,
    list_failed: Retries<()>,
    /// It was told what is to be asked for.
    is_subscribed: bool,
    /// systemd is there: what it is asked may be answered.
    here: bool,
    /// By their cgroups: those that the host was told of.
    known: HashSet<Box<str>>,
    /// Those of which systemd did not say what they are.
    failed: Retries<String>,
    /// When all that is known is asked for, as its settings were read anew.
    reloaded: Option<Instant>,
    queue: Queue,
    tasks: JoinSet<Done>,
    /// When systemd gave its last sign of life.
    heard: Instant,
    /// It is asked for one.
    asking: bool,
}

enum Done {
    Subscribed(Result<(), Failed>),
    Listed(Result<Vec<String>, Failed>),
    Looked(String, Result<Box<Container>, Failed>),
    Lives(Result<(), Failed>),
}

/// Leads a session to its end.
///
/// # Errors
/// Always: why it ended.
pub async fn run(client: Client, mut signals: Signals, with_list: bool) -> Result<Infallible, Ended> {
    let link = Arc::clone(client.link());
    let here = signals.listen(&client).await?;
    let mut session = Session {
        client,
        link: Arc::clone(&link),
        with_list,
        listing: false,
        list_failed: Retries::default(),
        is_subscribed: false,
        here,
        known: link.told(),
        failed: Retries::default(),
        reloaded: None,
        queue: Queue::default(),
        tasks: JoinSet::new(),
        heard: Instant::now(),
        asking: false,
    };
    session.begin();
    loop {
        session.fill();
        let again = [session.failed.next(), session.list_failed.next()].into_iter().flatten().min();
        let is_quiet = session.here && !session.asking;
        let quiet = is_quiet.then(|| session.heard + session.client.deadline() * QUIET);
        tokio::select! {
            change = signals.next(&link) => session.change(change.map_err(|ended| session.ended(ended))?),
            () = link.wanted.added() => session.want(),
            Some(done) = session.tasks.join_next() => session.done(done)?,
            () = until(again) => session.try_again(),
            () = until(session.reloaded) => session.look_at_known(),
            () = until(quiet) => session.ask_for_life(),
        }
    }
}

impl Session {
    /// systemd is there, or is not. On a machine without it that is no trouble.
    fn begin(&mut self) {
        if !self.here {
            self.queue.clear();
            self.link.absent();
            self.link.first_is_over();
            return;
        }
        let client = self.client.clone();
        self.tasks.spawn(async move { Done::Subscribed(client.subscribe().await) });
    }

    /// What is heard from now on is known; what was before is asked for.
    fn subscribed(&mut self) {
        self.is_subscribed = true;
        self.link.up();
        self.look_at_known();
        self.link.nameless().into_iter().for_each(|id| self.look_at(id, true));
        self.want();
        self.list();
    }

    fn list(&mut self) {
        if !self.with_list {
            self.link.listed();
        } else if !self.listing {
            self.listing = true;
            let client = self.client.clone();
            self.tasks.spawn(async move { Done::Listed(client.list().await) });
        }
    }

    fn look_at_known(&mut self) {
        self.reloaded = None;
        let known: Vec<Box<str>> = self.known.iter().cloned().collect();
        known.into_iter().for_each(|id| self.look_at(id.into(), false));
    }

    /// The host waits for it: it goes before the others. Without systemd all
    /// that it waits for is asked when systemd comes.
    fn want(&mut self) {
        self.link.wanted.take().into_iter().for_each(|id| self.look_at(id, true));
    }

    fn look_at(&mut self, id: String, first: bool) {
        // A user's own, or nonsense.
        if !self.here || names::unit(&id).is_none() {
            return;
        }
        if !self.queue.add(id, first) {
            self.link.losses().add(Loss::Container, 1);
        }
    }

    /// Looks at as many as may be looked at side by side.
    fn fill(&mut self) {
        while let Some(id) = self.queue.begin() {
            let client = self.client.clone();
            self.tasks.spawn(async move {
                let unit = describe::unit(&client, &id).await;
                Done::Looked(id, unit.map(Box::new))
            });
        }
        // With more to come they are told together.
        if self.queue.is_empty() {
            self.link.flush();
            if self.is_subscribed && !self.listing && !self.queue.is_any_under_way() {
                self.link.first_is_over();
            }
        }
    }

    /// It may hang, or one unit of it.
    fn ask_for_life(&mut self) {
        if self.here && !std::mem::replace(&mut self.asking, true) {
            let client = self.client.clone();
            self.tasks.spawn(async move { Done::Lives(client.lives().await) });
        }
    }

    fn change(&mut self, change: Change) {
        self.heard = Instant::now();
        match change {
            // Of another one the host asks when its first process is there.
            Change::Look(unit) => {
                let id = names::cgroup(&unit);
                if self.known.contains(id.as_str()) || self.queue.is_under_way(&id) {
                    self.look_at(id, false);
                }
            }
            Change::Removed(unit) => self.remove(&names::cgroup(&unit)),
            Change::Reloaded => {
                self.reloaded.get_or_insert_with(|| Instant::now() + SETTLED);
            }
            Change::Came | Change::Went => {
                self.here = change == Change::Came;
                self.begin();
            }
        }
    }

    fn remove(&mut self, id: &str) {
        self.queue.forget(id);
        self.failed.settled(id);
        self.known.remove(id);
        self.link.tell_removed(id);
    }

    fn done(&mut self, done: Result<Done, JoinError>) -> Result<(), Ended> {
        match done {
            // It went since.
            Ok(Done::Subscribed(_) | Done::Lives(_)) if !self.here => self.asking = false,
            Ok(Done::Subscribed(answer)) => {
                answer.map_err(|failed| failed.into_ended(EVENTS))?;
                self.subscribed();
            }
            Ok(Done::Listed(answer)) => self.listed(answer)?,
            Ok(Done::Looked(id, look)) => self.looked(&id, look),
            Ok(Done::Lives(answer)) => {
                self.asking = false;
                self.heard = Instant::now();
                answer.map_err(|failed| failed.into_ended(VERSION))?;
            }
            Err(error) => {
                let detail = if error.is_panic() { "a panic" } else { "it was cancelled" };
                return Err(
                    Failed { outcome: Outcome::Failed, detail: detail.to_owned() }.into_ended(INSPECT)
                );
            }
        }
        Ok(())
    }

    fn listed(&mut self, answer: Result<Vec<String>, Failed>) -> Result<(), Ended> {
        self.listing = false;
        match answer {
            Ok(units) => {
                units.iter().for_each(|unit| self.look_at(names::cgroup(unit), false));
                self.heard = Instant::now();
                self.list_failed.settled(&());
                self.link.listed();
            }
            Err(_) if !self.here => {}
            Err(failed) if failed.outcome == Outcome::Failed => return Err(failed.into_ended(LIST)),
            Err(failed) if failed.outcome == Outcome::TooLarge => return Err(failed.into_ended(LIST)),
            // What the host asks for can be told without it.
            Err(failed) => {
                if failed.outcome == Outcome::Timeout {
                    self.ask_for_life();
                }
                let why = failed.into_ended(LIST);
                self.link.incomplete(&format!(
                    "{why}; until they can be listed, those that run once or on a timer are known as they run"
                ));
                self.link.losses().add(Loss::Container, 1);
                self.list_failed.failed((), Instant::now());
            }
        }
        Ok(())
    }

    fn looked(&mut self, id: &str, look: Result<Box<Container>, Failed>) {
        let after = self.queue.end(id);
        let answered = match &look {
            Ok(_) => true,
            Err(failed) => failed.outcome == Outcome::NotFound,
        };
        if answered {
            self.heard = Instant::now();
        } else {
            self.ask_for_life();
        }
        match look {
            _ if after == After::Forget || !self.here => {}
            Ok(container) => {
                if self.known.len() < MOST_KNOWN {
                    self.known.insert(id.into());
                }
                self.link.tell(*container);
                self.failed.settled(id);
            }
            Err(_) if answered => self.remove(id),
            Err(_) => {
                self.link.losses().add(Loss::Container, 1);
                self.failed.failed(id.to_owned(), Instant::now());
            }
        }
        if after == After::Again {
            self.look_at(id.to_owned(), false);
        }
    }

    fn try_again(&mut self) {
        let now = Instant::now();
        for id in self.failed.take(now) {
            self.look_at(id, false);
        }
        if !self.list_failed.take(now).is_empty() {
            self.list();
        }
    }

    /// The connection ended. Which answer was too long it does not say; a list
    /// alone can be.
    fn ended(&self, ended: Ended) -> Ended {
        if ended.outcome != Outcome::TooLarge || !self.listing {
            return ended;
        }
        self.link.count(LIST, Outcome::TooLarge);
        Ended { request: LIST, ..ended }
    }
}

/// Until then; without it for ever.
async fn until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}
