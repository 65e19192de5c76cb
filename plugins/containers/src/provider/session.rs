//! One connection's life: the list, then each container that is new or changed,
//! a few at a time; from then on what the runtime tells and what the host wants.

use super::bounds::Loss;
use super::link::Link;
use super::outcome::Outcome;
use super::source::{Change, Listed, Look, Source, Step};
use super::{Again, Ended, Failed, is_id};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// Containers that are looked at side by side: more do not make a runtime faster,
/// and one whose lock somebody holds must not hold the others.
const AT_ONCE: usize = 8;

/// Looks without an answer, one after the other, after which the runtime itself
/// is asked whether it lives: it may hang, or so many containers.
const PATIENCE: usize = AT_ONCE;

/// What failed is tried again so much later, then twice as much, up to a minute:
/// what was in the way may be gone by then.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);
/// Containers that are tried again. Others wait for their next event.
const MOST_AGAIN: usize = 10_000;
/// Containers that wait to be looked at: more than are listed.
const MOST_QUEUED: usize = 120_000;

struct Session<S: Source> {
    source: S,
    link: Arc<Link>,
    /// The list is being read.
    listing: bool,
    /// The list could not be read to its end.
    list_failed: bool,
    /// Containers of which the runtime did not say what they are.
    failed: BTreeSet<String>,
    /// When what failed is tried again.
    again_at: Option<Instant>,
    again_wait: Duration,
    /// Of those that the host knew when the list was begun, and that were not
    /// seen in it so far.
    unseen: HashSet<Box<str>>,
    queue: VecDeque<String>,
    queued: HashSet<String>,
    running: HashMap<String, After>,
    tasks: JoinSet<Done<S::Part>>,
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

enum Done<P> {
    Part(Result<P, Failed>),
    Look(String, Look),
    Lives(Result<(), Ended>),
}

/// Leads a session to its end.
///
/// # Errors
/// Always: why it ended.
pub async fn run<S: Source>(source: S) -> Result<Infallible, Ended> {
    let link = Arc::clone(source.link());
    link.up();
    let mut session = Session {
        source,
        link: Arc::clone(&link),
        listing: false,
        list_failed: false,
        failed: BTreeSet::new(),
        again_at: None,
        again_wait: AGAIN,
        unseen: HashSet::new(),
        queue: VecDeque::new(),
        queued: HashSet::new(),
        running: HashMap::new(),
        tasks: JoinSet::new(),
        unanswered: 0,
    };
    link.wanted.take().into_iter().for_each(|id| session.want(id));
    session.list();
    loop {
        session.fill();
        tokio::select! {
            change = session.source.change() => session.change(change?),
            () = link.wanted.added() => link.wanted.take().into_iter().for_each(|id| session.want(id)),
            Some(done) = session.tasks.join_next() => session.done(done)?,
            () = until(session.again_at) => session.try_again(),
        }
    }
}

impl<S: Source> Session<S> {
    /// Lists all, unless that is under way.
    fn list(&mut self) {
        if !std::mem::replace(&mut self.listing, true) {
            self.unseen = self.link.told();
            self.source.begin_list();
            self.ask_part();
        }
    }

    fn ask_part(&mut self) {
        let part = self.source.part();
        self.tasks.spawn(async move { Done::Part(part.await) });
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
            self.list();
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
            let look = self.source.look(&id);
            self.running.insert(id.clone(), After::Nothing);
            self.tasks.spawn(async move { Done::Look(id, look.await) });
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
        if !is_id(&id) {
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
            Change::List => self.list(),
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some(after) = self.running.get_mut(id) {
            *after = After::Forget;
        }
        self.queued.remove(id);
        self.unseen.remove(id);
        self.failed.remove(id);
        self.source.removed(id);
        self.link.tell_removed(id);
    }

    fn done(&mut self, done: Result<Done<S::Part>, JoinError>) -> Result<(), Ended> {
        match done {
            Ok(Done::Part(part)) => self.part(part),
            Ok(Done::Look(id, look)) => {
                self.looked(id, look);
                Ok(())
            }
            Ok(Done::Lives(answer)) => {
                self.unanswered = 0;
                answer
            }
            Err(error) => {
                let detail = if error.is_panic() { "a panic" } else { "it was cancelled" };
                Err(Ended {
                    request: S::LOOK,
                    outcome: Outcome::Failed,
                    detail: detail.to_owned(),
                    again: Again::Soon,
                })
            }
        }
    }

    fn part(&mut self, part: Result<S::Part, Failed>) -> Result<(), Ended> {
        let Listed { step, changed, same } = self.source.take_part(part)?;
        for id in &same {
            self.unseen.remove(id.as_str());
        }
        for id in changed {
            self.unseen.remove(id.as_str());
            self.look_at(id, false);
        }
        self.listing = step == Step::More;
        match step {
            Step::More => self.ask_part(),
            Step::Complete => std::mem::take(&mut self.unseen).iter().for_each(|id| self.remove(id)),
            Step::Enough => {}
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
            let lives = self.source.lives();
            self.tasks.spawn(async move { Done::Lives(lives.await) });
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
